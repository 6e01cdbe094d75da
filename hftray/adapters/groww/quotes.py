"""What a share costs and within which prices it trades today, for whoever prices an order.

An exit must not fail because a quote does: without one it is priced by the feed's last price.
Prices are Decimal rupees.
"""

from collections.abc import Callable
from decimal import Decimal

from hftray import observe
from hftray.adapters.groww.governor import Urgency
from hftray.adapters.groww.listed import Listed
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.groww.pricing import UNKNOWN_BAND, CircuitBand
from hftray.core.errors import BrokerUnavailable, RejectError, RetryError
from hftray.core.money import rupees
from hftray.ports import MarketBatch

log = observe.logger("groww.broker")

PATIENCE = 2.0  # seconds an order waits for a quote
BAND_AGE = 300.0  # seconds a circuit band is taken for unchanged; wider ones come at most so late


class Quotes:
    """Quotes on demand, with the newest of each symbol kept."""

    def __init__(self, calls: OrderCalls, listed: Listed, clock: Callable[[], float]) -> None:
        self._calls, self._listed, self._clock = calls, listed, clock
        self._prices: dict[str, Decimal] = {}
        self._bands: dict[str, tuple[float, CircuitBand]] = {}

    def remember(self, batch: MarketBatch) -> None:
        """Keep the feed's prices for when there is no quote."""
        for symbol, candle in batch.candles.items():
            self._prices[symbol] = rupees(candle.close)
        for symbol, tick in batch.ticks.items():
            self._prices[symbol] = rupees(tick.price)

    async def price(self, symbol: str, urgency: Urgency) -> tuple[Decimal, CircuitBand]:
        """The last price, as new as it can be had, and the circuit band.

        BrokerUnavailable when neither Groww nor the feed has told one.
        """
        try:
            last, band = await self._ask(symbol, urgency)
        except (RetryError, RejectError) as error:
            log.warning("no quote, priced by the feed", symbol=symbol, reason=str(error))
            last, band = None, self._bands.get(symbol, (0.0, UNKNOWN_BAND))[1]
        last = last or self._prices.get(symbol)
        if last is None:
            raise BrokerUnavailable(f"{symbol}: neither a quote nor the feed tells its price")
        return last, band

    async def band(self, symbol: str) -> CircuitBand:
        """The circuit band, not older than `BAND_AGE`; an unknown one when Groww does not tell."""
        asked_at, band = self._bands.get(symbol, (-BAND_AGE, UNKNOWN_BAND))
        if symbol in self._bands and self._clock() - asked_at < BAND_AGE:
            return band
        try:
            return (await self._ask(symbol, Urgency.ENTRY))[1]
        except (RetryError, RejectError) as error:
            log.warning("circuit band unknown", symbol=symbol, reason=str(error))
            return band

    async def _ask(self, symbol: str, urgency: Urgency) -> tuple[Decimal | None, CircuitBand]:
        last, band = await self._calls.quote(self._listed.at_groww(symbol), urgency, PATIENCE)
        self._bands[symbol] = (self._clock(), band)
        return last, band
