"""What only a real database shows of the ledger: concurrency, volume, lost connections."""

import asyncio
from collections.abc import AsyncIterator
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncEngine

from hftray.core.errors import LedgerUnavailable
from hftray.core.events import Decision, Signal
from hftray.core.ledger import (
    EquityMarked,
    LedgerEvent,
    OrderIntended,
    RunInfo,
    SignalRecorded,
    TradeRecord,
)
from hftray.core.orders import Leg, Side
from hftray.core.session import IST
from hftray.storage.database import connect
from hftray.storage.ledger import PostgresLedger
from hftray.storage.schema import seed

DAY = date(2026, 11, 23)
OPEN = datetime(2026, 11, 23, 9, 15, tzinfo=IST)


@pytest.fixture
async def ledger(engine: AsyncEngine) -> AsyncIterator[PostgresLedger]:
    await seed(engine, [])
    return PostgresLedger(engine)


@pytest.fixture
async def run(ledger: PostgresLedger) -> RunInfo:
    return await ledger.open_run("simulation", "seed 7", "default", Decimal(100_000))


def scan(run_id: int, minute: int, symbols: int) -> list[LedgerEvent]:
    """What one scan writes: a signal a symbol, an order a tenth of them, one equity point."""
    at = OPEN + timedelta(minutes=minute)
    events: list[LedgerEvent] = []
    for number in range(symbols):
        symbol = f"S{number:03}"
        voted = Signal(symbol, Decision.BUY, 0.5, {"rsi": 1}, 100.0, at, at, True, "entered")
        events.append(SignalRecorded(run_id, voted))
        if number % 10 == 0:
            reference = f"{minute}-{symbol}"
            trade = TradeRecord(
                reference=reference,
                run_id=run_id,
                user_id="default",
                symbol=symbol,
                exchange="NSE",
                side=Side.BUY,
                leg=Leg.ENTRY,
                requested_quantity=1,
                reason="vote",
                timestamp=at,
                session_day=DAY,
            )
            events.append(OrderIntended(trade))
    money = Decimal(100_000)
    events.append(EquityMarked(run_id, at, DAY, money, money, Decimal(0), Decimal(0), 0))
    return events


async def counts(engine: AsyncEngine) -> tuple[int, ...]:
    async with engine.connect() as connection:
        return tuple(
            [
                await connection.scalar(text(f"SELECT count(*) FROM {table}"))
                for table in ("signals", "trades", "equity")
            ]
        )


async def test_the_same_events_from_many_sides_at_once_are_recorded_once(
    engine: AsyncEngine, ledger: PostgresLedger, run: RunInfo
) -> None:
    events = scan(run.run_id, 0, 1000)
    signals = [event for event in events if isinstance(event, SignalRecorded)]
    orders = [event for event in events if isinstance(event, OrderIntended)]
    for kind in (signals, orders, events):  # in opposite orders: they must not deadlock
        sides = (kind[::-1] if n % 2 else kind for n in range(6))
        await asyncio.gather(*(ledger.append(side) for side in sides))
    assert await counts(engine) == (1000, 100, 1)


async def test_two_starts_at_once_open_one_run(ledger: PostgresLedger) -> None:
    opened = await asyncio.gather(
        *(ledger.open_run("paper", "groww", "default", Decimal(1)) for _ in range(6))
    )
    assert len({run.run_id for run in opened}) == 1


async def test_a_scan_of_hundreds_of_signals_takes_few_statements(
    engine: AsyncEngine, ledger: PostgresLedger, run: RunInfo
) -> None:
    statements: list[str] = []
    event.listen(
        engine.sync_engine,
        "before_cursor_execute",
        lambda connection, cursor, statement, *rest: statements.append(statement),
    )
    signals = [e for e in scan(run.run_id, 0, 400) if not isinstance(e, OrderIntended)]
    await ledger.append(signals)
    assert await counts(engine) == (400, 0, 1)
    assert len([s for s in statements if s.startswith("INSERT")]) == 2


async def test_connections_cut_by_the_server_are_replaced(
    engine: AsyncEngine, ledger: PostgresLedger, run: RunInfo
) -> None:
    await asyncio.gather(*(ledger.run_state(run.run_id) for _ in range(3)))
    other = connect(engine.url)
    async with other.begin() as connection:
        await connection.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
    await other.dispose()
    await ledger.append(scan(run.run_id, 0, 10))
    assert await counts(engine) == (10, 1, 1)


async def test_a_connection_lost_in_the_middle_is_unavailable_and_nothing_happened(
    engine: AsyncEngine, ledger: PostgresLedger, run: RunInfo
) -> None:
    def cut(connection: object, cursor: object, statement: str, *rest: object) -> None:
        if statement.startswith("INSERT INTO signals"):
            raise ConnectionResetError("the cable was pulled")

    event.listen(engine.sync_engine, "before_cursor_execute", cut)
    with pytest.raises(LedgerUnavailable, match="cable"):
        await ledger.append(scan(run.run_id, 0, 10))
    event.remove(engine.sync_engine, "before_cursor_execute", cut)
    assert await counts(engine) == (0, 0, 0)
    await ledger.append(scan(run.run_id, 0, 10))
    assert await counts(engine) == (10, 1, 1)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    engine = connect("postgresql://trader:hunter2@127.0.0.1:1/market")
    with pytest.raises(LedgerUnavailable, match="trader") as caught:
        await PostgresLedger(engine).roster(0)
    assert "hunter2" not in str(caught.value)
    await engine.dispose()
