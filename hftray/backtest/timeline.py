"""When something happens in a backtest: the closes of candles, and the end of each trading day.

A moment is the epoch second at which candles close, the way a feed of closed candles brings them.
After a day's last one comes its closing, when the last of the symbols' sessions ends.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from operator import attrgetter

import numpy as np

from hftray.backtest.history import SymbolHistory
from hftray.core.candles import Ints, first_of_days
from hftray.core.session import IST, TradingSession

NEVER = 1 << 62
"""A moment after all others."""

_EPOCH = datetime.fromtimestamp(0, IST)  # moments of one zone differ in a quick way
_MOMENTS = attrgetter("opens", "closes", "entry_until", "square_off_at")


@dataclass(slots=True)
class Hours:
    """One symbol's session with its times as epoch seconds, and its candles' rows.

    The times are rounded so that whole seconds compare with them as with the session's own.
    """

    session: TradingSession
    opens: int
    closes: int
    entry_until: int
    square_off_at: int
    rows: range = range(0)
    square_off_row: int = 0  # the first that closes then or later


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
    times, days = history.candles.time, history.candles.day
    starts = first_of_days(days[history.start :]) + history.start
    found = map(history.sessions.get, map(date.fromordinal, days[starts].tolist()))
    sessions = {place: session for place, session in enumerate(found) if session is not None}
    clock = _clock(sessions.values())
    places = np.fromiter(sessions, dtype=np.int64, count=len(sessions))
    begins = np.maximum(times.searchsorted(clock[0]), starts[places])
    ends = np.append(starts, len(days))[places + 1]
    ends = np.minimum(times.searchsorted(clock[1] - seconds + 1), ends)
    counts = np.maximum(ends - begins, 0)
    stops = np.cumsum(counts)
    firsts = stops - counts
    rows = np.arange(counts.sum()) + np.repeat(begins - firsts, counts)
    moments = times[rows] + seconds
    first_out = np.clip(moments.searchsorted(clock[3]), firsts, stops)
    played = [
        Hours(session, opens, closes, until, square_off, range(first, stop), out)
        for session, (opens, closes, until, square_off), first, stop, out in zip(
            sessions.values(), clock.T.tolist(),
            firsts.tolist(), stops.tolist(), first_out.tolist(), strict=True,
        )
        if stop > first
    ]  # fmt: skip
    return Timeline(rows, moments, {hours.session.day.toordinal(): hours for hours in played})


def _clock(sessions: Collection[TradingSession]) -> Ints:
    """Four rows of epoch seconds, as `Hours` has them."""
    exact = [
        [(moment - _EPOCH).total_seconds() for moment in moments]
        for moments in map(_MOMENTS, sessions)
    ]
    columns = np.array(exact).reshape(-1, 4).T
    whole = np.ceil(columns)
    whole[1] = np.floor(columns[1])
    return whole.astype(np.int64)


def when(moment: int) -> datetime:
    """The moment as a time in India."""
    return datetime.fromtimestamp(moment, IST)


class Clock:
    """One trading day of some symbols.

    `closing` is when the last session of it ends, `closes` the same as a time in India.
    """

    def __init__(self, parts: Sequence[tuple[Timeline, Hours]], closing: int) -> None:
        self._parts = parts
        self.closing = closing
        self.closes = when(closing)

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
