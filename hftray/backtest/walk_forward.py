"""Walk-forward: choose parameters on some sessions, play them on the next ones, move on.

What is traded was always chosen on earlier days, so the stitched curve is what somebody would have
earned who re-optimised by the calendar. (R. Pardo, "The Evaluation and Optimization of Trading
Strategies", 2008, chapter 11.) No position lasts beyond its day, so the capital at the end of one
fold is what the next one starts with, and nothing else has to be carried.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal

from hftray.backtest.deflated import Deflated, Track, deflated_sharpe, probabilistic_sharpe
from hftray.backtest.outcome import Outcome, RoundTrip
from hftray.backtest.sweep import (
    HIGHER_IS_BETTER,
    Ground,
    Result,
    Window,
    deflated,
    figures_of,
    metrics_of,
    ranked,
    sharpe_variance,
)
from hftray.core.errors import ConfigError
from hftray.core.metrics import Metrics, daily_returns, portfolio_metrics
from hftray.core.money import ZERO

AMOUNTS = ("total_return_percent", "net_pnl")
"""Metrics that grow with the days; train and test compare by the session."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Sessions to choose on, and the ones right after them to play the choice on."""

    number: int  # from 1
    train: tuple[date, ...]
    test: tuple[date, ...]

    @property
    def train_window(self) -> Window:
        """First and last session to choose on."""
        return self.train[0], self.train[-1]

    @property
    def test_window(self) -> Window:
        """First and last session to play."""
        return self.test[0], self.test[-1]


@dataclass(frozen=True, slots=True)
class Played:
    """A fold's choice and how it did; without any choice the fold stayed out of the market.

    `kept` is the metric on the test days over that on the train days (amounts by the session):
    1 kept everything, 0 lost it all. None where it says nothing: nothing gained in training, or a
    metric of which less is better. `luck` judges the choice on its own train days.
    """

    fold: Fold
    best: Result | None
    tried: int
    metric_out: float | None
    kept: float | None
    luck: Deflated | None
    capital: Decimal  # rupees after the test days


@dataclass(frozen=True, slots=True)
class WalkForward:
    """All folds, and the test days stitched together.

    `probability` is the chance (0 to 1) that the true Sharpe ratio of the stitched curve is above
    0, `deflated` the same against the best of luck of everything tried. Both are None for a curve
    that never moved.
    """

    folds: tuple[Played, ...]
    capital: Decimal
    trips: list[RoundTrip]
    curve: list[tuple[datetime, Decimal]]
    metrics: Metrics
    tried: int
    probability: float | None
    deflated: Deflated | None


def folds(days: Sequence[date], *, train: int, test: int, anchored: bool = False) -> list[Fold]:
    """Split sessions: `train` of them, the next `test`, then both moved on by `test`.

    `anchored` keeps the first day, so training grows. The last fold's test may be shorter, so that
    every session after the first training is played once. ConfigError when there are too few.
    """
    for name, count in (("--train", train), ("--test", test)):
        if count < 1:
            raise ConfigError(f"{name} {count}: at least one session")
    if len(days) <= train:
        raise ConfigError(
            f"--train {train}: the data has {len(days)} sessions, and some must be left to test on"
        )
    return [
        Fold(
            number,
            tuple(days[0 if anchored else begin - train : begin]),
            tuple(days[begin : begin + test]),
        )
        for number, begin in enumerate(range(train, len(days), test), 1)
    ]


def walk_forward(
    ground: Ground,
    plan: Sequence[Fold],
    optimise: Callable[[Fold], Sequence[Result]],
    metric: str,
    *,
    done: Callable[[Played], None] = lambda _: None,
) -> WalkForward:
    """Go through the folds; `optimise` returns the results of a fold's training, in any order."""
    capital = ground.capital
    trips: list[RoundTrip] = []
    curve: list[tuple[datetime, Decimal]] = []
    played: list[Played] = []
    training: list[Sequence[Result]] = []
    for fold in plan:
        results = optimise(fold)
        training.append(results)
        best = next(iter(ranked(results, metric)), None)
        # Without a choice the test days still pass, with nobody voting.
        outcome = _test(ground, fold, best, capital)
        trips += outcome.trips
        curve += outcome.curve
        before, capital = capital, outcome.curve[-1][1] if outcome.curve else capital
        row = _row(ground, fold, best, results, metric, outcome, before)
        played.append(row)
        done(row)
    return _stitched(ground.capital, played, training, trips, curve)


def _test(ground: Ground, fold: Fold, best: Result | None, capital: Decimal) -> Outcome:
    days = ground.within(fold.test_window)
    if best is not None:
        return days.play(best.chosen, capital=capital)
    silent = replace(days.space, roster=())
    return replace(days, space=silent).play({}, capital=capital)


def _row(
    ground: Ground,
    fold: Fold,
    best: Result | None,
    results: Sequence[Result],
    metric: str,
    outcome: Outcome,
    before: Decimal,
) -> Played:
    after = outcome.curve[-1][1] if outcome.curve else before
    if best is None:
        return Played(fold, None, len(results), None, None, None, after)
    there = best.figures[metric]
    here = figures_of(metrics_of(outcome, before))[metric]
    trained = ground.within(fold.train_window).play(best.chosen)
    return Played(
        fold,
        best,
        len(results),
        here,
        kept(fold, metric, there, here),
        deflated(trained, ground.capital, results),
        after,
    )


def kept(fold: Fold, metric: str, there: float | None, here: float | None) -> float | None:
    """How much of a metric the test days kept of the train days; see `Played`."""
    if there is None or here is None or there <= 0 or not HIGHER_IS_BETTER[metric]:
        return None
    if metric in AMOUNTS:
        return (here / len(fold.test)) / (there / len(fold.train))
    return here / there


def _stitched(
    capital: Decimal,
    played: Sequence[Played],
    training: Sequence[Sequence[Result]],
    trips: list[RoundTrip],
    curve: list[tuple[datetime, Decimal]],
) -> WalkForward:
    track = Track.of(daily_returns(curve, initial_capital=capital))
    tried = sum(len(results) for results in training)
    # Sets were compared within their fold only, so between folds nothing is to vary.
    variance = sum(sharpe_variance(results) for results in training) / len(training)
    pnls = [trip.exit.pnl or ZERO for trip in trips]
    return WalkForward(
        tuple(played),
        capital,
        trips,
        curve,
        portfolio_metrics(pnls, curve, initial_capital=capital),
        tried,
        None if track is None else probabilistic_sharpe(track),
        None if track is None else deflated_sharpe(track, trials=tried, variance=variance),
    )
