"""What the loopback Groww refuses: fields by their form, orders by the market's rules."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from loopback_world import FRIDAY, MONDAY, TICK, body, day, flat_day, place, world_of

from hftray.testing.groww.order_form import read_cancel, read_change, read_new_order
from hftray.testing.groww.wire import GrowwFailure

FLAT = (1000.0, 1000.0, 1000.0, 1000.0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("trading_symbol", ""), ("trading_symbol", 7),
        ("quantity", 0), ("quantity", -1), ("quantity", 1.0), ("quantity", "1"),
        ("quantity", True), ("quantity", None),
        ("price", -1), ("price", "1000"), ("price", True), ("price", 1000.0),
        ("price", float("nan")), ("price", float("inf")),
        ("trigger_price", 990.0), ("trigger_price", "990"),
        ("validity", "IOC"), ("exchange", "US"), ("exchange", None), ("segment", "EQUITY"),
        ("product", "BO"), ("order_type", "STOP_LOSS_LIMIT"), ("transaction_type", "buy"),
        ("order_reference_id", None), ("order_reference_id", "short-1"),
        ("order_reference_id", "x" * 21), ("order_reference_id", "a-b-c-d-e"),
        ("order_reference_id", "with blank 1"), ("order_reference_id", "größe1234"),
        ("algo_id", 1),
    ],
)  # fmt: skip
def test_a_malformed_field_is_named(field, value):
    with pytest.raises(GrowwFailure, match=field) as refused:
        read_new_order({**body(), field: value})
    assert refused.value.code == "GA001"


def test_prices_must_suit_the_order_type():
    assert read_new_order(body(price=1000.5)).terms.price == Decimal("1000.5")
    assert read_new_order(body(trigger_price=990)).terms.order_type == "SL_M"
    for kind, field in (("LIMIT", "price"), ("SL", "price"), ("SL_M", "trigger_price")):
        with pytest.raises(GrowwFailure, match=re.escape(f"{field} is required for {kind}")):
            read_new_order({**body(), "order_type": kind})


def test_modify_and_cancel_bodies_are_checked_too():
    good = {
        "quantity": 2, "price": 10.0, "trigger_price": None, "groww_order_id": "GID",
        "order_type": "LIMIT", "segment": "CASH",
    }  # fmt: skip
    assert read_change(good).terms.quantity == 2
    for field, value in (("quantity", 0), ("price", None), ("order_type", "SLM"), ("extra", 1)):
        with pytest.raises(GrowwFailure, match=field):
            read_change({**good, field: value})
    assert read_cancel({"segment": "CASH", "groww_order_id": "GID"}) == "GID"
    for bad in (None, [], {"segment": "CASH"}, {"groww_order_id": "GID"}):
        with pytest.raises(GrowwFailure):
            read_cancel(bad)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price": 999.97}, "multiple of the tick size"),
        ({"price": 1100.05}, "outside the circuit limits 900.0 to 1100.0"),
        ({"price": 899.95}, "outside the circuit limits"),
        ({"quantity": 100_001}, "freeze quantity"),
        ({"product": "NRML"}, "NRML"),
        ({"side": "SELL", "product": "CNC"}, "only 0 shares"),
        ({"quantity": 6_000}, "insufficient margin"),
        ({"price": 1010.0, "trigger_price": 1020.0}, "beyond the limit"),
        ({"price": 1010.0, "trigger_price": 1000.0}, "already passed"),
        ({"side": "SELL", "trigger_price": 1000.0}, "already passed"),
        ({"trigger_price": 1000.03}, "trigger price 1000.03 is not a multiple"),
    ],
)
def test_what_the_market_refuses_is_rejected_later(changes, reason):
    world, _ = world_of(*day(FLAT))
    entry = place(world, **changes)
    assert (entry.status, entry.filled) == ("REJECTED", 0)
    assert reason in entry.remark


def test_shares_can_be_barred_from_intraday_or_from_one_side():
    world, _ = world_of(*day(FLAT))
    world.market.relist("RELIANCE", intraday=False)
    assert "not allowed for MIS" in place(world).remark
    world.market.relist("RELIANCE", intraday=True, buy_allowed=False)
    assert "BUY is blocked" in place(world).remark
    assert place(world, "SELL").status == "ACKED"


def test_outside_the_session_nothing_is_taken():
    for moment in (MONDAY - timedelta(minutes=1), FRIDAY.replace(hour=15, minute=36)):
        world, _ = world_of(*flat_day(MONDAY, 1000.0), at=moment)
        assert place(world).remark == "the market is closed"
    world, _ = world_of(*flat_day(MONDAY, 1000.0), at=MONDAY.replace(hour=15, minute=16))
    assert "takes no orders yet" in place(world).remark


def test_market_orders_can_be_barred():
    world, _ = world_of(*day(FLAT), market_orders=False)
    assert "not allowed through the API" in place(world).remark
    assert place(world, price=1000.0).status == "ACKED"


def test_a_refusal_can_come_as_an_error_and_then_there_is_no_order():
    world, _ = world_of(*day(FLAT), refusals="error")
    with pytest.raises(GrowwFailure, match="tick size") as refused:
        place(world, price=999.97)
    assert (refused.value.code, list(world.book)) == ("GA006", [])


def test_a_reference_is_taken_once_for_ever():
    world, clock = world_of(*day(FLAT, FLAT))
    place(world, order_reference_id="only-once-1")
    place(world, price=1.0, order_reference_id="rejected-1")
    clock.step(2 * TICK)
    for used in ("only-once-1", "rejected-1"):
        with pytest.raises(GrowwFailure) as refused:
            place(world, order_reference_id=used)
        assert refused.value.code == "GA007"
    assert len(list(world.book)) == 2


def test_unknown_shares_and_orders_do_not_exist():
    world, _ = world_of(*day(FLAT))
    for action in (
        lambda: place(world, trading_symbol="NOSUCH"),
        lambda: place(world, exchange="MCX"),
        lambda: world.book.find("GLB0"),
        lambda: world.book.find_reference("nosuchref1"),
        lambda: world.book.cancel("GLB0"),
    ):
        with pytest.raises(GrowwFailure) as refused:
            action()
        assert refused.value.code == "GA004"


def test_exits_need_no_margin():
    world, clock = world_of(*day(FLAT))
    place(world, quantity=5_000)
    clock.step(TICK)
    assert world.account.available() == 0
    assert "insufficient margin" in place(world, quantity=1).remark
    assert place(world, "SELL", 5_000).status == "ACKED"


def test_bse_is_a_market_of_its_own():
    world, clock = world_of(*day(FLAT))
    place(world, exchange="BSE")
    clock.step(TICK)
    (position,) = world.account.positions()
    assert (position.exchange, position.net) == ("BSE", 10)


def test_switches_refuse_what_they_do_not_know():
    world, _ = world_of(*day(FLAT))
    with pytest.raises(ValueError, match="refusals: 'never'; allowed: later, reply, error"):
        world.behaviour.change({"refusals": "never"})
    with pytest.raises(ValueError, match="slippage"):
        world.behaviour.change({"slippage": 1.0})
    with pytest.raises(ValueError, match="seed"):
        world.behaviour.change({"slippage_bps": 1, "seed": "x"})
    assert world.behaviour.slippage_bps == 0
