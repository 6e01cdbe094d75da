"""Histories to play: hand-drawn, random with everything that can be odd, and accounts for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial

import numpy as np
from engine_world import DAY, at
from risk_world import CHARGES

from hftray.backtest import compiling
from hftray.backtest.history import SymbolHistory
from hftray.backtest.outcome import Outcome
from hftray.backtest.play import VoteCache, play
from hftray.backtest.reference import reference
from hftray.core.candles import Candles
from hftray.core.charges import ChargeSchedule
from hftray.core.ledger import RunInfo
from hftray.core.market import Instrument
from hftray.core.risk import RiskBook
from hftray.core.rules import TradingRules
from hftray.core.session import IST, SessionRules, TradingSession, trading_session
from hftray.strategies.defaults import default_strategies

ROSTER = [dict(row, id=number) for number, row in enumerate(default_strategies(), start=1)]


def book_of(
    histories: Sequence[SymbolHistory],
    rules: TradingRules,
    capital: int | Decimal,
    charges: ChargeSchedule = CHARGES,
) -> RiskBook:
    return RiskBook(
        run=RunInfo(1, "backtest", "test", "test", Decimal(capital)), limits=rules.risk,
        exits=rules.exits, charges=charges,
        instruments={history.symbol: history.instrument for history in histories},
    )  # fmt: skip


def same_outcome(
    histories: Sequence[SymbolHistory],
    roster: Sequence[dict[str, object]],
    rules: TradingRules,
    *,
    capital: int | Decimal = 100_000,
    slippage_bps: float = 2.0,
    cache: VoteCache | None = None,
    charges: ChargeSchedule = CHARGES,
) -> Outcome:
    """Play all ways and demand that everything is equal; the outcome."""
    outcomes, views = [], []
    for way in (reference, partial(play, cache=cache), partial(play, cache=cache, compiled=True)):
        book = book_of(histories, rules, capital, charges)
        outcomes.append(way(histories, roster, rules=rules, book=book, slippage_bps=slippage_bps))
        views.append(book.view())
    slow, *others = outcomes
    for fast, view in zip(others, views[1:], strict=True):
        pnls = fast.pnls
        assert fast.count == len(fast.trips)
        assert fast.trips == slow.trips
        assert pnls == [trip.exit.pnl for trip in slow.trips]
        assert fast.curve == slow.curve
        assert [str(equity) for _, equity in fast.curve] == [str(e) for _, e in slow.curve]
        assert fast.candles == slow.candles
        assert view == views[0]
    return fast


@dataclass(frozen=True)
class Weather:
    """How a random market behaves; probabilities are per candle."""

    volatility: float = 0.002  # standard deviation of a candle's move
    grid: float = 0.05  # prices are multiples of it; a coarse one makes ties
    missing: float = 0.0
    flat: float = 0.0  # begins a stretch of one price
    jump: float = 0.0  # to a price far away, which may come back
    gap: float = 0.01  # standard deviation of the move overnight


def random_history(
    symbol: str,
    seed: int,
    weather: Weather,
    *,
    days: int = 4,
    candles: int = 25,
    start: int = 40,
    rules: SessionRules | None = None,
) -> SymbolHistory:
    """Sessions of so many candles on consecutive days, the first `start` of them as warm-up."""
    chance = np.random.default_rng(seed)
    rows: list[tuple[datetime, float, float, float, float, float]] = []
    sessions: dict[date, TradingSession] = {}
    price, frozen = 200.0, 0
    for number in range(days):
        day = DAY + timedelta(days=number)
        closes = at(5 * candles, day)
        sessions[day] = trading_session(day, at(0, day), closes, rules or SessionRules())
        price *= float(np.exp(chance.normal(0, weather.gap)))
        for place in range(candles):
            frozen = frozen - 1 if frozen else (12 if chance.random() < weather.flat else 0)
            bar = _bar(chance, price, weather, still=frozen > 0)
            if chance.random() < weather.jump:
                price *= chance.choice([0.6, 0.75, 1.3, 1.6])
                bar = _bar(chance, price, weather, still=False)
            price = bar[3] if chance.random() > weather.jump * 10 else price
            if chance.random() >= weather.missing:
                rows.append((at(5 * place, day), *bar, float(chance.integers(0, 5_000))))
    start = min(start, len(rows))
    columns = Candles(
        np.array([int(row[0].timestamp()) for row in rows], dtype=np.int64),
        np.array([row[0].date().toordinal() for row in rows], dtype=np.int64),
        *(np.array([row[place] for row in rows], dtype=np.float64) for place in range(1, 6)),
    )
    return SymbolHistory(Instrument(symbol), columns, start, sessions)


def _bar(
    chance: np.random.Generator, price: float, weather: Weather, *, still: bool
) -> tuple[float, float, float, float]:
    moves = np.zeros(4) if still else chance.normal(0, weather.volatility, 4)
    begin = _on_grid(price * (1 + moves[0] / 2), weather.grid)
    end = _on_grid(price * (1 + moves[1]), weather.grid)
    high = max(begin, end, _on_grid(price * (1 + abs(moves[2])), weather.grid))
    low = min(begin, end, _on_grid(price * (1 - abs(moves[3])), weather.grid))
    if still:
        begin = high = low = end
    return begin, high, low, end


def _on_grid(price: float, grid: float) -> float:
    return round(max(1, round(price / grid)) * grid, 2)


def sessions_of(candles: Candles) -> dict[date, TradingSession]:
    """Whole sessions, 09:15 to 15:30, for every day the candles have."""
    found = {}
    for ordinal in np.unique(candles.day).tolist():
        day = date.fromordinal(ordinal)
        opens = datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
        found[day] = trading_session(day, opens, opens + timedelta(minutes=375), SessionRules())
    return found


class Watch:
    """Calls the kernel and notes how its runs ended and how many days they took."""

    def __init__(self):
        self.ends = []
        self.days = 0
        self.trips = 0

    def compiled(self, function):
        run = compiling.compiled(function)

        def watched(course, terms, rows, sides, first, *rest):
            until, why, place, count = run(course, terms, rows, sides, first, *rest)
            self.ends.append(why)
            self.days += until - first
            self.trips += count - rest[1]
            return until, why, place, count

        return watched
