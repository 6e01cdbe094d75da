"""What unit tests show on random candles, on real ones; weeks and years of them."""

from decimal import Decimal

import pytest
from market_data import real_candles
from play_world import ROSTER, Watch, book_of, same_outcome, sessions_of
from tick_world import ends, extremes, told_both_ways

from hftray.backtest import whole_days
from hftray.backtest.checks import check_lookahead, check_warm_up, named_voters
from hftray.backtest.history import SymbolHistory
from hftray.backtest.play import play
from hftray.backtest.sweep import metrics_of
from hftray.core.market import Instrument
from hftray.core.rules import ExitRules, SignalRules, TradingRules
from hftray.strategies.registry import known_kinds

pytestmark = pytest.mark.market_data

_EXITS = ExitRules(stop_loss_atr=1.5, take_profit_atr=2.0, trailing_stop_percent=0.4)
LIVELY = TradingRules(exits=_EXITS, signals=SignalRules(threshold=0.15))
LIVELIER = TradingRules(
    exits=ExitRules(stop_loss_atr=1.5, take_profit_atr=2.0, trailing_stop_percent=0.6),
    signals=SignalRules(threshold=0.1),
)


@pytest.mark.parametrize("symbol", ["RELIANCE", "IDEA", "COLPAL"])
def test_ticks_with_official_candles_decide_as_closed_candles_do(symbol, record_property):
    """Week by week, for after a candle whose open decides the runs hold other positions."""
    decided = 0
    candles = real_candles(symbol, 375 * 7)
    for start in range(375, len(candles) - 375, 375):
        part = candles.rows(slice(start - 375, start + 375))
        history = SymbolHistory(Instrument(symbol), part, 375, sessions_of(part))
        decided += len(told_both_ways(history, LIVELIER, extremes))
        told_both_ways(history, LIVELIER, ends)
    record_property("decisions", decided)
    assert decided >= 10


@pytest.mark.parametrize("symbols", [("RELIANCE",), ("TCS", "IDEA", "COLPAL")])
@pytest.mark.parametrize("rules", [TradingRules(), LIVELY], ids=["default", "lively"])
def test_the_backtest_is_the_reference(symbols, rules, record_property):
    histories = []
    for symbol in symbols:
        candles = real_candles(symbol, 375 + 75 * 24)
        histories.append(SymbolHistory(Instrument(symbol), candles, 375, sessions_of(candles)))
    outcome = same_outcome(histories, ROSTER, rules)
    record_property("trades", len(outcome.trips))
    assert len(outcome.trips) >= 3


@pytest.mark.parametrize("symbol", ["RELIANCE", "TCS", "IDEA"])
def test_a_year_of_whole_days_is_that_of_single_steps(symbol, monkeypatch):
    """The ensemble, and a cross of averages that trades often; every figure to the last bit."""
    watch = Watch()
    monkeypatch.setattr(whole_days, "compiled", watch.compiled)
    candles = real_candles(symbol, 375 + 75 * 250)
    history = SymbolHistory(Instrument(symbol), candles, 375, sessions_of(candles))
    cross = {"short_period": 20, "long_period": 100, "variants": ("sma",)}
    crosses = [{"id": 1, "kind": "ma_crossover", "is_active": True, "parameters": cross}]
    for roster in (ROSTER, crosses):
        outcomes = []
        for compiled in (False, True):
            book = book_of([history], TradingRules(), 100_000)
            outcomes.append(
                play([history], roster, rules=TradingRules(), book=book, slippage_bps=2.0,
                     compiled=compiled)
            )  # fmt: skip
        stepped, whole = outcomes
        capital = Decimal(100_000)
        assert metrics_of(whole, capital) == metrics_of(stepped, capital)
        assert whole.curve == stepped.curve
        assert whole.trips == stepped.trips
        assert whole.count > 60
    assert watch.days > 450  # of 500


@pytest.mark.parametrize("kind", known_kinds())
def test_hftrays_own_voters_are_honest_and_warm(kind: str) -> None:
    candles = real_candles("RELIANCE", 4_000)
    for name, voter in named_voters(kind).items():
        assert check_lookahead(name, voter, candles).fault == ""
        found = check_warm_up(name, voter, candles, 375)
        assert found.fault == ""
        assert found.votes > 100
