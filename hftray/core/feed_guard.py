"""Whether a symbol's market data can be trusted: absurd jumps, silence, a frozen price, the clock.

Doubted data is never corrected: it reaches neither candles nor voters nor exits, and as long as
there is doubt the symbol makes no entries. An open position stays guarded by the last good price
and by the time. Time comes from the events; the newest moment heard of is "now".
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, Self

from hftray.core.candle_buffer import CandleBuffer
from hftray.core.candles import ist_day
from hftray.core.market import Candle, Tick
from hftray.core.rules import FeedRules
from hftray.core.session import TradingSession

PRICE_JUMP = "price jump beyond the band"


class FeedGuard:
    """One symbol's watch over its feed.

    Price rule. News further than the band from the last good price of the same day is doubted.
    News newer than what was doubted, and within the band of the first of it, confirms it; with
    `jump_confirmations` in a row the new level is believed. The same bad print delivered again
    confirms nothing. A day's first price has nothing to be measured by and is believed: exchanges
    set their bands anew each day, and shares split overnight.
    """

    def __init__(self, rules: FeedRules, interval: timedelta) -> None:
        self._interval = interval
        self._band = rules.price_band_percent / 100
        self._confirmations = rules.jump_confirmations
        self._frozen_candles = rules.frozen_candles
        self._stale_after = timedelta(seconds=rules.stale_seconds)
        self._tolerance = timedelta(seconds=rules.future_tolerance_seconds)
        self._now: datetime | None = None
        self._heard: datetime | None = None  # the newest good news
        self._ticking = False  # a feed of closed candles is silent in between
        self._behind = False
        self._doubted: tuple[float, int, datetime] | None = None  # first price, count, newest

    def open_day(self) -> None:
        """Another trading day: nothing of the one before counts."""
        self._now = self._heard = self._doubted = None
        self._behind = False

    def advance(self, moment: datetime) -> datetime:
        """Now, after hearing of a moment: late news does not turn time back."""
        if self._now is None or moment > self._now:
            self._now = moment
        return self._now

    def clock(self, now: datetime) -> datetime:
        """Now, by the market's clock. One that went back is a fault until it or news goes on.

        Feeds' stamps may run ahead of the clock by the tolerance. What a clock claimed before it
        went back is forgotten, but not the news: had it jumped ahead, it is right again at once.
        """
        self._behind = self._now is not None and now + self._tolerance < self._now
        if self._behind:
            self._now = self._heard
        return self.advance(now)

    def admits_tick(self, tick: Tick, candles: CandleBuffer, session: TradingSession) -> bool:
        """Whether a tick may be used; one refused is counted by `candles`.

        What is faulty in itself or outside the session passes: `candles` tells why it is refused.
        """
        if not session.contains(tick.time):
            return True
        price = tick.price
        good = self._admits(candles, tick.time, price, price, price, session.day.toordinal())
        self._ticking = self._ticking or self._heard == tick.time
        return good

    def admits_candle(self, candle: Candle, candles: CandleBuffer) -> bool:
        """The same for a closed candle, which is news at its close."""
        return self._admits_bar(candle, candles, candle.time + self._interval)

    def admits_forming(self, candle: Candle, candles: CandleBuffer) -> bool:
        """The same for a candle that others began from ticks; when its newest was is not known."""
        self._ticking = True
        return self._admits_bar(candle, candles, candle.time)

    def fault(self, session: TradingSession | None, candles: CandleBuffer) -> str:
        """Why the feed is not trusted now; empty when it is."""
        if self._doubted is not None:
            return f"price jump to {self._doubted[0]:.2f} not confirmed"
        if self._behind:
            return "clock went back"
        if session is None:
            return ""
        silence = self._silence(session)
        if silence > self._stale_after:
            return f"feed stale for {silence.total_seconds():.0f} s"
        if candles.frozen(self._frozen_candles, session.day.toordinal()):
            return f"price frozen for {self._frozen_candles} candles"
        return ""

    def _silence(self, session: TradingSession) -> timedelta:
        if not self._ticking or self._now is None or not session.contains(self._now):
            return timedelta(0)
        heard = session.opens if self._heard is None else max(self._heard, session.opens)
        return self._now - heard

    def _admits_bar(self, candle: Candle, candles: CandleBuffer, time: datetime) -> bool:
        low, high, last, day = candle.low, candle.high, candle.close, ist_day(candle.time)
        return self._admits(candles, time, low, high, last, day)

    def _admits(
        self, candles: CandleBuffer, time: datetime, low: float, high: float, last: float, day: int
    ) -> bool:
        if not 0.0 < low <= high < float("inf"):
            return True
        self.advance(time)
        good = candles.close_of(day)
        plausible = good is None or self._within(good, low, high)
        # What is out of order says nothing about the present, for or against.
        news = self._heard is None or time > self._heard
        if news and (plausible or self._confirmed(time, low, high, last)):
            self._heard, self._doubted, self._behind = time, None, False
            return True
        if not plausible:
            candles.rejections.add(PRICE_JUMP)
        return plausible

    def _confirmed(self, time: datetime, low: float, high: float, last: float) -> bool:
        level, count = last, 0
        if self._doubted is not None:
            first, doubts, newest = self._doubted
            if time <= newest:
                return False
            if self._within(first, low, high):
                level, count = first, doubts
        self._doubted = level, count + 1, time
        return count + 1 >= self._confirmations

    def _within(self, price: float, low: float, high: float) -> bool:
        return bool(within_band(price, low, high, self._band))

    def snapshot(self) -> dict[str, Any]:
        """State as plain values."""
        return {name: getattr(self, name) for name in _STATE}

    def restore(self, state: dict[str, Any]) -> Self:
        """Continue from a snapshot."""
        for name in _STATE:
            setattr(self, name, state[name])
        return self


_STATE = ("_now", "_heard", "_ticking", "_behind", "_doubted")


def within_band(price: Any, low: Any, high: Any, band: float) -> Any:
    """Whether low and high lie within a share `band` of the price; floats or whole columns."""
    return (price * (1 - band) <= low) & (high <= price * (1 + band))


def clock_fault(
    previous: datetime | None, now: datetime, ticks: Iterable[Tick], *, tolerance_seconds: float
) -> str:
    """Why the times of a batch cannot be right; empty when they can.

    `previous` is the batch before's `now`. A tick may be stamped ahead of `now` by the tolerance.
    """
    if previous is not None and now < previous:
        return f"clock went back {(previous - now).total_seconds():.0f} s"
    for tick in ticks:
        ahead = (tick.time - now).total_seconds()
        if ahead > tolerance_seconds:
            return f"tick of {tick.symbol} is {ahead:.0f} s ahead of the clock"
    return ""
