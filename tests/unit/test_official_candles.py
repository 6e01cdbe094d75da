"""The exchange's candle takes the place of what ticks made of it, and decides instead of it."""

import pickle
from dataclasses import replace

import pytest
from engine_world import BUY, SELL, Desk, Script, at, bar, on_bar, session, tick
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from play_world import Weather, random_history
from test_candles import buffer, rows, took
from tick_world import ends, extremes, told_both_ways

from hftray.core.engine import SymbolEngine
from hftray.core.events import ClockAdvanced, SessionOpened
from hftray.core.orders import Leg
from hftray.core.position import Phase
from hftray.core.rules import ExitRules, SignalRules, TradingRules

LOOSE = TradingRules(exits=ExitRules(trailing_stop_percent=50))


class Watched(Script):
    """The script, remembering the newest row of every vote."""

    def __init__(self, decisions=None):
        super().__init__(decisions)
        self.seen = []

    def vote(self, candles):
        self.seen.append((float(candles.high[-1]), float(candles.low[-1]), len(candles)))
        return super().vote(candles)


# The buffer


def test_the_official_candle_replaces_the_forming_one_whole():
    own = buffer()
    took(own, tick(0, 100, 7), tick(1, 140, 7), tick(2, 101, 7))  # 140 was never traded
    assert own.append(bar(0, "100 102 99 101", 5_000))
    assert [row[1:] for row in rows(own)] == [(100, 102, 99, 101, 5_000)]
    assert (own.forming, own.closed_count, own.rejections.counts) == (False, 1, {})
    assert took(own, tick(3, 100)) == [False]  # its bucket is over


def test_an_official_candle_of_another_bucket_stands_beside_the_forming_one():
    own = buffer()
    took(own, tick(0, 100), tick(1, 103))
    assert own.append(bar(1, "104 104 104 104"))
    assert [row[1] for row in rows(own)] == [100, 104]


@pytest.mark.parametrize("prices", ["100 99 101 100", "100 nan 99 100", "0 100 0 100"])
def test_an_unsound_official_candle_is_counted_and_leaves_what_ticks_built(prices):
    own = buffer()
    took(own, tick(0, 100), tick(1, 103))
    before = rows(own)
    assert not own.append(bar(0, prices))
    assert (rows(own), own.forming) == (before, True)
    assert sum(own.rejections.counts.values()) == 1


def test_a_late_official_candle_corrects_the_newest_closed_row_once():
    own = buffer()
    took(own, tick(0, 100), tick(6, 103))
    assert own.correct(bar(0, "100 105 98 102", 900))
    assert rows(own)[0][1:] == (100, 105, 98, 102, 900)
    assert own.forming
    assert not own.correct(bar(0, "100 106 98 102"))  # that one was official
    assert not own.append(bar(0, "100 106 98 102"))


def test_neither_older_rows_nor_official_ones_are_corrected():
    own = buffer()
    took(own, tick(0, 100), tick(6, 103), tick(11, 104))
    assert not own.correct(bar(0, "100 105 98 102"))
    other = buffer()
    other.append(bar(0, "100 100 100 100"))
    assert not other.correct(bar(0, "100 105 98 102"))
    assert not buffer().correct(bar(0, "100 105 98 102"))


def test_a_restored_buffer_still_knows_that_ticks_built_its_newest_row():
    own = buffer()
    took(own, tick(0, 100))
    own.close_forming()
    copy = buffer().restore(pickle.loads(pickle.dumps(own.snapshot())))
    assert copy.correct(bar(0, "100 105 98 102"))


# Votes


def test_the_official_candle_is_what_is_voted_on_and_only_once():
    voters = Watched({at(0): BUY})
    desk = Desk(voters, LOOSE)
    for minute, price in [(0, 1000), (2, 1030), (4, 1001)]:
        desk.send(tick(minute, price))
    desk.send(bar(0, "1000 1004 999 1002", 5_000))
    desk.send(tick(5.5, 1003))
    desk.send(ClockAdvanced(at(6)))
    (signal,) = desk.signals(final=True)
    assert (signal.candle_time, signal.timestamp, signal.price) == (at(0), at(5), 1002.0)
    assert voters.seen[3][:2] == (1004.0, 999.0)
    assert [i.price for i in desk.intents(Leg.ENTRY)] == [1002.0]


def test_without_an_official_candle_the_tick_built_one_is_voted_on():
    desk = Desk(on_bar(0, BUY), LOOSE)
    desk.send(tick(1, 1000))
    desk.send(ClockAdvanced(at(5.2)))
    assert [s.candle_time for s in desk.signals(final=True)] == [at(0)]


def test_the_clock_closes_no_candle_that_is_still_awaited_but_ends_positions():
    desk = Desk(on_bar(0, BUY), LOOSE)
    desk.send(tick(1, 1000))
    desk.send(ClockAdvanced(at(5.1), awaiting=True))
    assert desk.signals(final=True) == []
    desk.send(bar(0, "1000 1004 999 1002"))
    assert [s.price for s in desk.signals(final=True)] == [1002.0]
    desk.fill("1002")
    desk.send(tick(364, 1002))
    desk.send(ClockAdvanced(at(365.1), awaiting=True))
    assert [reason for reason, *_ in desk.exits()] == ["square_off"]


def test_a_late_official_candle_changes_the_buffer_and_decides_nothing():
    desk = Desk(Script({at(0): BUY}), LOOSE, deny=lambda intent: "size")
    desk.send(tick(1, 1000))
    desk.send(ClockAdvanced(at(5.2)))
    desk.send(tick(5.5, 1001))
    before = len(desk.commands)
    assert desk.send(bar(0, "1000 1150 850 1002")) == []
    assert len(desk.commands) == before
    view = desk.engine.candles.view()
    assert (view.high[-2], view.low[-2], view.close[-1]) == (1150.0, 850.0, 1001.0)


def test_a_late_official_candle_ends_no_position_but_time_still_does():
    desk = Desk(on_bar(0, BUY), LOOSE)
    desk.send(bar(0, "1000 1000 1000 1000"))
    desk.fill("1000")
    desk.send(tick(6, 1000))
    desk.send(ClockAdvanced(at(10.2)))
    assert desk.send(bar(1, "1000 1100 850 1000")) == []
    desk.send(tick(360, 1000))
    desk.send(ClockAdvanced(at(365.2)))
    assert [reason for reason, *_ in desk.exits()] == ["square_off"]


def test_an_official_candle_of_the_next_bucket_closes_the_forming_one_with_a_vote():
    desk = Desk(Script(), LOOSE)
    desk.send(tick(1, 1000))
    desk.send(bar(1, "1000 1001 999 1000"))
    assert [s.candle_time for s in desk.signals(final=True)] == [at(0), at(5)]


def test_an_unsound_official_candle_lets_the_tick_built_one_be_voted_on():
    desk = Desk(on_bar(0, BUY), LOOSE)
    desk.send(tick(1, 1000))
    desk.send(bar(0, "1000 990 1000 1000"))
    assert [s.candle_time for s in desk.signals(final=True)] == [at(0)]
    assert len(desk.intents(Leg.ENTRY)) == 1


def test_a_vote_that_comes_minutes_after_its_candle_opens_nothing():
    desk = Desk(Script({at(0): BUY, at(5): BUY}), LOOSE)
    desk.send(tick(4, 1000))
    desk.send(tick(8.5, 1000))  # nothing was heard meanwhile
    assert desk.signals(final=True)[-1].action == "no entry: the candle closed 210 s ago"
    desk.send(ClockAdvanced(at(11)))
    assert desk.signals(final=True)[-1].action == "enter"


# Exits


def held(rules=LOOSE, decision=BUY):
    desk = Desk(on_bar(0, decision), rules)
    desk.send(tick(1, 1000))
    desk.send(bar(0, "1000 1000 1000 1000"))
    desk.fill("1000")
    return desk


@pytest.mark.parametrize(
    ("prices", "reason"),
    [("1000 1001 899 1000", "stop_loss"), ("1000 1195 999 1000", "take_profit")],
)
def test_a_level_that_polling_missed_is_found_in_the_official_candle(prices, reason):
    desk = held()
    level = getattr(desk.engine.position, reason)
    desk.send(tick(6, 1000))
    desk.send(tick(9, 1000))
    desk.send(bar(1, prices))
    ((why, price, trigger),) = desk.exits()
    assert (why, price, trigger) == (reason, 1000.0, level)


def test_a_trailing_stop_raised_inside_the_candle_is_not_held_against_its_own_low():
    desk = held(TradingRules(exits=ExitRules(trailing_stop_percent=1)))
    for minute, price in [(6, 1000), (7, 995), (8, 1020), (9, 1015)]:
        desk.send(tick(minute, price))
    desk.send(bar(1, "1000 1020 995 1015"))
    assert desk.exits() == []
    assert desk.engine.position.best_price == 1020.0
    desk.send(tick(11, 1015))
    desk.send(bar(2, "1015 1016 1009 1015"))  # 1009.8 stood when this one began
    assert [reason for reason, *_ in desk.exits()] == ["trailing_stop"]


def test_extremes_from_before_an_entry_on_a_tick_are_not_held_against_it():
    rules = replace(LOOSE, signals=SignalRules(entry_on="tick"))
    desk = Desk(on_bar(0, BUY), rules)
    desk.send(tick(3, 1000))
    desk.fill("1000")
    desk.send(bar(0, "1000 1000 800 1000"))
    assert desk.exits() == []


def test_a_close_beyond_the_stop_ends_the_position_whenever_it_was_entered():
    rules = replace(LOOSE, signals=SignalRules(entry_on="tick"))
    desk = Desk(on_bar(0, BUY), rules)
    desk.send(tick(3, 1000))
    desk.fill("1000")
    desk.send(bar(0, "1000 1000 800 850"))
    assert [reason for reason, *_ in desk.exits()] == ["stop_loss"]


# No entry on the candle of an exit


def left_inside_a_candle(**options):
    """A position entered on candle 0 and stopped out by the ticks of candle 1."""
    desk = Desk(Script({at(0): BUY, at(5): SELL, at(10): SELL}), LOOSE, **options)
    desk.send(bar(0, "1000 1000 1000 1000"))
    desk.fill("1000")
    desk.send(tick(6, 890))
    desk.fill("890")
    assert desk.engine.phase is Phase.FLAT
    return desk


@pytest.mark.parametrize("official", [True, False])
def test_no_entry_on_the_candle_on_which_an_exit_was_decided(official):
    desk = left_inside_a_candle()
    desk.send(bar(1, "1000 1000 890 900") if official else ClockAdvanced(at(10.5)))
    assert desk.signals(final=True)[-1].action == "no entry: exit on this candle"
    assert len(desk.intents(Leg.ENTRY)) == 1
    desk.send(tick(11, 900))
    desk.send(bar(2, "900 900 900 900"))
    assert desk.signals(final=True)[-1].action == "enter"


def test_that_holds_for_entries_on_ticks_too():
    desk = Desk(
        Script({at(0): BUY, at(5): SELL}), replace(LOOSE, signals=SignalRules(entry_on="tick"))
    )
    desk.send(tick(1, 1000))
    desk.fill("1000")
    desk.send(tick(6, 890))
    desk.fill("890")
    desk.send(tick(7, 891))
    assert desk.signals()[-1].action == "no entry: exit on this candle"


def test_another_process_remembers_the_candle_of_the_exit():
    desk = left_inside_a_candle()
    state = pickle.loads(pickle.dumps(desk.engine.snapshot()))
    engine = SymbolEngine(desk.engine.instrument, LOOSE, desk.engine.electorate).restore(state)
    assert engine.handle(bar(1, "1000 1000 890 900"))[-1].action == "no entry: exit on this candle"


def test_a_new_process_learns_it_from_the_ledger():
    desk = left_inside_a_candle()
    engine = SymbolEngine(desk.engine.instrument, LOOSE, desk.engine.electorate)
    engine.warm([bar(0, "1000 1000 1000 1000")])
    engine.handle(SessionOpened(session()))
    engine.adopt(None, None, None, exit_at=at(5))
    assert engine.handle(bar(1, "1000 1000 890 900"))[-1].action == "no entry: exit on this candle"
    assert engine.handle(bar(2, "900 900 900 900"))[0].action == "enter"


# Fed both ways

weathers = st.builds(
    Weather,
    volatility=st.sampled_from([0.0005, 0.002, 0.01]),
    grid=st.sampled_from([0.05, 0.5, 2.0]),
    flat=st.sampled_from([0.0, 0.03]),
    gap=st.sampled_from([0.0, 0.05]),
)
LIVELY = TradingRules(
    exits=ExitRules(stop_loss_atr=1.5, take_profit_atr=2.0, trailing_stop_percent=0.6),
    signals=SignalRules(threshold=0.1),
)
chosen_rules = st.builds(
    TradingRules,
    exits=st.builds(
        ExitRules,
        stop_loss_atr=st.sampled_from([0.5, 2.0]),
        take_profit_atr=st.sampled_from([0.5, 4.0]),
        trailing_stop_percent=st.sampled_from([0.3, 1.0, 20.0]),
    ),
    signals=st.builds(SignalRules, threshold=st.sampled_from([0.05, 0.15])),
)


@pytest.mark.parametrize("way", [extremes, ends])
@given(seed=st.integers(0, 10_000), weather=weathers, rules=chosen_rules)
@settings(max_examples=examples(40))
def test_ticks_with_official_candles_decide_as_closed_candles_do(way, seed, weather, rules):
    history = random_history("S", seed, weather, days=4, candles=40)
    told_both_ways(history, rules, way)


def test_the_random_candles_do_decide_something():
    """Or the property above would be hollow."""
    made = []
    for seed in range(6):
        history = random_history("S", seed, Weather(volatility=0.004), days=4, candles=40)
        made += told_both_ways(history, LIVELY, extremes)
    assert sum(leg is Leg.EXIT for _, leg, *_ in made) > 30
    assert len({reason for *_, reason in made}) >= 4
