"""Many parameter sets on one ground: what each is played on, and how results are compared."""

import hashlib
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np

from hftray.backtest.deflated import Deflated, Track, deflated_sharpe
from hftray.backtest.history import SymbolHistory
from hftray.backtest.outcome import Outcome
from hftray.backtest.play import VoteCache, play
from hftray.backtest.space import ParameterSet, Space, Value
from hftray.core.charges import ChargeSchedule
from hftray.core.errors import ConfigError
from hftray.core.ledger import RunInfo
from hftray.core.metrics import (
    TRADING_DAYS_A_YEAR,
    Metrics,
    daily_returns,
    portfolio_metrics,
)
from hftray.core.risk import RiskBook
from hftray.strategies.plugins import StrategyFile

Window = tuple[date, date]
"""The first and the last day played."""

HIGHER_IS_BETTER = {
    "sharpe": True,
    "sortino": True,
    "calmar": True,
    "total_return_percent": True,
    "net_pnl": True,
    "profit_factor": True,
    "expectancy": True,
    "win_rate": True,
    "max_drawdown_percent": False,
}
"""The metrics that can be optimised."""


@dataclass(frozen=True, slots=True)
class Result:
    """A set and its figures (those of `core.metrics`), as JSON values; None is undefined."""

    chosen: dict[str, Value]
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ground:
    """What every set of a study is played on. Goes to each worker once."""

    histories: tuple[SymbolHistory, ...]
    space: Space
    charges: ChargeSchedule
    capital: Decimal
    slippage_bps: float
    strategy_files: tuple[StrategyFile, ...] = ()

    def days(self) -> list[date]:
        """The days played, of any symbol."""
        played: set[date] = set()
        for history in self.histories:
            with_candles = np.unique(history.candles.day[history.start :]).tolist()
            played |= history.sessions.keys() & {date.fromordinal(day) for day in with_candles}
        return sorted(played)

    def within(self, window: Window) -> "Ground":
        """The days of the window; candles before it only warm up, those after it are gone."""
        warm_up = self.space.rules.signals.candle_buffer
        cut = (_cut(history, window, warm_up) for history in self.histories)
        return replace(self, histories=tuple(h for h in cut if h.start < len(h.candles)))

    def fingerprint(self) -> str:
        """The same for the same candles, whatever file they came from."""
        digest = hashlib.sha256()
        for history in self.histories:
            digest.update(f"{history.symbol} {history.start} {len(history.candles)}".encode())
            for column in fields(history.candles):
                digest.update(getattr(history.candles, column.name).tobytes())
        return digest.hexdigest()[:16]

    def play(
        self, chosen: ParameterSet, cache: VoteCache | None = None, capital: Decimal | None = None
    ) -> Outcome:
        """A backtest of one set. BadStrategy when its values do not go together."""
        roster, rules = self.space.applied(chosen)
        capital = self.capital if capital is None else capital
        book = RiskBook(
            run=RunInfo(0, "backtest", "sweep", "sweep", capital),
            limits=rules.risk,
            exits=rules.exits,
            charges=self.charges,
            instruments={history.symbol: history.instrument for history in self.histories},
        )
        slippage = self.slippage_bps
        return play(
            self.histories, roster, rules=rules, book=book, slippage_bps=slippage, cache=cache,
            compiled=True,
        )  # fmt: skip


def _cut(history: SymbolHistory, window: Window, warm_up: int) -> SymbolHistory:
    first, last = (day.toordinal() for day in window)
    days = history.candles.day
    start = max(int(days.searchsorted(first)), history.start)
    end = max(int(days.searchsorted(last, side="right")), start)
    begin = max(0, start - warm_up)
    candles = history.candles.rows(slice(begin, end))
    return replace(history, candles=candles, start=start - begin)


def metrics_of(outcome: Outcome, capital: Decimal) -> Metrics:
    """The figures of a run that began with `capital`."""
    return portfolio_metrics(outcome.pnls, outcome.curve, initial_capital=capital)


def figures_of(metrics: Metrics) -> dict[str, Any]:
    """Metrics as JSON numbers."""
    values = ((column.name, getattr(metrics, column.name)) for column in fields(metrics))
    return {name: float(value) if isinstance(value, Decimal) else value for name, value in values}


# What comes out


def require_metric(name: str) -> None:
    """ConfigError naming the metrics that can be optimised."""
    if name not in HIGHER_IS_BETTER:
        raise ConfigError(f"--metric {name}: unknown; known are {', '.join(HIGHER_IS_BETTER)}")


def ranked(results: Iterable[Result], metric: str) -> list[Result]:
    """Best first; those for which the metric is undefined are left out.

    Equal ones stand in the order of their values, so that the order they finished in is no matter.
    """
    sign = -1 if HIGHER_IS_BETTER[metric] else 1
    defined = [result for result in results if result.figures[metric] is not None]
    return sorted(
        defined, key=lambda r: (sign * r.figures[metric], [str(v) for v in r.chosen.values()])
    )


def sharpe_variance(results: Iterable[Result]) -> float:
    """The variance of the sets' Sharpe ratios a session; sets that have none do not count."""
    sharpes = [
        result.figures["sharpe"] / TRADING_DAYS_A_YEAR**0.5
        for result in results
        if result.figures["sharpe"] is not None
    ]
    return statistics.variance(sharpes) if len(sharpes) > 1 else 0.0


def deflated(outcome: Outcome, capital: Decimal, results: Sequence[Result]) -> Deflated | None:
    """The deflated Sharpe ratio of a run whose set was the best of `results`."""
    track = Track.of(daily_returns(outcome.curve, initial_capital=capital))
    if track is None:
        return None
    return deflated_sharpe(track, trials=len(results), variance=sharpe_variance(results))
