"""Folds, what is played on them, and how results are held against luck."""

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sweep_world import CAPITAL, FIRST_DAY, ground, weekdays

from hftray.backtest.deflated import (
    Track,
    deflated_sharpe,
    expected_best,
    probabilistic_sharpe,
)
from hftray.backtest.players import Alone, explore
from hftray.backtest.search import Method, Search
from hftray.backtest.sweep import (
    Ground,
    Result,
)
from hftray.backtest.walk_forward import Fold, Played, WalkForward, folds, kept, walk_forward
from hftray.core.errors import ConfigError
from hftray.core.money import ZERO

PARAMS = ("ma_crossover.short_period=5:11:3", "exits.trailing_stop_percent=0.5,1")


@given(
    days=st.integers(2, 300), train=st.integers(1, 80), test=st.integers(1, 40), old=st.booleans()
)
def test_every_session_after_the_first_training_is_tested_once(
    days: int, train: int, test: int, old: bool
) -> None:
    sessions = [FIRST_DAY + timedelta(days=number) for number in range(days)]
    if days <= train:
        with pytest.raises(ConfigError, match=f"the data has {days} sessions"):
            folds(sessions, train=train, test=test, anchored=old)
        return
    plan = folds(sessions, train=train, test=test, anchored=old)
    assert [day for fold in plan for day in fold.test] == sessions[train:]
    assert [fold.number for fold in plan] == list(range(1, len(plan) + 1))
    for fold in plan:
        before = sessions[: sessions.index(fold.test[0])]
        assert list(fold.train) == (before if old else before[-train:])
    assert all(len(fold.test) == test for fold in plan[:-1])


@pytest.mark.parametrize(("train", "test", "names"), [(0, 5, "--train"), (5, 0, "--test")])
def test_folds_need_sessions(train: int, test: int, names: str) -> None:
    with pytest.raises(ConfigError, match=f"{names} 0: at least one"):
        folds(weekdays(20), train=train, test=test)


def run(world: Ground, plan: list[Fold], metric: str = "net_pnl") -> WalkForward:
    players = Alone(world)

    def optimise(fold: Fold) -> list[Result]:
        found: list[Result] = []
        search = Search(world.space, Method.GRID)
        explore(search, players, metric, found.extend, window=fold.train_window)
        return found

    return walk_forward(world, plan, optimise, metric)


def test_the_choice_of_each_fold_is_played_on_its_test_days_with_the_capital_so_far() -> None:
    world = ground(*PARAMS, days=14, warm_days=2)
    plan = folds(world.days(), train=4, test=3)
    result = run(world, plan)
    assert [moment.date() for moment, _ in result.curve] == world.days()[4:]
    capital = CAPITAL
    for fold, played in zip(plan, result.folds, strict=True):
        training = world.within(fold.train_window)
        every = [
            (training.play({"ma_crossover.short_period": short,
                            "exits.trailing_stop_percent": trail}).curve[-1][1], short, trail)
            for short in (5, 8, 11) for trail in (0.5, 1.0)
        ]  # fmt: skip
        assert played.best is not None
        assert played.best.figures["net_pnl"] == float(max(every)[0] - CAPITAL)
        tested = world.within(fold.test_window).play(played.best.chosen, capital=capital)
        capital = tested.curve[-1][1]
        assert played.capital == capital
        assert played.tried == 6
    assert (
        result.curve[-1][1] == capital == CAPITAL + sum((t.exit.pnl or ZERO) for t in result.trips)
    )
    assert len(result.trips) > 2
    assert result.metrics.net_pnl == capital - CAPITAL
    assert result.tried == 6 * len(plan)
    assert 0 <= result.deflated.probability <= result.probability <= 1


def test_tomorrow_changes_no_choice() -> None:
    """Cut the data after a fold: the folds up to it stay as they were."""
    world = ground(*PARAMS, days=14, warm_days=2)
    days = world.days()
    whole = run(world, folds(days, train=4, test=3))
    cut = world.within((days[0], days[6]))
    early = run(cut, folds(cut.days(), train=4, test=3))
    assert early.folds == whole.folds[:1]
    assert early.curve == whole.curve[:3]


def test_without_a_choice_a_fold_stays_out_of_the_market() -> None:
    """Too few candles for a single vote: no set has a profit factor."""
    world = ground("rsi.period=200,240", days=6, warm_days=0)
    plan = folds(world.days(), train=1, test=2)[:1]
    result = walk_forward(world, plan, lambda _: [], "profit_factor")
    assert result.folds == (Played(plan[0], None, 0, None, None, None, CAPITAL),)
    assert result.trips == []
    assert result.curve == [(moment, CAPITAL) for moment, _ in result.curve]
    assert len(result.curve) == 2
    assert result.probability is result.deflated is None


def test_what_was_kept_compares_like_with_like() -> None:
    fold = Fold(1, tuple(weekdays(60)), tuple(weekdays(20)))
    assert kept(fold, "sharpe", 2.0, 1.0) == 0.5
    assert kept(fold, "net_pnl", 600.0, 100.0) == pytest.approx(0.5)  # 10 a session, then 5
    assert kept(fold, "sharpe", -1.0, 1.0) is None
    assert kept(fold, "sharpe", 2.0, None) is None
    assert kept(fold, "max_drawdown_percent", 2.0, 1.0) is None


# Luck


def test_the_example_of_the_paper() -> None:
    """An annual ratio of 2.5 over five years of 250 days, the best of 100 sets whose ratios have a
    variance of 1/2, with skewness -3 and kurtosis 10: 0.9004; of 46 sets: 0.9505.
    """
    track = Track(2.5 / 250**0.5, 1250, -3.0, 10.0)
    best = deflated_sharpe(track, trials=100, variance=0.5 / 250)
    assert best.luck == pytest.approx(0.1132, abs=5e-5)
    assert best.probability == pytest.approx(0.9004, abs=5e-5)
    fewer = deflated_sharpe(track, trials=46, variance=0.5 / 250)
    assert fewer.probability == pytest.approx(0.9505, abs=5e-5)


def test_the_best_of_luck_is_what_a_simulation_finds() -> None:
    draws = np.random.default_rng(1).normal(0, 0.3, (4000, 50)).max(axis=1)
    assert expected_best(50, 0.09) == pytest.approx(draws.mean(), rel=0.02)
    assert expected_best(1, 0.09) == 0.0


@given(
    ratio=st.floats(-1, 1), periods=st.integers(3, 2000), trials=st.integers(1, 10_000),
    variance=st.floats(0, 1),
)  # fmt: skip
def test_more_sets_never_make_a_result_more_believable(
    ratio: float, periods: int, trials: int, variance: float
) -> None:
    track = Track(ratio, periods)
    one = probabilistic_sharpe(track)
    many = deflated_sharpe(track, trials=trials, variance=variance)
    more = deflated_sharpe(track, trials=trials + 100, variance=variance)
    assert 0 <= more.probability <= many.probability <= one <= 1


@given(st.lists(st.floats(-0.2, 0.2), min_size=0, max_size=40))
def test_any_returns_have_a_probability_or_none(returns: list[float]) -> None:
    track = Track.of(returns)
    if track is None:
        assert len(returns) < 2 or np.std(returns) < 1e-11
    else:
        assert 0 <= probabilistic_sharpe(track) <= 1


def test_a_record_has_the_moments_of_its_returns() -> None:
    track = Track.of([0.01, -0.01, 0.02, 0.0])
    assert track is not None
    assert track.periods == 4
    assert track.sharpe == pytest.approx(0.005 / np.std([0.01, -0.01, 0.02, 0.0], ddof=1))
    assert track.skewness == pytest.approx(0.0, abs=1e-12)
    assert track.kurtosis == pytest.approx(1.64)
