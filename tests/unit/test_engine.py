"""SymbolEngine: when it enters, what ends a position, what odd outcomes leave behind."""

from dataclasses import replace
from datetime import timedelta

import pytest
from engine_world import (
    BUY,
    DAY,
    HOLD,
    INFY,
    SELL,
    SYMBOL,
    D,
    Desk,
    Script,
    at,
    bar,
    on_bar,
    quiet_history,
    rules,
    session,
    tick,
)

from hftray.core.engine import SymbolEngine
from hftray.core.errors import IllegalTransition
from hftray.core.events import (
    ClockAdvanced,
    FlattenRequested,
    SessionOpened,
    Signal,
)
from hftray.core.market import Candle
from hftray.core.orders import Denial, Leg, Order, OrderIntent, OrderStatus, Side
from hftray.core.position import Phase, Position
from hftray.core.rules import ExitRules, TradingRules

ANOTHER_DAY = DAY + timedelta(days=1)
# A stop and a target far from the price, so that a test about something else meets neither.
PATIENT = TradingRules(exits=ExitRules(trailing_stop_percent=50))


def always(decision):
    return Script({at(5 * n, day): decision for n in range(75) for day in (DAY, ANOTHER_DAY)})


def entered(decision=BUY, price="1000", **options):
    """A desk with a position entered on candle 1."""
    desk = Desk(on_bar(1, decision), **options)
    desk.enter(price)
    assert desk.engine.phase is Phase.OPEN
    return desk


# Entries


@pytest.mark.parametrize(("decision", "side"), [(BUY, Side.BUY), (SELL, Side.SELL)])
def test_a_closed_candle_that_decides_becomes_an_entry(decision, side):
    desk = Desk(on_bar(1, decision))
    assert desk.send(bar(0, "1000 1000 1000 1000"))[0].action == "hold"
    signal, intent = desk.send(bar(1, "1000 1004 998 1002"))
    assert (signal.signal, signal.final, signal.action) == (decision, True, "enter")
    assert (signal.candle_time, signal.timestamp, signal.price) == (at(5), at(10), 1002.0)
    assert intent == OrderIntent(
        symbol=SYMBOL, leg=Leg.ENTRY, side=side, price=1002.0, time=at(10), reason="signal",
        session_day=DAY, quantity=0, atr=intent.atr, candle_time=at(5), score=side.sign * 1.0,
        votes={"script": side.sign}, strategy_id=1,
    )  # fmt: skip
    assert desk.engine.phase is Phase.ENTERING


def test_the_atr_of_an_entry_is_that_of_the_candles_it_was_decided_on():
    desk = Desk(on_bar(0, BUY), history=quiet_history(spread=50))
    desk.send(bar(0, "1000 1025 975 1000"))
    assert desk.intents()[0].atr == pytest.approx(50)


@pytest.mark.parametrize("history", [[], quiet_history(13), quiet_history(spread=0)])
def test_without_an_atr_the_entry_says_so_and_gets_the_percentage_levels(history):
    desk = Desk(on_bar(0, BUY), history=history)
    desk.send(bar(0, "1000 1000 1000 1000"))
    assert desk.intents()[0].atr is None
    desk.fill("1000")
    held = desk.engine.position
    assert (held.stop_loss, held.take_profit) == (D("985"), D("1030"))


def test_a_filled_entry_is_guarded_by_the_specifications_levels():
    desk = Desk(on_bar(0, BUY), history=quiet_history(spread=50))
    desk.send(bar(0, "1000 1025 975 1000"))
    desk.fill("1000.50")
    held = desk.engine.position
    assert (held.quantity, held.entry_price, held.best_price) == (20, D("1000.50"), 1000.5)
    assert (held.stop_loss, held.take_profit) == (D("900.50"), D("1200.50"))
    assert (held.reference, held.session_day) == (desk.orders[0].reference, DAY)
    assert desk.settled()[-1].after == held


def test_ticks_alone_are_indicative_until_their_candle_closes():
    desk = Desk(on_bar(1, BUY))
    desk.send(tick(5, 1000))
    desk.send(tick(7, 1003))
    assert not desk.intents()
    assert {s.action for s in desk.signals()} == {"indicative"}
    final, intent, indicative = desk.send(tick(10, 1001))
    assert (final.final, final.candle_time, final.price) == (True, at(5), 1003.0)
    assert isinstance(intent, OrderIntent)
    assert (indicative.final, indicative.candle_time, indicative.action) == (
        False, at(10), "indicative",
    )  # fmt: skip


def test_the_clock_closes_a_candle_that_no_tick_follows():
    desk = Desk(on_bar(1, BUY))
    desk.send(tick(8, 1000))
    assert desk.send(ClockAdvanced(at(9.9))) == []
    signal, intent = desk.send(ClockAdvanced(at(10)))
    assert signal.final
    assert intent.price == 1000.0
    assert desk.send(ClockAdvanced(at(11))) == []


def test_a_candle_is_voted_on_as_final_exactly_once():
    desk = Desk(always(HOLD))
    for half in range(120):
        desk.send(tick(half / 2, 1000 + half % 7))
        desk.send(ClockAdvanced(at(half / 2)))
    finals = [signal.candle_time for signal in desk.signals(final=True)]
    assert finals == [at(5 * n) for n in range(11)]


def test_entry_on_tick_enters_on_the_forming_candle_and_on_a_closed_one():
    desk = Desk(on_bar(1, BUY), rules(entry_on="tick"))
    signal, intent = desk.send(tick(6, 1000))
    assert (signal.final, signal.action, intent.side) == (False, "enter", Side.BUY)
    late = Desk(Script(), rules(entry_on="tick"))
    late.send(tick(6, 1000))
    late.engine.electorate = on_bar(1, BUY)
    final, *_ = late.send(tick(10, 1000))
    assert (final.final, final.action) == (True, "enter")
    assert len(late.intents()) == 1


@pytest.mark.parametrize(
    ("number", "action"),
    [(0, "enter"), (67, "enter"), (68, "no entry: outside the hours for entries"),
     (74, "no entry: outside the hours for entries")],
)  # fmt: skip
def test_no_entry_in_the_last_thirty_minutes(number, action):
    """Candle 68 closes at 15:00, thirty minutes before the end."""
    desk = Desk(on_bar(number, BUY))
    assert desk.send(bar(number, "1000 1000 1000 1000"))[0].action == action


def test_no_entry_before_any_session():
    engine = SymbolEngine(Desk(Script()).engine.instrument, TradingRules(), on_bar(1, BUY))
    (signal,) = engine.handle(bar(1, "1000 1000 1000 1000"))
    assert signal.action == "no entry: outside the hours for entries"
    assert engine.handle(tick(11, 1000)) == []
    assert engine.candles.rejections.counts == {"tick before any session": 1}


def test_what_each_phase_does_with_a_further_signal():
    desk = Desk(always(BUY), PATIENT)
    actions = [desk.send(bar(1, "1000 1000 1000 1000"))[0].action]
    actions += [desk.send(bar(2, "1000 1000 1000 1000"))[0].action]
    desk.fill("1000")
    actions += [desk.send(bar(3, "1000 1000 1000 1000"))[0].action]
    *_, signal = desk.send(bar(4, "1000 1000 800 1000"))
    actions += [signal.action]
    assert actions == ["enter", "entering", "holding", "exiting"]
    assert len(desk.intents(Leg.ENTRY)) == 1


def test_a_denied_entry_leaves_the_symbol_flat_and_free_to_try_again():
    desk = Desk(always(BUY), deny=lambda intent: "size")
    desk.send(bar(1, "1000 1000 1000 1000"))
    assert (desk.engine.phase, desk.engine.intent, desk.engine.order) == (Phase.FLAT, None, None)
    assert desk.send(bar(2, "1000 1000 1000 1000"))[0].action == "enter"


@pytest.mark.parametrize("status", [OrderStatus.REJECTED, OrderStatus.CANCELLED])
def test_an_entry_that_nobody_filled_leaves_the_symbol_flat(status):
    desk = Desk(on_bar(1, BUY))
    desk.send(bar(1, "1000 1000 1000 1000"))
    (settle,) = desk.send(desk.report(status))
    assert (settle.after, settle.closed) == (None, None)
    assert (desk.engine.phase, desk.engine.position) == (Phase.FLAT, None)


def test_a_cancelled_entry_keeps_what_was_filled_before():
    desk = Desk(on_bar(1, BUY))
    desk.send(bar(1, "1000 1000 1000 1000"))
    desk.send(desk.report(OrderStatus.CANCELLED, 7, "1000"))
    assert (desk.engine.phase, desk.engine.position.quantity) == (Phase.OPEN, 7)


def test_rejected_market_data_makes_no_signal_and_moves_no_price():
    desk = Desk(always(BUY))
    desk.send(bar(1, "1000 1000 1000 1000"))
    desk.fill("1000")
    before = desk.engine.snapshot()
    faulty = Candle(SYMBOL, at(10), 1000, 900, 1000, 1000, 1)
    assert desk.send(faulty) == []
    assert desk.send(bar(1, "500 500 500 500")) == []
    assert desk.send(tick(7, float("nan"))) == []
    assert desk.send(tick(7, 500)) == []
    after = desk.engine.snapshot()
    for state in (before, after):
        state["candles"].pop("rejections")
    assert before == after
    assert sum(desk.engine.candles.rejections.counts.values()) == 4


# Exits


@pytest.mark.parametrize(
    ("decision", "price", "reason"),
    [
        (BUY, 990.0, "trailing_stop"), (BUY, 990.05, None), (BUY, 984.0, "stop_loss"),
        (BUY, 1030.0, "take_profit"), (BUY, 1029.95, None),
        (SELL, 1010.0, "trailing_stop"), (SELL, 1009.95, None), (SELL, 1016.0, "stop_loss"),
        (SELL, 970.0, "take_profit"),
    ],
)  # fmt: skip
def test_every_tick_is_checked_against_the_levels(decision, price, reason):
    desk = entered(decision, history=[])
    desk.send(tick(11, price))
    assert [why for why, *_ in desk.exits()] == ([reason] if reason else [])
    if reason:
        (intent,) = desk.intents(Leg.EXIT)
        side = Side.SELL if decision is BUY else Side.BUY
        assert (intent.side, intent.quantity, intent.price) == (side, 20, price)
        assert (intent.trigger, intent.position) == (None, desk.orders[0].reference)


def test_the_trailing_stop_acts_from_the_first_tick_after_entry_and_follows_the_best_price():
    desk = entered(history=quiet_history(spread=50))
    for minute, price in enumerate([1050, 1100, 1090, 1089.05], start=11):
        desk.send(tick(minute, price))
    assert desk.exits() == []
    desk.send(tick(15, 1089))
    assert desk.exits() == [("trailing_stop", 1089.0, None)]


def test_a_level_touched_inside_a_candle_is_the_exits_trigger():
    desk = entered(rules=PATIENT, history=[])
    desk.send(bar(2, "1000 1002 980 999"))
    assert desk.exits() == [("stop_loss", 999.0, D(985))]


def test_a_close_below_a_trailing_stop_that_its_own_high_raised_exits_at_the_next_price():
    desk = entered(history=quiet_history(spread=50))
    desk.send(bar(2, "1000 1100 995 1050"))
    assert desk.exits() == [("trailing_stop", 1050.0, None)]


def test_an_out_of_order_tick_is_not_the_present_price():
    desk = entered(history=[])
    desk.send(tick(12, 1000))
    desk.send(tick(11, 980))
    assert desk.exits() == []
    assert (desk.engine.last_price, desk.engine.position.best_price) == (1000, 1000)
    desk.send(tick(11.5, 1100))
    assert (desk.engine.last_price, desk.engine.position.best_price) == (1000, 1000)


@pytest.mark.parametrize("minutes", [360, 375])
def test_square_off_goes_ten_minutes_before_the_session_ends(minutes):
    hours = session(minutes=minutes)
    desk = entered(rules=PATIENT)
    desk.send(SessionOpened(hours))
    desk.send(tick(minutes - 10.1, 1000))
    assert desk.exits() == []
    desk.send(tick(minutes - 10, 1001))
    assert desk.exits() == [("square_off", 1001.0, None)]


def test_the_clock_alone_squares_off_at_the_last_price():
    desk = entered(rules=PATIENT)
    desk.send(ClockAdvanced(at(364)))
    assert desk.exits() == []
    desk.send(ClockAdvanced(at(365)))
    assert desk.exits() == [("square_off", 1000.0, None)]


def test_a_level_is_a_better_reason_than_the_time():
    desk = entered(history=[])
    desk.send(tick(370, 900))
    assert [reason for reason, *_ in desk.exits()] == ["stop_loss"]


def test_a_position_of_an_earlier_day_goes_at_the_first_chance():
    desk = entered(rules=PATIENT)
    desk.send(SessionOpened(session(ANOTHER_DAY)))
    assert desk.exits() == []
    desk.send(tick(0, 1002, day=ANOTHER_DAY))
    assert desk.exits() == [("square_off", 1002.0, None)]
    assert desk.intents(Leg.EXIT)[0].session_day == ANOTHER_DAY


def test_a_full_exit_leaves_the_symbol_flat_and_tells_what_closed():
    desk = entered(history=[])
    held = desk.engine.position
    desk.send(tick(11, 980))
    (settle,) = desk.fill("979.90")
    assert (settle.after, settle.closed) == (None, held)
    assert (desk.engine.phase, desk.engine.position, desk.engine.open_pnl()) == (
        Phase.FLAT, None, D(0),
    )  # fmt: skip


def test_a_partial_exit_keeps_the_rest_open_and_guarded():
    desk = entered(history=[])
    held = desk.engine.position
    desk.send(tick(11, 980))
    (settle,) = desk.send(desk.report(OrderStatus.CANCELLED, 8, "980"))
    assert settle.closed == replace(held, quantity=8)
    assert settle.after == desk.engine.position == replace(held, quantity=12)
    assert desk.engine.phase is Phase.OPEN
    desk.send(tick(12, 980))
    assert desk.intents(Leg.EXIT)[-1].quantity == 12


@pytest.mark.parametrize("status", [OrderStatus.REJECTED, OrderStatus.CANCELLED])
def test_a_failed_exit_is_tried_again_on_the_next_step(status):
    desk = entered(history=[])
    held = desk.engine.position
    desk.send(tick(11, 980))
    (settle,) = desk.send(desk.report(status))
    assert (settle.after, settle.closed, desk.engine.phase) == (held, None, Phase.OPEN)
    desk.send(ClockAdvanced(at(11.5)))
    assert len(desk.intents(Leg.EXIT)) == 2


def test_a_denied_exit_is_tried_again_on_the_next_step():
    refusals = ["an exit is working already"]
    desk = entered(
        history=[], deny=lambda i: refusals.pop() if i.leg is Leg.EXIT and refusals else None
    )
    desk.send(tick(11, 980))
    assert desk.engine.phase is Phase.OPEN
    desk.send(tick(12, 980))
    assert (desk.engine.phase, len(desk.intents(Leg.EXIT))) == (Phase.EXITING, 2)


def test_open_pnl_follows_the_last_price():
    long, short = entered(BUY, rules=PATIENT), entered(SELL, rules=PATIENT)
    for desk in (long, short):
        desk.send(tick(11, 1010.05))
    assert (long.engine.open_pnl(), short.engine.open_pnl()) == (D("201.00"), D("-201.00"))


# The kill switch


def test_flatten_closes_the_position_and_forbids_entries_until_it_is_taken_back():
    desk = Desk(always(BUY), PATIENT)
    desk.enter()
    (intent,) = desk.send(FlattenRequested(at(11), "operator"))
    assert (intent.reason, intent.price) == ("kill_switch", 1000.0)
    desk.fill("1000")
    assert desk.send(bar(3, "1000 1000 1000 1000"))[0].action == "no entry: operator"
    desk.engine.permit_entries()
    assert desk.send(bar(4, "1000 1000 1000 1000"))[0].action == "enter"


def test_flatten_withdraws_an_entry_under_way_and_closes_what_it_had_bought():
    desk = Desk(on_bar(1, BUY), PATIENT)
    desk.send(bar(1, "1000 1000 1000 1000"))
    (cancel,) = desk.send(FlattenRequested(at(11), "operator"))
    assert cancel.reference == desk.orders[0].reference
    desk.send(desk.report(OrderStatus.CANCELLED, 5, "1000"))
    desk.send(ClockAdvanced(at(11)))
    assert desk.exits() == [("kill_switch", 1000.0, None)]
    assert desk.intents(Leg.EXIT)[0].quantity == 5


def test_flatten_again_while_the_exit_is_under_way_sends_nothing_twice():
    desk = entered(rules=PATIENT)
    desk.send(FlattenRequested(at(11), "operator"))
    assert desk.send(FlattenRequested(at(12), "operator")) == []
    assert desk.send(ClockAdvanced(at(12))) == []


def test_flatten_of_a_flat_symbol_does_nothing():
    assert Desk(Script()).send(FlattenRequested(at(1), "operator")) == []


# Orders under way


def test_an_order_nobody_takes_is_withdrawn_after_the_patience():
    desk = Desk(on_bar(1, BUY), rules(entry_patience=2))
    desk.send(bar(1, "1000 1000 1000 1000"))
    desk.send(tick(10, 1100))
    desk.send(tick(11, 1100))
    assert desk.cancels() == []
    desk.send(tick(12, 1100))
    assert [cancel.reference for cancel in desk.cancels()] == [desk.orders[0].reference]


def test_patience_counts_closed_candles_as_well_and_starts_anew_with_an_order():
    desk = Desk(always(BUY), rules(entry_patience=1))
    for number in (1, 2, 3):
        desk.send(bar(number, "1000 1000 1000 1000"))
    assert len(desk.cancels()) == 1
    desk.send(desk.report(OrderStatus.CANCELLED))
    for number in (4, 5):
        desk.send(bar(number, "1000 1000 1000 1000"))
    assert len(desk.cancels()) == 1


def leaving(limit: str | None, **chosen: int) -> Desk:
    """A long from 1000 whose exit was decided at 980 (candle 2, minute 10) and works."""
    desk = entered(rules=rules(**chosen))
    desk.send(tick(10, 980))
    desk.send(desk.report(OrderStatus.WORKING, limit=limit, reason="waits for a buyer"))
    return desk


def withdrawn(desk: Desk) -> int:
    return sum(cancel.reference == desk.orders[-1].reference for cancel in desk.cancels())


def test_an_exit_keeps_its_place_while_the_market_has_not_left_its_limit_behind():
    desk = leaving("975", entry_patience=2)
    for minute, price in enumerate([980, 976, 975, 990, 975], start=11):
        desk.send(tick(minute, price))
    assert withdrawn(desk) == 0
    assert desk.engine.exit_fault == f"exit {desk.orders[-1].reference}: waits for a buyer"


def test_an_exit_that_the_market_left_behind_is_sent_again_after_the_patience():
    desk = leaving("975", entry_patience=2)
    for minute, price in enumerate([974, 975, 974, 973], start=11):
        desk.send(tick(minute, price))
    assert withdrawn(desk) == 0  # back at its limit in between, it had its chance
    desk.send(tick(15, 972))
    assert withdrawn(desk) == 1
    first = desk.orders[-1].reference
    desk.send(desk.report(OrderStatus.CANCELLED))
    desk.send(tick(16, 971))
    assert desk.orders[-1].reference != first
    assert desk.engine.exit_fault == ""


def test_exits_in_vain_are_sent_ever_more_rarely_until_one_trades():
    desk = leaving("975", entry_patience=1)
    minute, waited = 10, []
    for _ in range(6):
        steps = 0
        while not withdrawn(desk):
            minute, steps = minute + 1, steps + 1
            desk.send(tick(minute, 960))
        waited.append(steps)
        desk.send(desk.report(OrderStatus.CANCELLED))
        minute += 1
        desk.send(tick(minute, 960))
        desk.send(desk.report(OrderStatus.WORKING, limit="975"))
    assert waited == [2, 3, 5, 9, 17, 17]
    desk.send(desk.report(OrderStatus.CANCELLED, 1, "975"))  # one share went
    desk.send(tick(minute + 1, 960))
    desk.send(desk.report(OrderStatus.WORKING, limit="975"))
    desk.send(tick(minute + 2, 960))
    desk.send(tick(minute + 3, 960))
    assert withdrawn(desk) == 1


def test_an_exit_whose_limit_nobody_tells_is_withdrawn_after_the_patience():
    desk = leaving(None, entry_patience=2)
    for minute in (11, 12):
        desk.send(tick(minute, 980))
    assert withdrawn(desk) == 0
    desk.send(tick(13, 980))
    assert withdrawn(desk) == 1


def test_a_working_report_changes_nothing():
    desk = Desk(on_bar(1, BUY))
    desk.send(bar(1, "1000 1000 1000 1000"))
    before = desk.engine.snapshot()
    assert desk.send(desk.report(OrderStatus.WORKING)) == []
    assert desk.engine.snapshot() == before
    leaving = entered(history=[])
    leaving.send(tick(11, 980))
    before = leaving.engine.snapshot()
    assert leaving.send(leaving.report(OrderStatus.WORKING, 5, "980")) == []
    assert leaving.engine.snapshot() == before


def test_the_rest_of_a_partly_filled_entry_is_withdrawn_so_that_the_shares_are_guarded():
    desk = Desk(on_bar(1, BUY), history=[])
    desk.send(bar(1, "1000 1000 1000 1000"))
    (cancel,) = desk.send(desk.report(OrderStatus.WORKING, 5, "1000"))
    assert cancel.reference == desk.orders[0].reference
    desk.send(desk.report(OrderStatus.CANCELLED, 5, "1000"))
    desk.send(tick(11, 980))
    assert (desk.engine.phase, desk.intents(Leg.EXIT)[0].quantity) == (Phase.EXITING, 5)


def test_duplicated_late_and_foreign_reports_change_nothing():
    desk = Desk(on_bar(1, BUY), PATIENT)
    desk.send(bar(1, "1000 1000 1000 1000"))
    entry = desk.report(OrderStatus.FILLED, 20, "1000")
    desk.send(entry)
    state = desk.engine.snapshot()
    contrary = desk.report(OrderStatus.REJECTED)
    for news in (entry, contrary, replace(entry, reference="SOMEBODY")):
        assert desk.send(news) == []
        assert desk.engine.snapshot() == state
    desk.send(tick(370, 1000))
    state = desk.engine.snapshot()
    assert desk.send(entry) == []  # the entry's fill again, while the exit is under way
    assert desk.engine.snapshot() == state
    leaving = desk.report(OrderStatus.FILLED, 20, "1000")
    desk.send(leaving)
    state = desk.engine.snapshot()
    for news in (leaving, entry):
        assert desk.send(news) == []
        assert desk.engine.snapshot() == state


def test_an_answer_nobody_asked_for_is_refused():
    with pytest.raises(IllegalTransition):
        Desk(Script()).send(Denial("late"))


# Sessions, warm-up, adoption


def test_a_new_day_closes_the_forming_candle_and_the_same_day_does_not():
    desk = Desk(Script())
    desk.send(tick(371, 1000))
    desk.send(SessionOpened(session()))
    assert desk.engine.candles.forming
    desk.send(SessionOpened(session(ANOTHER_DAY)))
    assert not desk.engine.candles.forming
    desk.send(tick(0, 1001, day=ANOTHER_DAY))
    assert desk.engine.candles.last_time() == at(0, ANOTHER_DAY)


def test_warming_begins_anew_and_gives_a_price_before_the_first_tick():
    desk = Desk(Script(), history=quiet_history(10, price=777))
    assert (desk.engine.last_price, len(desk.engine.candles)) == (777, 10)
    desk.send(bar(0, "500 500 500 500"))
    desk.engine.warm(quiet_history(4))
    assert (desk.engine.last_price, len(desk.engine.candles)) == (500, 4)


def test_a_forming_candle_that_is_taken_up_keeps_its_earlier_ticks():
    begun = Candle(SYMBOL, at(0), 1000, 1010, 995, 1001, 300)
    engine = SymbolEngine(INFY, TradingRules(), Script())
    engine.warm(quiet_history(), begun)
    engine.handle(SessionOpened(session()))
    engine.handle(tick(3, 1020, volume=50))
    candle = engine.candles.last()
    assert engine.candles.rejections.counts == {}
    assert (candle.time, candle.open, candle.high, candle.low) == (at(0), 1000, 1020, 995)
    assert (candle.close, candle.volume) == (1020, 350)
    [final] = [c for c in engine.handle(tick(5, 1021)) if isinstance(c, Signal) and c.final]
    assert final.candle_time == at(0)


def test_what_the_ledger_knows_is_adopted():
    desk = Desk(Script(), history=[])
    held = Position("E9", SYMBOL, Side.BUY, 5, D(1000), at(0), DAY, D(985), D(1030), 1004.0)
    leaving = Order("X9", SYMBOL, "NSE", Leg.EXIT, Side.SELL, 5, at(6))
    intent = OrderIntent(SYMBOL, Leg.EXIT, Side.SELL, 990.0, at(6), "stop_loss", DAY, quantity=5)
    desk.engine.adopt(held, None, None)
    assert (desk.engine.phase, desk.engine.position) == (Phase.OPEN, held)
    desk.engine.adopt(held, leaving, intent)
    assert desk.engine.phase is Phase.EXITING
    desk.orders.append(leaving)
    desk.fill("990")
    assert (desk.engine.phase, desk.settled()[-1].closed) == (Phase.FLAT, held)
    desk.engine.adopt(None, replace(leaving, leg=Leg.ENTRY), replace(intent, leg=Leg.ENTRY))
    assert desk.engine.phase is Phase.ENTERING
    desk.engine.adopt(None, None, None)
    assert (desk.engine.phase, desk.engine.position) == (Phase.FLAT, None)
