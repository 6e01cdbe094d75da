"""Which sets a search proposes: different, feasible ones, and after an interruption the rest."""

import math
import random
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

from hftray.backtest.search import Method, Search
from hftray.backtest.space import ParameterSet, Space
from hftray.core.errors import ConfigError
from hftray.core.rules import TradingRules
from hftray.strategies.defaults import default_strategies

GRID = ("ma_crossover.short_period=5:60:5", "ma_crossover.long_period=20:60:10", "rsi.period=5,9")
FEASIBLE = [
    (short, long, rsi)
    for short in range(5, 61, 5)
    for long in range(20, 61, 10)
    for rsi in (5, 9)
    if short < long
]


def space(*texts: str) -> Space:
    return Space.parse(texts, default_strategies(), TradingRules())


def value_of(chosen: ParameterSet) -> float:
    return sum(float(value) for value in chosen.values())


def drain(search: Search, most: int = 7) -> list[dict]:
    found: list[dict] = []
    while sets := search.ask(most):
        found += sets
        for chosen in sets:
            search.tell(chosen, value_of(chosen))
    return found


def keys(sets: list[dict]) -> list[tuple]:
    return [tuple(chosen.values()) for chosen in sets]


def test_a_grid_is_every_feasible_set_once() -> None:
    search = Search(space(*GRID), Method.GRID)
    found = keys(drain(search))
    assert sorted(found) == sorted(FEASIBLE)
    assert search.infeasible == 12 * 5 * 2 - len(FEASIBLE)


def test_random_sets_are_different_and_as_many_as_asked_for() -> None:
    found = keys(drain(Search(space(*GRID), Method.RANDOM, 40, seed=3)))
    assert len(found) == len(set(found)) == 40
    assert set(found) <= set(FEASIBLE)


def test_a_random_search_ends_with_the_space() -> None:
    found = keys(drain(Search(space(*GRID), Method.RANDOM, 10_000, seed=3)))
    assert sorted(found) == sorted(FEASIBLE)


def test_another_seed_other_sets() -> None:
    first, again, other = (
        keys(drain(Search(space(*GRID), Method.RANDOM, 20, seed=seed))) for seed in (1, 1, 2)
    )
    assert first == again != other


@settings(max_examples=examples(25))
@given(
    method=st.sampled_from([Method.GRID, Method.RANDOM]),
    done=st.integers(0, 60),
    shuffle=st.randoms(use_true_random=False),
)
def test_taken_up_again_it_plays_the_rest_and_nothing_twice(
    method: Method, done: int, shuffle: random.Random
) -> None:
    """Whatever was finished, in whatever order, both parts together are the uninterrupted whole."""
    whole = drain(Search(space(*GRID), method, 60, seed=5))
    known = [(chosen, value_of(chosen)) for chosen in whole[:done]]
    shuffle.shuffle(known)
    rest = drain(Search(space(*GRID), method, 60, seed=5, known=known))
    assert keys(rest) == keys(whole[done:])


def test_tpe_taken_up_again_proposes_only_new_sets() -> None:
    first = drain(Search(space(*GRID), Method.TPE, 15), most=1)
    known = [(chosen, value_of(chosen)) for chosen in first]
    rest = drain(Search(space(*GRID), Method.TPE, 30, known=known), most=1)
    assert len(first) == len(rest) == 15
    assert not set(keys(first)) & set(keys(rest))


def distances(method: Method, *, maximise: bool) -> list[float]:
    """From the optimum, of 60 sets in the order of their proposal."""
    where = space("exits.stop_loss_atr=0.5:10", "exits.take_profit_atr=0.5:10")
    search = Search(where, method, 60, seed=1, maximise=maximise)
    found = []
    while sets := search.ask(1):
        found.append(math.dist(tuple(sets[0].values()), (3.0, 7.0)))
        search.tell(sets[0], -found[-1] if maximise else found[-1])
    return found


@pytest.mark.parametrize("maximise", [True, False])
def test_tpe_learns_where_the_good_sets_are(maximise: bool) -> None:
    at_random = distances(Method.RANDOM, maximise=maximise)
    learnt = distances(Method.TPE, maximise=maximise)
    assert len(learnt) == len(at_random) == 60
    assert fmean(learnt[30:]) < 0.6 * fmean(at_random)


def test_undefined_results_are_bad_ones_and_do_not_stop_a_search() -> None:
    search = Search(space("rsi.period=5:30"), Method.TPE, 12)
    asked = 0
    while sets := search.ask(1):
        asked += 1
        search.tell(sets[0], None)
    assert asked == 12


def test_sets_being_played_are_not_proposed_again() -> None:
    search = Search(space("rsi.period=5:9"), Method.TPE, 100)
    playing = search.ask(5)
    assert len(set(keys(playing))) == 5
    assert search.ask(5) == []


@pytest.mark.parametrize("method", [Method.RANDOM, Method.TPE])
def test_a_search_without_a_feasible_set_ends(method: Method) -> None:
    """The space cannot be listed, and overbought (70) lies below everything that is varied."""
    search = Search(space("rsi.oversold=75:80"), method, 3)
    assert search.ask(3) == []
    assert search.infeasible > 500


@pytest.mark.parametrize("count", [None, 0, -1, 1_000_001])
def test_a_search_needs_a_sensible_number_of_sets(count: int | None) -> None:
    with pytest.raises(ConfigError, match="--random"):
        Search(space("rsi.period=5:9"), Method.RANDOM, count)


def test_a_grid_without_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="a grid needs a step"):
        Search(space("exits.stop_loss_atr=1:3"), Method.GRID)
