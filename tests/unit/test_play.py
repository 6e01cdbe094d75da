"""The published assumptions of a backtest, as stories by hand; each is played both ways.

A voter that reads the volume stands in for the strategies: 777 shares are a BUY, 778 a SELL.
"""

from datetime import timedelta
from decimal import Decimal
from functools import partial

import pytest
from engine_world import DAY, INFY, D, at, bar, quiet_history, session
from play_world import book_of

from hftray.backtest.history import SymbolHistory
from hftray.backtest.outcome import Outcome
from hftray.backtest.play import VoteCache, play
from hftray.backtest.reference import reference
from hftray.core.market import Candle, Instrument
from hftray.core.risk_view import RiskState
from hftray.core.rules import ExitRules, FeedRules, RiskLimits, SignalRules, TradingRules
from hftray.core.session import SessionRules
from hftray.strategies.registry import forget, known_kinds, register
from hftray.strategies.strategy import VOLUME, Parameters, Strategy

BUYS, SELLS = 777.0, 778.0
FLAT = "1000 1000 1000 1000"
DECIDING = "1000 1025 975 1000"  # an ATR of 50
WIDE = ExitRules(trailing_stop_percent=50)
DRAWN = [{"id": 1, "kind": "drawn", "is_active": True, "parameters": {}}]


class ReadsVolume(Strategy[Parameters]):
    def needs(self):
        return (VOLUME,)

    def rule(self, columns):
        ((_, volume),) = columns
        return volume == BUYS, volume == SELLS


@pytest.fixture(autouse=True)
def _drawn():
    before = set(known_kinds())
    register("drawn", Parameters)(ReadsVolume)
    yield
    forget(set(known_kinds()) - before)


@pytest.fixture(
    params=[reference, play, partial(play, compiled=True)], ids=["reference", "play", "compiled"]
)
def way(request):
    return request.param


def history(*candles, symbol="INFY", sessions=None, before=None):
    earlier = quiet_history() if before is None else before
    rows = [Candle(symbol, c.time, c.open, c.high, c.low, c.close, c.volume)
            for c in (*earlier, *candles)]  # fmt: skip
    share = Instrument(symbol, tick_size=INFY.tick_size)
    return SymbolHistory.of(share, rows, len(earlier), sessions or {DAY: session()})


def played(way, *histories, rules=None, slippage=0.0, capital=100_000):
    rules = rules or TradingRules()
    book = book_of(histories, rules, capital)
    outcome = way(histories, DRAWN, rules=rules, book=book, slippage_bps=slippage)
    return outcome, book


def of_day(way, *candles, **options) -> Outcome:
    return played(way, history(*candles), **options)[0]


def story(outcome):
    return [
        (t.closed.side.value, t.closed.quantity, t.closed.entry_price, t.exit.price, t.exit.reason)
        for t in outcome.trips
    ]


def buys(number=1, prices=DECIDING, day=DAY):
    return bar(number, prices, BUYS, day)


def sells(number=1, prices=DECIDING):
    return bar(number, prices, SELLS)


# Fills


def test_an_entry_fills_at_the_next_open_and_a_stop_at_its_level(way):
    outcome = of_day(way, buys(), bar(2, "1002 1002 1001 1002"), bar(3, "1001 1001 985 986"))
    assert story(outcome) == [("BUY", 20, D(1002), D("992.00"), "trailing_stop")]
    (trip,) = outcome.trips
    assert (trip.closed.entry_time, trip.exit.timestamp) == (at(15), at(20))
    assert trip.exit.gross_pnl == D(-200)
    assert trip.exit.pnl == D(-200) - trip.exit.charges - trip.entry_charges
    assert trip.entry_charges > 0
    assert outcome.candles == 3


def test_a_short_mirrors(way):
    outcome = of_day(way, sells(), bar(2, FLAT), bar(3, "1001 1020 1000 1005"))
    assert story(outcome) == [("SELL", 20, D(1000), D(1010), "trailing_stop")]
    assert outcome.trips[0].exit.gross_pnl == D(-200)


def test_slippage_is_paid_on_both_sides(way):
    outcome = of_day(way, buys(), bar(2, FLAT), bar(3, "1000 1000 985 986"), slippage=10)
    assert story(outcome) == [("BUY", 20, D("1001.00"), D("990.00"), "trailing_stop")]


@pytest.mark.parametrize("patience", [0, 2])
def test_an_entry_beyond_its_limit_is_withdrawn_after_the_patience(way, patience):
    rules = TradingRules(signals=SignalRules(entry_patience=patience))
    away = [bar(2 + n, "1200 1200 1200 1200") for n in range(patience)]
    back = [bar(2 + patience, FLAT), bar(3 + patience, FLAT)]
    outcome = of_day(way, buys(), *away, *back, rules=rules)
    assert len(outcome.trips) == 1  # filled on the last candle it may wait for
    later = of_day(way, buys(), *away, bar(2 + patience, "1200 1200 1200 1200"),
                   bar(3 + patience, FLAT), rules=rules)  # fmt: skip
    assert later.trips == []


# Which level of a candle counts


def test_a_candle_that_touches_stop_and_target_hit_the_stop(way):
    rules = TradingRules(exits=ExitRules(stop_loss_atr=0.2, take_profit_atr=0.2,
                                         trailing_stop_percent=50))  # fmt: skip
    outcome = of_day(way, buys(), bar(2, FLAT), bar(3, "1000 1015 985 1000"), rules=rules)
    assert story(outcome) == [("BUY", 24, D(1000), D(990), "stop_loss")]


@pytest.mark.parametrize("prices", ["950 951 940 945", "950 995 940 994"])
def test_a_gap_through_the_stop_fills_at_the_open(way, prices):
    """Also where the candle came back to the level."""
    rules = TradingRules(exits=ExitRules(stop_loss_atr=0.4, trailing_stop_percent=50))
    outcome = of_day(way, buys(), bar(2, FLAT), bar(3, prices), rules=rules)
    assert story(outcome) == [("BUY", 24, D(1000), D(950), "stop_loss")]


def test_a_gap_through_the_target_fills_at_the_open_too(way):
    rules = TradingRules(exits=ExitRules(take_profit_atr=0.4, trailing_stop_percent=50))
    outcome = of_day(way, buys(), bar(2, FLAT), bar(3, "1050 1060 1045 1055"), rules=rules)
    assert story(outcome) == [("BUY", 20, D(1000), D(1050), "take_profit")]


def test_a_level_between_the_decision_and_the_entry_was_not_jumped_over(way):
    """Decided at 980, sold at the open of 1000, target 990: the market falls to it from above."""
    rules = TradingRules(exits=ExitRules(take_profit_atr=0.2, trailing_stop_percent=50))
    outcome = of_day(way, sells(1, "1000 1025 975 980"), bar(2, "1000 1001 960 970"), rules=rules)
    assert story(outcome) == [("SELL", 20, D(1000), D(990), "take_profit")]


def test_a_position_is_guarded_from_the_candle_it_was_entered_in(way):
    outcome = of_day(way, buys(), bar(2, "1000 1001 900 905"), rules=TradingRules(exits=WIDE))
    assert story(outcome) == [("BUY", 20, D(1000), D(900), "stop_loss")]


def test_trailing_begins_with_the_entry_candle_and_uses_the_best_price_before_a_candle(way):
    """Best 1010 in the entry candle: the level is 999.90 from the next candle on, not before."""
    outcome = of_day(
        way, buys(), bar(2, "1000 1010 991 1009"), bar(3, "1009 1009 1000 1001"),
        bar(4, "1001 1001 999 1000"),
    )  # fmt: skip
    assert story(outcome) == [("BUY", 20, D(1000), D("999.90"), "trailing_stop")]
    assert outcome.trips[0].exit.timestamp == at(25)


def test_a_close_beyond_the_stop_that_the_candle_raised_exits_at_the_next_open(way):
    outcome = of_day(
        way, buys(), bar(2, FLAT), bar(3, "1000 1030 999 1010"), bar(4, "1012 1012 1012 1012")
    )
    assert story(outcome) == [("BUY", 20, D(1000), D(1012), "trailing_stop")]
    assert outcome.trips[0].exit.timestamp == at(25)


# The day's end


def test_the_square_off_sells_at_the_next_open_ten_minutes_before_the_end(way):
    candles = [buys(), *(bar(n, FLAT) for n in range(2, 73)), bar(73, "995 996 994 995"),
               bar(74, "993 993 993 993")]  # fmt: skip
    outcome = of_day(way, *candles, rules=TradingRules(exits=WIDE))
    assert story(outcome) == [("BUY", 20, D(1000), D(995), "square_off")]
    assert outcome.trips[0].exit.timestamp == at(370)
    assert [when for when, _ in outcome.curve] == [at(375)]
    assert outcome.curve[-1][1] == 100_000 + outcome.trips[0].exit.pnl


def test_a_session_that_ends_under_a_working_exit_sells_at_the_last_price(way):
    candles = [buys(), *(bar(n, FLAT) for n in range(2, 72)), bar(72, "1000 1000 997 998")]
    outcome = of_day(way, *candles, rules=TradingRules(exits=WIDE))
    assert story(outcome) == [("BUY", 20, D(1000), D(998), "square_off")]
    assert outcome.trips[0].exit.timestamp == at(375)


def test_no_position_stays_overnight_when_a_days_last_candles_are_missing(way):
    outcome = of_day(way, buys(), bar(2, FLAT), bar(3, FLAT), rules=TradingRules(exits=WIDE))
    assert story(outcome) == [("BUY", 20, D(1000), D(1000), "square_off")]
    assert outcome.trips[0].exit.timestamp == at(375)


def test_what_the_last_candle_of_the_data_decides_comes_to_nothing(way):
    outcome, book = played(way, history(bar(1, FLAT), buys(2)))
    assert outcome.trips == []
    assert book.view().working_orders == 0
    assert outcome.curve == [(at(375), D(100_000))]


def test_a_session_of_one_candle(way):
    tomorrow = DAY + timedelta(days=1)
    sessions = {DAY: session(minutes=5), tomorrow: session(tomorrow)}
    one = history(buys(0), bar(0, FLAT, day=tomorrow), sessions=sessions)
    outcome, book = played(way, one)
    assert (outcome.trips, outcome.candles) == ([], 2)
    assert [when for when, _ in outcome.curve] == [at(5), at(375, tomorrow)]
    assert book.view().working_orders == 0


def test_candles_outside_any_session_are_not_played(way):
    tomorrow = DAY + timedelta(days=1)
    outcome, _ = played(way, history(buys(75), buys(1, day=tomorrow), bar(2, FLAT, day=tomorrow)))
    assert (outcome.trips, outcome.curve, outcome.candles) == ([], [], 0)


# Halts


def test_a_halt_keeps_the_position_and_exits_at_the_first_price_after_it(way):
    rules = TradingRules(exits=ExitRules(stop_loss_atr=0.4, trailing_stop_percent=50))
    outcome = of_day(way, buys(), bar(2, FLAT), bar(40, "960 965 955 960"), rules=rules)
    assert story(outcome) == [("BUY", 24, D(1000), D(960), "stop_loss")]
    assert outcome.trips[0].exit.timestamp == at(205)


def test_an_order_waits_through_a_halt_and_fills_when_trading_goes_on(way):
    outcome = of_day(way, buys(), bar(50, FLAT), bar(51, FLAT), rules=TradingRules(exits=WIDE))
    assert outcome.trips[0].closed.entry_time == at(255)


def test_a_halted_share_is_squared_off_with_the_others_clock(way):
    """Its last candle is long past; another share's candles tell the time."""
    halted = history(buys(), bar(2, FLAT))
    other = history(*(bar(n, FLAT) for n in range(75)), symbol="TCS")
    outcome, _ = played(way, halted, other, rules=TradingRules(exits=WIDE))
    assert story(outcome) == [("BUY", 20, D(1000), D(1000), "square_off")]
    assert outcome.trips[0].exit.timestamp == at(375)


def test_doubted_candles_reach_neither_votes_nor_exits_but_the_exchange(way):
    """A jump that is not believed: no stop, but a working entry fills where the market is."""
    rules = TradingRules(exits=WIDE, feed=FeedRules(price_band_percent=5, jump_confirmations=3))
    away = [bar(n, "500 500 500 500") for n in (3, 4)]
    outcome = of_day(way, buys(), bar(2, FLAT), *away, bar(5, FLAT), rules=rules)
    assert [(trip[3], trip[4]) for trip in story(outcome)] == [(D(1000), "square_off")]
    believed = of_day(way, buys(), bar(2, FLAT), *away, bar(5, "500 500 500 500"), rules=rules)
    assert [trip[4] for trip in story(believed)] == ["stop_loss"]


def test_a_frozen_price_makes_no_entries(way):
    candles = [*(bar(n, FLAT) for n in range(5)), buys(5, FLAT), bar(6, FLAT)]
    assert of_day(way, *candles).trips == []
    thawed = [*(bar(n, FLAT) for n in range(5)), buys(5, "1000 1001 1000 1000"), bar(6, FLAT)]
    assert len(of_day(way, *thawed).trips) == 1


# Limits


def test_the_daily_loss_ends_the_days_entries_and_the_next_day_begins_anew(way):
    tomorrow = DAY + timedelta(days=1)
    rules = TradingRules(risk=RiskLimits(max_daily_loss_percent=D("0.1")))
    losing = [buys(), bar(2, FLAT), *(buys(n, "985 986 984 985") for n in range(3, 20))]
    again = [buys(n, "985 986 984 985", tomorrow) for n in range(3)]
    sessions = {DAY: session(), tomorrow: session(tomorrow)}
    outcome, book = played(way, history(*losing, *again, sessions=sessions), rules=rules)
    assert [trip.closed.session_day for trip in outcome.trips] == [DAY, tomorrow]
    assert book.view().opening_capital == 100_000 + outcome.trips[0].exit.pnl


def test_a_day_without_a_decision_ends_the_reduction_of_the_day_before(way):
    days = [DAY + timedelta(days=number) for number in range(4)]
    rules = TradingRules(risk=RiskLimits(max_daily_loss_percent=D("0.1")))
    losing = [buys(), bar(2, FLAT), bar(3, "1000 1000 960 960")]
    calm = [bar(n, "960 961 959 960", 100.0, day) for day in days[1:] for n in (1, 2)]
    sessions = {day: session(day) for day in days}
    outcome, book = played(way, history(*losing, *calm, sessions=sessions), rules=rules)
    assert len(outcome.trips) == 1
    assert [time.date() for time, _ in outcome.curve] == days
    view = book.view()
    assert (view.state, view.since) == (RiskState.ACTIVE, at(10, days[1]))
    assert view.session_day == days[-1]


def test_an_open_loss_that_passes_counts(way):
    """It reaches the limit on one candle, recovers on the next, and still ends the entries."""
    rules = TradingRules(exits=WIDE, risk=RiskLimits(max_daily_loss_percent=D("0.5")))
    one = history(buys(), bar(2, FLAT), bar(3, "990 990 960 960"), bar(4, FLAT), bar(5, FLAT))
    other = history(*(bar(n, FLAT) for n in range(1, 4)), buys(4), bar(5, FLAT), symbol="TCS")
    outcome, book = played(way, one, other, rules=rules)
    assert [trip.closed.symbol for trip in outcome.trips] == ["INFY"]
    assert book.state is RiskState.REDUCING
    unhurt = history(buys(), *(bar(n, FLAT) for n in range(2, 6)))
    calm, _ = played(way, unhurt, other, rules=rules)
    assert sorted(trip.closed.symbol for trip in calm.trips) == ["INFY", "TCS"]


def test_exits_make_room_for_entries_of_the_same_moment_in_the_symbols_order(way):
    """Capital for one position: the exit of the last symbol pays the entry of the first."""
    limits = RiskLimits(max_symbol_exposure_percent=D(100), risk_per_trade_percent=D(50))
    rules = TradingRules(risk=limits)
    a = history(bar(1, FLAT), bar(2, FLAT), buys(3), bar(4, FLAT), symbol="AAA")
    b = history(bar(1, FLAT), bar(2, FLAT), buys(3), bar(4, FLAT), symbol="BBB")
    c = history(buys(1), bar(2, FLAT), bar(3, "1000 1000 980 981"), symbol="CCC")
    outcome, _ = played(way, a, b, c, rules=rules)
    assert [trip.closed.symbol for trip in outcome.trips] == ["CCC", "AAA"]


# What goes in


def test_votes_kept_in_a_cache_change_nothing():
    one = history(buys(), bar(2, FLAT), bar(3, "1000 1000 985 986"))
    rules, cache = TradingRules(), VoteCache(limit=1_000)
    runs = [
        play([one], DRAWN, rules=rules, book=book_of([one], rules, 100_000), slippage_bps=0.0,
             cache=cache)
        for _ in range(2)
    ]  # fmt: skip
    other = history(bar(1, FLAT), bar(2, FLAT), bar(3, FLAT))
    runs.append(play([other], DRAWN, rules=rules, book=book_of([other], rules, 100_000),
                     slippage_bps=0.0, cache=cache))  # fmt: skip
    assert runs[0] == runs[1]
    assert runs[2].trips == []


@pytest.mark.parametrize(
    ("rows", "start"),
    [([bar(1, "10 9 11 10")], 0), ([bar(2, FLAT), bar(1, FLAT)], 0), ([bar(1, FLAT)], 2)],
)
def test_a_history_that_no_live_symbol_would_take_is_refused(rows, start):
    with pytest.raises(ValueError, match=r"candles: INFY at 2026|start: 2 is not within 0 to 1"):
        SymbolHistory.of(INFY, rows, start, {DAY: session()})


def test_short_sessions_end_entries_early(way):
    """The last half hour takes no entries; here that is the whole session but its first minute."""
    rules = TradingRules(session=SessionRules(no_entry_minutes=60))
    short = {DAY: session(minutes=45, rules=rules.session)}
    outcome, _ = played(way, history(buys(1), bar(2, FLAT), sessions=short), rules=rules)
    assert outcome.trips == []
    assert sum((trip.exit.pnl for trip in outcome.trips), Decimal(0)) == 0
