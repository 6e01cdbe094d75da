"""One file's candles cut to trading sessions, ready to be played back."""

from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.candle_files import CandleFile, Rejected, read_candles
from hftray.core.candles import Candles
from hftray.core.errors import DataError
from hftray.core.market import Instrument
from hftray.core.session import IST, SessionRules, TradingSession, trading_session


@dataclass(frozen=True, slots=True)
class Track:
    """One symbol's candles, and its session on each day that has any (days as ordinals)."""

    symbol: str
    candles: Candles
    sessions: dict[int, TradingSession]
    rejected: Rejected

    def only(self, days: set[int]) -> "Track":
        """The track without other days than these; what lies before them stays, for warm-up."""
        kept = np.isin(self.candles.day, list(days)) | (self.candles.day < min(days, default=0))
        sessions = {day: session for day, session in self.sessions.items() if day in days}
        return Track(self.symbol, self.candles.rows(kept), sessions, self.rejected)


class TrackReader:
    """Reads candle files and decides which rows belong to a session.

    A row outside its day's session (pre-open, closing auction) is counted among the rejected, but
    is no reason to stop even when `strict`: vendors' files often hold such rows.
    """

    def __init__(
        self,
        calendar: SessionCalendar,
        rules: SessionRules,
        *,
        candle_minutes: int,
        to_day: date,
        strict: bool,
    ) -> None:
        self._calendar, self._rules = calendar, rules
        self._seconds = candle_minutes * 60
        self._to_day = to_day
        self._strict = strict

    def read(self, share: Instrument, path: Path) -> Track:
        """The file's candles up to `to_day`. DataError names file, line and reason."""
        file = read_candles(share.symbol, path, strict=self._strict)
        self._check_interval(file)
        sessions = self._sessions(file, share)
        kept = self._in_session(file, sessions) & (file.candles.day <= self._to_day.toordinal())
        candles = file.candles.rows(kept)
        track = Track(share.symbol, candles, sessions, file.rejected)
        return track.only(set(np.unique(candles.day).tolist()))

    def _check_interval(self, file: CandleFile) -> None:
        same_day = np.diff(file.candles.day) == 0
        gaps = Counter(np.diff(file.candles.time)[same_day].tolist())
        if not gaps:
            return
        usual = gaps.most_common(1)[0][0]
        # Wider gaps are holes in the trading of a quiet share, as long as some candles adjoin.
        if usual < self._seconds or self._seconds not in gaps:
            raise DataError(
                f"{file.rejected.path}: candles are {usual / 60:g} minutes apart, "
                f"but signals.candle_minutes is {self._seconds // 60}"
            )

    def _sessions(self, file: CandleFile, share: Instrument) -> dict[int, TradingSession]:
        days, starts = np.unique(file.candles.day, return_index=True)
        ends = [*starts[1:].tolist(), len(file.candles)]
        sessions = {}
        for ordinal, start, end in zip(days.tolist(), starts.tolist(), ends, strict=True):
            day = date.fromordinal(ordinal)
            session = self._calendar.session(day, share, self._rules)
            if session is None:
                opens, last = (_moment(file.candles, row) for row in (start, end - 1))
                closes = last + timedelta(seconds=self._seconds)
                session = trading_session(day, opens, closes, self._rules)
            sessions[ordinal] = session
        return sessions

    def _in_session(
        self, file: CandleFile, sessions: dict[int, TradingSession]
    ) -> NDArray[np.bool_]:
        days, places = np.unique(file.candles.day, return_inverse=True)
        hours = [sessions[day] for day in days.tolist()]
        opens = np.array([int(one.opens.timestamp()) for one in hours])[places]
        closes = np.array([int(one.closes.timestamp()) for one in hours])[places]
        times = file.candles.time
        outside = (times < opens) | (times + self._seconds > closes)
        off_grid = ~outside & ((times - opens) % self._seconds != 0)
        for row in np.flatnonzero(outside | off_grid).tolist():
            reason = "outside the trading session" if outside[row] else "not on the candle grid"
            file.rejected.add(
                file.lines[row],
                f"candle of {_moment(file.candles, row).isoformat()} is {reason}",
                strict=self._strict and bool(off_grid[row]),
            )
        return ~(outside | off_grid)


def _moment(candles: Candles, row: int) -> datetime:
    return datetime.fromtimestamp(int(candles.time[row]), IST)
