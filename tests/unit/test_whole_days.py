"""Days that are played whole: that they are, that nothing odd is, and how they are compiled."""

import pickle
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from play_world import ROSTER, Watch, Weather, book_of, random_history, same_outcome
from risk_world import CHARGES

from hftray.backtest import compiling, kernel, whole_days
from hftray.backtest.play import play
from hftray.backtest.runner import free_of
from hftray.core import money
from hftray.core.candles import COLUMNS
from hftray.core.charges import order_charges
from hftray.core.market import Instrument
from hftray.core.orders import Side
from hftray.core.rules import ExitRules, FeedRules, RiskLimits, SignalRules, TradingRules
from hftray.core.session import SessionRules

LIVELY = TradingRules(signals=SignalRules(threshold=0.1))
TIGHT = TradingRules(
    exits=ExitRules(stop_loss_atr=1.5, take_profit_atr=2.0, trailing_stop_percent=0.4),
    risk=RiskLimits(max_trades_per_symbol_day=2, max_daily_loss_percent=Decimal("0.5")),
    signals=SignalRules(threshold=0.15, candle_buffer=60),
)
BOLD = TradingRules(  # all that the capital backs, so that what a day won or lost shows in it
    risk=RiskLimits(
        risk_per_trade_percent=Decimal(50), max_symbol_exposure_percent=Decimal(300),
        max_daily_loss_percent=Decimal(50),
    ),
    signals=SignalRules(threshold=0.1),
)  # fmt: skip
_VARIANTS = ((LIVELY, 100_000), (TIGHT, 3_000), (TIGHT, 100_000), (BOLD, 100_000))
HOURS = SessionRules(no_entry_minutes=30, square_off_minutes=20)
WEATHERS = [
    Weather(volatility=0.004),
    Weather(volatility=0.01, gap=0.05),
    Weather(volatility=0.002, missing=0.3),
    Weather(volatility=0.004, jump=0.01),
    Weather(volatility=0.004, flat=0.05, grid=0.5),
]


@pytest.fixture
def watch(monkeypatch):
    seen = Watch()
    monkeypatch.setattr(whole_days, "compiled", seen.compiled)
    return seen


def test_days_taken_whole_and_step_by_step_are_the_reference(watch):
    """Both kinds must have been there, and everything the kernel may ask for."""
    reasons, days, trips = set(), 0, 0
    for seed, weather in enumerate(WEATHERS):
        for rules, capital in _VARIANTS:
            one = random_history("S", seed, weather, days=12, rules=HOURS)
            outcome = same_outcome([one], ROSTER, rules, capital=capital)
            reasons |= {trip.exit.reason for trip in outcome.trips}
            days, trips = days + len(outcome.curve), trips + outcome.count
    assert set(watch.ends) == {kernel.TAKEN, kernel.BY_STEPS, kernel.VOTE, kernel.ATR}
    assert days / 4 < watch.days < days
    assert 50 < watch.trips < trips
    assert reasons >= {"stop_loss", "trailing_stop", "take_profit", "square_off"}


@given(
    seed=st.integers(0, 10_000),
    weather=st.sampled_from(WEATHERS),
    grid=st.sampled_from([0.05, 0.01, 0.013, 0.3]),
    tick=st.sampled_from(["0.05", "0.01", "0.1", "0.03", "1", "0.005"]),
    capital=st.sampled_from(["500", "20000", "100000.05", "54321.123", "9000000000"]),
    slippage=st.sampled_from([0.0, 2.0, 7.5, 1 / 3, 250.0]),
    band=st.sampled_from(["0", "0.02", "0.5", "12.5"]),
    frozen=st.sampled_from([1, 2, 500]),
    free=st.booleans(),
)
@settings(max_examples=examples(60), deadline=None)
def test_odd_numbers_change_nothing(
    seed, weather, grid, tick, capital, slippage, band, frozen, free
):
    """Prices between ticks, ticks below a paisa, amounts too fine or too large to be whole."""
    one = random_history("S", seed, replace(weather, grid=grid), days=5, rules=HOURS)
    share = Instrument("S", tick_size=Decimal(tick))
    rules = replace(
        LIVELY,
        risk=RiskLimits(entry_band_percent=Decimal(band), leverage=Decimal("2.5")),
        feed=FeedRules(frozen_candles=frozen),
    )
    same_outcome(
        [replace(one, instrument=share)], ROSTER, rules, capital=Decimal(capital),
        slippage_bps=slippage, charges=free_of(CHARGES) if free else CHARGES,
    )  # fmt: skip


def test_the_kernel_gives_the_same_where_it_is_not_compiled(monkeypatch):
    monkeypatch.setattr(whole_days, "compiled", lambda function: function)
    for seed, weather in enumerate(WEATHERS):
        same_outcome([random_history("S", seed, weather, days=5, rules=HOURS)], ROSTER, LIVELY)


@given(
    turnover=st.decimals("0.05", "90000000", places=4),
    sold=st.booleans(),
    table=st.sampled_from(CHARGES.tables),
)
def test_charges_of_whole_numbers_are_those_of_the_percentages(turnover, sold, table):
    """Against the table as it is written, in decimals."""

    def part(amount, percent):
        return money.paisa(amount * percent / 100)

    usual = max(table.brokerage_min, turnover * table.brokerage_percent / 100)
    ceiling = turnover * table.brokerage_ceiling_percent / 100
    brokerage = money.paisa(min(usual, table.brokerage_max, ceiling))
    fees = [part(turnover, rate) for rate in
            (table.exchange_percent, table.sebi_percent, table.ipft_percent)]  # fmt: skip
    charges = table.charges(Side.SELL if sold else Side.BUY, quantity=1, price=turnover)
    assert charges.parts() == {
        "brokerage": brokerage,
        "stt": part(turnover, table.stt_sell_percent) if sold else 0,
        "exchange": fees[0],
        "sebi": fees[1],
        "ipft": fees[2],
        "stamp": 0 if sold else part(turnover, table.stamp_buy_percent),
        "gst": part(brokerage + sum(fees), table.gst_percent),
    }


# Compiling


def test_columns_out_of_an_object_store_need_no_other_compiled_kernel():
    """Those cannot be written to, which numba takes for another type."""
    one = random_history("S", 3, WEATHERS[0], days=5, rules=HOURS)
    play([one], ROSTER, rules=LIVELY, book=book_of([one], LIVELY, 100_000), slippage_bps=2.0,
         compiled=True)  # fmt: skip
    assert one.found
    stored = pickle.loads(pickle.dumps(one))
    assert not stored.found
    for name in ("time", "day", *COLUMNS):
        getattr(stored.candles, name).flags.writeable = False
    same_outcome([stored], ROSTER, LIVELY)
    assert len(compiling.compiled(kernel.play_days).signatures) == 1


def test_compiled_functions_call_compiled_functions():
    rates = np.array(CHARGES.tables[0].rates, dtype=np.int64)
    compiled = compiling.compiled(order_charges)
    for turnover, sold in ((1, True), (123_456, False), (987_654_321, True)):
        assert compiled(turnover, 1, sold, rates) == order_charges(turnover, 1, sold, rates)


def test_what_was_compiled_is_not_found_again_when_a_called_function_changes(monkeypatch):
    before = compiling._stamp(order_charges)
    assert compiling._stamp(order_charges) == before

    def rounded_share(amount, part, whole):
        return amount * part // whole

    monkeypatch.setattr("hftray.core.charges.rounded_share", rounded_share)
    assert compiling._stamp(order_charges) != before


def test_without_a_place_for_the_cache_it_is_compiled_all_the_same(monkeypatch):
    caching = pytest.importorskip("numba.core.caching")
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    compiled = compiling.compiled.__wrapped__(money.rounded_share)
    assert compiled(10, 1, 4) == 3
