"""The durable record in PostgreSQL: what `append` returned from is committed and on disk."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from time import time_ns
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Table, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from hftray.core.errors import Conflict, NotFound, RejectError
from hftray.core.ledger import (
    LedgerEvent,
    LedgerHealth,
    RunInfo,
    RunState,
    ScanningSet,
    TradeRecord,
)
from hftray.core.ledger_fold import require_owner, require_term
from hftray.core.position import Position
from hftray.storage.database import (
    FOREIGN_KEY_VIOLATION,
    REFUSED_VALUE,
    reachable,
    sqlstate,
)
from hftray.storage.record import record
from hftray.storage.rows import position_of, run_of, session_of, trade_of
from hftray.storage.tables import (
    catalog_state,
    equity,
    ledger_owner,
    positions,
    risk_events,
    runs,
    signals,
    strategies,
    trades,
    trading_sessions,
)

ROSTER_COLUMNS = ("id", "name", "kind", "is_active", "parameters")


class PostgresLedger:
    """`hftray.ports.Ledger` on an engine that the caller owns and disposes of.

    Every method raises LedgerUnavailable while the server is away; the same call may be made
    again, also when it had taken effect.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._term = 0

    async def open_run(
        self, mode: str, source: str, user_id: str, initial_capital: Decimal
    ) -> RunInfo:
        """The user's unfinished run of this mode and source as it was begun, or a new one.

        NotFound when a new run's user does not exist.
        """
        unfinished = runs.c.finished_at.is_(None)
        account = (runs.c.mode == mode, runs.c.source == source, runs.c.user_id == user_id)
        wanted = select(runs).where(*account, unfinished)
        new = insert_or(runs).values(
            mode=mode, source=source, user_id=user_id, initial_capital=initial_capital
        )
        new = new.on_conflict_do_nothing(
            index_elements=["mode", "source", "user_id"], index_where=unfinished
        )
        async with reachable(self._engine), self._engine.begin() as connection:
            found = (await connection.execute(wanted)).mappings().one_or_none()
            if found is None:
                try:
                    await connection.execute(new)
                except IntegrityError as error:
                    raise NotFound(f"there is no user {user_id!r}") from error
                found = (await connection.execute(wanted)).mappings().one()
            opened = update(runs).where(runs.c.id == found["id"])
            await connection.execute(opened.values(opened_at=func.clock_timestamp()))
        return run_of(found)

    async def current_run(self, mode: str, source: str) -> RunInfo | None:
        """The run of this mode and source that was opened last; None before the first."""
        wanted = select(runs).where(runs.c.mode == mode, runs.c.source == source)
        newest = wanted.order_by(runs.c.opened_at.desc(), runs.c.id.desc()).limit(1)
        async with reachable(self._engine), self._engine.connect() as connection:
            found = (await connection.execute(newest)).mappings().one_or_none()
        return None if found is None else run_of(found)

    async def finish_run(self, run_id: int, time: datetime) -> None:
        """End the run; finishing twice keeps the first time. NotFound."""
        finished = func.coalesce(runs.c.finished_at, time)
        statement = update(runs).where(runs.c.id == run_id).values(finished_at=finished)
        async with reachable(self._engine), self._engine.begin() as connection:
            if not (await connection.execute(statement)).rowcount:
                raise NotFound(f"there is no run {run_id}")

    async def set_scanning(self, run_id: int, scanning: bool) -> None:
        """Remember whether the engine is meant to scan. NotFound."""
        await self.append([ScanningSet(run_id, scanning, datetime.now(UTC))])

    async def open_term(self) -> int:
        """A new term. It binds this object only: the journal in front keeps it durably."""
        self._term = max(self._term + 1, time_ns() // 1_000_000)
        return self._term

    async def owner(self) -> str:
        """Which journal's events are taken; empty before the first."""
        async with reachable(self._engine), self._engine.connect() as connection:
            return await connection.scalar(select(ledger_owner.c.journal)) or ""

    async def take_over(self, owner: str, before: str) -> None:
        """Take events of this journal only, after those of `before`; Conflict when not so now."""
        change = update(ledger_owner).where(ledger_owner.c.journal == before)
        change = change.values(journal=owner, since=func.now())
        async with reachable(self._engine), self._engine.begin() as connection:
            if not (await connection.execute(change)).rowcount:
                raise Conflict("another hftray has just begun to write this database; try again")

    async def append(
        self, events: Sequence[LedgerEvent], term: int | None = None, *, owner: str = ""
    ) -> LedgerHealth:
        """Record all events in one transaction, or none; those recorded before are skipped.

        NotFound for an unknown run or order, IllegalTransition for an order that ended otherwise,
        StaleEpoch for an older term or when the ledger is another journal's than `owner`,
        RejectError for values the database will never take.
        """
        self._term = require_term(term, self._term)
        if not events:
            return LedgerHealth()
        async with reachable(self._engine):
            try:
                async with self._engine.begin() as connection:
                    if owner:  # nobody takes over before this is committed
                        present = select(ledger_owner.c.journal).with_for_update(read=True)
                        require_owner(owner, await connection.scalar(present) or "")
                    await record(connection, events)
            except DBAPIError as error:
                state = sqlstate(error)
                if state == FOREIGN_KEY_VIOLATION:
                    raise NotFound(f"an event's run or user is unknown: {error.orig}") from error
                if state.startswith(REFUSED_VALUE):
                    raise RejectError(f"PostgreSQL refuses an event: {error.orig}") from error
                raise
        return LedgerHealth()

    async def run_state(self, run_id: int) -> RunState:
        """What a restarted process needs, from one snapshot of the database. NotFound."""
        async with reachable(self._engine), self._engine.connect() as connection:
            await connection.execution_options(isolation_level="REPEATABLE READ")
            return await _read_run_state(connection, run_id)

    async def roster(self, known_version: int) -> tuple[int, list[dict[str, Any]]] | None:
        """Version and rows of all strategies; None when the version is the known one."""
        columns = [strategies.c[name] for name in ROSTER_COLUMNS]
        async with reachable(self._engine), self._engine.connect() as connection:
            # The version first: rows newer than it are reported again with the next call,
            # rows older than it would be missed.
            version = await connection.scalar(select(catalog_state.c.roster_version))
            if version is None or version == known_version:
                return None
            rows = await connection.execute(select(*columns).order_by(strategies.c.id))
            # Plain names for keys: SQLAlchemy's own would take SQLAlchemy along into every process
            # that unpickles them.
            return version, [dict(zip(ROSTER_COLUMNS, row, strict=True)) for row in rows]


async def _read_run_state(connection: AsyncConnection, run_id: int) -> RunState:
    found = await connection.execute(select(runs).where(runs.c.id == run_id))
    run = found.mappings().one_or_none()
    if run is None:
        raise NotFound(f"there is no run {run_id}")
    of_run = trades.c.run_id == run_id
    realised = select(func.sum(trades.c.pnl)).where(of_run, trades.c.status == "EXECUTED")
    state = RunState(
        run=run_of(run),
        scanning=run["scanning"],
        realised_total=await connection.scalar(realised) or Decimal(0),
        pending=await _trades(connection, of_run, trades.c.status == "PENDING"),
        positions=await _open_positions(connection, run_id),
        market_time=await _market_time(connection, run_id),
    )
    session = await _newest(connection, trading_sessions, run_id, trading_sessions.c.session_day)
    if session is not None:
        today = session_of(session)
        state = replace(
            state,
            session_day=today.session_day,
            opening_capital=today.opening_capital,
            trades_today=await _trades(
                connection, of_run, trades.c.session_day == today.session_day
            ),
        )
    # By id, not by time: an operator's clock and the market's may differ.
    risk = await _newest(connection, risk_events, run_id, risk_events.c.id)
    if risk is not None:
        state = replace(
            state,
            risk_state=risk["state"],
            risk_reason=risk["reason"],
            risk_since=risk["time"],
            risk_sequence=risk["sequence"],
        )
    return state


async def _trades(
    connection: AsyncConnection, *conditions: ColumnElement[bool]
) -> tuple[TradeRecord, ...]:
    rows = await connection.execute(select(trades).where(*conditions).order_by(trades.c.id))
    return tuple(trade_of(row) for row in rows.mappings())


async def _open_positions(connection: AsyncConnection, run_id: int) -> tuple[Position, ...]:
    rows = await connection.execute(
        select(positions)
        .where(positions.c.run_id == run_id, positions.c.closed_at.is_(None))
        .order_by(positions.c.entry_time, positions.c.reference)
    )
    return tuple(position_of(row) for row in rows.mappings())


async def _newest(
    connection: AsyncConnection, table: Table, run_id: int, order: ColumnElement[Any]
) -> RowMapping | None:
    rows = await connection.execute(
        select(table).where(table.c.run_id == run_id).order_by(order.desc()).limit(1)
    )
    return rows.mappings().one_or_none()


async def _market_time(connection: AsyncConnection, run_id: int) -> datetime | None:
    # Of the newest candle only: the index leads there, whatever the length of the run.
    newest = select(func.max(signals.c.candle_time)).where(signals.c.run_id == run_id)
    voted = select(func.max(signals.c.timestamp)).where(
        signals.c.run_id == run_id, signals.c.candle_time == newest.scalar_subquery()
    )
    marked = select(func.max(equity.c.time)).where(equity.c.run_id == run_id)
    latest = func.greatest(voted.scalar_subquery(), marked.scalar_subquery())
    return await connection.scalar(select(latest))
