"""The chaos suite's audit finds what it is there to find; a clean record passes it."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from adversity.audit import audit
from adversity.breaches import Limits
from adversity.record import Applied, Book, BookOrder, Fill, Held, Ledger, Row
from adversity.schedule import KINDS, digest, schedule

DAY = date(2026, 11, 23)
OPEN = datetime(2026, 11, 23, 3, 45, tzinfo=UTC)
LIMITS = Limits(
    per_symbol_day=2,
    per_day=3,
    exposure_percent=Decimal(25),
    leverage=Decimal(1),
    band_percent=Decimal("0.5"),
)


class World:
    """An exchange and a ledger that agree, until a test makes them differ."""

    def __init__(self) -> None:
        self.orders: dict[str, BookOrder] = {}
        self.fills: list[Fill] = []
        self.rows: dict[str, Row] = {}
        self.open: dict[str, Held] = {}
        self.openings = {DAY: Decimal(100_000)}
        self.applied: list[Applied] = []
        self.actors: dict[str, str] = {}
        self.minute = 0

    def order(
        self, reference: str, symbol: str, leg: str, side: str, quantity: int, price: str,
        position: str | None = None,
    ) -> None:  # fmt: skip
        self.minute += 1
        now = OPEN + timedelta(minutes=self.minute)
        known = [r for r in self.rows.values() if (r.symbol, r.leg) == (symbol, leg)]
        self.orders[reference] = BookOrder(
            reference, symbol, leg, side, quantity, now, None, "FILLED", ""
        )
        self.fills.append(Fill(f"{reference}-1", reference, quantity, Decimal(price), now))
        self.rows[reference] = Row(
            reference=reference,
            symbol=symbol,
            leg=leg,
            side=side,
            status="EXECUTED",
            requested_quantity=quantity,
            quantity=quantity,
            price=Decimal(price),
            session_day=DAY,
            sequence=len(known) + 1,
            decision_price=Decimal(price),
            candle_time=now,
            position=position,
            gross_pnl=None,
            pnl=None,
        )

    def enter(self, reference: str, symbol: str, quantity: int = 10, price: str = "100.00") -> None:
        self.order(reference, symbol, "ENTRY", "BUY", quantity, price)
        stop, target = Decimal(price) - 2, Decimal(price) + 4
        self.open[reference] = Held(reference, symbol, "BUY", quantity, DAY, stop, target)
        self.actors[symbol] = reference

    def leave(self, reference: str, position: str, price: str = "101.00") -> None:
        held = self.open.pop(position)
        del self.actors[held.symbol]
        self.order(reference, held.symbol, "EXIT", "SELL", held.quantity, price, position)
        entered = self.rows[position].price
        assert entered is not None
        gross = (Decimal(price) - entered) * held.quantity
        self.change(reference, gross_pnl=gross, pnl=gross)

    def change(self, reference: str, **fields: object) -> None:
        self.rows[reference] = replace(self.rows[reference], **fields)  # type: ignore[arg-type]

    def found(self, today: date = DAY) -> set[tuple[str, str]]:
        book = Book(tuple(self.orders.values()), tuple(self.fills))
        ledger = Ledger(
            rows=tuple(self.rows.values()),
            held=tuple(self.open.values()),
            openings=tuple(self.openings.items()),
            applied=tuple(self.applied),
        )
        violations = audit(book, ledger, LIMITS, held=self.actors, today=today)
        return {(violation.kind, violation.rule) for violation in violations}


@pytest.fixture
def world() -> World:
    """A closed trade in one symbol, an open position in another, an order that came to nothing."""
    world = World()
    world.enter("E1", "TCS")
    world.leave("X1", "E1")
    world.enter("E2", "ITC")
    world.order("E3", "TCS", "ENTRY", "BUY", 10, "100.00")
    world.fills.pop()
    world.orders["E3"] = replace(world.orders["E3"], status="REJECTED")
    world.change("E3", status="FAILED", quantity=0, price=None)
    return world


def test_records_that_agree_pass(world: World) -> None:
    assert world.found() == set()


def test_an_order_under_way_on_both_sides_passes(world: World) -> None:
    world.orders["E2"] = replace(world.orders["E2"], status="WORKING", quantity=20)
    world.change("E2", status="PENDING", requested_quantity=20, quantity=0, price=None)
    world.open.clear()
    world.actors.clear()
    assert world.found() == set()


def test_a_row_that_the_ledger_lacks_is_lost(world: World) -> None:
    del world.rows["E2"]
    assert ("lost", "at the exchange, not in the ledger") in world.found()


def test_an_execution_that_the_exchange_lacks_is_lost(world: World) -> None:
    del world.orders["E2"]
    world.fills = [fill for fill in world.fills if fill.reference != "E2"]
    assert ("lost", "executed in the ledger, unknown to the exchange") in world.found()


def test_a_row_left_pending_is_lost(world: World) -> None:
    world.change("E2", status="PENDING")
    assert ("lost", "finished at the exchange, pending in the ledger") in world.found()
    del world.orders["E3"]
    world.change("E3", status="PENDING")
    assert ("lost", "pending in the ledger, unknown to the exchange") in world.found()


def test_a_fill_of_a_failed_row_is_lost(world: World) -> None:
    world.change("E2", status="FAILED")
    assert ("lost", "10 shares filled, FAILED in the ledger") in world.found()


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ({"quantity": 9}, "another quantity"),
        ({"requested_quantity": 11}, "another quantity"),
        ({"price": Decimal("100.05")}, "another price"),
        ({"side": "SELL"}, "another symbol, side or leg"),
        ({"symbol": "SBIN"}, "another symbol, side or leg"),
    ],
)
def test_a_fill_recorded_differently_is_lost(
    world: World, fields: dict[str, object], rule: str
) -> None:
    world.change("E2", **fields)
    assert ("lost", rule) in world.found()


def test_a_mean_price_of_two_fills_is_compared_exactly(world: World) -> None:
    world.fills[-1] = replace(world.fills[-1], quantity=4)
    world.fills.append(Fill("E2-2", "E2", 6, Decimal("100.10"), world.fills[-1].time))
    world.change("E2", price=Decimal("100.06"))
    assert world.found() == set()


def test_profit_that_the_fills_did_not_make_is_lost(world: World) -> None:
    world.change("X1", gross_pnl=Decimal("11.00"))
    assert world.found() == {("lost", "another P&L")}


def test_a_decision_filled_twice_is_doubled(world: World) -> None:
    world.enter("E4", "ITC")
    world.orders["E4"] = replace(world.orders["E4"], time=world.orders["E2"].time)
    assert ("doubled", "entered twice") in world.found()


def test_a_second_exit_is_doubled(world: World) -> None:
    world.order("X2", "TCS", "EXIT", "SELL", 10, "101.00", "E1")
    assert {("doubled", "exited more than entered"), ("orphan", "shares differ")} <= world.found()


def test_an_execution_twice_is_doubled(world: World) -> None:
    world.fills.append(world.fills[-1])
    assert {
        ("doubled", "execution twice"),
        ("doubled", "filled more than ordered"),
    } <= world.found()


def test_a_number_given_twice_is_doubled(world: World) -> None:
    world.change("E3", sequence=world.rows["E1"].sequence)
    assert world.found() == {("doubled", "number twice")}


def test_shares_nobody_knows_of_are_orphans(world: World) -> None:
    del world.open["E2"]
    assert {("orphan", "shares differ"), ("orphan", "held by its actor only")} <= world.found()


def test_a_position_without_a_stop_is_an_orphan(world: World) -> None:
    world.open["E2"] = replace(world.open["E2"], stop_loss=Decimal(0))
    assert world.found() == {("orphan", "no stop")}


def test_a_position_that_its_actor_does_not_hold_is_an_orphan(world: World) -> None:
    world.actors.clear()
    assert world.found() == {("orphan", "not held by its actor")}


def test_a_position_of_an_earlier_day_is_an_orphan(world: World) -> None:
    assert world.found(today=DAY + timedelta(days=1)) == {("orphan", "of an earlier day")}


def test_too_many_trades_are_a_breach(world: World) -> None:
    for number, symbol in enumerate(("TCS", "SBIN"), 4):
        world.enter(f"E{number}", symbol)
        world.leave(f"X{number}", f"E{number}")
    assert world.found() == {("breach", "trades a day")}
    world.enter("E6", "TCS")
    assert ("breach", "trades a symbol and day") in world.found()


def test_a_second_position_in_a_symbol_is_a_breach(world: World) -> None:
    world.enter("E4", "ITC")
    assert ("breach", "two positions at once") in world.found()


def test_more_deployed_than_the_day_opened_with_is_a_breach(world: World) -> None:
    world.openings[DAY] = Decimal(4500)
    world.fills = [replace(f, price=Decimal(1000)) for f in world.fills]
    assert {("breach", "deployed"), ("breach", "exposure of a symbol")} <= world.found()


def test_a_symbol_may_exceed_its_share_by_the_band_only(world: World) -> None:
    world.openings[DAY] = Decimal(3990)  # 25 % is 997.50, the position 1000
    assert world.found() == set()
    world.openings[DAY] = Decimal(3900)
    assert world.found() == {("breach", "exposure of a symbol")}


def test_an_entry_while_halted_is_a_breach(world: World) -> None:
    moments = [OPEN + timedelta(seconds=second) for second in range(4)]
    world.applied = [Applied(moments[0], state="HALTED"), Applied(moments[1], reference="X1")]
    world.applied += [Applied(moments[2], state="ACTIVE"), Applied(moments[3], reference="E2")]
    assert world.found() == set()
    world.applied[1] = Applied(moments[1], reference="E1")
    assert world.found() == {("breach", "entry while halted")}


def test_a_schedule_is_a_function_of_its_seed_and_holds_every_kind() -> None:
    planned = schedule(7, 300, 1.5)
    assert digest(planned) == digest(schedule(7, 300, 1.5)) != digest(schedule(8, 300, 1.5))
    assert {fault.kind for fault in planned} == set(KINDS)
    assert len(planned) >= 150
    assert {fault.kind for fault in schedule(3, 75, 1.5)} == set(KINDS)
