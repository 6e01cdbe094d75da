"""Groww's book as the audit's rows: `GET /_test/book` of the loopback, read past hftray's code."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from adversity.record import Book, BookOrder, Fill

IST = timezone(timedelta(hours=5, minutes=30))
ENDS = {"EXECUTED": "FILLED", "CANCELLED": "CANCELLED", "REJECTED": "REJECTED"}
LEGS = {"E": "ENTRY", "X": "EXIT"}  # the ninth letter of a reference


def book_of(rows: Iterable[Mapping[str, Any]]) -> Book:
    """The book of the loopback's rows, fills in the order in which they happened.

    Groww is not told the moment of a decision, so an order's time is that of its arrival.
    """
    rows = list(rows)
    fills = [_fill(row, trade) for row in rows for trade in row["trades"]]
    # The exchange numbers its trades through; the number follows the eight digits of the day.
    fills.sort(key=lambda fill: int(fill.trade_id[8:]))
    return Book(tuple(map(_order, rows)), tuple(fills))


def _order(row: Mapping[str, Any]) -> BookOrder:
    reference = row["order_reference_id"]
    status = ENDS.get(row["order_status"], "WORKING")
    return BookOrder(
        reference=reference,
        symbol=row["trading_symbol"],
        leg="FOREIGN" if row["foreign"] else LEGS.get(reference[8:9], "?"),
        side=row["transaction_type"],
        quantity=row["quantity"],
        time=_moment(row["created_at"]),
        limit_price=Decimal(str(row["price"])) if row["price"] else None,
        status=status,
        reason=row["remark"],
        ended=_moment(row["exchange_time"]) if status != "WORKING" else None,
    )


def _fill(row: Mapping[str, Any], trade: Mapping[str, Any]) -> Fill:
    return Fill(
        trade_id=trade["exchange_trade_id"],
        reference=row["order_reference_id"],
        quantity=trade["quantity"],
        price=Decimal(str(trade["price"])),
        time=_moment(trade["trade_date_time"]),
    )


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=IST)
