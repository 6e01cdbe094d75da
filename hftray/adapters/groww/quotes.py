"""What a share costs and within which prices it trades today, and what an order is sent at.

An exit must not fail because a quote does: without one it is priced by the feed's last price.
Prices are Decimal rupees.
"""

from collections.abc import Callable
from decimal import Decimal

from hftray import observe
from hftray.adapters.groww.governor import Urgency
from hftray.adapters.groww.listed import Listed
from hftray.adapters.groww.options import GrowwOptions
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.groww.pricing import NO_LIMITS, OrderPrice, entry_price, marketable, stop_price
from hftray.adapters.groww.wire import CircuitLimits, FullQuote
from hftray.core.errors import BrokerUnavailable, OrderRejected, RejectError, RetryError
from hftray.core.money import rupees
from hftray.core.orders import Order, Side
from hftray.ports import MarketBatch

log = observe.logger("groww.broker")

PATIENCE = 2.0  # seconds an order waits for a quote
BAND_AGE = 300.0  # seconds a circuit band is taken for unchanged; wider ones come at most so late


class Quotes:
    """Quotes on demand, with the newest of each symbol kept."""

    def __init__(self, calls: OrderCalls, listed: Listed, clock: Callable[[], float]) -> None:
        self._calls, self._listed, self._clock = calls, listed, clock
        self._prices: dict[str, Decimal] = {}
        self._bands: dict[str, tuple[float, CircuitLimits]] = {}

    def remember(self, batch: MarketBatch) -> None:
        """Keep the feed's prices for when there is no quote."""
        for symbol, candle in batch.candles.items():
            self._prices[symbol] = rupees(candle.close)
        for symbol, tick in batch.ticks.items():
            self._prices[symbol] = rupees(tick.price)

    async def price(self, symbol: str, urgency: Urgency) -> tuple[Decimal, CircuitLimits]:
        """The last price, as new as it can be had, and the circuit band.

        BrokerUnavailable when neither Groww nor the feed has told one.
        """
        try:
            quote = await self._ask(symbol, urgency)
            return quote.last_price, quote.limits
        except (RetryError, RejectError) as error:
            log.warning("no quote, priced by the feed", symbol=symbol, reason=str(error))
        if symbol not in self._prices:
            raise BrokerUnavailable(f"{symbol}: neither a quote nor the feed tells its price")
        return self._prices[symbol], self._bands.get(symbol, (0.0, NO_LIMITS))[1]

    async def band(self, symbol: str) -> CircuitLimits:
        """The circuit band, not older than `BAND_AGE`; an unknown one when Groww does not tell."""
        asked_at, band = self._bands.get(symbol, (-BAND_AGE, NO_LIMITS))
        if symbol in self._bands and self._clock() - asked_at < BAND_AGE:
            return band
        try:
            return (await self._ask(symbol, Urgency.ENTRY)).limits
        except (RetryError, RejectError) as error:
            log.warning("circuit band unknown", symbol=symbol, reason=str(error))
            return band

    async def _ask(self, symbol: str, urgency: Urgency) -> FullQuote:
        quote = await self._calls.quote(self._listed.at_groww(symbol), urgency, PATIENCE)
        self._bands[symbol] = (self._clock(), quote.limits)
        return quote


class Pricer:
    """Prices of orders as they can be sent now, by quotes and by the settings' bands."""

    def __init__(self, quotes: Quotes, listed: Listed, options: GrowwOptions) -> None:
        self._quotes, self._listed, self._options = quotes, listed, options

    async def order(self, order: Order, urgency: Urgency) -> OrderPrice:
        """The price of an order that is sent. OrderRejected, BrokerUnavailable."""
        if order.stop:
            return await self.stop(order.symbol, order.side, order.trigger, order.limit_price)
        instrument = self._listed.instrument(order.symbol)
        if order.limit_price is not None:
            band = await self._quotes.band(order.symbol)
            return entry_price(order.limit_price, order.side, instrument, band)
        last, band = await self._quotes.price(order.symbol, urgency)
        return marketable(last, order.side, instrument, self._options.exit_band_percent, band)

    async def stop(
        self, symbol: str, side: Side, trigger: Decimal | None, limit: Decimal | None
    ) -> OrderPrice:
        """Trigger and limit of a stop order. OrderRejected."""
        if trigger is None:
            raise OrderRejected(f"{symbol}: a stop order needs a trigger")
        instrument, percent = self._listed.instrument(symbol), self._options.guard_band_percent
        band = await self._quotes.band(symbol)
        return stop_price(trigger, limit, side, instrument, percent, band)
