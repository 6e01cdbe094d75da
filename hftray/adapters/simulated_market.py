"""A market that is open whenever we are: generated prices with their own clock.

The clock runs through the trading sessions of the calendar and skips the hours between them. One
poll is one step: a tick of every symbol that trades at that moment, or, at the day's end, one batch
with `open=False`. Because a session is a pure function (see `generated_prices`), a restarted feed
that resumes after a moment shows the same ticks and the same history as one that never stopped.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

import numpy as np

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.generated_prices import Character, GeneratedSession, generate_session
from hftray.adapters.instruments import Listings
from hftray.core.candle_buffer import CandleBuffer
from hftray.core.candles import COLUMNS, Candles
from hftray.core.errors import NotFound
from hftray.core.market import Candle, Instrument, Tick
from hftray.core.session import IST, SessionRules, TradingSession
from hftray.core.symbols import share_name
from hftray.ports import MarketBatch

# How many sessions a request for history may reach back.
_DEEPEST_HISTORY = 4_000
_LONGEST_WARM_UP = 1_000  # days before the first one asked for


@dataclass(frozen=True, slots=True)
class _MarketDay:
    """One day of all symbols: the moments at which something trades, and what trades then."""

    moments: list[datetime]
    closes: datetime
    sessions: dict[str, TradingSession]
    ticks: dict[str, dict[datetime, Tick]]


class SimulatedFeed:
    """`ports.Feed` of generated prices for every share in the listings.

    A share has the same prices on both exchanges, as arbitrage keeps them together.
    `interval` is the market seconds between two ticks; ticks fall on the candle's start and divide
    it evenly. `rules` only fill the sessions' entry and square-off times.
    """

    def __init__(
        self,
        listings: Listings,
        calendar: SessionCalendar,
        *,
        seed: int,
        start_day: date,
        rules: SessionRules,
        candle_minutes: int = 5,
        ticks_per_candle: int = 5,
    ) -> None:
        self.interval = candle_minutes * 60 / ticks_per_candle
        self._calendar = calendar
        self._start_day = start_day
        self._rules = rules
        self._candle = timedelta(minutes=candle_minutes)
        self._ticks_per_candle = ticks_per_candle
        self._instruments = {name: listings.instrument(name, start_day) for name in listings.shares}
        self._characters = {
            symbol: Character(
                seed,
                share_name(symbol),
                float(share.base_price),
                self._instruments[symbol].tick_size,
            )
            for symbol, share in listings.shares.items()
        }
        self._session_candles = lru_cache(maxsize=512)(self._aggregate)
        self._symbols: tuple[str, ...] = ()
        self._now: datetime | None = None

    async def instruments(self) -> dict[str, Instrument]:
        """Every listed share."""
        return dict(self._instruments)

    async def start(self, symbols: Sequence[str], resume_after: datetime | None) -> None:
        """Begin at the first tick on or after the start day, or with the step after a moment."""
        unknown = [symbol for symbol in symbols if symbol not in self._instruments]
        if unknown:
            raise NotFound(f"not listed in instruments.yaml: {', '.join(unknown)}")
        self._symbols = tuple(symbols)
        day = self._start_day if resume_after is None else resume_after.astimezone(IST).date()
        self._open_day(self._calendar.next_session_day(day - timedelta(days=1)))
        self._now = resume_after or self._today.moments[0]
        if resume_after is not None and resume_after >= self._today.closes:
            self._open_day(self._calendar.next_session_day(day))
        elif resume_after is not None:
            self._step = sum(moment <= resume_after for moment in self._today.moments)

    async def history(
        self, symbol: str, count: int, before: datetime | None = None
    ) -> list[Candle]:
        """Candles of the very ticks that polls bring or brought, also before the start day.

        Before the feed has started, "now" is the start day's midnight. NotFound.
        """
        if symbol not in self._instruments:
            raise NotFound(f"not listed in instruments.yaml: {symbol}")
        until = before or self._now or datetime.combine(self._start_day, time.min, IST)
        day = until.astimezone(IST).date()
        candles: list[Candle] = []
        for _ in range(_DEEPEST_HISTORY):
            if len(candles) >= count:
                break
            closed = [
                c for c in self._session_candles(symbol, day) if c.time + self._candle <= until
            ]
            candles = closed + candles
            day = self._calendar.previous_days(day, 1)[0]
        return candles[-count:] if count > 0 else []

    async def columns(
        self, symbol: str, first: datetime, before: datetime, warm_up: int = 0
    ) -> Candles:
        """Candles of generated sessions, past and future. NotFound."""
        if symbol not in self._instruments:
            raise NotFound(f"not listed in instruments.yaml: {symbol}")
        first_day, day = first.astimezone(IST).date(), before.astimezone(IST).date()
        begin, end = first.timestamp(), before.timestamp() - self._candle.total_seconds()
        # Nothing warms up in years without sessions, so the search for it ends somewhere.
        oldest = first_day - timedelta(days=_LONGEST_WARM_UP)
        sessions: list[Candles] = []
        earlier = 0
        while day >= first_day or (earlier < warm_up and day >= oldest):
            if self._calendar.is_session(day):
                await asyncio.sleep(0)  # years of sessions must not hold the loop
                sessions.append(self._session_columns(symbol, day))
                earlier += int((sessions[-1].time < begin).sum())
            day -= timedelta(days=1)
        candles = Candles.joined(sessions[::-1])
        start = int(candles.time.searchsorted(begin))
        stop = int(candles.time.searchsorted(end, side="right"))
        return candles.rows(slice(max(0, start - warm_up), max(start, stop)))

    async def span(self, symbol: str) -> tuple[date, date] | None:
        """None: every session can be generated."""
        return None

    async def forming(self, symbol: str, before: datetime) -> Candle | None:
        """The candle of the day's newest tick before a moment, from its ticks so far."""
        day = before.astimezone(IST).date()
        session = self.session(symbol, day)
        if session is None:
            return None
        buffer = CandleBuffer(symbol, 2, int(self._candle.total_seconds()) // 60)
        for tick in self._ticks(symbol, day):
            if tick.time >= before:
                break
            if buffer.due(tick.time):
                buffer.close_forming()
            buffer.take(tick, session)
        return buffer.last() if len(buffer) else None

    def session(self, symbol: str, day: date) -> TradingSession | None:
        """The symbol's trading day by the calendar. NotFound."""
        if symbol not in self._instruments:
            raise NotFound(f"not listed in instruments.yaml: {symbol}")
        return self._calendar.session(day, self._instruments[symbol], self._rules)

    async def poll(self) -> MarketBatch:
        """A tick of every symbol in session, or the batch that ends the day."""
        today = self._today
        self._step += 1
        if self._step <= len(today.moments):
            now = today.moments[self._step - 1]
            ticks = {name: own[now] for name, own in today.ticks.items() if now in own}
            sessions = {name: own for name, own in today.sessions.items() if own.contains(now)}
            next_change = today.closes
        else:
            now, ticks, sessions = today.closes, {}, {}
            self._open_day(self._calendar.next_session_day(now.astimezone(IST).date()))
            next_change = self._today.moments[0]
        self._now = now
        return MarketBatch(
            now=now,
            open=bool(sessions),
            next_change=next_change,
            sessions=sessions,
            ticks=ticks,
            note=self._calendar.warning(now.astimezone(IST).date()) or "",
        )

    async def close(self) -> None:
        """Nothing to release."""

    def _open_day(self, day: date) -> None:
        sessions = {name: self._session(name, day) for name in self._symbols}
        ticks = {
            name: dict(zip((tick.time for tick in own), own, strict=True))
            for name, own in ((name, self._ticks(name, day)) for name in self._symbols)
        }
        self._today = _MarketDay(
            moments=sorted({moment for own in ticks.values() for moment in own}),
            closes=max(session.closes for session in sessions.values()),
            sessions=sessions,
            ticks=ticks,
        )
        self._step = 0

    def _session(self, symbol: str, day: date) -> TradingSession:
        session = self.session(symbol, day)
        if session is None:
            raise NotFound(f"{symbol} does not trade on {day}")
        return session

    def _generate(self, symbol: str, day: date) -> tuple[list[datetime], GeneratedSession]:
        session = self._session(symbol, day)
        # Counted from the session's open in whole candles, so no tick drifts off a boundary.
        moments: list[datetime] = []
        while (at := session.opens + self._candle * len(moments) // self._ticks_per_candle) < (
            session.closes
        ):
            moments.append(at)
        generated = generate_session(
            self._characters[symbol],
            previous_day=self._calendar.previous_days(day, 1)[0],
            day=day,
            minutes=(session.closes - session.opens).total_seconds() / 60,
            steps=len(moments),
        )
        return moments, generated

    def _ticks(self, symbol: str, day: date) -> list[Tick]:
        moments, generated = self._generate(symbol, day)
        prices, volumes = generated.prices.tolist(), generated.volumes.tolist()
        return [
            Tick(symbol, moment, price, volume)
            for moment, price, volume in zip(moments, prices, volumes, strict=True)
        ]

    def _session_columns(self, symbol: str, day: date) -> Candles:
        moments, generated = self._generate(symbol, day)
        starts = np.arange(0, len(moments), self._ticks_per_candle)
        prices = generated.prices
        return Candles(
            time=np.array([int(moments[start].timestamp()) for start in starts], dtype=np.int64),
            day=np.full(len(starts), day.toordinal(), dtype=np.int64),
            open=prices[starts],
            high=np.maximum.reduceat(prices, starts),
            low=np.minimum.reduceat(prices, starts),
            close=np.append(prices[starts[1:] - 1], prices[-1]),
            volume=np.add.reduceat(generated.volumes, starts),
        )

    def _aggregate(self, symbol: str, day: date) -> list[Candle]:
        if not self._calendar.is_session(day):
            return []
        columns = self._session_columns(symbol, day)
        opens = (datetime.fromtimestamp(moment, IST) for moment in columns.time.tolist())
        values = (getattr(columns, name).tolist() for name in COLUMNS)
        return [Candle(symbol, *row) for row in zip(opens, *values, strict=True)]
