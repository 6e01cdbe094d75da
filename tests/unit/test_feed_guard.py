"""Feed faults: no entries on market data that is in doubt, and a position guarded all the same."""

import csv
import gzip
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from engine_world import (
    BUY,
    DAY,
    INFY,
    SYMBOL,
    D,
    Desk,
    Script,
    at,
    bar,
    on_bar,
    session,
    tick,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

from hftray.core.engine import SymbolEngine
from hftray.core.events import ClockAdvanced, FlattenRequested, SessionOpened, Vote
from hftray.core.feed_guard import PRICE_JUMP, clock_fault
from hftray.core.market import Candle
from hftray.core.orders import Leg
from hftray.core.position import Phase
from hftray.core.rules import ExitRules, FeedRules, SignalRules, TradingRules

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "bars5m"
ANOTHER_DAY = DAY + timedelta(days=1)
PATIENT = TradingRules(exits=ExitRules(trailing_stop_percent=50))  # leaves by the stop only
MOVING = "1000 1001 999 1000"
ONE_PRICE = "1000 1000 1000 1000"


class Eager:
    """Buys whatever it is shown."""

    def vote(self, candles):
        return Vote(BUY, 1.0, {"eager": 1}, 1)


def quiet(**options):
    """A desk whose voters hold, at a price of 1000 on the day's first tick."""
    desk = Desk(Script(), **options)
    desk.send(tick(0, 1000))
    return desk


def holding(**changes):
    """A desk with 20 shares bought at 1000, stop at 985, target at 1030."""
    desk = Desk(on_bar(1, BUY), replace(PATIENT, **changes), history=[])
    desk.enter("1000")
    return desk


def doubted(desk):
    return desk.engine.candles.rejections.counts.get(PRICE_JUMP, 0)


def columns(desk):
    """The candles without the counts of what was refused."""
    state = desk.engine.candles.snapshot()
    return state["ints"], state["floats"]


# Absurd jumps, ticks


@pytest.mark.parametrize(
    ("price", "believed"),
    [(1200, True), (1200.05, False), (800, True), (799.95, False), (1, False)],
)
def test_a_tick_beyond_the_band_of_the_last_good_price_is_doubted(price, believed):
    desk = quiet()
    before = columns(desk)
    desk.send(tick(1, price))
    assert (desk.engine.last_price == price, doubted(desk)) == (believed, int(not believed))
    assert (columns(desk) == before) is not believed
    assert desk.engine.feed_fault == (
        "" if believed else f"price jump to {price:.2f} not confirmed"
    )


def test_a_spike_triggers_no_exit_and_the_next_good_tick_ends_the_doubt():
    desk = holding()
    assert desk.send(tick(11, 500)) == []
    assert (desk.exits(), desk.engine.open_pnl()) == ([], D(0))
    assert desk.engine.position.best_price == 1000
    desk.send(tick(12, 1001))
    assert (desk.engine.feed_fault, desk.engine.last_price) == ("", 1001)


def test_a_move_that_three_ticks_confirm_is_believed_and_acted_upon():
    desk = holding()
    desk.send(tick(11, 700))
    desk.send(tick(11.1, 710))
    assert desk.exits() == []
    desk.send(tick(11.2, 690))
    assert desk.exits() == [("stop_loss", 690.0, None)]
    assert desk.engine.feed_fault == ""


@pytest.mark.parametrize(
    "between",
    [tick(1, 700), tick(0.5, 700), tick(1.5, 1000), tick(1.5, 300)],
    ids=["the same print again", "an earlier one", "a good one", "another level"],
)
def test_only_newer_ticks_of_the_same_level_in_a_row_confirm(between):
    desk = quiet()
    for event in (tick(1, 700), between, tick(2, 700)):
        desk.send(event)
    assert desk.engine.last_price == 1000
    assert desk.engine.feed_fault == "price jump to 700.00 not confirmed"


def test_a_bad_print_delivered_again_and_again_is_never_believed():
    desk = quiet()
    for _ in range(10):
        desk.send(tick(1, 700))
    assert (desk.engine.last_price, doubted(desk)) == (1000, 10)


def test_an_absurd_tick_out_of_order_neither_widens_the_candle_nor_raises_doubt():
    desk = quiet()
    desk.send(tick(2, 1000))
    before = columns(desk)
    desk.send(tick(1, 5000))
    assert (columns(desk), doubted(desk), desk.engine.feed_fault) == (before, 1, "")


def test_what_is_faulty_in_itself_is_told_so():
    desk = quiet()
    for price in (float("nan"), float("inf"), 0.0, -1000.0):
        desk.send(tick(1, price))
    assert desk.engine.candles.rejections.counts == {"price is not a positive finite number": 4}
    assert desk.engine.feed_fault == ""


def test_a_new_day_begins_at_any_price_and_forgets_the_doubt():
    desk = quiet()
    desk.send(tick(1, 100))
    desk.send(SessionOpened(session(ANOTHER_DAY)))
    assert desk.engine.feed_fault == ""
    desk.send(tick(0, 100, day=ANOTHER_DAY))
    assert (desk.engine.last_price, desk.engine.feed_fault) == (100, "")


def test_no_entry_while_a_jump_is_doubted():
    desk = Desk(on_bar(0, BUY))
    desk.send(tick(4, 1000))
    signal, *_ = desk.send(tick(5, 3000))  # closes the candle that decides
    assert (signal.final, signal.action) == (True, "no entry: price jump to 3000.00 not confirmed")
    assert desk.intents() == []


def test_the_time_of_a_doubted_tick_squares_off_at_the_last_good_price():
    desk = holding()
    desk.send(tick(365, 3000))
    assert desk.exits() == [("square_off", 1000.0, None)]


# Absurd jumps, closed candles


@pytest.mark.parametrize(
    "prices",
    ["1000 1201 1000 1000", "1000 1000 500 1000", "3000 3000 1000 1000", "500 500 500 500"],
)
def test_a_candle_with_any_price_beyond_the_band_is_refused(prices):
    desk = holding()
    before = columns(desk)
    desk.send(bar(2, prices))
    assert (columns(desk), desk.exits(), doubted(desk)) == (before, [], 1)
    desk.send(bar(3, MOVING))
    assert (desk.engine.feed_fault, len(desk.engine.candles)) == ("", 2)


def test_candles_confirm_a_move_as_ticks_do():
    desk = holding()
    desk.send(bar(2, "1000 1000 700 700"))
    desk.send(bar(3, "700 720 690 710"))
    assert desk.exits() == []
    desk.send(bar(4, "710 710 700 705"))
    assert desk.exits() == [("stop_loss", 705.0, D(985))]


def test_the_time_of_a_doubted_candle_squares_off_at_the_last_good_price():
    desk = holding()
    desk.send(bar(72, "10 10 10 10"))
    assert desk.exits() == [("square_off", 1000.0, None)]


def test_history_is_measured_like_news():
    """Who warms up in the middle of a day knows what the one before it knew."""
    history = [bar(0, MOVING), bar(1, "1000 9000 1000 1000"), bar(2, MOVING)]
    desk = Desk(Script(), history=history)
    assert [int(low) for low in desk.engine.candles.view().high] == [1001, 1001]
    desk.send(tick(15, 500))
    assert desk.engine.last_price == 1000


def test_a_forming_candle_with_an_absurd_price_is_not_taken_up():
    engine = SymbolEngine(INFY, TradingRules(), Script())
    engine.warm([bar(0, MOVING)], bar(1, "1000 9000 1000 1000"))
    assert (engine.candles.forming, len(engine.candles)) == (False, 1)


def test_another_process_goes_on_counting_the_confirmations():
    desk = quiet()
    desk.send(tick(1, 700))
    desk.send(tick(2, 700))
    state = desk.engine.snapshot()
    desk.engine = SymbolEngine(INFY, TradingRules(), Script()).restore(state)
    assert desk.engine.feed_fault == "price jump to 700.00 not confirmed"
    desk.send(tick(3, 700))
    assert desk.engine.last_price == 700


# A frozen price


def test_six_candles_of_one_price_stop_entries_until_one_moves():
    desk = Desk(Eager(), deny=lambda intent: "size")
    prices = [MOVING] + [ONE_PRICE] * 6 + [MOVING]
    actions = [desk.send(bar(n, text))[0].action for n, text in enumerate(prices)]
    assert actions == ["enter"] * 6 + ["no entry: price frozen for 6 candles", "enter"]


def test_candles_that_stand_still_at_different_prices_are_not_frozen():
    desk = Desk(Script())
    for number in range(8):
        price = 1000 + number % 2
        desk.send(bar(number, f"{price} {price} {price} {price}"))
    assert desk.engine.feed_fault == ""


def test_yesterdays_candles_do_not_freeze_today():
    desk = Desk(Script(), history=[])
    for number in range(70, 75):
        desk.send(bar(number, ONE_PRICE))
    desk.send(SessionOpened(session(ANOTHER_DAY)))
    for number in range(5):
        desk.send(bar(number, ONE_PRICE, day=ANOTHER_DAY))
        assert desk.engine.feed_fault == ""
    desk.send(bar(5, ONE_PRICE, day=ANOTHER_DAY))
    assert desk.engine.feed_fault == "price frozen for 6 candles"


def test_a_position_leaves_a_frozen_market_by_its_stop():
    desk = holding()
    for number in range(2, 8):
        desk.send(bar(number, ONE_PRICE))
    assert desk.engine.feed_fault
    desk.send(bar(8, "1000 1000 980 984"))
    assert desk.exits() == [("stop_loss", 984.0, D(985))]


def test_a_share_locked_at_its_circuit_is_frozen():
    """IDEA stood at its upper limit of 10.02 from the open to 10:10 on 20 January 2025."""
    path = REAL / "IDEA.csv.gz"
    if not path.exists():
        pytest.skip("no market data beside the repository")
    with gzip.open(path, "rt") as file:
        rows = [row for row in csv.DictReader(file) if row["timestamp"].startswith("2025-01-20")]
    day = datetime.fromisoformat(rows[0]["timestamp"]).date()
    engine = SymbolEngine(INFY, TradingRules(), Script())
    engine.handle(SessionOpened(session(day)))
    locked = []
    for row in rows:
        when = datetime.fromisoformat(row["timestamp"])
        prices = (float(row[name]) for name in ("open", "high", "low", "close", "volume"))
        engine.handle(Candle(SYMBOL, when, *prices))
        if engine.feed_fault:
            locked.append(f"{when:%H:%M} {engine.feed_fault}")
    times = ["09:40", "09:45", "09:50", "09:55", "10:00", "10:05", "10:10"]
    assert locked == [f"{time} price frozen for 6 candles" for time in times]


# A stale feed


@pytest.mark.parametrize(("last", "action"), [(1, "no entry: feed stale for 240 s"), (2, "enter")])
def test_a_candle_whose_newest_tick_is_too_old_makes_no_entry(last, action):
    desk = Desk(on_bar(0, BUY))
    desk.send(tick(last, 1000))
    assert desk.send(ClockAdvanced(at(5)))[0].action == action


def test_silence_is_a_fault_until_the_next_good_tick():
    desk = quiet()
    desk.send(ClockAdvanced(at(3)))
    assert desk.engine.feed_fault == ""
    desk.send(ClockAdvanced(at(3.5)))
    assert desk.engine.feed_fault == "feed stale for 210 s"
    desk.send(tick(4, float("nan")))
    assert desk.engine.feed_fault
    desk.send(tick(4, 1001))
    assert desk.engine.feed_fault == ""


def test_the_tick_that_ends_a_silence_lets_its_candle_decide():
    """A market of few ticks is slow, not stale: the candle is decided on as the news arrives."""
    desk = Desk(on_bar(0, BUY))
    desk.send(tick(0, 1000))
    assert desk.send(tick(5, 1000))[0].action == "enter"


def test_ticks_that_come_minutes_late_do_not_end_the_silence():
    desk = Desk(Eager(), TradingRules(signals=SignalRules(entry_on="tick")))
    desk.send(ClockAdvanced(at(6)))
    signal = desk.send(tick(2, 1000))[-1]
    assert signal.action == "no entry: feed stale for 240 s"


def test_a_symbol_that_ticked_before_is_stale_when_a_day_opens_in_silence():
    desk = quiet()
    desk.send(SessionOpened(session(ANOTHER_DAY)))
    desk.send(ClockAdvanced(at(3, ANOTHER_DAY)))
    assert desk.engine.feed_fault == ""
    desk.send(ClockAdvanced(at(4, ANOTHER_DAY)))
    assert desk.engine.feed_fault == "feed stale for 240 s"
    desk.send(ClockAdvanced(at(375, ANOTHER_DAY)))
    assert desk.engine.feed_fault == ""  # a closed market is not stale


def test_silence_is_counted_from_the_opening_whatever_was_taken_up():
    engine = SymbolEngine(INFY, TradingRules(), Script())
    yesterday = DAY - timedelta(days=1)
    engine.warm([], bar(74, MOVING, day=yesterday))
    engine.handle(SessionOpened(session()))
    engine.handle(ClockAdvanced(at(3)))
    assert engine.feed_fault == ""
    engine.handle(ClockAdvanced(at(4)))
    assert engine.feed_fault == "feed stale for 240 s"


def test_a_feed_of_closed_candles_may_be_silent_in_between():
    desk = Desk(Eager(), deny=lambda intent: "size")
    desk.send(bar(0, MOVING))
    desk.send(ClockAdvanced(at(30)))
    assert desk.engine.feed_fault == ""
    assert desk.send(bar(9, MOVING))[0].action == "enter"


def test_a_stale_market_is_left_at_the_last_good_price():
    desk = holding()
    desk.send(tick(11, 986))
    for minute in (20, 364.9):
        desk.send(ClockAdvanced(at(minute)))
    assert (desk.engine.feed_fault != "", desk.exits()) == (True, [])
    desk.send(ClockAdvanced(at(365)))
    assert desk.exits() == [("square_off", 986.0, None)]


# The clock


@pytest.mark.parametrize(("minutes", "fault"), [(9.5, ""), (9, ""), (8.9, "clock went back")])
def test_a_clock_that_goes_back_further_than_stamps_may_differ_is_a_fault(minutes, fault):
    desk = quiet()
    desk.send(tick(10, 1000))
    desk.send(ClockAdvanced(at(minutes)))
    assert desk.engine.feed_fault == fault
    desk.send(tick(10.1, 1000))
    assert desk.engine.feed_fault == ""


def test_a_tick_from_outside_the_session_tells_no_time():
    desk = quiet()
    desk.send(tick(400, 1000))
    desk.send(ClockAdvanced(at(1)))
    assert desk.engine.feed_fault == ""


def test_a_clock_that_went_back_turns_no_time_back():
    desk = holding()
    desk.send(tick(364, 1000))
    assert desk.send(ClockAdvanced(at(100))) == []
    desk.send(tick(365, 1000))
    assert desk.exits() == [("square_off", 1000.0, None)]


def test_a_clock_that_jumped_ahead_is_stale_and_right_again_after_going_back():
    desk = quiet()
    desk.send(ClockAdvanced(at(180)))
    assert desk.engine.feed_fault.startswith("feed stale")
    desk.send(tick(1, 1000))
    desk.send(ClockAdvanced(at(1.1)))
    assert desk.engine.feed_fault == "clock went back"
    desk.send(ClockAdvanced(at(1.2)))
    assert desk.engine.feed_fault == ""


@pytest.mark.parametrize(
    ("previous", "now", "stamp", "fault"),
    [
        (None, 10, 10, ""),
        (10, 10, 10, ""),
        (10, 9, 9, "clock went back 60 s"),
        (10, 11, 12, ""),
        (10, 11, 12.5, "tick of INFY is 90 s ahead of the clock"),
    ],
)
def test_times_of_a_batch_that_cannot_be_right(previous, now, stamp, fault):
    before = None if previous is None else at(previous)
    assert clock_fault(before, at(now), [tick(stamp, 1)], tolerance_seconds=60) == fault


# Properties

walks = st.lists(st.integers(-8, 8), min_size=5, max_size=60)
spikes = st.one_of(st.floats(1.3, 100), st.floats(0.001, 0.7))


def walked(changes):
    price = 1000
    for change in changes:
        price += change
        yield price


def tick_day(changes):
    return [tick(12 + n * 0.7, price) for n, price in enumerate(walked(changes))]


def candle_day(changes):
    return [
        bar(2 + n, f"{price} {price + 3} {price - 3} {price}")
        for n, price in enumerate(walked(changes))
    ]


def spike_after(event, factor):
    if isinstance(event, Candle):
        later = event.time + timedelta(minutes=2)
        return replace(event, time=later, high=event.high * max(1, factor),
                       low=event.low * min(1, factor))  # fmt: skip
    return replace(event, time=event.time + timedelta(seconds=1), price=event.price * factor)


@settings(max_examples=examples(60))
@given(changes=walks, where=st.integers(0, 100), factor=spikes, kind=st.sampled_from(["t", "c"]))
def test_a_single_spike_changes_no_candle_and_no_exit(changes, where, factor, kind):
    news = tick_day(changes) if kind == "t" else candle_day(changes)
    plain, spiked = holding(), holding()
    for number, event in enumerate(news):
        plain.send(event)
        spiked.send(event)
        if number == where % len(news):
            spiked.send(spike_after(event, factor))
            assert spiked.engine.feed_fault
    assert doubted(spiked) == 1
    assert columns(spiked) == columns(plain)
    assert spiked.exits() == plain.exits()
    assert spiked.engine.open_pnl() == plain.engine.open_pnl()


@settings(max_examples=examples(60))
@given(factor=spikes, needed=st.integers(1, 6), wobble=st.lists(st.integers(-5, 5), min_size=6))
def test_a_real_move_is_believed_after_as_many_confirmations_as_asked(factor, needed, wobble):
    desk = quiet(rules=TradingRules(feed=FeedRules(jump_confirmations=needed)))
    level = 1000 * factor
    for number in range(1, needed + 1):
        assert desk.engine.last_price == 1000
        price = level * (1 + wobble[number - 1] / 100)
        desk.send(tick(1 + number / 10, price))
    assert (desk.engine.last_price, desk.engine.feed_fault) == (price, "")


hostile = st.lists(
    st.tuples(
        st.sampled_from(["tick"] * 6 + ["spike", "clock", "back", "bar"]),
        st.integers(1, 400),  # seconds
        st.integers(-8, 8),  # rupees
    ),
    min_size=5,
    max_size=80,
)


def hostile_news(moves):
    moment, price, level = at(0), 1000, 3000
    for kind, seconds, change in moves:
        moment = min(moment + timedelta(seconds=seconds), at(340))
        if kind == "clock":
            yield ClockAdvanced(moment)
        elif kind == "back":
            yield ClockAdvanced(moment - timedelta(seconds=3 * seconds))
        elif kind == "bar":
            opens = at((moment - at(0)) // timedelta(minutes=5) * 5)
            yield Candle(SYMBOL, opens, price, price, price, price, 10)
        else:
            price = price + change if kind == "tick" else price
            minutes = (moment - at(0)) / timedelta(minutes=1)
            yield tick(minutes, price if kind == "tick" else level + change)


@settings(max_examples=examples(100))
@given(moves=hostile, entry_on=st.sampled_from(["close", "tick"]), frozen=st.integers(2, 6))
def test_no_entry_is_made_while_the_feed_is_at_fault(moves, entry_on, frozen):
    chosen = TradingRules(
        signals=SignalRules(entry_on=entry_on), feed=FeedRules(frozen_candles=frozen)
    )
    desk = Desk(Eager(), chosen, deny=lambda intent: "size")
    for event in hostile_news(moves):
        before = len(desk.intents(Leg.ENTRY))
        desk.send(event)
        assert not desk.engine.feed_fault or len(desk.intents(Leg.ENTRY)) == before


@settings(max_examples=examples(100))
@given(moves=hostile, killed=st.booleans())
def test_whatever_the_feed_does_a_position_is_left_at_a_believed_price(moves, killed):
    desk = holding(feed=FeedRules(jump_confirmations=1000))
    for event in hostile_news(moves):
        desk.send(event)
    desk.send(FlattenRequested(at(345), "operator") if killed else ClockAdvanced(at(365)))
    assert desk.engine.phase is Phase.EXITING
    ((_, price, _),) = desk.exits()
    assert price < 2000


def test_the_hostile_days_have_faults_and_entries():
    """The properties above would be hollow without both."""
    moves = [("tick", 60, 1)] * 20 + [("spike", 60, 0), ("clock", 400, 0), ("tick", 1, 1)]
    moves += [("clock", 200, 0), ("back", 100, 0)]
    desk = Desk(Eager(), deny=lambda intent: "size")
    faults = []
    for event in hostile_news(moves):
        desk.send(event)
        faults.append(desk.engine.feed_fault)
    assert desk.intents(Leg.ENTRY)
    assert faults[-5:] == [
        "price jump to 3000.00 not confirmed",
        "price jump to 3000.00 not confirmed",
        "",
        "feed stale for 200 s",
        "clock went back",
    ]
