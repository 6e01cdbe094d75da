"""The exchange's book and the ledger as plain rows, read past hftray's own code."""

import sqlite3
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg


@dataclass(frozen=True, slots=True)
class BookOrder:
    """An order as the exchange has it; `time` is the moment of the decision.

    `ended`: when it stopped being alive, where the exchange tells.
    """

    reference: str
    symbol: str
    leg: str
    side: str
    quantity: int
    time: datetime
    limit_price: Decimal | None
    status: str
    reason: str
    ended: datetime | None = None


@dataclass(frozen=True, slots=True)
class Fill:
    """Shares traded at the exchange, in the order in which they were written down."""

    trade_id: str
    reference: str
    quantity: int
    price: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `trades` that an engine made."""

    reference: str
    symbol: str
    leg: str
    side: str
    status: str
    requested_quantity: int
    quantity: int
    price: Decimal | None
    session_day: date
    sequence: int
    decision_price: Decimal | None
    candle_time: datetime | None
    position: str | None
    gross_pnl: Decimal | None
    pnl: Decimal | None


@dataclass(frozen=True, slots=True)
class Held:
    """An open row of `positions`."""

    reference: str
    symbol: str
    side: str
    quantity: int
    session_day: date
    stop_loss: Decimal | None
    take_profit: Decimal | None


@dataclass(frozen=True, slots=True)
class Applied:
    """When an order's PENDING row or a change of the risk state was recorded in the database.

    `state` is that of the risk book from then on, or empty; `reference` the order's, or empty.
    """

    at: datetime
    reference: str = ""
    state: str = ""


@dataclass(frozen=True, slots=True)
class Book:
    """Everything at the exchange."""

    orders: tuple[BookOrder, ...] = ()
    fills: tuple[Fill, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything in PostgreSQL that the audit looks at."""

    rows: tuple[Row, ...] = ()
    held: tuple[Held, ...] = ()
    openings: tuple[tuple[date, Decimal], ...] = ()
    applied: tuple[Applied, ...] = ()


def read_book(data_dir: Path) -> Book:
    """The one exchange's book of the data directory; empty before there is one."""
    paths = sorted(data_dir.glob("exchange-*.sqlite"))
    if not paths:
        return Book()
    db = sqlite3.connect(f"file:{paths[0]}?mode=ro", uri=True, timeout=10)
    try:
        db.execute("BEGIN")  # one snapshot for both
        orders = db.execute(
            "SELECT reference, symbol, leg, side, quantity, time, limit_price, status, reason "
            "FROM orders ORDER BY rowid"
        ).fetchall()
        fills = db.execute(
            "SELECT trade_id, reference, quantity, price, time FROM executions ORDER BY rowid"
        ).fetchall()
    finally:
        db.close()
    return Book(tuple(_order(*row) for row in orders), tuple(_fill(*row) for row in fills))


async def read_ledger(socket_directory: str) -> Ledger:
    """The newest run's rows from the embedded PostgreSQL, in one snapshot."""
    database = await asyncpg.connect(
        host=socket_directory, user="postgres", database="postgres", timeout=10
    )
    try:
        async with database.transaction(isolation="repeatable_read", readonly=True):
            return await _read(database)
    finally:
        await database.close(timeout=5)


async def _read(database: Any) -> Ledger:
    own = await database.fetchval("SELECT max(id) FROM runs")
    trades = await database.fetch("SELECT * FROM trades WHERE run_id = $1 ORDER BY id", own)
    positions = await database.fetch(
        "SELECT * FROM positions WHERE run_id = $1 AND closed_at IS NULL", own
    )
    openings = await database.fetch(
        "SELECT session_day, opening_capital FROM trading_sessions WHERE run_id = $1 "
        "ORDER BY session_day",
        own,
    )
    applied = await database.fetch(
        "SELECT event_id, recorded_at FROM ledger_events "
        "WHERE event_id LIKE '%:intended' OR event_id LIKE $1",
        f"{own}:risk:%",
    )
    return Ledger(
        tuple(_picked(Row, row) for row in trades if row["leg"] != "MANUAL"),
        tuple(_picked(Held, row) for row in positions),
        tuple((row["session_day"], row["opening_capital"]) for row in openings),
        tuple(_applied(row["event_id"], row["recorded_at"]) for row in applied),
    )


def _picked(kind: Any, row: Any) -> Any:
    return kind(**{name: row[name] for name in kind.__dataclass_fields__})


def _applied(event: str, at: datetime) -> Applied:
    if event.endswith(":intended"):
        return Applied(at, reference=event.removesuffix(":intended"))
    return Applied(at, state=event.rpartition(":")[2])


def _order(  # in the order of the SELECT
    reference: str,
    symbol: str,
    leg: str,
    side: str,
    quantity: int,
    time: str,
    limit_price: str | None,
    status: str,
    reason: str,
) -> BookOrder:
    limit = _decimal(limit_price)
    moment = datetime.fromisoformat(time)
    return BookOrder(reference, symbol, leg, side, quantity, moment, limit, status, reason)


def _fill(trade_id: str, reference: str, quantity: int, price: str, time: str) -> Fill:
    return Fill(trade_id, reference, quantity, Decimal(price), datetime.fromisoformat(time))


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
