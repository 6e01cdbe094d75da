"""What a simulated market does to an order: fills it, triggers it, or lets its session end.

The rules of price and chance are in `core.matching`. Prices are kept in memory only. All times are
the market's.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from hftray.adapters.exchange_entry import BookEntry
from hftray.core.market import Candle, Instrument
from hftray.core.matching import fill_price, first_part, stop_market, taker_price, trigger_price
from hftray.core.orders import Execution, Leg, Order, OrderStatus
from hftray.ports import MarketBatch


class MatchingEngine:
    """The newest step of the market and the prices before it, held against entries of the book.

    Entries are values: what becomes of one is returned, and for the caller to write.
    """

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        *,
        slippage_bps: float,
        partial_fill_rate: float,
        seed: int,
    ) -> None:
        self._instruments = instruments
        self._slippage_bps = slippage_bps
        self._partial_fill_rate = partial_fill_rate
        self._seed = seed
        self._batch: MarketBatch | None = None
        self.day: date | None = None  # the newest trading day the market has shown
        self._session_days: dict[str, date] = {}
        self._prices: dict[str, float] = {}
        # Candles of the present step, and for each symbol the price its levels were safe at.
        self._present: dict[str, Candle] = {}
        self._before: dict[str, float] = {}

    @property
    def now(self) -> datetime | None:
        """The moment of the present step, None before the first."""
        return None if self._batch is None else self._batch.now

    def see(self, batch: MarketBatch) -> None:
        """Take a step of the market; the same one again changes nothing."""
        if batch == self._batch:  # it would pass for two steps
            return
        self._batch = batch
        self._present = batch.candles
        for symbol, tick in batch.ticks.items():
            self._prices[symbol] = tick.price
        for symbol, candle in batch.candles.items():
            if symbol in self._prices:
                self._before[symbol] = self._prices[symbol]
            self._prices[symbol] = candle.close
        self._session_days = {symbol: day.day for symbol, day in batch.sessions.items()}
        self.day = max(self._session_days.values(), default=self.day)

    def entry(self, order: Order) -> BookEntry:
        """The order as it comes in, nothing done to it yet."""
        return BookEntry(
            order=order,
            acted_at=order.time,
            session_day=self._session_days.get(order.symbol),
            last_price=self._prices.get(order.symbol),
        )

    def arrived(self, entry: BookEntry) -> BookEntry:
        """What becomes of an accepted order at once.

        With a trigger inside the present candle it trades; after the session it ends.
        """
        order = entry.order
        candle = self._present.get(order.symbol)
        if order.trigger is not None and candle is not None and not order.stop:
            price = trigger_price(
                order,
                candle,
                self._instruments[order.symbol],
                before=self._before.get(order.symbol),
                slippage_bps=self._slippage_bps,
            )
            return _filled(entry, order.time, price, order.quantity)
        if entry.session_day is None and entry.last_price is not None:
            return self._session_over(entry, order.time)  # the market has just closed
        return entry

    def step(self, entry: BookEntry) -> BookEntry:
        """What becomes of a working order in the present step of the market."""
        order, batch = entry.order, self._batch
        if batch is None or batch.now < entry.acted_at:
            return entry
        day = self._session_days.get(order.symbol)
        # Before the guard below: candles end a session at the very moment of the last decision.
        if entry.session_day is not None and day != entry.session_day:
            return self._session_over(entry, batch.now)
        if batch.now == entry.acted_at:
            return entry
        entry = replace(entry, session_day=day, last_price=self._prices.get(order.symbol))
        market = self._market(entry, batch)
        if market is None:
            return entry
        entry = replace(entry, triggered=order.stop)
        instrument = self._instruments[order.symbol]
        price = fill_price(order, market, instrument, slippage_bps=self._slippage_bps)
        if price is None:
            return entry
        if order.symbol in batch.candles:
            self._before[order.symbol] = market  # a position entered here is guarded from here on
        return _filled(entry, batch.now, price, self._next_part(entry))

    def _market(self, entry: BookEntry, batch: MarketBatch) -> float | None:
        """The price that this step brings to the order; None when it waits for another."""
        symbol = entry.order.symbol
        first = _first_price(symbol, batch)
        if first is None or not entry.rests:
            return first
        candle = batch.candles.get(symbol)
        if symbol in batch.ticks or candle is None:
            candle = Candle(symbol, batch.now, first, first, first, first, 0.0)
        return stop_market(entry.order, candle, before=self._before.get(symbol))

    def _next_part(self, entry: BookEntry) -> int:
        order, left = entry.order, entry.order.quantity - entry.filled
        if entry.executions:
            return left
        rate = self._partial_fill_rate
        return first_part(order.reference, left, rate=rate, seed=self._seed)

    def _session_over(self, entry: BookEntry, now: datetime) -> BookEntry:
        # An intraday position never stays overnight, so an exit goes at the last price there was,
        # whatever its limit; an entry that nobody took is withdrawn, and so is a stop order that
        # was not reached.
        order = entry.order
        if order.leg is not Leg.EXIT or entry.rests or entry.last_price is None:
            return replace(
                entry, status=OrderStatus.CANCELLED, reason="session ended", acted_at=now
            )
        instrument = self._instruments[order.symbol]
        price = taker_price(
            entry.last_price, order.side, instrument, slippage_bps=self._slippage_bps
        )
        return _filled(entry, now, price, order.quantity - entry.filled)


def _filled(entry: BookEntry, now: datetime, price: Decimal, shares: int) -> BookEntry:
    number = len(entry.executions) + 1
    execution = Execution(f"{entry.order.reference}-{number}", shares, price, now)
    after = replace(entry, executions=(*entry.executions, execution), acted_at=now)
    done = after.filled == entry.order.quantity
    return replace(after, status=OrderStatus.FILLED) if done else after


def _first_price(symbol: str, batch: MarketBatch) -> float | None:
    """The first price of this step: the tick, or the open of the candle that now closed."""
    if symbol in batch.ticks:
        return batch.ticks[symbol].price
    return batch.candles[symbol].open if symbol in batch.candles else None
