"""The backtest equals its plain reference: on random candles with everything odd, and real ones."""

from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from market_data import real_candles
from play_world import ROSTER, Weather, random_history, same_outcome

from hftray.backtest.express import Express
from hftray.backtest.foresight import VoteCache, ballots_of
from hftray.core import indicators
from hftray.core.rules import ExitRules, FeedRules, RiskLimits, SignalRules, TradingRules
from hftray.core.session import SessionRules
from hftray.strategies.defaults import default_strategies
from hftray.strategies.ensemble import Ensemble
from hftray.strategies.registry import forget, register
from hftray.strategies.strategy import Input, Parameters, Strategy

weathers = st.builds(
    Weather,
    volatility=st.sampled_from([0.0005, 0.002, 0.01]),
    grid=st.sampled_from([0.05, 0.5, 2.0]),
    missing=st.sampled_from([0.0, 0.1, 0.5]),
    flat=st.sampled_from([0.0, 0.03, 0.1]),
    jump=st.sampled_from([0.0, 0.0, 0.01, 0.05]),
    gap=st.sampled_from([0.0, 0.01, 0.05]),
)
rules_drawn = st.builds(
    TradingRules,
    exits=st.builds(
        ExitRules,
        stop_loss_atr=st.sampled_from([0.5, 2.0]),
        take_profit_atr=st.sampled_from([0.5, 4.0]),
        trailing_stop_percent=st.sampled_from([0.1, 0.5, 1.0, 20.0]),
    ),
    risk=st.builds(
        RiskLimits,
        max_daily_loss_percent=st.sampled_from([Decimal("0.05"), Decimal("0.3"), Decimal(5)]),
        max_trades_per_symbol_day=st.sampled_from([1, 3, 50]),
        max_trades_per_day=st.sampled_from([2, 500]),
        max_symbol_exposure_percent=st.sampled_from([Decimal(25), Decimal(80)]),
        leverage=st.sampled_from([Decimal(1), Decimal(5)]),
        entry_band_percent=st.sampled_from([Decimal("0.02"), Decimal("0.5")]),
    ),
    signals=st.builds(
        SignalRules,
        candle_buffer=st.sampled_from([30, 60, 375]),
        entry_on=st.sampled_from(["close", "tick"]),
        threshold=st.sampled_from([0.05, 0.15, 0.3]),
        atr_period=st.sampled_from([5, 14]),
        entry_patience=st.sampled_from([0, 1, 2]),
    ),
    feed=st.builds(
        FeedRules,
        price_band_percent=st.sampled_from([5.0, 20.0]),
        jump_confirmations=st.sampled_from([1, 3]),
        frozen_candles=st.sampled_from([2, 6]),
    ),
)
_QUICK = {
    "ma_crossover": {"short_period": 3, "long_period": 8},
    "rsi": {"period": 4},
    "macd": {"fast_period": 3, "slow_period": 7, "signal_period": 4},
    "bollinger": {"period": 6, "deviations": 1.2},
    "vwap": {"volume_period": 4, "volume_factor": 1.0},
    "supertrend": {"period": 4, "multiplier": 1.5},
    "stochastic_rsi": {"rsi_period": 4, "k_period": 5},
}


def _as_it_is(function):
    """A compiler that leaves plain functions as they are."""
    return function


@st.composite
def rosters(draw):
    """Some rows, with periods as they are or so short that they vote often."""
    rows = draw(st.lists(st.sampled_from(ROSTER), min_size=1, unique_by=lambda row: row["id"]))
    return [
        row | {"parameters": row["parameters"] | draw(st.sampled_from([{}, _QUICK[row["kind"]]]))}
        for row in rows
    ]


@given(
    seed=st.integers(0, 10_000),
    symbols=st.integers(1, 3),
    weather=weathers,
    rules=rules_drawn,
    roster=rosters(),
    capital=st.sampled_from([3_000, 100_000]),
    start=st.sampled_from([0, 40, 55]),
    lengths=st.tuples(*[st.sampled_from([1, 22, 25])] * 3),
)
@settings(max_examples=examples(120))
def test_the_backtest_is_the_reference_whatever_the_market_does(
    seed, symbols, weather, rules, roster, capital, start, lengths
):
    hours = SessionRules(no_entry_minutes=30, square_off_minutes=20)
    histories = [
        random_history(f"S{n}", seed + n, weather, days=5, candles=lengths[n], start=start,
                       rules=hours)
        for n in range(symbols)
    ]  # fmt: skip
    same_outcome(histories, roster, rules, capital=capital)


TIGHT = TradingRules(
    exits=ExitRules(stop_loss_atr=1.5, take_profit_atr=2.0, trailing_stop_percent=0.4),
    risk=RiskLimits(
        max_daily_loss_percent=Decimal("0.1"), max_trades_per_symbol_day=3,
        entry_band_percent=Decimal("0.02"),
    ),
    signals=SignalRules(threshold=0.1, entry_patience=1),
)  # fmt: skip
LIVELY = TradingRules(
    exits=ExitRules(stop_loss_atr=1.5, take_profit_atr=2.0, trailing_stop_percent=0.4),
    signals=SignalRules(threshold=0.15),
)


def test_trips_taken_whole_and_step_by_step_are_the_reference(monkeypatch):
    """One symbol, where trips are taken whole; both kinds must have been there to be compared."""
    kinds = {True: 0, False: 0}
    take = Express.take

    def counted(self, room, now):
        trip = take(self, room, now)
        kinds[trip is not None] += 1
        return trip

    monkeypatch.setattr(Express, "take", counted)
    hours = SessionRules(no_entry_minutes=30, square_off_minutes=20)
    reasons = set()
    for seed, weather in enumerate(_WEATHERS):
        candles = 7 if seed == 0 else 25  # short sessions end under working orders
        one = random_history("S", seed, weather, days=8, candles=candles, rules=hours)
        for rules, capital in product((LIVELY, TIGHT), (3_000, 100_000)):
            outcome = same_outcome([one], ROSTER, rules, capital=capital)
            reasons |= {trip.exit.reason for trip in outcome.trips}
    assert min(kinds.values()) > 30, kinds
    assert reasons >= {"stop_loss", "trailing_stop", "square_off"}


_WEATHERS = [
    Weather(volatility=0.004),
    Weather(volatility=0.002),
    Weather(volatility=0.01, gap=0.05),
    Weather(volatility=0.002, missing=0.3),
    Weather(volatility=0.004, jump=0.01),
    Weather(volatility=0.004, flat=0.05, grid=0.5),
]


@given(seed=st.integers(0, 10_000), weather=weathers, roster=rosters())
@settings(max_examples=examples(15))
def test_a_cache_shared_by_runs_changes_nothing(seed, weather, roster):
    """Not even where two runs differ in nothing but their candles or their weights."""
    cache = VoteCache(limit=10_000)  # some ballots are dropped
    heavier = [row | {"parameters": row["parameters"] | {"weight": 3.0}} for row in roster[:1]]
    for rows in (roster, heavier + roster[1:]):
        for number in (seed, seed + 1):
            history = random_history("S", number, weather)
            same_outcome([history], rows, LIVELY, cache=cache)


@given(
    seed=st.integers(0, 10_000),
    weather=weathers,
    roster=rosters(),
    window=st.sampled_from([30, 60, 120]),
    compiler=st.sampled_from([None, _as_it_is]),
)
@settings(max_examples=examples(60))
def test_a_vote_lies_within_what_the_whole_history_says_of_it(
    seed, weather, roster, window, compiler
):
    """The margins: whatever a buffer of that size votes, lies between lowest and highest."""
    candles = random_history("S", seed, weather, days=8).candles
    voters = Ensemble(roster).voters
    ballots = ballots_of("S", candles, Ensemble(roster), window, None, compiler)
    for voter, ballot in zip(voters, ballots, strict=True):
        bounds = dict(zip(ballot.rows.tolist(), zip(ballot.lowest, ballot.highest, strict=True),
                          strict=True))  # fmt: skip
        for row in range(len(candles)):
            vote = voter.strategy.vote(candles.rows(slice(max(0, row + 1 - window), row + 1)))
            lowest, highest = bounds.get(row, (0, 0))
            assert lowest <= vote <= highest, (voter.name, row)


def _differences(candles, window, need):
    """How far the buffer's values lie from the history's, and the bounds, candle by candle."""
    result = need.series(candles, *need.arguments)
    bounds = need.radii(candles, window, result)
    rows = [*range(window - 1, window + 2), *range(window + 2, len(candles), 3)]
    for row in rows if len(candles) > window + 1 else ():
        part = candles.rows(slice(row + 1 - window, row + 1))
        newest = need.pick(need.series(part, *need.arguments))
        for column, bound, seen in zip(need.pick(result), bounds, newest, strict=True):
            for back in (1, 2):
                limit = bound if isinstance(bound, float) else bound[row + 1 - back]
                yield abs(seen[-back] - column[row + 1 - back]), limit


_INPUTS = {need for voter in Ensemble(ROSTER).voters for need in voter.strategy.inputs}
_INPUTS |= {Input(indicators.atr, (period,)) for period in (5, 14, 29, 58)}


@given(
    seed=st.integers(0, 10_000),
    weather=weathers,
    window=st.sampled_from([60, 120]),
)
@settings(max_examples=10)
def test_no_indicator_drifts_further_than_its_bound(seed, weather, window):
    candles = random_history("S", seed, weather, days=8).candles
    for need in _INPUTS:
        if need.series is indicators.supertrend:
            continue  # it has no bound but says where it could turn
        for difference, limit in _differences(candles, window, need):
            assert not difference > limit, need  # NaN on both sides is no difference


@pytest.mark.market_data
def test_on_real_candles_hardly_a_vote_is_in_doubt():
    """Or the margins would be right but useless: the votes in doubt are counted one by one."""
    candles = real_candles("RELIANCE", 7_500)
    ensemble = Ensemble(default_strategies())
    ballots = ballots_of("R", candles, ensemble, 375, None, _as_it_is)
    for voter, ballot in zip(ensemble.voters, ballots, strict=True):
        settled = ballot.rows > 300
        doubts = np.count_nonzero(ballot.lowest[settled] != ballot.highest[settled])
        assert doubts <= 20, voter.name


def test_an_unknown_input_leaves_every_vote_in_doubt_and_the_outcome_right():
    """A strategy from outside, on an indicator nothing is known of."""
    register("outsider", Parameters)(_Outsider)
    try:
        rows = [{"id": 1, "kind": "outsider", "is_active": True, "parameters": {}}]
        history = random_history("S", 5, Weather())
        assert same_outcome([history], rows, LIVELY).trips
    finally:
        forget({"outsider"})


class _Outsider(Strategy[Parameters]):
    """Remembers the whole buffer, so its vote depends on where that begins."""

    def needs(self):
        return (Input(lambda candles: np.cumsum(candles.close - candles.open)),)

    def rule(self, columns):
        ((before, now),) = columns
        return (before <= 0) & (now > 0), (before >= 0) & (now < 0)
