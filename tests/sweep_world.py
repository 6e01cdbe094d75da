"""A small market for sweeps: weekdays of 5-minute candles from a seeded walk."""

import csv
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np

from hftray.backtest.history import SymbolHistory
from hftray.backtest.space import Space
from hftray.backtest.sweep import Ground
from hftray.core.candles import COLUMNS, Candles
from hftray.core.charges import ChargeSchedule
from hftray.core.market import Instrument
from hftray.core.rules import TradingRules
from hftray.core.session import IST, SessionRules, trading_session
from hftray.layers import default_file, read_yaml
from hftray.strategies.defaults import default_strategies

CANDLES_A_DAY = 75
FIRST_DAY = date(2025, 1, 6)
CAPITAL = Decimal(100_000)


def weekdays(count: int, first: date = FIRST_DAY) -> list[date]:
    days = (first + timedelta(days=number) for number in range(2 * count + 7))
    return [day for day in days if day.weekday() < 5][:count]


def history(
    symbol: str, days: Sequence[date], *, warm_days: int = 0, seed: int = 7
) -> SymbolHistory:
    """Candles of all days, of which the first `warm_days` are not played."""
    source = np.random.default_rng(seed)
    opens_at = {day: datetime.combine(day, time(9, 15), IST) for day in days}
    starts = [
        int(opens_at[day].timestamp()) + 300 * n for day in days for n in range(CANDLES_A_DAY)
    ]
    count = len(starts)
    path = 1000 * np.exp(np.cumsum(source.normal(0, 0.002, count + 1)))
    opened, closed = path[:-1], path[1:]
    reach = np.abs(source.normal(0, 0.001, (2, count))) * opened
    candles = Candles(
        np.array(starts),
        np.repeat([day.toordinal() for day in days], CANDLES_A_DAY),
        *(np.round(column, 2) for column in (
            opened, np.maximum(opened, closed) + reach[0], np.minimum(opened, closed) - reach[1],
            closed, source.uniform(1e3, 1e4, count),
        )),
    )  # fmt: skip
    sessions = {
        day: trading_session(
            day, opens_at[day], datetime.combine(day, time(15, 30), IST), SessionRules()
        )
        for day in days[warm_days:]
    }
    return SymbolHistory(Instrument(symbol), candles, warm_days * CANDLES_A_DAY, sessions)


def ground(
    *params: str,
    days: int = 12,
    warm_days: int = 2,
    symbols: Sequence[str] = ("AAA",),
    seed: int = 7,
) -> Ground:
    space = Space.parse(params, default_strategies(), TradingRules())
    charges = ChargeSchedule.from_mapping(read_yaml(default_file("charges.yaml")))
    histories = tuple(
        history(symbol, weekdays(days), warm_days=warm_days, seed=seed + place)
        for place, symbol in enumerate(symbols)
    )
    return Ground(histories, space, charges, CAPITAL, 0.0)


def write_candles(folder: Path, histories: Sequence[SymbolHistory]) -> Path:
    """The histories' candles as files, as a user would have them."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in histories:
        with (folder / f"{one.symbol}.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(("timestamp", *COLUMNS))
            columns = (getattr(one.candles, name).tolist() for name in COLUMNS)
            for moment, *values in zip(one.candles.time.tolist(), *columns, strict=True):
                rows.writerow((datetime.fromtimestamp(moment, IST).isoformat(), *values))
    return folder
