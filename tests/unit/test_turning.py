"""Where SuperTrend turns whatever the buffer begins with: never wrong, and seldom in doubt."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from market_data import real_candles
from play_world import Weather, random_history

from hftray.core.turning import turning_terms, turns
from hftray.strategies.supertrend import SuperTrendFlip, SuperTrendParameters


def _as_it_is(function):
    """A compiler that leaves plain functions as they are."""
    return function


def _survey(candles, voter, window, compiler=_as_it_is):
    return voter.survey(candles, voter.columns(candles), [], window, compiler)


def _voter(period=10, multiplier=3.0):
    return SuperTrendFlip(SuperTrendParameters(period=period, multiplier=multiplier))


def _newest(voter, candles, row, window):
    return voter.vote(candles.rows(slice(max(0, row + 1 - window), row + 1)))


@given(
    seed=st.integers(0, 10_000),
    volatility=st.sampled_from([0.0005, 0.002, 0.01]),
    grid=st.sampled_from([0.05, 2.0]),
    gap=st.sampled_from([0.0, 0.05]),
    period=st.sampled_from([2, 5, 14]),
    multiplier=st.sampled_from([0.5, 1.5, 3.0]),
    window=st.sampled_from([40, 90, 200]),
)
@settings(max_examples=examples(40))
def test_a_turn_is_that_of_the_buffer(seed, volatility, grid, gap, period, multiplier, window):
    weather = Weather(volatility=volatility, grid=grid, gap=gap)
    candles = random_history("S", seed, weather, days=20).candles
    assume(len(candles) > window + 50)
    voter = _voter(period, multiplier)
    for compiler in (_as_it_is, None):
        lowest, highest = _survey(candles, voter, window, compiler)
        for row in range(len(candles)):
            vote = _newest(voter, candles, row, window)
            assert lowest[row] <= vote <= highest[row], (row, compiler)


def test_turns_are_known_though_nothing_is_of_the_beginning():
    """A market that swings further than the bands are wide tells every turn."""
    candles = random_history("S", 3, Weather(volatility=0.01), days=30).candles
    lowest, highest = _survey(candles, _voter(5, 0.5), 90)
    assert np.array_equal(lowest, highest)
    assert np.count_nonzero(lowest) > 50


def test_a_line_that_nothing_renewed_is_in_doubt():
    """In a market that stands still nobody can know on which side of the price it was left."""
    count, first, ahead = 60, 10, 20
    close, cap, floor = np.full(count, 100.0), np.full(count, 101.0), np.full(count, 99.0)
    close[55:] = 102.0  # above any cap: whatever was down turns up
    lowest, highest = turns(close, cap, floor, 1e-9, first, ahead, 5)
    assert (lowest[55], highest[55]) == (0, 1)
    assert not (lowest[56:] | highest[56:]).any()


@pytest.mark.parametrize(("below", "bounds"), [(0.5, (-1, -1)), (0.005, (-1, 0)), (-0.5, (0, 0))])
def test_a_price_as_near_to_the_line_as_the_bands_are_off_may_turn_it(below, bounds):
    close, cap, floor = np.full(40, 100.0), np.full(40, 101.0), np.full(40, 99.0)
    for rows, price in ((slice(22, 25), 90.0), (slice(25, 40), 110.0)):  # all bands are renewed
        close[rows], cap[rows], floor[rows] = price, price + 1, price - 1
    close[35:] = 109.0 - below
    lowest, highest = turns(close, cap, floor, 0.01, 5, 15, 5)
    assert (lowest[35], highest[35]) == bounds


@pytest.mark.parametrize(("window", "period"), [(30, 28), (375, 250), (5_000, 10)])
def test_a_buffer_too_short_to_tell_leaves_it_to_the_bounds(window, period):
    candles = random_history("S", 1, Weather(), days=20).candles
    assert turning_terms(candles, window, period, 3.0) is None


@pytest.mark.market_data
def test_on_real_candles_hardly_a_turn_is_in_doubt():
    candles = real_candles("RELIANCE", 7_500)
    lowest, highest = _survey(candles, _voter(), 375)
    assert np.count_nonzero(lowest != highest) <= 5
    rows = np.flatnonzero(lowest | highest)
    assert len(rows) > 100
    for row in rows.tolist():
        assert lowest[row] <= _newest(_voter(), candles, row, 375) <= highest[row]
