"""The chaos suite at a Groww: its book becomes the audit's rows, its faults suit the loopback."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from adversity.exits import wrong_exits
from adversity.facts import Facts
from adversity.groww_book import IST, book_of
from adversity.groww_faults import CALLS, DECK, body_of
from adversity.record import Book, BookOrder, Fill, Ledger, Row
from adversity.schedule import Planned, schedule

from hftray.testing.groww.faults import Fault

OPEN = datetime(2026, 9, 16, 14, 0, tzinfo=IST)
E1, G1, X1 = "20260916E00000000001", "20260916X00000000001", "20260916X00000000002"


def row(
    reference: str, status: str, trades: list[dict[str, Any]], **changes: Any
) -> dict[str, Any]:
    """An order as the loopback's book tells it."""
    told = {
        "order_reference_id": reference,
        "order_status": status,
        "trading_symbol": "TCS",
        "transaction_type": "BUY",
        "quantity": 10,
        "price": 3000.05,
        "remark": "",
        "created_at": "2026-09-16T14:00:00",
        "exchange_time": "2026-09-16T14:00:05",
        "foreign": False,
        "trades": trades,
    }
    return told | changes


def trade(number: int, quantity: int, price: float) -> dict[str, Any]:
    return {
        "exchange_trade_id": f"20260916{number:08d}",
        "quantity": quantity,
        "price": price,
        "trade_date_time": "2026-09-16T14:00:05",
    }


def test_the_books_rows_become_orders_and_fills_in_the_order_of_the_exchange() -> None:
    first = row(E1, "EXECUTED", [trade(1, 4, 3000.05), trade(3, 6, 3000.1)])
    second = row(G1, "TRIGGER_PENDING", [trade(2, 1, 2990.0)], transaction_type="SELL")
    book = book_of([first, second])
    told = [(o.reference, o.leg, o.status, o.ended) for o in book.orders]
    ends = OPEN + timedelta(seconds=5)
    assert told == [(E1, "ENTRY", "FILLED", ends), (G1, "EXIT", "WORKING", None)]
    assert [(f.reference, f.quantity, f.price) for f in book.fills] == [
        (E1, 4, Decimal("3000.05")),
        (G1, 1, Decimal("2990.0")),
        (E1, 6, Decimal("3000.1")),
    ]


def test_an_order_from_elsewhere_is_told_as_such() -> None:
    assert book_of([row("SQ2026091600000001", "EXECUTED", [], foreign=True)]).orders[0].leg == (
        "FOREIGN"
    )


class Exits:
    """An entry of ten shares, and exits of it as a test adds them; seconds after the open."""

    def __init__(self) -> None:
        self.orders: list[BookOrder] = []
        self.rows: list[Row] = []
        self.fills: list[Fill] = []
        self.add(E1, 0, 1, 10)

    def add(self, reference: str, begins: int, ends: int | None, filled: int) -> None:
        leg, side = ("ENTRY", "BUY") if reference == E1 else ("EXIT", "SELL")
        begin = OPEN + timedelta(seconds=begins)
        ended = None if ends is None else OPEN + timedelta(seconds=ends)
        status = "WORKING" if ended is None else "FILLED" if filled else "CANCELLED"
        order = BookOrder(reference, "TCS", leg, side, 10, begin, None, status, "", ended)
        self.orders.append(order)
        position = None if leg == "ENTRY" else E1
        number = len(self.rows)
        self.rows.append(
            Row(
                reference=reference,
                symbol="TCS",
                leg=leg,
                side=side,
                status="EXECUTED",
                requested_quantity=10,
                quantity=filled,
                price=None,
                session_day=OPEN.date(),
                sequence=number,
                decision_price=None,
                candle_time=None,
                position=position,
                gross_pnl=None,
                pnl=None,
            )
        )
        if filled:
            self.fills.append(Fill(reference, reference, filled, Decimal(3000), begin))

    def found(self) -> set[tuple[str, str]]:
        facts = Facts(Book(tuple(self.orders), tuple(self.fills)), Ledger(tuple(self.rows)))
        return {(violation.kind, violation.rule) for violation in wrong_exits(facts)}


def test_an_exit_after_the_guards_end_passes() -> None:
    exits = Exits()
    exits.add(G1, 2, 5, 4)
    exits.add(X1, 5, 6, 6)
    assert exits.found() == set()


@pytest.mark.parametrize("guard_ends", [6, None])
def test_an_exit_beside_a_living_guard_is_doubled(guard_ends: int | None) -> None:
    exits = Exits()
    exits.add(G1, 2, guard_ends, 0)
    exits.add(X1, 5, 8, 10)
    assert exits.found() == {("doubled", "two exits alive at once")}


def test_an_exit_that_turns_the_position_is_doubled() -> None:
    exits = Exits()
    exits.add(G1, 2, 5, 4)
    exits.add(X1, 5, 6, 7)
    assert exits.found() == {("doubled", "exit past zero")}


@pytest.mark.parametrize("name", sorted(CALLS))
def test_every_fault_of_calls_is_one_that_the_loopback_takes(name: str) -> None:
    body = body_of(Planned(1, 0.0, f"exchange {name}", 0, 1.5))
    Fault(**body)


def test_a_schedule_at_a_groww_holds_every_kind_of_fault() -> None:
    assert {fault.kind for fault in schedule(7, 120, 1.5, DECK)} == set(DECK.kinds)
