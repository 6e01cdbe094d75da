"""When something happens in a backtest: the closes of candles, and the end of each trading day.

A moment is the epoch second at which candles close, the way a feed of closed candles brings them.
After a day's last one comes its closing, when the last of the symbols' sessions ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from itertools import pairwise
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from hftray.backtest.history import SymbolHistory
from hftray.core.candles import Ints
from hftray.core.session import IST, TradingSession

NEVER = 1 << 62
"""A moment after all others."""


_EPOCH = datetime.fromtimestamp(0, IST)  # moments of one zone differ in a quick way


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
    square_off_row: int = 0  # the first that closes then or later

    @classmethod
    def of(cls, session: TradingSession) -> "Hours":
        """The hours of a session, its rows not known yet."""
        opens, closes, until, square_off = (
            (moment - _EPOCH).total_seconds()
            for moment in (
                session.opens, session.closes, session.entry_until, session.square_off_at
            )
        )  # fmt: skip
        return cls(session, ceil(opens), floor(closes), ceil(until), ceil(square_off))


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
    def starts(self) -> Ints:
        """Each day's first row."""
        return np.array([hours.rows.start for hours in self.days.values()], dtype=np.int64)

    @cached_property
    def entry_until(self) -> Ints:
        """The moment of each day until which positions are opened."""
        return np.array([hours.entry_until for hours in self.days.values()], dtype=np.int64)

    @cached_property
    def alone(self) -> dict[int, "Clock"]:
        """The days of this symbol by itself, oldest first."""
        return {
            day: Clock([(self, hours)], hours.closes) for day, hours in sorted(self.days.items())
        }


def timeline(history: SymbolHistory, seconds: int) -> Timeline:
    """The played part of a history whose candles last so many seconds.

    Kept with the history, as every set of a sweep asks for it.
    """
    known: Timeline | None = history.found.get(key := ("timeline", seconds))
    if known is None:
        known = history.found[key] = _timeline(history, seconds)
    return known


def _timeline(history: SymbolHistory, seconds: int) -> Timeline:
    start, times = history.start, history.candles.time
    days = history.candles.day[start:]
    first = np.flatnonzero(np.diff(days, prepend=-1))
    ordinals = days[first].tolist()
    known = [history.sessions.get(date.fromordinal(day)) for day in ordinals]
    bounds = np.append(first, len(days)) + start
    spans = [
        (day, low, high, Hours.of(session))
        for day, session, (low, high) in zip(
            ordinals, known, pairwise(bounds.tolist()), strict=True
        )
        if session is not None
    ]
    hours = [of_day for _, _, _, of_day in spans]
    begins = times.searchsorted([of_day.opens for of_day in hours])
    ends = times.searchsorted([of_day.closes - seconds + 1 for of_day in hours])
    days_played: dict[int, Hours] = {}
    kept: list[NDArray[np.int64]] = []
    count = 0
    for (day, low, high, of_day), begin, end in zip(
        spans, begins.tolist(), ends.tolist(), strict=True
    ):
        of_session = np.arange(max(begin, low), min(end, high))
        if of_session.size:
            of_day.rows = range(count, count + of_session.size)
            days_played[day] = of_day
            kept.append(of_session)
            count += of_session.size
    rows = np.concatenate(kept) if kept else np.arange(0)
    moments = times[rows] + seconds
    played = days_played.values()
    over = moments.searchsorted([of_day.square_off_at for of_day in played]).tolist()
    for of_day, row in zip(played, over, strict=True):
        of_day.square_off_row = min(max(row, of_day.rows.start), of_day.rows.stop)
    return Timeline(rows, moments, days_played)


def when(moment: int) -> datetime:
    """The moment as a time in India."""
    return datetime.fromtimestamp(moment, IST)


class Clock:
    """One trading day of some symbols; `closing` is when the last session of it ends."""

    def __init__(self, parts: Sequence[tuple[Timeline, Hours]], closing: int) -> None:
        self._parts = parts
        self.closing = closing

    @cached_property
    def closes(self) -> datetime:
        """`closing` as a time in India."""
        return when(self.closing)

    @cached_property
    def moments(self) -> Ints:
        """The day's moments, oldest first."""
        each = [line.moments[hours.rows.start : hours.rows.stop] for line, hours in self._parts]
        return np.unique(np.concatenate(each)) if len(each) > 1 else each[0]

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
    return {
        day: Clock(parts[day], max(hours.closes for _, hours in parts[day]))
        for day in sorted(parts)
    }
