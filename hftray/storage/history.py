"""Trades, positions, signals and the other records in PostgreSQL, as the API lists them."""

import uuid
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import ColumnElement, insert, or_, select

from hftray.catalog_rows import ManualTrade, PositionRow, TradeFilter, TradeRow
from hftray.core.errors import NotFound
from hftray.core.events import Signal
from hftray.core.ledger import EquityMarked, RiskStateChanged, RunInfo, SessionStarted, TradeRecord
from hftray.core.orders import TradeStatus
from hftray.storage.queries import Queries, between, equal, required
from hftray.storage.record import strategy_names, trade_values
from hftray.storage.rows import (
    equity_of,
    position_row_of,
    risk_event_of,
    run_of,
    session_of,
    signal_of,
    trade_row_of,
)
from hftray.storage.tables import (
    equity,
    positions,
    risk_events,
    runs,
    signals,
    trades,
    trading_sessions,
    users,
)


class History(Queries):
    """The part of `CatalogPort` that the engine writes and people read."""

    async def list_trades(
        self, wanted: TradeFilter, *, limit: int = 100, offset: int = 0
    ) -> list[TradeRow]:
        """Trades by time, newest first."""
        statement = select(trades).where(*_trade_conditions(wanted))
        statement = statement.order_by(trades.c.timestamp.desc(), trades.c.id.desc())
        rows = await self.rows(statement.limit(limit).offset(offset))
        return [trade_row_of(row) for row in rows]

    async def session_trades(self, run_id: int, day: date) -> list[TradeRecord]:
        """Every executed row of a run's trading day, oldest first."""
        executed = equal(trades, run_id=run_id, session_day=day, status=TradeStatus.EXECUTED)
        statement = select(trades).where(*executed).order_by(trades.c.timestamp, trades.c.id)
        return [trade_row_of(row).trade for row in await self.rows(statement)]

    async def get_trade(self, trade_id: int) -> TradeRow:
        """One trade. NotFound."""
        wanted = select(trades).where(trades.c.id == trade_id)
        return trade_row_of(await self.one(wanted, f"trade {trade_id}"))

    async def record_manual_trade(self, trade: ManualTrade) -> TradeRow:
        """Record a trade made elsewhere. NotFound for its user or strategy."""
        record = trade.record(f"manual-{uuid.uuid4().hex}")
        user = select(users.c.id).where(users.c.id == trade.user_id)
        async with self.writing() as connection:
            found = (await connection.execute(user)).mappings().one_or_none()
            required(found, f"user {trade.user_id!r}")
            wanted = set() if trade.strategy_id is None else {trade.strategy_id}
            names = await strategy_names(connection, wanted)
            if wanted and not names:
                raise NotFound(f"there is no strategy {trade.strategy_id}")
            values = trade_values(record, names) | {"run_id": None}
            statement = insert(trades).values(values).returning(trades)
            row = (await connection.execute(statement)).mappings().one()
        return trade_row_of(row)

    async def list_positions(
        self,
        *,
        run_id: int | None = None,
        symbol: str | None = None,
        is_open: bool | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[PositionRow]:
        """Positions by entry time, newest first."""
        statement = select(positions).where(*equal(positions, run_id=run_id, symbol=symbol))
        if is_open is not None:
            closed_at = positions.c.closed_at
            statement = statement.where(closed_at.is_(None) if is_open else closed_at.is_not(None))
        statement = statement.order_by(positions.c.entry_time.desc(), positions.c.reference.desc())
        rows = await self.rows(statement.limit(limit).offset(offset))
        return [position_row_of(row) for row in rows]

    async def list_signals(
        self,
        *,
        run_id: int | None = None,
        symbol: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[Signal]:
        """Closed candles' votes by candle time, newest first."""
        time = signals.c.candle_time
        statement = select(signals).where(*equal(signals, run_id=run_id, symbol=symbol))
        statement = statement.where(*between(time, start, end))
        statement = statement.order_by(time.desc(), signals.c.symbol, signals.c.run_id.desc())
        rows = await self.rows(statement.limit(limit).offset(offset))
        return [signal_of(row) for row in rows]

    async def list_equity(
        self,
        run_id: int,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 5_000,
    ) -> list[EquityMarked]:
        """The newest `limit` points of the equity curve, oldest first."""
        conditions = [equity.c.run_id == run_id, *between(equity.c.time, start, end)]
        statement = select(equity).where(*conditions).order_by(equity.c.time.desc())
        rows = await self.rows(statement.limit(limit))
        return [equity_of(row) for row in reversed(rows)]

    async def closed_pnls(self, run_id: int) -> list[Decimal]:
        """Net P&L of every closed position of a run, oldest first."""
        closed = (positions.c.run_id == run_id, positions.c.closed_at.is_not(None))
        rows = await self.rows(
            select(positions.c.pnl)
            .where(*closed)
            .order_by(positions.c.closed_at, positions.c.reference)
        )
        return [row["pnl"] for row in rows]

    async def list_sessions(
        self, *, run_id: int | None = None, limit: int = 100, offset: int = 0
    ) -> list[SessionStarted]:
        """Trading days, newest first."""
        table = trading_sessions
        statement = select(table).where(*equal(table, run_id=run_id))
        statement = statement.order_by(table.c.session_day.desc(), table.c.id.desc())
        return [session_of(row) for row in await self.rows(statement.limit(limit).offset(offset))]

    async def list_risk_events(
        self, *, run_id: int | None = None, limit: int = 100, offset: int = 0
    ) -> list[RiskStateChanged]:
        """Changes of the risk state as they were recorded, newest first."""
        table = risk_events
        statement = select(table).where(*equal(table, run_id=run_id))
        statement = statement.order_by(table.c.id.desc())
        rows = await self.rows(statement.limit(limit).offset(offset))
        return [risk_event_of(row) for row in rows]

    async def list_runs(self, *, limit: int = 100, offset: int = 0) -> list[RunInfo]:
        """Runs, newest first."""
        statement = select(runs).order_by(runs.c.id.desc()).limit(limit).offset(offset)
        return [run_of(row) for row in await self.rows(statement)]


def _trade_conditions(wanted: TradeFilter) -> list[ColumnElement[bool]]:
    conditions = equal(
        trades,
        symbol=wanted.symbol,
        side=wanted.side,
        status=wanted.status,
        leg=wanted.leg,
        strategy_id=wanted.strategy_id,
    )
    if wanted.run_id is not None:
        conditions.append(or_(trades.c.run_id == wanted.run_id, trades.c.run_id.is_(None)))
    return conditions + between(trades.c.timestamp, wanted.start, wanted.end)
