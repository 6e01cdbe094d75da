"""Promises of docs/reliability.md that nothing else would miss: each test says what breaks it."""

import asyncio
import re
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from engine_world import SYMBOL, at, session
from ledger_world import History, Switch
from risk_world import entry
from scan_world import LIVELY, Market, Stepped, simulated
from shell_world import World

from hftray.actors.risk import RiskShell
from hftray.adapters.exchange_book import ExchangeBook
from hftray.core.errors import LedgerUnavailable
from hftray.core.ledger import LedgerEvent
from hftray.core.market import Tick
from hftray.core.orders import BrokerPosition, OrderReport
from hftray.ports import MarketBatch
from hftray.storage.journal import FILE, Journal
from hftray.storage.journaled_ledger import JournaledLedger
from hftray.testing.memory_ledger import MemoryLedger

ROOT = Path(__file__).parents[2]
LONG = 20.0  # seconds; a limit that only a fault reaches


async def ordered(world: World, desk: RiskShell) -> OrderReport:
    """The same step of the same symbol, from the registration to the exchange."""
    epoch, _ = await desk.register(SYMBOL)
    approval = await desk.reserve(entry(SYMBOL), epoch)
    return await world.exchange.place(approval.order)


async def test_a_step_taken_again_meets_the_order_it_made_before() -> None:
    """Fails when `order_reference` is no pure function: then the exchange has two orders."""
    world = await World().open()
    first = await ordered(world, world.desk)
    # All the ledger knew of it is gone, as after the loss of a disk, and risk begins anew.
    world.ledger.store.trades.clear()
    world.ledger.store.applied.clear()
    desk = RiskShell(world.run, world.build_book, world.ledger)
    await desk.mark(at(20), {})
    again = await ordered(world, desk)
    await world.exchange.on_market(
        MarketBatch(
            now=at(80),
            open=True,
            sessions={SYMBOL: session()},
            ticks={SYMBOL: Tick(SYMBOL, at(80), 1_000.0, 10.0)},
            candles={},
        )
    )
    assert again == first
    assert len(await world.exchange.reports()) == 1
    bought = BrokerPosition(SYMBOL, first.quantity, Decimal("1000.00"))
    assert await world.exchange.positions() == [bought]


async def test_a_fill_that_nobody_told_is_found_by_comparing_the_books() -> None:
    """Fails when what the comparison finds is not repaired: orders here wait for ever for news."""
    patient = replace(LIVELY, signals=replace(LIVELY.signals, entry_patience=1_000_000))
    market = await Market(Stepped(simulated()), rules=patient).open()
    engine = market.engine()
    tell = market.exchange.on_market

    async def tells_nothing(batch: MarketBatch) -> list[OrderReport]:
        await tell(batch)
        return []

    market.exchange.on_market = tells_nothing
    await engine.start()
    try:
        for _ in range(300):
            await market.feed.pass_scans(1)
            if engine._status()["open_positions"]:
                break
        assert engine._status()["open_positions"]
        await market.check_books()
    finally:
        engine._loop._task.cancel()
        await asyncio.wait([engine._loop._task])


async def test_an_approval_waits_for_its_row() -> None:
    """Fails when risk answers before the ledger has the PENDING row."""
    world = await World().open()
    epoch, _ = await world.desk.register(SYMBOL)
    asked, may_write = asyncio.Event(), asyncio.Event()
    append = world.ledger.append

    async def slow(events: Sequence[LedgerEvent], term: int | None = None) -> object:
        asked.set()
        await may_write.wait()
        return await append(events, term)

    world.ledger.append = slow
    approval = asyncio.create_task(world.desk.reserve(entry(SYMBOL), epoch))
    async with asyncio.timeout(LONG):
        await asked.wait()
    await whatever_can_happen()
    assert not approval.done()
    may_write.set()
    reference = (await approval).order.reference
    assert reference in world.ledger.store.trades


async def test_nothing_is_acknowledged_before_it_is_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fails when `append` answers before the journal's COMMIT is done."""
    database = Switch(MemoryLedger())
    ledger = JournaledLedger(database, tmp_path, max_events=1_000)
    run = await ledger.open_run("simulation", "a test", "default", Decimal(100_000))
    history = History(run.run_id)
    await ledger.append(history.step(0))
    database.on = False  # nothing is drained, so nobody else commits
    asked, may_commit = threading.Event(), threading.Event()
    commit = Journal.run

    def slow(journal: Journal, steps: Sequence[Callable[[Journal], Any]]) -> list[Any]:
        asked.set()
        assert may_commit.wait(LONG)
        return commit(journal, steps)

    monkeypatch.setattr(Journal, "run", slow)
    batch = history.step(0)
    appended = asyncio.create_task(ledger.append(batch))
    try:
        assert await asyncio.to_thread(asked.wait, LONG)
        await whatever_can_happen()
        assert not appended.done()
    finally:
        may_commit.set()
    await appended
    assert {event.event_id for event in batch} <= committed(tmp_path)
    await ledger._keeper.close()


async def test_an_altered_base_is_not_believed(tmp_path: Path) -> None:
    """Fails when the checksum of a run's base is not verified: a guess would be traded on."""
    database = Switch(MemoryLedger())
    before = JournaledLedger(database, tmp_path, max_events=1_000)
    run = await before.open_run("simulation", "a test", "default", Decimal(100_000))
    database.on = False
    await before._keeper.close()

    async def told() -> Decimal:
        ledger = JournaledLedger(database, tmp_path, max_events=1_000)
        try:
            return (await ledger.run_state(run.run_id)).run.initial_capital
        finally:
            await ledger._keeper.close()

    assert await told() == 100_000
    with closing(sqlite3.connect(tmp_path / FILE)) as file:
        file.execute("UPDATE bases SET state = replace(state, '100000', '900000')")
        file.commit()
    with pytest.raises(LedgerUnavailable):
        await told()


def test_the_exchanges_book_is_synced_to_the_disk(tmp_path: Path) -> None:
    """Fails when synchronous=FULL goes: then a power cut takes acknowledged orders along."""
    book = ExchangeBook(tmp_path / "exchange.sqlite")
    assert book._db.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert book._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    book.close()


def test_every_test_that_the_reliability_page_names_exists() -> None:
    """Fails when a test of a promise is renamed or removed and the page still shows it."""
    page = (ROOT / "docs" / "reliability.md").read_text()
    named = re.findall(r"`(\w+/test_\w+\.py)::(test_\w+)`", page)
    assert len(named) > 20
    for file, test in named:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}::{test}"


async def whatever_can_happen() -> None:
    """Let every task go on until it waits for somebody outside."""
    for _ in range(50):
        await asyncio.sleep(0)


def committed(directory: Path) -> set[str]:
    """The events that another process sees in the journal."""
    with closing(sqlite3.connect(directory / FILE)) as file:
        return {name for (name,) in file.execute("SELECT event_id FROM events")}
