"""The journal before a real PostgreSQL that is killed, and in real processes that are killed."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from ledger_world import History, Switch
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from hftray.core.errors import LedgerUnavailable, RejectError, StaleEpoch
from hftray.core.ledger import OrderIntended, RunState
from hftray.core.ledger_fold import RunMirror
from hftray.storage import embedded, journal_keeper
from hftray.storage.database import connect
from hftray.storage.journaled_ledger import JournaledLedger
from hftray.storage.ledger import PostgresLedger
from hftray.storage.schema import migrate, seed
from hftray.testing.memory_ledger import MemoryLedger

NUMBERS = [(7_919 * n + n * n) % 100_003 for n in range(150)]
PATIENCE = 60.0  # seconds; a limit that only a fault reaches
TABLES = ("trades", "positions", "signals", "equity", "trading_sessions", "risk_events")


async def counted(engine: AsyncEngine) -> dict[str, int]:
    async with engine.connect() as connection:
        return {
            table: await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0
            for table in TABLES
        }


@pytest.fixture
async def postgres(engine: AsyncEngine) -> PostgresLedger:
    await seed(engine, [])
    return PostgresLedger(engine)


@pytest.fixture
async def journaled(postgres: PostgresLedger, tmp_path: Path) -> AsyncIterator[JournaledLedger]:
    ledger = JournaledLedger(postgres, tmp_path, max_events=1_000)
    yield ledger
    await ledger.close()


@pytest.mark.parametrize("start", [0, 50, 100])
async def test_the_mirror_shows_what_the_database_shows(
    postgres: PostgresLedger, start: int
) -> None:
    run = await postgres.open_run("simulation", "seed 7", "default", Decimal("100000.00"))
    history, mirror = History(run.run_id, odd_atr=False), RunMirror(RunState(run))
    for number in NUMBERS[start:] + NUMBERS[:start]:
        batch = history.step(number)
        await postgres.append(batch)
        for event in batch:
            mirror.apply(event)
    assert mirror.state() == await postgres.run_state(run.run_id)


async def test_a_value_the_database_never_takes_is_refused_and_set_aside(
    postgres: PostgresLedger, journaled: JournaledLedger
) -> None:
    run = await journaled.open_run("simulation", "seed 7", "default", Decimal(100_000))
    history = History(run.run_id, odd_atr=False)
    await journaled.append(history.step(0))
    (intended,) = history.step(30)
    assert isinstance(intended, OrderIntended)
    for impossible in (
        replace(intended.trade, reference="A", requested_quantity=2**40),
        replace(intended.trade, reference="B", reason="zero \0 byte"),
        replace(intended.trade, reference="C", user_id="nobody"),
    ):
        with pytest.raises(RejectError):
            await postgres.append([OrderIntended(impossible)])
        await journaled.append([OrderIntended(impossible)])
    await journaled.append([intended])
    assert await journaled.drained(PATIENCE)
    assert [t.reference for t in (await postgres.run_state(run.run_id)).pending] == [
        intended.trade.reference
    ]
    (note,) = (await journaled.append([])).notes
    assert note.startswith("3 events were refused")


async def test_two_data_directories_write_one_database_one_after_the_other(
    postgres: PostgresLedger,
    journaled: JournaledLedger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(journal_keeper, "HANDOVER", 0.0)
    run = await journaled.open_run(*_account())
    history = History(run.run_id, odd_atr=False)
    await journaled.append(history.step(0))
    assert await journaled.drained(PATIENCE)
    second = JournaledLedger(postgres, tmp_path / "elsewhere", max_events=1_000)
    assert await second.open_run(*_account()) == run
    assert await second.run_state(run.run_id) == await journaled.run_state(run.run_id)
    order = history.step(30)
    with suppress(StaleEpoch):  # acknowledged before anybody noticed: it stays in its journal
        await journaled.append(order)
    with pytest.raises(StaleEpoch, match="stop it, or stop the other one"):
        await journaled.drained(PATIENCE)
    assert (await postgres.run_state(run.run_id)).pending == ()
    await second.append(history.step(6))
    await second.close()
    third = JournaledLedger(postgres, tmp_path / "new", max_events=1_000)
    await third.open_run(*_account())
    await third.append(order)
    await third.close()
    state = await postgres.run_state(run.run_id)
    assert [OrderIntended(trade) for trade in state.pending] == order
    assert state.market_time is not None


async def test_a_database_is_taken_over_between_two_transactions(
    engine: AsyncEngine, postgres: PostgresLedger
) -> None:
    """Fails when the owner is looked up without a lock: then a last write comes after the end."""
    run = await postgres.open_run(*_account())
    await postgres.take_over("a", "")
    history = History(run.run_id, odd_atr=False)
    events = [*history.step(0), *history.step(30)]
    async with engine.begin() as holding:
        await holding.execute(text("LOCK TABLE trades"))
        writing = asyncio.create_task(postgres.append(events, owner="a"))
        await _until_blocked(engine, 1)
        taking = asyncio.create_task(postgres.take_over("b", "a"))
        await _until_blocked(engine, 2)
    await asyncio.gather(writing, taking)
    assert len((await postgres.run_state(run.run_id)).pending) == 1
    with pytest.raises(StaleEpoch):
        await postgres.append(history.step(30), owner="a")


async def _until_blocked(engine: AsyncEngine, count: int) -> None:
    waiting = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    async with asyncio.timeout(PATIENCE), engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        while await connection.scalar(text(waiting)) != count:
            await asyncio.sleep(0.005)


async def test_the_kill_of_postgres_and_of_the_persistence_process_changes_nothing(
    tmp_path: Path,
) -> None:
    memory = MemoryLedger()
    # Not under pytest's own directory: that one is closed to the server's user under root.
    with tempfile.TemporaryDirectory(prefix="hftray-pg-") as directory:
        server = embedded.start(Path(directory))
        await migrate(server.url)
        engine = connect(server.url)
        await seed(engine, [])
        try:
            ledger = JournaledLedger(PostgresLedger(engine), tmp_path, max_events=10_000)
            run = await ledger.open_run("simulation", "seed 7", "default", Decimal(100_000))
            assert await memory.open_run(*_account()) == run
            history = History(run.run_id, odd_atr=False)

            async def play(numbers: list[int]) -> None:
                for number in numbers:
                    batch = history.step(number)
                    await ledger.append(batch)
                    await memory.append(batch)

            await play(NUMBERS[:50])
            os.kill(server.pid, signal.SIGKILL)
            await play(NUMBERS[50:80])
            expected = await memory.run_state(run.run_id)
            assert await ledger.run_state(run.run_id) == expected
            await ledger._keeper.close()  # as a kill: nothing is drained, nothing is said
            ledger = JournaledLedger(PostgresLedger(engine), tmp_path, max_events=10_000)
            assert await ledger.current_run("simulation", "seed 7") == run
            assert await ledger.run_state(run.run_id) == expected
            with pytest.raises(LedgerUnavailable):
                await ledger.finish_run(run.run_id, history.now)
            await play(NUMBERS[80:100])
            server = embedded.start(Path(directory))
            await play(NUMBERS[100:])
            async with asyncio.timeout(PATIENCE):
                while not await ledger.drained(PATIENCE):
                    await asyncio.sleep(0.05)
            expected = await memory.run_state(run.run_id)
            assert await ledger.run_state(run.run_id) == expected
            assert await PostgresLedger(engine).run_state(run.run_id) == expected
            store = memory.store
            rows = (store.trades, store.positions, store.signals, store.equity)
            days = (store.sessions, store.risk_events)
            assert list((await counted(engine)).values()) == [len(r) for r in (*rows, *days)]
            await ledger.close()
        finally:
            await engine.dispose()
            server.stop()


def _account() -> tuple[str, str, str, Decimal]:
    return "simulation", "seed 7", "default", Decimal(100_000)


# Real processes. The child's database is away: what it says it has is on this disk only.


async def keep_appending(directory: Path) -> None:
    """Child: append for ever; a line with the number of signals and the impairment each time."""
    database = Switch(MemoryLedger())
    ledger = JournaledLedger(database, directory, max_events=1_000_000)
    run = await ledger.open_run(*_account())
    history, signals = History(run.run_id, odd_atr=False), 0
    await ledger.append(history.step(0))
    database.on = len(sys.argv) > 2
    while True:
        health = await ledger.append(history.step(6))
        signals += 3
        print(signals, health.impairment, flush=True)


def child(directory: Path, *flags: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    return subprocess.Popen(
        [sys.executable, __file__, str(directory), *flags],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )


async def test_what_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    process = child(tmp_path)
    assert process.stdout is not None
    for _ in range(200):
        acknowledged = int(process.stdout.readline().split()[0])
    process.kill()
    acknowledged = max([acknowledged, *(int(line.split()[0]) for line in process.stdout)])
    process.wait()
    memory = MemoryLedger()
    run = await memory.open_run(*_account())
    ledger = JournaledLedger(memory, tmp_path, max_events=1_000_000)
    assert await ledger.drained(PATIENCE)
    assert (await ledger.append([])).notes == ()
    assert len(memory.store.signals) >= acknowledged >= 600
    assert (await ledger.run_state(run.run_id)).session_day is not None
    await ledger.close()


def test_a_disk_that_is_full_while_the_database_answers_stops_nothing(tmp_path: Path) -> None:
    process = child(tmp_path, "with database")
    assert process.stdout is not None
    process.stdout.readline()
    size = max(path.stat().st_size for path in tmp_path.iterdir())
    _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, hard))
    before = next(line for line in process.stdout if "journal cannot be written" in line)
    for _ in range(20):
        after = process.stdout.readline()
    assert int(after.split()[0]) >= int(before.split()[0]) + 60  # it goes on
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
    assert next(line for line in process.stdout if len(line.split()) == 1)  # no impairment
    process.kill()
    process.wait()


if __name__ == "__main__":
    asyncio.run(keep_appending(Path(sys.argv[1])))
