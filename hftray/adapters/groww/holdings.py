"""What the account holds intraday, as far as it is ours to trade."""

from hftray import observe
from hftray.adapters.groww.listed import Listed
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.groww.rows import MIS
from hftray.core.orders import BrokerPosition

log = observe.logger("groww.broker")


class Holdings:
    """Positions by our symbols; what is left out is logged once."""

    def __init__(self, calls: OrderCalls, listed: Listed) -> None:
        self._calls, self._listed = calls, listed
        self._left_out: set[str] = set()

    async def net(self) -> list[BrokerPosition]:
        """Net intraday shares of the day, symbols that are not flat. RetryError.

        What was carried over or is for delivery is not ours. No average price: what Groww nets
        into it is not documented.
        """
        net: dict[str, int] = {}
        for row in await self._calls.positions():
            symbol = self._listed.ours(row.exchange, row.trading_symbol)
            ours = row.quantity - row.carried if row.product == MIS else 0
            self._leave_out(symbol, row.product, row.quantity - ours)
            net[symbol] = net.get(symbol, 0) + ours
        return [BrokerPosition(symbol, shares) for symbol, shares in sorted(net.items()) if shares]

    def _leave_out(self, symbol: str, product: str, shares: int) -> None:
        name = f"{symbol} {product}"
        if shares and name not in self._left_out:
            self._left_out.add(name)
            log.warning("position not ours", symbol=symbol, product=product, shares=shares)
