"""When something happens in a backtest: the closes of candles, and the end of each trading day.

A moment is the epoch second at which candles close, the way a feed of closed candles brings them.
After a day's last one comes its closing, when the last of the symbols' sessions ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from hftray.backtest.history import SymbolHistory
from hftray.core.candles import Ints
from hftray.core.session import IST, TradingSession

NEVER = 1 << 62
"""A moment after all others."""


@dataclass(slots=True)
class Hours:
    """One symbol's session with its times as epoch seconds, and its candles' rows.

    Rounded so that whole seconds compare with them as with the session's own times.
    """

    session: TradingSession
    opens: int
    closes: int
    entry_until: int
    square_off_at: int
    rows: range = range(0)

    @classmethod
    def of(cls, session: TradingSession) -> "Hours":
        """The hours of a session, its rows not known yet."""
        times = (session.opens, session.entry_until, session.square_off_at)
        opens, entry_until, square_off_at = (ceil(time.timestamp()) for time in times)
        closes = floor(session.closes.timestamp())
        return cls(session, opens, closes, entry_until, square_off_at)


@dataclass(frozen=True)
class Timeline:
    """Which rows of a history are played, and the hours of each day that has any.

    `rows` are places in the history's candles, `moments` when those candles close; `days` goes by
    proleptic ordinal, its ranges are places in `rows`.
    """

    rows: Ints
    moments: Ints
    days: dict[int, Hours]

    @cached_property
    def alone(self) -> dict[int, "Clock"]:
        """The days of this symbol by itself, oldest first."""
        return {day: Clock.of([(self, hours)]) for day, hours in sorted(self.days.items())}


def timeline(history: SymbolHistory, seconds: int) -> Timeline:
    """The played part of a history whose candles last so many seconds.

    Kept with the history, as every set of a sweep asks for it.
    """
    known: Timeline | None = history.timelines.get(seconds)
    if known is None:
        known = history.timelines[seconds] = _timeline(history, seconds)
    return known


def _timeline(history: SymbolHistory, seconds: int) -> Timeline:
    start, times = history.start, history.candles.time
    days = history.candles.day[start:]
    first = np.flatnonzero(np.diff(days, prepend=-1))
    known = [history.sessions.get(date.fromordinal(day)) for day in days[first].tolist()]
    bounds = np.append(first, len(days)) + start
    spans = [
        (session, low, high)
        for session, low, high in zip(known, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
        if session is not None
    ]
    hours = [Hours.of(session) for session, _, _ in spans]
    begins = times.searchsorted([of_day.opens for of_day in hours])
    ends = times.searchsorted([of_day.closes - seconds + 1 for of_day in hours])
    days_played: dict[int, Hours] = {}
    kept: list[NDArray[np.int64]] = []
    count = 0
    for of_day, (_, low, high), begin, end in zip(
        hours, spans, begins.tolist(), ends.tolist(), strict=True
    ):
        of_session = np.arange(max(begin, low), min(end, high))
        if of_session.size:
            of_day.rows = range(count, count + of_session.size)
            days_played[history.candles.day.item(of_session[0])] = of_day
            kept.append(of_session)
            count += of_session.size
    rows = np.concatenate(kept) if kept else np.arange(0)
    return Timeline(rows, times[rows] + seconds, days_played)


def when(moment: int) -> datetime:
    """The moment as a time in India."""
    return datetime.fromtimestamp(moment, IST)


@dataclass(frozen=True, slots=True)
class Clock:
    """One trading day's moments, oldest first, and when the last session of it ends."""

    moments: Ints
    closing: int

    @classmethod
    def of(cls, parts: Sequence[tuple[Timeline, Hours]]) -> "Clock":
        """The day of these symbols."""
        each = [line.moments[hours.rows.start : hours.rows.stop] for line, hours in parts]
        moments = np.unique(np.concatenate(each)) if len(each) > 1 else each[0]
        return cls(moments, max(hours.closes for _, hours in parts))

    def first_from(self, moment: int) -> int:
        """The first moment not before this one, or NEVER."""
        place = int(self.moments.searchsorted(moment))
        return NEVER if place == len(self.moments) else self.moments.item(place)


def trading_days(timelines: Sequence[Timeline]) -> dict[int, Clock]:
    """The days (ordinals) on which any symbol is played, oldest first."""
    if len(timelines) == 1:
        return timelines[0].alone
    parts: dict[int, list[tuple[Timeline, Hours]]] = {}
    for line in timelines:
        for day, hours in line.days.items():
            parts.setdefault(day, []).append((line, hours))
    return {day: Clock.of(parts[day]) for day in sorted(parts)}
