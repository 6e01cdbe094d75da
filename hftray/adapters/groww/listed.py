"""Our names of shares and Groww's: `RELIANCE` on NSE, `BSE:RELIANCE` for the same share on BSE."""

from collections.abc import Mapping

from hftray.core.errors import OrderRejected
from hftray.core.market import Instrument
from hftray.core.symbols import share_name, symbol_on


class Listed:
    """The shares we trade, found from both sides."""

    def __init__(self, instruments: Mapping[str, Instrument]) -> None:
        self._instruments = dict(instruments)

    def __contains__(self, symbol: str) -> bool:
        """Whether we trade it."""
        return symbol in self._instruments

    def instrument(self, symbol: str) -> Instrument:
        """The share we know under a symbol. OrderRejected."""
        if symbol not in self._instruments:
            raise OrderRejected(f"{symbol} is not among the shares traded here")
        return self._instruments[symbol]

    def at_groww(self, symbol: str) -> tuple[str, str]:
        """Exchange and trading symbol of a share of ours. OrderRejected."""
        return self.instrument(symbol).exchange, share_name(symbol)

    def ours(self, exchange: str, trading_symbol: str) -> str:
        """Our name of a listing, whether we trade it or not."""
        return symbol_on(exchange, trading_symbol)
