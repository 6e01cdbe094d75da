"""How each ledger event changes the tables, inside the caller's transaction.

Exactly once: orders, sessions, risk changes and the wish to scan claim their event id in
`ledger_events` before they are applied. Signals and equity marks are kept apart by their own
primary keys, and a position mark only ever improves a price, so those (hundreds a scan) need no
claim.

Rows that two callers may write at once are written in sorted order, so they cannot deadlock.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.ext.asyncio import AsyncConnection

from hftray.core.errors import NotFound
from hftray.core.ledger import (
    EquityMarked,
    LedgerEvent,
    OrderIntended,
    OrderSettled,
    PositionMarked,
    RiskStateChanged,
    ScanningSet,
    SessionStarted,
    SignalRecorded,
    TradeRecord,
)
from hftray.core.orders import TradeStatus, require_trade_step
from hftray.storage.rows import position_values, values_of
from hftray.storage.tables import (
    equity,
    ledger_events,
    positions,
    risk_events,
    runs,
    signals,
    strategies,
    trades,
    trading_sessions,
)

Claimed = OrderIntended | OrderSettled | SessionStarted | RiskStateChanged | ScanningSet


def better_price(seen: ColumnElement[float]) -> ColumnElement[float]:
    """The better of a position's best price and another: it only improves, in whatever order."""
    known = positions.c.best_price
    return case(
        (positions.c.side == "BUY", func.greatest(known, seen)), else_=func.least(known, seen)
    )


IMPROVE_BEST_PRICE = (
    update(positions)
    .where(positions.c.reference == bindparam("of"))
    .values(best_price=better_price(bindparam("seen")))
)


async def record(connection: AsyncConnection, events: Sequence[LedgerEvent]) -> None:
    """Apply the events that were not applied before. NotFound, IllegalTransition."""
    claimable = [event for event in events if isinstance(event, Claimed)]
    if claimable:
        fresh = await _claim(connection, claimable)
        names = await strategy_names(connection, _strategies_in(claimable))
        for event in claimable:
            if event.event_id in fresh:
                fresh.discard(event.event_id)  # the batch itself may hold it twice
                await _apply(connection, event, names)
    await _insert_signals(connection, [e for e in events if isinstance(e, SignalRecorded)])
    await _insert_equity(connection, [e for e in events if isinstance(e, EquityMarked)])
    await _mark_positions(connection, [e for e in events if isinstance(e, PositionMarked)])


async def strategy_names(connection: AsyncConnection, ids: set[int]) -> dict[int, str]:
    """The names of those strategies that exist, which cannot be deleted until we commit."""
    if not ids:
        return {}
    found = await connection.execute(
        select(strategies.c.id, strategies.c.name)
        .where(strategies.c.id.in_(ids))
        .order_by(strategies.c.id)
        .with_for_update(read=True, key_share=True)
    )
    return {row.id: row.name for row in found}


def trade_values(trade: TradeRecord, names: dict[int, str]) -> dict[str, Any]:
    """A new `trades` row; a strategy deleted meanwhile leaves none behind."""
    name = names.get(trade.strategy_id) if trade.strategy_id is not None else None
    return values_of(trade) | {
        "strategy_id": None if name is None else trade.strategy_id,
        "strategy_name": name,
    }


async def _claim(connection: AsyncConnection, events: Sequence[Claimed]) -> set[str]:
    ids = sorted({event.event_id for event in events})
    claimed = await connection.execute(
        insert_or(ledger_events)
        .values([{"event_id": event_id} for event_id in ids])
        .on_conflict_do_nothing()
        .returning(ledger_events.c.event_id)
    )
    return set(claimed.scalars())


def _strategies_in(events: Sequence[Claimed]) -> set[int]:
    found: set[int | None] = set()
    for event in events:
        match event:
            case OrderIntended(trade):
                found.add(trade.strategy_id)
            case OrderSettled(_, position, closed):
                found.update(p.strategy_id for p in (position, closed) if p)
    return {strategy_id for strategy_id in found if strategy_id is not None}


async def _apply(connection: AsyncConnection, event: Claimed, names: dict[int, str]) -> None:
    match event:
        case OrderIntended(trade):
            await connection.execute(insert(trades).values(trade_values(trade, names)))
        case OrderSettled(trade):
            await _settle_trade(connection, trade)
            await _write_position(connection, event, names)
        case SessionStarted():
            await connection.execute(insert(trading_sessions).values(values_of(event)))
        case RiskStateChanged():
            await connection.execute(insert(risk_events).values(values_of(event)))
        case ScanningSet(run_id, scanning):
            this = update(runs).where(runs.c.id == run_id)
            if not (await connection.execute(this.values(scanning=scanning))).rowcount:
                raise NotFound(f"there is no run {run_id}")


async def _settle_trade(connection: AsyncConnection, trade: TradeRecord) -> None:
    this = trades.c.reference == trade.reference
    before = await connection.execute(select(trades.c.status).where(this).with_for_update())
    status = before.scalar_one_or_none()
    if status is None:
        raise NotFound(f"order {trade.reference} was never recorded, so it cannot be settled")
    require_trade_step(TradeStatus(status), trade.status)
    values = values_of(trade)
    del values["strategy_id"]  # the row has it, unless the strategy was deleted meanwhile
    await connection.execute(update(trades).where(this).values(values))


async def _write_position(
    connection: AsyncConnection, event: OrderSettled, names: dict[int, str]
) -> None:
    values = position_values(event)
    if values is None:
        return
    if values["strategy_id"] not in names:
        values["strategy_id"] = None
    statement = insert_or(positions).values(values)
    new = statement.excluded
    changes: dict[str, ColumnElement[Any]] = {
        "quantity": new.quantity,
        "best_price": better_price(new.best_price),
        "closed_at": new.closed_at,
        "exit_price": func.coalesce(new.exit_price, positions.c.exit_price),
        "exit_reason": func.coalesce(new.exit_reason, positions.c.exit_reason),
        "pnl": positions.c.pnl + new.pnl,
    }
    if event.position is None:
        # The last exit may have closed only a rest: what is over shows all that was entered.
        entered = select(trades.c.quantity).where(trades.c.reference == values["reference"])
        changes["quantity"] = func.coalesce(entered.scalar_subquery(), new.quantity)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=["reference"], set_=changes)
    )


async def _insert_signals(connection: AsyncConnection, events: list[SignalRecorded]) -> None:
    rows = [values_of(event.signal) | {"run_id": event.run_id} for event in events]
    rows.sort(key=lambda row: (row["run_id"], row["symbol"], row["candle_time"]))
    if rows:
        await connection.execute(insert_or(signals).on_conflict_do_nothing(), rows)


async def _insert_equity(connection: AsyncConnection, events: list[EquityMarked]) -> None:
    rows = [values_of(event) for event in events]
    rows.sort(key=lambda row: (row["run_id"], row["time"]))
    if rows:
        await connection.execute(insert_or(equity).on_conflict_do_nothing(), rows)


async def _mark_positions(connection: AsyncConnection, events: list[PositionMarked]) -> None:
    marks = [{"of": event.reference, "seen": event.best_price} for event in events]
    marks.sort(key=lambda mark: str(mark["of"]))
    if marks:
        await connection.execute(IMPROVE_BEST_PRICE, marks)
