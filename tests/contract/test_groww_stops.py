"""Stop orders at Groww: what is sent, how they are moved, and what a fault does to a move."""

from dataclasses import replace
from decimal import Decimal

import pytest
from groww_broker_world import EXIT, groww_world

from hftray.core.errors import OrderRejected, UnknownOutcome
from hftray.core.orders import OrderStatus

pytestmark = pytest.mark.usefixtures("impatient")

D = Decimal
GUARD = replace(EXIT, stop=True, trigger=D("95.00"))
TO = {"trigger": D("97.00"), "limit_price": None}
MODIFY = "/order/modify"


@pytest.fixture
async def world():
    async with groww_world() as made:
        await made.trade(100.0)
        await made.broker.place(GUARD)
        yield made


async def test_a_guard_is_a_stop_with_a_limit_a_percent_beyond_its_trigger(world):
    [sent] = world.requests("/order/create")
    assert (sent["order_type"], sent["trigger_price"], sent["price"]) == ("SL", 95.0, 94.1)
    assert (sent["transaction_type"], sent["product"]) == ("SELL", "MIS")


async def test_a_move_sends_quantity_trigger_and_limit_of_the_same_order(world):
    moved = await world.broker.amend(GUARD.reference, **TO)
    assert moved.trigger == D("97.00")
    [row] = world.groww.world.book_rows()
    assert world.requests(MODIFY) == [
        {
            "quantity": 10,
            "price": 96.1,
            "trigger_price": 97.0,
            "groww_order_id": row["groww_order_id"],
            "order_type": "SL",
            "segment": "CASH",
        }
    ]
    assert await world.broker.amend(GUARD.reference, **TO) == moved
    assert len(world.requests(MODIFY)) == 1  # it stands there already


async def test_a_new_process_moves_it_too(world):
    await world.reopen()
    assert (await world.broker.amend(GUARD.reference, **TO)).trigger == D("97.00")


@pytest.mark.parametrize("kind", ["drop_reply", "html", "http_status"])
async def test_a_move_whose_answer_is_lost_is_looked_at(world, kind):
    settings = {} if kind == "drop_reply" else {"taken": True}
    world.groww.faults.add(kind, path=MODIFY, **settings)
    assert (await world.broker.amend(GUARD.reference, **TO)).trigger == D("97.00")
    assert len(world.requests(MODIFY)) == 1


async def test_a_move_that_never_arrived_is_unknown_and_the_guard_stands_where_it_stood(world):
    world.groww.faults.add("drop_request", path=MODIFY)
    with pytest.raises(UnknownOutcome):
        await world.broker.amend(GUARD.reference, **TO)
    stands = await world.broker.report(GUARD.reference)
    assert (stands.status, stands.trigger) == (OrderStatus.WORKING, D("95.00"))
    assert (await world.broker.amend(GUARD.reference, **TO)).trigger == D("97.00")


@pytest.mark.parametrize("code", ["GA001", "GA004", "GA006"])
async def test_a_move_that_is_refused_leaves_the_guard_where_it_stood(world, code):
    world.groww.faults.add("error", path=MODIFY, code=code)
    with pytest.raises(OrderRejected, match=f"{GUARD.reference} stands where it stood"):
        await world.broker.amend(GUARD.reference, **TO)
    assert (await world.broker.report(GUARD.reference)).trigger == D("95.00")


async def test_a_guard_that_triggers_while_it_is_moved_is_not_set_back(world):
    world.step(94.0)  # it triggers, and its limit of 94.1 is passed
    report = await world.broker.amend(GUARD.reference, **TO)
    assert (report.status, report.filled_quantity, report.trigger) == (
        OrderStatus.WORKING,
        0,
        D("95.00"),
    )
    assert world.requests(MODIFY) == []


async def test_all_parts_of_a_guard_are_moved():
    async with groww_world(freeze=4) as world:
        await world.trade(100.0)
        await world.broker.place(GUARD)
        assert (await world.broker.amend(GUARD.reference, **TO)).trigger == D("97.00")
        assert [body["quantity"] for body in world.requests(MODIFY)] == [4, 4, 2]
        [told] = await world.trade(97.0)
        assert (told.status, told.filled_quantity) == (OrderStatus.FILLED, 10)
        assert await world.broker.amend(GUARD.reference, **TO) == told


async def test_a_guard_whose_trigger_is_already_passed_is_refused():
    async with groww_world() as world:
        await world.trade(94.0)
        placed = await world.broker.place(GUARD)
        [told] = [placed] if placed.status.terminal else await world.trade(94.0)
        assert (told.status, told.filled_quantity) == (OrderStatus.REJECTED, 0)
        assert "already passed" in told.reason


async def test_an_exit_withdraws_a_guard_first_and_both_are_known_after_a_restart(world):
    withdrawn = await world.broker.cancel(GUARD.reference)
    assert withdrawn.status is OrderStatus.CANCELLED
    world.hold()
    leave = replace(EXIT, reference="20261120X0000000002")
    await world.broker.place(leave)
    [sold] = await world.trade(100.0)
    await world.reopen()
    assert await world.broker.reports() == [withdrawn, sold]
