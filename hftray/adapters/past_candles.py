"""A symbol's closed candles of any stretch of time: past days from disk, gaps from the source.

Only whole past days are written to disk; what today has closed so far is kept in memory.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby

import numpy as np

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.candle_store import CandleStore, StoredMonth
from hftray.adapters.source_candles import SourceCandles
from hftray.core.candles import Candles
from hftray.core.market import Candle, Instrument
from hftray.core.session import IST, SessionRules, TradingSession


@dataclass(slots=True)
class _Today:
    """What one symbol's day has closed so far, known up to a moment."""

    day: date
    known: datetime
    candles: list[Candle] = field(default_factory=list)


class PastCandles:
    """Closed candles of the calendar's sessions. `settle` is how long after its end a candle that
    is not there yet may still come.
    """

    def __init__(
        self,
        source: SourceCandles,
        store: CandleStore,
        calendar: SessionCalendar,
        *,
        rules: SessionRules,
        settle: timedelta,
    ) -> None:
        self._source = source
        self._store = store
        self._calendar = calendar
        self._rules = rules
        self._settle = settle
        self._today: dict[str, _Today] = {}
        self._empty: set[tuple[str, date]] = set()  # days the source has no candle of
        self._locks: dict[str, asyncio.Lock] = {}

    async def between(
        self, share: Instrument, first: datetime, before: datetime, now: datetime
    ) -> Candles:
        """Candles that open from `first` on and are closed by `before` and by `now`."""
        until = min(before, now)
        today = now.astimezone(IST).date()
        begin, end = first.astimezone(IST).date(), until.astimezone(IST).date()
        days = [
            date.fromordinal(day)
            for day in range(begin.toordinal(), min(end.toordinal() + 1, today.toordinal()))
        ]
        parts = [await self.days(share, [day for day in days if self._calendar.is_session(day)])]
        if begin <= today <= end:
            parts.append(Candles.of(await self._of_today(share, today, now)))
        candles = Candles.joined(parts)
        start = int(candles.time.searchsorted(first.timestamp()))
        last = until.timestamp() - self._source.length.total_seconds()
        return candles.rows(slice(start, max(start, candles.time.searchsorted(last, "right"))))

    async def earlier(self, share: Instrument, day: date, count: int) -> Candles:
        """The newest `count` candles of sessions before a day, fewer where there are no more."""
        found = Candles.of([])
        while len(found) < count:
            wanted = (count - len(found)) // self._of_a_session(share, day) + 2
            days = self._calendar.previous_days(day, wanted)
            part = await self.days(share, days)
            if not len(part):
                break
            found, day = Candles.joined([part, found]), days[0]
        return found.tail(count)

    async def days(self, share: Instrument, days: Sequence[date]) -> Candles:
        """All candles of past sessions, oldest first; a month is fetched in one call."""
        parts = []
        for month, of_month in groupby(days, key=lambda day: day.replace(day=1)):
            parts.append(await self._month(share, month, list(of_month)))
        return Candles.joined(parts)

    async def _month(self, share: Instrument, month: date, days: list[date]) -> Candles:
        async with self._locks.setdefault(share.symbol, asyncio.Lock()):
            kept = await asyncio.to_thread(self._store.read, share, month)
            missing = [
                day
                for day in days
                if day.toordinal() not in kept.days and (share.symbol, day) not in self._empty
            ]
            if missing:
                kept = await self._filled(share, month, kept, missing)
        wanted = [day.toordinal() for day in days]
        return kept.candles.rows(np.isin(kept.candles.day, wanted))

    async def _filled(
        self, share: Instrument, month: date, kept: StoredMonth, missing: list[date]
    ) -> StoredMonth:
        first, last = self._session(share, missing[0]), self._session(share, missing[-1])
        if first is None or last is None:
            return kept
        found = Candles.of(await self._source.fetch(share.symbol, first.opens, last.closes))
        wanted = [day.toordinal() for day in missing]
        fresh = found.rows(np.isin(found.day, wanted))
        brought = frozenset(np.unique(fresh.day).tolist())
        self._empty |= {(share.symbol, day) for day in missing if day.toordinal() not in brought}
        if not brought:
            return kept
        both = Candles.joined([kept.candles, fresh])
        filled = StoredMonth(both.rows(np.argsort(both.time, kind="stable")), kept.days | brought)
        await asyncio.to_thread(self._store.write, share, month, filled)
        return filled

    async def _of_today(self, share: Instrument, day: date, now: datetime) -> list[Candle]:
        session = self._session(share, day)
        if session is None or now < session.opens:
            return []
        own = self._today.get(share.symbol)
        if own is None or own.day != day:
            own = self._today[share.symbol] = _Today(day, session.opens)
        length = self._source.length
        closed = session.opens + (min(now, session.closes) - session.opens) // length * length
        if closed > own.known:
            for candle in await self._source.fetch(share.symbol, own.known, closed):
                if not own.candles or candle.time > own.candles[-1].time:
                    own.candles.append(candle)
            # One that is not there yet may come until it has had time to; older ones never will.
            surely = closed if now >= closed + self._settle else closed - length
            newest = own.candles[-1].time + length if own.candles else session.opens
            own.known = max(own.known, newest, surely)
        return own.candles

    def _session(self, share: Instrument, day: date) -> TradingSession | None:
        return self._calendar.session(day, share, self._rules)

    def _of_a_session(self, share: Instrument, day: date) -> int:
        session = self._session(share, self._calendar.previous_days(day, 1)[0])
        assert session is not None  # previous_days gives sessions
        return max(1, (session.closes - session.opens) // self._source.length)
