"""Real candles from files, played back in their own time.

Every poll brings the closed candles of one moment for all symbols, `now` being the candles' close;
after a day's last candles comes one batch with `open=False`, and after the last day batches with
`ended=True`. Hours come from the calendar; on a day it does not know, from the data itself (first
candle to the end of the last one). The replay begins with the first candle of the first day, so
strategies that need history stay silent until they have seen enough of it; days before `from_day`
are not played but serve as that history.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.candle_files import Rejected, find_candle_files, first_candle
from hftray.adapters.instruments import Listings
from hftray.adapters.replay_track import Track, TrackReader
from hftray.core.candles import COLUMNS, Candles
from hftray.core.errors import DataError, NotFound
from hftray.core.market import Candle, Instrument
from hftray.core.session import IST, SessionRules, TradingSession
from hftray.ports import MarketBatch


class ReplayFeed:
    """`ports.Feed` over a folder or file of candles. `interval` is the candles' length in seconds.

    `strict` stops with DataError at the first bad row; otherwise `rejected` lists the files that
    had any, and every batch's note says so. `common_sessions` plays only days that all started
    symbols have.
    """

    def __init__(
        self,
        path: Path,
        listings: Listings,
        calendar: SessionCalendar,
        *,
        rules: SessionRules,
        candle_minutes: int = 5,
        strict: bool = False,
        from_day: date | None = None,
        to_day: date | None = None,
        common_sessions: bool = False,
    ) -> None:
        self.interval = candle_minutes * 60.0
        self._files = find_candle_files(path)
        self._listings = listings
        self._seconds = candle_minutes * 60
        self._from_day = from_day or date.min
        self._reader = TrackReader(
            calendar,
            rules,
            candle_minutes=candle_minutes,
            to_day=to_day or date.max,
            strict=strict,
        )
        self._common_sessions = common_sessions
        self._instruments: dict[str, Instrument] = {}
        self._tracks: dict[str, Track] = {}
        self._playing: list[Track] = []
        # (epoch seconds of a batch, whether it is the one that closes the day)
        self._steps: list[tuple[int, bool]] = []
        self._next = 0
        self._now: datetime | None = None

    @property
    def rejected(self) -> list[Rejected]:
        """The files read so far that had rows which could not be used."""
        return [track.rejected for track in self._tracks.values() if track.rejected.count]

    async def instruments(self) -> dict[str, Instrument]:
        """A share for each file; its tick size is that of the first day played, at the first price.

        DataError when a file has no usable candle.
        """
        if not self._instruments:
            self._instruments = await asyncio.to_thread(
                lambda: {name: self._instrument(name) for name in self._files}
            )
        return dict(self._instruments)

    async def start(self, symbols: Sequence[str], resume_after: datetime | None) -> None:
        """Read the symbols' files and go to the first candle, or to what follows a moment.

        A moment at a day's close brings that day's closing batch once more: whether it was seen
        cannot be told from the time alone. NotFound, DataError.
        """
        self._require(symbols)
        tracks = [await self._track(symbol) for symbol in symbols]
        if self._common_sessions:
            first = self._from_day.toordinal()
            shared = set.intersection(*(set(track.sessions) for track in tracks))
            shared = {day for day in shared if day >= first}
            tracks = [track.only(shared) for track in tracks]
        self._tracks |= {track.symbol: track for track in tracks}
        self._playing = tracks
        self._steps = self._timeline()
        if not self._steps:
            raise DataError("no candles to replay: check replay.from_day, to_day, common_sessions")
        self._now = resume_after
        self._next = 0
        if resume_after is not None:
            self._next = bisect_right(self._steps, (int(resume_after.timestamp()), False))

    async def history(
        self, symbol: str, count: int, before: datetime | None = None
    ) -> list[Candle]:
        """Candles of the file that closed by `before`; none before the feed has started."""
        self._require([symbol])
        until = before or self._now
        if until is None or count <= 0:
            return []
        candles = (await self._track(symbol)).candles
        end = int(np.searchsorted(candles.time, until.timestamp() - self._seconds, side="right"))
        return [_candle(symbol, candles, row) for row in range(max(0, end - count), end)]

    async def columns(
        self, symbol: str, first: datetime, before: datetime, warm_up: int = 0
    ) -> Candles:
        """Candles of the file from one moment to another, and earlier ones to warm up with."""
        self._require([symbol])
        candles = (await self._track(symbol)).candles
        begin = int(candles.time.searchsorted(first.timestamp()))
        end = int(candles.time.searchsorted(before.timestamp() - self._seconds, side="right"))
        return candles.rows(slice(max(0, begin - warm_up), max(begin, end)))

    async def span(self, symbol: str) -> tuple[date, date] | None:
        """The first and the last day of the file. DataError when no candle of it can be used."""
        self._require([symbol])
        days = (await self._track(symbol)).candles.day
        if not len(days):
            raise DataError(f"{self._files[symbol]}: no candle within a trading session")
        return date.fromordinal(int(days[0])), date.fromordinal(int(days[-1]))

    async def forming(self, symbol: str, before: datetime) -> Candle | None:
        """None: files hold closed candles only."""
        return None

    def session(self, symbol: str, day: date) -> TradingSession | None:
        """The symbol's trading day in its file, once the file was read. NotFound."""
        self._require([symbol])
        track = self._tracks.get(symbol)
        return None if track is None else track.sessions.get(day.toordinal())

    async def poll(self) -> MarketBatch:
        """The candles that close next, the batch that ends a day, or the end of the data."""
        note = "; ".join(str(rejected) for rejected in self.rejected)
        if self._next >= len(self._steps):
            now = self._now or datetime.fromtimestamp(self._steps[-1][0], IST)
            return MarketBatch(now=now, open=False, ended=True, note=note)
        moment, closing = self._steps[self._next]
        self._next += 1
        now = self._now = datetime.fromtimestamp(moment, IST)
        if closing:
            return MarketBatch(now=now, open=False, next_change=self._next_opening(), note=note)
        sessions = self._sessions(now)
        return MarketBatch(
            now=now,
            open=True,
            next_change=max(session.closes for session in sessions.values()),
            sessions=sessions,
            candles=self._closing_candles(moment),
            note=note,
        )

    async def close(self) -> None:
        """Nothing to release: files are read at the start."""

    # Playing

    def _sessions(self, now: datetime) -> dict[str, TradingSession]:
        day = now.date().toordinal()
        return {
            track.symbol: session
            for track in self._playing
            if (session := track.sessions.get(day)) is not None and now <= session.closes
        }

    def _closing_candles(self, moment: int) -> dict[str, Candle]:
        candles = {}
        for track in self._playing:
            times = track.candles.time
            row = int(times.searchsorted(moment - self._seconds))
            if row < len(times) and times[row] == moment - self._seconds:
                candles[track.symbol] = _candle(track.symbol, track.candles, row)
        return candles

    def _next_opening(self) -> datetime | None:
        if self._next >= len(self._steps):
            return None
        day = datetime.fromtimestamp(self._steps[self._next][0], IST).date().toordinal()
        return min(t.sessions[day].opens for t in self._playing if day in t.sessions)

    def _timeline(self) -> list[tuple[int, bool]]:
        first = self._from_day.toordinal()
        moments: set[int] = set()
        closes: dict[int, int] = {}
        for track in self._playing:
            played = track.candles.time[
                (track.candles.day >= first) & np.isin(track.candles.day, list(track.sessions))
            ]
            moments.update((played + self._seconds).tolist())
            for day, session in track.sessions.items():
                if day >= first:
                    closes[day] = max(closes.get(day, 0), int(session.closes.timestamp()))
        return sorted([(at, False) for at in moments] + [(at, True) for at in closes.values()])

    # Loading

    def _require(self, symbols: Sequence[str]) -> None:
        unknown = [symbol for symbol in symbols if symbol not in self._files]
        if unknown:
            raise NotFound(f"no candle file for {', '.join(unknown)}")

    def _instrument(self, symbol: str) -> Instrument:
        first = first_candle(symbol, self._files[symbol])
        day = max(first.time.astimezone(IST).date(), self._from_day)
        return self._listings.instrument(symbol, day, Decimal(str(first.close)))

    async def _track(self, symbol: str) -> Track:
        if symbol not in self._tracks:
            share = (await self.instruments())[symbol]
            self._tracks[symbol] = await asyncio.to_thread(
                self._reader.read, share, self._files[symbol]
            )
        return self._tracks[symbol]


def _candle(symbol: str, candles: Candles, row: int) -> Candle:
    time = datetime.fromtimestamp(int(candles.time[row]), IST)
    return Candle(symbol, time, *(getattr(candles, name).item(row) for name in COLUMNS))
