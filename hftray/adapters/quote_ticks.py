"""Quotes that were polled or pushed, as ticks: only what is news, and only what can be right.

Polling repeats the last price. A quote whose price, time and day's volume are those of the one
before says nothing new and gives no tick, so that a feed gone mute is heard as silence. Where
quotes bear no time, only another price is news; a share that does not move then looks silent too,
until its next candle comes.

A poll takes time, and a candle may end meanwhile. A price that may be of the candle after gives no
tick: to the one that ended it would be a price from the future. The poll that follows brings it.
"""

from collections import Counter
from datetime import datetime, timedelta
from math import isfinite

from hftray.core.market import Tick
from hftray.core.session import TradingSession
from hftray.ports_source import Quote

# The exchange's clock and ours may differ; a quote further ahead than this is wrong.
_AHEAD = timedelta(seconds=60)


class QuoteTicks:
    """Remembers each symbol's last quote of the day. `dropped` counts by reason."""

    def __init__(self, length: timedelta) -> None:
        self._length = length  # of a candle
        self.dropped: Counter[str] = Counter()
        self._last: dict[str, Quote] = {}
        self._volume: dict[str, float] = {}
        self._sessions: dict[str, TradingSession] = {}

    def forget(self) -> None:
        """Begin anew: the next quote of each symbol is news and counts no volume."""
        self._last, self._volume, self._sessions = {}, {}, {}

    def tick(
        self, symbol: str, quote: Quote, session: TradingSession, now: datetime, answered: datetime
    ) -> Tick | None:
        """What the quote brings at `now`; None when that is nothing, or cannot be right.

        `now` is when it was asked for, `answered` when it was there.
        """
        fault = _fault(symbol, quote, now)
        if fault is not None:
            self.dropped[f"quote {fault}"] += 1
            return None
        at = now if quote.time is None else min(quote.time, now)
        if not session.contains(at):
            return None  # the last trade of another day, or of the auction
        latest = answered if quote.time is None else quote.time
        if (latest - session.opens) // self._length > (now - session.opens) // self._length:
            return None
        if self._sessions.get(symbol) != session:
            self._sessions[symbol] = session
            self._last.pop(symbol, None)
            self._volume.pop(symbol, None)
        last = self._last.get(symbol)
        if last is not None and not _news(quote, last):
            return None
        self._last[symbol] = quote
        return Tick(symbol, at, quote.price, self._traded(symbol, quote.day_volume))

    def _traded(self, symbol: str, day_volume: float | None) -> float:
        """Shares since the newest quote that said; the first one of a day says nothing of when."""
        if day_volume is None or not 0.0 <= day_volume < float("inf"):
            return 0.0
        before = self._volume.get(symbol, day_volume)
        self._volume[symbol] = max(before, day_volume)
        return max(0.0, day_volume - before)


def _fault(symbol: str, quote: Quote, now: datetime) -> str | None:
    if quote.symbol != symbol:
        return "of another symbol"
    if not (isfinite(quote.price) and quote.price > 0):
        return "without a positive finite price"
    if quote.time is None:
        return None
    if quote.time.tzinfo is None:
        return "without a time zone"
    return "from the future" if quote.time > now + _AHEAD else None


def _news(quote: Quote, last: Quote) -> bool:
    if quote.time is not None and last.time is not None and quote.time != last.time:
        return quote.time > last.time
    counted = quote.day_volume is not None and last.day_volume is not None
    return quote.price != last.price or (counted and quote.day_volume != last.day_volume)
