"""The simulated exchange's book in SQLite: orders, their fills, and what they last saw.

A reference that was looked up before its order came is withdrawn: the book refuses the order from
then on. An order that has ended stays as it is. Both hold in the transaction that writes, so that
of two processes that have the file open for a moment (one dying, one starting) neither can undo
what the other answered. Who decides by what the book holds does so `alone`.

WAL with synchronous=FULL, so what `write` returned from survives a crash of process or machine.
Decimals are stored as text, times as ISO 8601 with offset.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from hftray.adapters.exchange_entry import BookEntry, Withdrawal
from hftray.adapters.exchange_schema import ADDED, SCHEMA
from hftray.core.errors import OrderRejected
from hftray.core.matching import average_price
from hftray.core.orders import BrokerPosition, Execution, Leg, Order, OrderStatus, Side

_NEWEST_DAY = "(SELECT max(substr(time, 1, 10)) FROM orders)"


class ExchangeBook:
    """Durable set of book entries. `:memory:` as path keeps it in memory."""

    def __init__(self, path: Path | str) -> None:
        # An actor may be constructed in another thread than its loop runs in; never two at once.
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(SCHEMA)
        self._add_columns()
        self._version = self._data_version()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else writes meanwhile: all that is read and written is one transaction."""
        if self._db.in_transaction:
            yield
            return
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            yield

    def changed_elsewhere(self) -> bool:
        """Whether another process has written since this was asked last."""
        before, self._version = self._version, self._data_version()
        return before != self._version

    def find(self, reference: str) -> BookEntry | Withdrawal | None:
        """The entry of that reference or its withdrawal, if there is one."""
        found = self._select("reference = ?", reference)
        return found[0] if found else next(iter(self._withdrawn("reference = ?", reference)), None)

    def working(self) -> list[BookEntry]:
        """Orders that can still trade, oldest first."""
        return self._select("status = ?", OrderStatus.WORKING.value)

    def changed_at(self, time: datetime) -> list[BookEntry]:
        """Orders whose last change was at that market time, oldest first."""
        return self._select("acted_at = ?", time.isoformat())

    def present(self, day: date | None) -> list[BookEntry | Withdrawal]:
        """Orders of that day (None: the newest in the book) plus those still working, oldest first,
        then what was withdrawn that day.
        """
        wanted = None if day is None else day.isoformat()
        of_day = f"substr(time, 1, 10) = coalesce(?, {_NEWEST_DAY})"
        orders = self._select(f"status = ? OR {of_day}", OrderStatus.WORKING.value, wanted)
        return [*orders, *self._withdrawn(f"time IS NULL OR {of_day}", wanted)]

    def positions(self) -> list[BrokerPosition]:
        """Shares bought less shares sold, of symbols where they differ."""
        held = self._db.execute("SELECT * FROM holdings WHERE shares <> 0 ORDER BY symbol")
        return [BrokerPosition(name, net, self._entered_at(name, net)) for name, net in held]

    def write(self, entries: Sequence[BookEntry]) -> None:
        """Store new and changed entries in one transaction, but for those that have ended.

        OrderRejected when one of them is withdrawn: then nothing is stored.
        """
        if not entries:
            return
        with self.alone():
            for entry in entries:
                self._write(entry)

    def withdraw(self, reference: str, symbol: str, time: datetime | None) -> None:
        """Refuse that order from now on; one that is in the book stays as it is."""
        self._db.execute(
            "INSERT OR IGNORE INTO withdrawn SELECT ?, ?, ? "
            "WHERE NOT EXISTS (SELECT 1 FROM orders WHERE reference = ?)",
            (reference, symbol, None if time is None else time.isoformat(), reference),
        )

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _add_columns(self) -> None:
        with self.alone():
            known = {row["name"] for row in self._db.execute("PRAGMA table_info(orders)")}
            for name in ADDED:
                if name not in known:
                    self._db.execute(
                        f"ALTER TABLE orders ADD COLUMN {name} INTEGER NOT NULL DEFAULT 0"
                    )

    def _data_version(self) -> int:
        [version] = self._db.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _write(self, entry: BookEntry) -> None:
        order = entry.order
        row = (
            order.reference, order.symbol, order.exchange, order.leg.value, order.side.value,
            order.quantity, order.time.isoformat(), _text(order.limit_price),
            _text(order.trigger), entry.status.value, entry.reason, entry.acted_at.isoformat(),
            None if entry.session_day is None else entry.session_day.isoformat(),
            entry.last_price, order.stop, entry.triggered,
        )  # fmt: skip
        places = ", ".join("?" * len(row))
        try:
            written = self._db.execute(
                f"INSERT INTO orders VALUES ({places}) ON CONFLICT (reference) DO UPDATE SET "
                "status = excluded.status, reason = excluded.reason, acted_at = excluded.acted_at, "
                "session_day = excluded.session_day, last_price = excluded.last_price, "
                "limit_price = excluded.limit_price, trigger_price = excluded.trigger_price, "
                "triggered = excluded.triggered "
                "WHERE status = ?",
                (*row, OrderStatus.WORKING.value),
            ).rowcount
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorname != "SQLITE_CONSTRAINT_TRIGGER":
                raise
            raise OrderRejected(f"{order.reference}: {error}") from None
        if not written:
            return  # it has ended: no share of it is traded any more
        self._db.executemany(
            "INSERT OR IGNORE INTO executions VALUES (?, ?, ?, ?, ?)",
            [
                (fill.trade_id, order.reference, fill.quantity, str(fill.price),
                 fill.time.isoformat())
                for fill in entry.executions
            ],
        )  # fmt: skip

    def _withdrawn(self, condition: str, *values: str | None) -> list[Withdrawal]:
        rows = self._db.execute(
            f"SELECT reference, symbol, time FROM withdrawn WHERE {condition} ORDER BY rowid",
            values,
        )
        return [
            Withdrawal(reference, symbol, None if time is None else datetime.fromisoformat(time))
            for reference, symbol, time in rows
        ]

    def _entered_at(self, symbol: str, shares: int) -> Decimal | None:
        """Mean price of what was traded towards the position since the symbol was last flat."""
        newest_first = self._db.execute(
            "SELECT side, e.* FROM executions AS e CROSS JOIN orders USING (reference) "
            "WHERE symbol = ? ORDER BY e.rowid DESC",
            (symbol,),
        )
        entering = Side.BUY if shares > 0 else Side.SELL
        entered = []
        for row in newest_first:
            side = Side(row["side"])
            if side is entering:
                entered.append(_execution(row))
            shares -= side.sign * row["quantity"]
            if shares == 0:
                break
        return average_price(entered)

    def _select(self, condition: str, *values: str | None) -> list[BookEntry]:
        rows = self._db.execute(
            f"SELECT * FROM orders WHERE {condition} ORDER BY rowid", values
        ).fetchall()
        return [self._entry(row) for row in rows]

    def _entry(self, row: sqlite3.Row) -> BookEntry:
        fills = self._db.execute(
            "SELECT * FROM executions WHERE reference = ? ORDER BY rowid", (row["reference"],)
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
                stop=bool(row["stop"]),
            ),
            acted_at=datetime.fromisoformat(row["acted_at"]),
            status=OrderStatus(row["status"]),
            reason=row["reason"],
            session_day=None if day is None else date.fromisoformat(day),
            last_price=row["last_price"],
            executions=tuple(_execution(fill) for fill in fills),
            triggered=bool(row["triggered"]),
        )


def _execution(row: sqlite3.Row) -> Execution:
    return Execution(
        trade_id=row["trade_id"],
        quantity=row["quantity"],
        price=Decimal(row["price"]),
        time=datetime.fromisoformat(row["time"]),
    )


def _text(price: Decimal | None) -> str | None:
    return None if price is None else str(price)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
