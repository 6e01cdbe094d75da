"""The guard at the broker, as the engine wants it: where it stands; it never doubles an exit."""

from dataclasses import replace
from itertools import pairwise

import pytest
from engine_world import (
    BUY,
    DAY,
    SELL,
    SYMBOL,
    D,
    Desk,
    Script,
    at,
    bar,
    on_bar,
    quiet_history,
    session,
    tick,
)

from hftray.core.events import (
    AmendOrder,
    CancelOrder,
    ClockAdvanced,
    FlattenRequested,
    NotAmended,
    SessionOpened,
)
from hftray.core.guard import LONGEST_REST
from hftray.core.guard_level import guard_level, guard_limit
from hftray.core.orders import Leg, Order, OrderIntent, OrderStatus, Side
from hftray.core.position import Phase, Position
from hftray.core.rules import ExitRules, TradingRules

GUARDED = TradingRules(exits=ExitRules(guard=True))
WORKING, FILLED = OrderStatus.WORKING, OrderStatus.FILLED
CANCELLED, REJECTED = OrderStatus.CANCELLED, OrderStatus.REJECTED


def holding(decision=BUY, rules=GUARDED, **options):
    """20 shares at 1000, 100 rupees from the stop-loss; the trailing stop is at 990 (1010)."""
    desk = Desk(on_bar(1, decision), rules, **options)
    desk.enter()
    return desk


def guarded(decision=BUY, rules=GUARDED, **options):
    """The same with its guard at work since minute 11."""
    desk = holding(decision, rules, **options)
    desk.send(tick(11, 1000))
    desk.send(desk.report(WORKING))
    assert desk.engine.guard is not None
    return desk


def guards(desk):
    return [intent for intent in desk.intents(Leg.EXIT) if intent.stop]


def exits(desk):
    return [(i.reason, i.price, i.quantity) for i in desk.intents(Leg.EXIT) if not i.stop]


def moves(desk):
    return [(c.trigger, c.limit_price) for c in desk.commands if isinstance(c, AmendOrder)]


def answer(desk, move):
    """The broker moved the guard."""
    desk.send(replace(desk.report(WORKING), trigger=move.trigger))


def position(side, stop, best):
    return Position("E1", SYMBOL, side, 20, D(1000), at(0), DAY, D(stop), D(1200), best)


# Where it stands


@pytest.mark.parametrize(
    ("side", "stop", "best", "why", "level"),
    [
        (Side.BUY, 900, 1000.0, "trailing_stop", "990"),
        (Side.BUY, 995, 1000.0, "stop_loss", "995"),
        (Side.BUY, 990, 1000.0, "stop_loss", "990"),
        (Side.BUY, 995, 1010.0, "trailing_stop", "999.90"),
        (Side.SELL, 1100, 1000.0, "trailing_stop", "1010"),
        (Side.SELL, 1005, 1000.0, "stop_loss", "1005"),
    ],
)
def test_it_stands_at_the_tighter_of_stop_loss_and_trailing_stop(side, stop, best, why, level):
    assert guard_level(position(side, stop, best), ExitRules(), D("0.05")) == (why, D(level))


@pytest.mark.parametrize(("side", "limit"), [(Side.SELL, "97.50"), (Side.BUY, "99.50")])
def test_its_limit_lies_the_band_beyond_on_the_tick(side, limit):
    assert guard_limit(side, D("98.50"), ExitRules(), D("0.25")) == D(limit)


@pytest.mark.parametrize(
    ("decision", "side", "level", "limit"),
    [(BUY, Side.SELL, "990", "980.10"), (SELL, Side.BUY, "1010", "1020.10")],
)
def test_a_filled_entry_is_guarded_at_the_next_look_at_the_market(decision, side, level, limit):
    desk = holding(decision)
    assert guards(desk) == []
    desk.send(tick(11, 1000))
    [guard] = guards(desk)
    assert (guard.side, guard.quantity, guard.reason) == (side, 20, "guard")
    assert (guard.trigger, guard.limit_price) == (D(level), D(limit))
    assert guard.position == desk.engine.position.reference
    assert desk.engine.phase is Phase.OPEN
    for minute in range(12, 20):
        desk.send(tick(minute, 1000))
    assert len(guards(desk)) == 1


def test_without_the_rule_there_is_none():
    desk = holding(rules=TradingRules())
    for minute in range(11, 20):
        desk.send(tick(minute, 1000 + minute))
    assert guards(desk) == moves(desk) == []


# Moving


def test_the_trailing_stop_pulls_it_along_and_nothing_pushes_it_back():
    desk = guarded()
    desk.send(tick(12, 1000.5))  # 990.50: half a rupee is less than 0.1 % of 990
    assert moves(desk) == []
    [*_, move] = desk.send(tick(13, 1010))
    assert moves(desk) == [(D("999.90"), D("989.90"))]
    desk.send(tick(14, 1020))  # not asked again before the answer
    assert len(moves(desk)) == 1
    answer(desk, move)
    desk.send(tick(15, 1020))
    assert moves(desk)[1:] == [(D("1009.80"), D("999.70"))]
    desk.send(replace(desk.report(WORKING), trigger=D("1009.80")))
    for minute, price in [(16, 1012), (17, 1015), (18, 1020)]:
        desk.send(tick(minute, price))
    assert len(moves(desk)) == 2


def test_a_short_is_guarded_from_above():
    desk = guarded(SELL)
    desk.send(tick(12, 1001))
    desk.send(tick(13, 980))
    assert moves(desk) == [(D("989.80"), D("999.70"))]


def test_a_move_without_an_answer_is_asked_for_again_and_always_to_the_newest_level():
    desk = guarded()
    for minute in range(12, 18):
        desk.send(tick(minute, 1010 + minute))
    levels = [trigger for trigger, _ in moves(desk)]
    assert 1 < len(levels) < 6
    assert levels == sorted(levels)


def test_a_refused_move_is_told_and_tried_ever_more_rarely():
    desk = guarded()
    name = desk.orders[-1].reference
    asked = []
    for step in range(200):
        made = desk.send(tick(12 + step / 10, 1010))
        if any(isinstance(command, AmendOrder) for command in made):
            asked.append(step)
            desk.send(NotAmended(name, "no"))
            assert desk.engine.guard_fault == "the guard at the broker was not moved: no"
    gaps = [after - before for before, after in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert gaps[0] <= 4
    assert gaps[-1] == LONGEST_REST + 1
    desk.send(NotAmended("X-another", "no"))
    answer(desk, next(c for c in desk.commands if isinstance(c, AmendOrder)))
    assert desk.engine.guard_fault == ""


def test_a_report_tells_where_it_stands():
    """After a restart, or when another incarnation has moved it."""
    desk = guarded()
    desk.send(replace(desk.report(WORKING), trigger=D("999.90")))
    desk.send(tick(12, 1010))
    assert moves(desk) == []


# Leaving


def test_an_exit_waits_for_the_end_of_the_guard_and_goes_with_the_present_price():
    desk = guarded()
    name = desk.orders[-1].reference
    assert CancelOrder(name) in desk.send(tick(12, 985))
    assert (exits(desk), desk.engine.phase) == ([], Phase.OPEN)
    assert not desk.engine.exit_set_free
    desk.send(desk.report(CANCELLED))
    assert desk.engine.exit_set_free
    assert desk.settled()[-1].closed is None
    desk.send(tick(13, 991))  # the level was reached, so it goes although the price came back
    assert exits(desk) == [("trailing_stop", 991, 20)]
    assert (desk.engine.phase, desk.intents()[-1].time) == (Phase.EXITING, at(13))
    desk.fill("991")
    assert desk.engine.phase is Phase.FLAT
    assert desk.engine.guard_fault == ""


def test_a_withdrawal_without_an_answer_is_asked_for_again():
    desk = guarded()
    for minute in range(12, 20):
        desk.send(tick(minute, 985))
    asked = len(desk.cancels())
    assert 2 <= asked <= 4
    assert exits(desk) == []


def test_a_guard_that_filled_meanwhile_takes_the_place_of_the_exit():
    desk = guarded()
    desk.send(tick(12, 985))
    settled = desk.send(desk.report(FILLED, 20, "989"))
    assert [(s.after, s.closed.quantity) for s in settled] == [(None, 20)]
    desk.send(tick(13, 985))
    assert exits(desk) == []
    assert desk.engine.phase is Phase.FLAT


@pytest.mark.parametrize("status", [CANCELLED, REJECTED])
def test_what_a_withdrawn_guard_left_is_what_the_exit_takes(status):
    desk = guarded()
    desk.send(tick(12, 985))
    [settle] = desk.send(desk.report(status, 7, "989"))
    assert (settle.after.quantity, settle.closed.quantity) == (13, 7)
    desk.send(tick(13, 985))
    assert exits(desk) == [("trailing_stop", 985, 13)]


def test_the_guards_fill_is_an_exit():
    desk = guarded()
    [settle] = desk.send(desk.report(FILLED, 20, "989.50"))
    assert (settle.after, settle.closed.quantity) == (None, 20)
    assert (desk.engine.phase, desk.engine.position) == (Phase.FLAT, None)
    desk.send(tick(12, 985))
    assert exits(desk) == []
    assert len(guards(desk)) == 1


def test_a_guard_that_has_begun_to_fill_is_followed_by_the_rest():
    desk = guarded()
    name = desk.orders[-1].reference
    desk.send(desk.report(WORKING, 5, "989.50"))
    assert CancelOrder(name) in desk.send(tick(12, 995))  # the price is back already
    desk.send(desk.report(CANCELLED, 5, "989.50"))
    desk.send(tick(13, 995))
    assert exits(desk) == [("trailing_stop", 995, 15)]


def test_a_guard_that_the_exchange_ended_half_filled_is_followed_by_the_rest():
    desk = guarded()
    desk.send(desk.report(CANCELLED, 5, "989.50"))
    desk.send(tick(12, 995))
    assert exits(desk) == [("trailing_stop", 995, 15)]


def test_the_target_withdraws_it_too():
    desk = guarded()
    desk.send(tick(12, 1100))
    desk.send(tick(12.5, 1201))
    desk.send(desk.report(CANCELLED))
    desk.send(tick(13, 1202))
    assert exits(desk) == [("take_profit", 1202, 20)]


def test_a_kill_withdraws_it_first():
    desk = guarded()
    name = desk.orders[-1].reference
    assert desk.send(FlattenRequested(at(12), "enough")) == [CancelOrder(name)]
    desk.send(desk.report(CANCELLED))
    desk.send(FlattenRequested(at(12), "enough"))
    assert exits(desk) == [("kill_switch", 1000, 20)]


def test_square_off_withdraws_it_and_no_new_one_is_placed():
    desk = guarded()
    square_off = 375 - 10
    name = desk.orders[-1].reference
    assert CancelOrder(name) in desk.send(tick(square_off, 1000))
    desk.send(desk.report(CANCELLED, time=at(square_off)))
    desk.send(ClockAdvanced(at(square_off + 1)))
    assert exits(desk) == [("square_off", 1000, 20)]
    desk.send(desk.report(CANCELLED))  # nobody took it: the exit goes again, without a guard
    desk.send(tick(square_off + 2, 1000))
    assert exits(desk)[1:] == [("square_off", 1000, 20)]
    assert len(guards(desk)) == 1


def test_an_exit_nobody_took_leaves_a_position_that_is_guarded_again():
    desk = guarded()
    desk.send(tick(12, 985))
    desk.send(desk.report(CANCELLED))
    desk.send(tick(13, 985))
    desk.send(desk.report(FILLED, 8, "985"))
    desk.send(tick(14, 991))
    assert [guard.quantity for guard in guards(desk)] == [20, 12]


# When the broker does not want it


def test_one_that_is_refused_or_dropped_is_asked_for_again_ever_more_rarely():
    desk = holding()
    asked = []
    for step in range(300):
        before = len(guards(desk))
        desk.send(tick(11 + step / 10, 1000))
        if len(guards(desk)) > before:
            asked.append(step)
            if step % 2:  # accepted, and dropped later
                desk.send(desk.report(WORKING))
                assert desk.engine.guard_fault == ""
            desk.send(replace(desk.report(REJECTED), reason="no stops now"))
            assert desk.engine.guard_fault == "no guard at the broker: no stops now"
            assert desk.engine.phase is Phase.OPEN
    gaps = [after - before for before, after in pairwise(asked)]
    assert gaps == sorted(gaps)
    assert gaps[0] <= 4
    assert gaps[-1] == LONGEST_REST + 1
    desk.send(tick(50, 985))  # the position is guarded from here all the while
    assert exits(desk) == [("trailing_stop", 985, 20)]
    assert desk.engine.guard_fault == ""


def test_one_that_risk_denies_is_asked_for_again():
    desk = holding(deny=lambda intent: "not now" if intent.stop else None)
    desk.send(tick(11, 1000))
    assert desk.engine.guard_fault == "no guard at the broker: not now"
    desk.deny = lambda intent: None
    for minute in range(12, 16):
        desk.send(tick(minute, 1000))
    assert desk.engine.guard is not None


# Recovery


def pending(desk, **changes):
    order = replace(desk.orders[-1], **changes)
    return order, replace(guards(desk)[-1])


def test_a_recovered_guard_leaves_the_position_open():
    desk = guarded()
    held, (order, intent) = desk.engine.position, pending(desk)
    fresh = Desk(on_bar(1, BUY), GUARDED, history=quiet_history())
    fresh.orders.append(order)
    fresh.engine.adopt(held, order, intent)
    assert (fresh.engine.phase, fresh.engine.order) == (Phase.OPEN, None)
    assert fresh.engine.under_way is order
    fresh.send(replace(fresh.report(WORKING), trigger=D("999.90")))
    fresh.send(tick(12, 1009))
    assert guards(fresh) == moves(fresh) == []
    fresh.send(tick(13, 1020))
    assert [trigger for trigger, _ in moves(fresh)] == [D("1009.80")]


def test_a_recovered_guard_without_a_position_is_withdrawn():
    desk = guarded()
    order, intent = pending(desk)
    fresh = Desk(on_bar(1, BUY), GUARDED)
    fresh.orders.append(order)
    fresh.engine.adopt(None, order, intent)
    assert CancelOrder(order.reference) in fresh.send(tick(12, 1000))
    [settle] = fresh.send(fresh.report(CANCELLED))
    assert (settle.after, settle.closed) == (None, None)
    assert fresh.engine.under_way is None


def test_a_guard_that_is_not_wanted_any_more_is_withdrawn():
    desk = guarded()
    order, intent = pending(desk)
    fresh = Desk(on_bar(1, BUY), TradingRules())
    fresh.orders.append(order)
    fresh.engine.adopt(desk.engine.position, order, intent)
    assert CancelOrder(order.reference) in fresh.send(tick(12, 1000))
    fresh.send(fresh.report(CANCELLED))
    fresh.send(tick(13, 1000))
    assert (guards(fresh), fresh.engine.guard_fault) == ([], "")


def test_the_guard_of_an_earlier_day_is_resolved_before_the_position_goes():
    desk = guarded()
    tomorrow = DAY.replace(day=DAY.day + 1)
    desk.send(SessionOpened(session(tomorrow)))
    name = desk.orders[-1].reference
    assert CancelOrder(name) in desk.send(tick(1, 1000, day=tomorrow))
    desk.send(replace(desk.report(REJECTED), reason="never reached the exchange"))
    desk.send(tick(2, 1000, day=tomorrow))
    assert exits(desk) == [("square_off", 1000, 20)]
    assert len(guards(desk)) == 1


def test_late_and_repeated_news_of_a_guard_change_nothing():
    desk = guarded()
    told = [desk.report(WORKING), desk.report(FILLED, 20, "989")]
    desk.send(told[1])
    for report in (*told, *told):
        assert desk.send(report) == []
    assert desk.engine.phase is Phase.FLAT


def test_the_order_carries_what_the_intent_says():
    desk = guarded()
    [intent], order = guards(desk), desk.orders[-1]
    assert isinstance(order, Order)
    assert isinstance(intent, OrderIntent)
    assert (order.stop, order.trigger, order.limit_price) == (True, D(990), D("980.10"))


def test_nothing_is_entered_on_the_candle_in_which_the_guard_filled():
    desk = Desk(Script({at(5 * n): BUY for n in (1, 2, 3)}), GUARDED)
    desk.enter()
    desk.send(tick(11, 1000))
    desk.send(tick(12, 995))
    desk.send(desk.report(FILLED, 20, "990"))
    desk.send(ClockAdvanced(at(15)))
    assert desk.signals(final=True)[-1].action == "no entry: exit on this candle"
    desk.send(tick(19, 990))
    desk.send(ClockAdvanced(at(20)))
    assert desk.signals(final=True)[-1].action == "enter"


def test_nor_on_a_candle_that_is_voted_on_after_the_guard_filled_at_the_next_ones_open():
    desk = Desk(Script({at(5 * n): BUY for n in (1, 2, 3)}), GUARDED)
    desk.enter()
    desk.send(tick(14, 1000))
    desk.send(replace(desk.report(FILLED, 20, "990"), time=at(15)))
    desk.send(bar(2, "1000 1000 1000 1000"))
    assert desk.signals(final=True)[-1].action == "no entry: exit on this candle"
    desk.send(bar(3, "990 990 990 990"))
    assert desk.signals(final=True)[-1].action == "no entry: exit on this candle"


def test_nor_where_the_market_comes_in_closed_candles():
    desk = Desk(Script({at(5 * n): BUY for n in (1, 3, 4)}), GUARDED)
    desk.enter()
    desk.send(bar(2, "1000 1000 1000 1000"))
    desk.send(desk.report(FILLED, 20, "990"))
    desk.send(bar(3, "1000 1000 985 990"))
    assert desk.signals()[-1].action == "no entry: exit on this candle"
    desk.send(bar(4, "990 990 990 990"))
    assert desk.signals()[-1].action == "enter"
