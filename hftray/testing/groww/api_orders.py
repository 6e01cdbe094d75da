"""The order calls: create, modify, cancel, status, list, detail, trades."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from hftray.core.money import HUNDRED, round_to_tick
from hftray.testing.groww.faults import FaultKind
from hftray.testing.groww.order_form import read_cancel, read_change, read_new_order
from hftray.testing.groww.order_rows import order_row, status_row, trade_row
from hftray.testing.groww.wire import SEGMENTS, Answer, Call, GrowwFailure, success
from hftray.testing.groww.wire_order import WireOrder
from hftray.testing.groww.world import World

_PAGES = 10_000
_LARGEST_PAGE = 50


def create(world: World, call: Call) -> Answer:
    """POST /order/create."""
    order = read_new_order(call.body)
    if order.segment != "CASH":
        raise GrowwFailure("GA004", f"{order.symbol} is not listed in segment {order.segment}")
    entry = world.place(order)
    told = world.behaviour.refusals == "reply" and entry.status == "REJECTED"
    return success(
        {
            "groww_order_id": entry.groww_order_id,
            "order_status": "REJECTED" if told else "NEW",
            "order_reference_id": entry.order.reference,
            "remark": entry.remark if told else "Order placed successfully",
        }
    )


def modify(world: World, call: Call) -> Answer:
    """POST /order/modify."""
    entry = world.book.modify(read_change(call.body))
    return success(
        {"groww_order_id": entry.groww_order_id, "order_status": "MODIFICATION_REQUESTED"}
    )


def cancel(world: World, call: Call) -> Answer:
    """POST /order/cancel."""
    entry = world.book.cancel(read_cancel(call.body))
    return success(
        {"groww_order_id": entry.groww_order_id, "order_status": "CANCELLATION_REQUESTED"}
    )


def status(world: World, call: Call) -> Answer:
    """GET /order/status/{groww_order_id}."""
    entry, now = _looked_up(world, call)
    return success(status_row(entry, now, world.behaviour.resting_status))


def status_by_reference(world: World, call: Call) -> Answer:
    """GET /order/status/reference/{order_reference_id}."""
    call.one_of("segment", SEGMENTS)
    now = world.settle()
    entry = world.book.find_reference(call.parameters["order_reference_id"])
    if not _visible(world, call, [entry], now):
        raise GrowwFailure("GA004", f"no order with reference {entry.order.reference}")
    return success(status_row(entry, now, world.behaviour.resting_status))


def detail(world: World, call: Call) -> Answer:
    """GET /order/detail/{groww_order_id}."""
    entry, now = _looked_up(world, call)
    return success(_row(world, call, entry, now))


def listing(world: World, call: Call) -> Answer:
    """GET /order/list: today's orders, newest first, in pages."""
    call.one_of("segment", SEGMENTS, "CASH")
    size = world.behaviour.order_page_size
    page = call.number("page", 0, 0, _PAGES)
    size = call.number("page_size", size, 1, _LARGEST_PAGE)
    now = world.settle()
    entries = _visible(world, call, world.book.of_day(now.date()), now)
    rows = [_row(world, call, own, now) for own in entries[page * size : (page + 1) * size]]
    return success({"order_list": rows})


def trades(world: World, call: Call) -> Answer:
    """GET /order/trades/{groww_order_id}, in pages."""
    page = call.number("page", 0, 0, _PAGES)
    size = call.number("page_size", _LARGEST_PAGE, 1, _LARGEST_PAGE)
    entry, now = _looked_up(world, call)
    rows = [trade_row(entry, own, world.market) for own in entry.seen(now)]
    if rows and world.faults.strike(FaultKind.DUPLICATE_TRADES, call.path):
        rows = [row for row in rows for _ in range(2)]
    return success({"trade_list": rows[page * size : (page + 1) * size]})


def _looked_up(world: World, call: Call) -> tuple[WireOrder, datetime]:
    call.one_of("segment", SEGMENTS)
    now = world.settle()
    entry = world.book.find(call.parameters["groww_order_id"])
    if not _visible(world, call, [entry], now):
        raise GrowwFailure("GA004", f"no order {entry.groww_order_id}")
    return entry, now


def _visible(world: World, call: Call, entries: list[WireOrder], now: datetime) -> list[WireOrder]:
    fault = world.faults.strike(FaultKind.LOOKUP_DELAY, call.path)
    if fault is None:
        return entries
    if fault.seconds is None:
        return []
    return [own for own in entries if (now - own.created_at).total_seconds() >= fault.seconds]


def _row(world: World, call: Call, entry: WireOrder, now: datetime) -> dict[str, Any]:
    row = order_row(entry, now, world.behaviour.resting_status)
    if row["average_fill_price"]:
        fault = world.faults.strike(FaultKind.WRONG_AVERAGE, call.path)
        if fault is not None:
            wrong = Decimal(str(row["average_fill_price"])) * (
                1 + Decimal(str(fault.percent)) / HUNDRED
            )
            row["average_fill_price"] = float(round_to_tick(wrong, Decimal("0.01")))
    return row
