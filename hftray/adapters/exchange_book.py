"""The simulated exchange's book in SQLite: orders, their fills, and what they last saw.

WAL with synchronous=FULL, so what `write` returned from survives a crash of process or machine.
Decimals are stored as text, times as ISO 8601 with offset.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from hftray.core.matching import average_price
from hftray.core.orders import Execution, Leg, Order, OrderReport, OrderStatus, Side

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    reference TEXT PRIMARY KEY,
    symbol TEXT NOT NULL,
    exchange TEXT NOT NULL,
    leg TEXT NOT NULL,
    side TEXT NOT NULL,
    quantity INTEGER NOT NULL,
    time TEXT NOT NULL,
    limit_price TEXT,
    trigger_price TEXT,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    acted_at TEXT NOT NULL,
    session_day TEXT,
    last_price REAL
);
CREATE INDEX IF NOT EXISTS orders_by_status ON orders (status);
CREATE INDEX IF NOT EXISTS orders_by_day ON orders (substr(time, 1, 10));
CREATE TABLE IF NOT EXISTS executions (
    trade_id TEXT PRIMARY KEY,
    reference TEXT NOT NULL REFERENCES orders,
    quantity INTEGER NOT NULL,
    price TEXT NOT NULL,
    time TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS executions_by_order ON executions (reference);
"""
_PRESENT = "substr(time, 1, 10) = (SELECT max(substr(time, 1, 10)) FROM orders)"


@dataclass(frozen=True, slots=True)
class BookEntry:
    """One order and everything the exchange knows of it.

    `acted_at` is the market time of its last change (placed, filled, ended). `session_day` is the
    trading day it belongs to, None when it came while the market was closed. `last_price` is the
    newest price of its symbol that it has seen.
    """

    order: Order
    acted_at: datetime
    status: OrderStatus = OrderStatus.WORKING
    reason: str = ""
    session_day: date | None = None
    last_price: float | None = None
    executions: tuple[Execution, ...] = ()

    @property
    def filled(self) -> int:
        """Shares traded so far."""
        return sum(fill.quantity for fill in self.executions)

    def report(self) -> OrderReport:
        """The cumulative view that the broker port gives out."""
        return OrderReport(
            reference=self.order.reference,
            symbol=self.order.symbol,
            status=self.status,
            broker_order_id=f"SIM{self.order.reference}",
            quantity=self.order.quantity,
            filled_quantity=self.filled,
            average_price=average_price(self.executions),
            time=self.acted_at,
            reason=self.reason,
            executions=self.executions,
        )


class ExchangeBook:
    """Durable set of book entries. `:memory:` as path keeps it in memory."""

    def __init__(self, path: Path | str) -> None:
        # An actor may be constructed in another thread than its loop runs in; never two at once.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def find(self, reference: str) -> BookEntry | None:
        """The entry of that reference, if there is one."""
        found = self._select("reference = ?", reference)
        return found[0] if found else None

    def working(self) -> list[BookEntry]:
        """Orders that can still trade, oldest first."""
        return self._select("status = ?", OrderStatus.WORKING.value)

    def present(self) -> list[BookEntry]:
        """Orders of the newest day in the book plus those still working, oldest first."""
        return self._select(f"status = ? OR {_PRESENT}", OrderStatus.WORKING.value)

    def write(self, entries: Sequence[BookEntry]) -> None:
        """Store new and changed entries in one transaction; nothing is done for none."""
        if not entries:
            return
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            for entry in entries:
                self._write(entry)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _write(self, entry: BookEntry) -> None:
        order = entry.order
        row = (
            order.reference, order.symbol, order.exchange, order.leg.value, order.side.value,
            order.quantity, order.time.isoformat(), _text(order.limit_price),
            _text(order.trigger), entry.status.value, entry.reason, entry.acted_at.isoformat(),
            None if entry.session_day is None else entry.session_day.isoformat(),
            entry.last_price,
        )  # fmt: skip
        places = ", ".join("?" * len(row))
        self._db.execute(
            f"INSERT INTO orders VALUES ({places}) ON CONFLICT (reference) DO UPDATE SET "
            "status = excluded.status, reason = excluded.reason, acted_at = excluded.acted_at, "
            "session_day = excluded.session_day, last_price = excluded.last_price",
            row,
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO executions VALUES (?, ?, ?, ?, ?)",
            [
                (fill.trade_id, order.reference, fill.quantity, str(fill.price),
                 fill.time.isoformat())
                for fill in entry.executions
            ],
        )  # fmt: skip

    def _select(self, condition: str, *values: str) -> list[BookEntry]:
        rows = self._db.execute(
            f"SELECT * FROM orders WHERE {condition} ORDER BY rowid", values
        ).fetchall()
        return [self._entry(row) for row in rows]

    def _entry(self, row: sqlite3.Row) -> BookEntry:
        fills = self._db.execute(
            "SELECT trade_id, quantity, price, time FROM executions "
            "WHERE reference = ? ORDER BY rowid",
            (row["reference"],),
        )
        day = row["session_day"]
        return BookEntry(
            order=Order(
                reference=row["reference"],
                symbol=row["symbol"],
                exchange=row["exchange"],
                leg=Leg(row["leg"]),
                side=Side(row["side"]),
                quantity=row["quantity"],
                time=datetime.fromisoformat(row["time"]),
                limit_price=_decimal(row["limit_price"]),
                trigger=_decimal(row["trigger_price"]),
            ),
            acted_at=datetime.fromisoformat(row["acted_at"]),
            status=OrderStatus(row["status"]),
            reason=row["reason"],
            session_day=None if day is None else date.fromisoformat(day),
            last_price=row["last_price"],
            executions=tuple(
                Execution(trade_id, quantity, Decimal(price), datetime.fromisoformat(time))
                for trade_id, quantity, price, time in fills
            ),
        )


def _text(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
