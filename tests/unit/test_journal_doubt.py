"""The journal where it cannot be sure: refused rows, two faults at once, other writers."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from journal_world import LONG, PLAY, World, text, until

from hftray.core.errors import LedgerUnavailable, NotFound, StaleEpoch
from hftray.core.ledger import OrderIntended, OrderSettled
from hftray.core.position import Position
from hftray.storage import journal_file, journal_keeper, journal_repair, outage
from hftray.storage.group_commit import JournalFailed
from hftray.storage.journal import Journal, Refused, Waiting
from hftray.storage.journal_keeper import JournalKeeper


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.begin()
    yield world
    await world.close()


def stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the incarnations to come no task drains, so that the test decides when."""

    async def wait(keeper: JournalKeeper) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(JournalKeeper, "_keep_draining", wait)


# Rows that the database refused


async def entered(world: World, *, refused: bool) -> Position:
    """Enter and let the database refuse it, or not; the position."""
    (intended,) = world.history.step(10)
    assert isinstance(intended, OrderIntended)
    world.database.refused = (intended.trade.reference,) if refused else ()
    (settled,) = world.history.step(10)
    assert isinstance(settled, OrderSettled)
    assert settled.position is not None
    for event in (intended, settled):
        await world.ledger.append([event])
    world.told += [intended, settled]
    assert await world.ledger.drained(LONG)
    return settled.position


@pytest.mark.parametrize("has_base", [True, False], ids=["from the base", "without a base"])
async def test_a_refused_entry_that_was_closed_stays_closed(world: World, has_base: bool) -> None:
    """Else its stop would sell once more what was sold long ago: a short."""
    await world.play(PLAY[:1])
    await entered(world, refused=True)
    await world.play([10, 10])  # it is closed, and that is recorded
    await world.play([37, 57])  # risk states of later
    assert world.history.held == {}
    await world.ledger.drained(LONG)
    before = await world.state()
    for _ in range(2):
        await world.crash()
        if not has_base:
            world.edit("DELETE FROM bases")
        world.ledger = world.incarnation()
        found = await world.ledger.run_state(world.run.run_id)
        assert found.positions == found.pending == ()
        assert found.risk_state == "HALTED"
        assert not has_base or text(found) == before


@pytest.mark.parametrize("has_base", [True, False], ids=["from the base", "without a base"])
async def test_a_refused_entry_that_is_open_stays_guarded(world: World, has_base: bool) -> None:
    await world.play(PLAY[:1])
    position = await entered(world, refused=True)
    before = await world.state()
    await world.crash()
    if not has_base:
        world.edit("DELETE FROM bases")
    world.ledger = world.incarnation()
    assert (await world.ledger.run_state(world.run.run_id)).positions == (position,)
    assert await world.state() == before


async def test_another_runs_checkpoint_does_not_cost_the_base_of_refused_rows(
    world: World,
) -> None:
    await world.play(PLAY[:1])
    await entered(world, refused=True)
    before = await world.state()
    other = await world.ledger.open_run("paper", "groww", "default", world.run.initial_capital)
    await world.restart()
    await world.ledger.run_state(other.run_id)
    await world.restart()
    assert await world.state() == before


async def test_what_was_refused_is_kept_when_its_waiter_is_cancelled(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_still(monkeypatch)
    await world.restart()
    await world.play(PLAY[:1])
    assert await world.ledger.drained(LONG)
    (intended,) = world.history.step(10)
    world.database.refused = (intended.event_id,)
    await world.ledger.append([intended])
    noted, go_on = threading.Event(), threading.Event()
    plain = Journal.drained

    def slow(journal: Journal, rows: Sequence[Waiting], refused: Iterable[Refused]) -> None:
        noted.set()
        assert go_on.wait(LONG)
        plain(journal, rows, refused)

    monkeypatch.setattr(Journal, "drained", slow)
    draining = asyncio.create_task(world.ledger.drained(LONG))
    assert await asyncio.to_thread(noted.wait, LONG)
    draining.cancel()
    with pytest.raises(asyncio.CancelledError):
        await draining
    go_on.set()
    await world.play([6])
    assert await world.ledger.drained(LONG)
    await world.ledger._keeper.submit(lambda journal: None)
    await world.restart()
    health = await world.ledger.append([])
    assert health.notes == ("1 events were refused by PostgreSQL and set aside",)
    assert health.waiting == 0
    (pending,) = (await world.ledger.run_state(world.run.run_id)).pending
    assert pending.reference == intended.event_id.partition(":")[0]


async def test_what_was_refused_while_the_disk_was_full_is_written_when_it_has_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.play(PLAY[:1])
    plain = Journal.save_drained

    def full(journal: Journal) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    world.database.on = False
    await world.play([10, 10])
    world.database.refused = (world.history.held["SBIN"].reference,)
    monkeypatch.setattr(Journal, "save_drained", full)
    world.database.on = True
    assert await world.ledger.drained(LONG)
    monkeypatch.setattr(Journal, "save_drained", plain)
    await mended(world)
    await world.play([6])
    assert await world.ledger.drained(LONG)
    before = await world.state()
    await world.restart()
    note = "2 events were refused by PostgreSQL and set aside"
    assert (await world.ledger.append([])).notes == (note,)
    assert await world.state() == before


async def mended(world: World) -> None:
    async def sound() -> bool:
        return not (await world.ledger.append([])).impairment

    await until(sound)


# Two faults at once


async def test_with_neither_for_a_moment_the_journal_goes_on_when_it_can(world: World) -> None:
    """Nothing was written past it, so it is still the whole truth, PostgreSQL or not."""
    await world.play(PLAY[:6])
    assert await world.ledger.drained(LONG)
    world.database.on = False
    await world.fill_the_disk()
    batch = world.history.step(6)
    with suppress(LedgerUnavailable):
        for _ in range(200):
            await world.ledger.append(batch)
            world.told += batch
            batch = world.history.step(6)
    assert world.ledger._keeper.broken
    held = await world.ledger.run_state(world.run.run_id)
    await world.fill_the_disk(full=False)
    await mended(world)
    assert await world.ledger.run_state(world.run.run_id) == held
    await world.ledger.append(batch)
    world.told += batch
    await world.restart()
    await world.ledger.append(world.told[:0])
    await world.state()
    world.database.on = True
    await world.assert_nothing_differs()


async def test_what_the_database_refuses_past_the_journal_leaves_its_base_alone(
    world: World,
) -> None:
    await world.play(PLAY[:6])
    assert await world.ledger.drained(LONG)
    await break_the_journal(world)
    before = await world.state()
    (intended,) = world.history.step(20)
    world.database.refused = (intended.event_id,)
    with pytest.raises(NotFound):
        await world.ledger.append([intended])
    world.database.on = False
    assert await world.state() == before
    await world.restart()
    assert await world.state() == before


async def break_the_journal(world: World) -> None:
    """It can be read, and not written."""

    def full() -> None:
        raise sqlite3.OperationalError("database or disk is full")

    await world.journal(lambda journal: setattr(journal._file, "transaction", full))
    with pytest.raises(JournalFailed):
        await world.ledger._keeper.submit(Journal.save_drained)


async def test_a_journal_closed_in_order_is_read_where_nothing_can_be_written(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite needs room for two files more to open one that it would only read."""
    await world.play(PLAY[:6])
    world.database.on = False
    await world.play(PLAY[6:])
    before = await world.state()
    plain = journal_repair.connect

    def full(path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    for module in (journal_repair, journal_file):
        monkeypatch.setattr(module, "connect", full)
    await world.restart()
    assert await world.state() == before
    health = await world.ledger.append([])
    assert health.impairment == "journal cannot be written: unable to open database file"
    with pytest.raises(LedgerUnavailable):
        await world.ledger.append(world.history.step(6))
    world.database.on = True
    await world.play([6, 30, 6])
    for module in (journal_repair, journal_file):
        monkeypatch.setattr(module, "connect", plain)
    await mended(world)
    world.database.on = False
    await world.play([6])
    await world.restart()
    assert await world.state() == text(
        await (await world.undisturbed()).run_state(world.run.run_id)
    )
    world.database.on = True
    await world.ledger.drained(LONG)


async def test_a_journal_that_cannot_be_read_whole_is_not_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what waits in its log."""
    await world.play(PLAY[:6])
    copies = {path: path.read_bytes() for path in world.directory.iterdir()}
    await world.crash()
    for path, content in copies.items():  # as after a kill
        path.write_bytes(content)

    def full(path: Path) -> sqlite3.Connection:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(journal_repair, "connect", full)
    world.ledger = world.incarnation()
    with pytest.raises(LedgerUnavailable, match="cannot be opened"):
        await world.state()
    world.living.remove(world.ledger)


# PostgreSQL away for a moment


async def test_an_outage_that_nobody_noticed_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing waits and nobody appends: the task that drains must look all the same."""
    monkeypatch.setattr(outage, "GRACE", 0.0)
    await world.play(PLAY[:1])
    assert await world.ledger.drained(LONG)
    await whatever_can_happen()
    world.database.on = False
    roster = await world.ledger.roster(0)
    assert (await world.ledger.append([])).notes
    world.database.on = True
    world.memory.store.roster_version += 1

    async def back() -> bool:
        return not (await world.ledger.append([])).notes

    await until(back)
    changed = await world.ledger.roster(0)
    assert roster is not None
    assert changed is not None
    assert changed[0] == roster[0] + 1


async def whatever_can_happen() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


# Other writers


async def test_a_superseded_process_writes_nothing_past_the_journal_either(world: World) -> None:
    await world.play(PLAY[:4])
    assert await world.ledger.drained(LONG)
    await break_the_journal(world)
    zombie = world.ledger
    world.ledger = world.incarnation()
    before = await world.state()
    votes = world.history.step(6)
    with pytest.raises(StaleEpoch, match="another persistence process"):
        await zombie.append(votes)
    assert not world.memory.store.signals
    assert await world.state() == before


@pytest.fixture
async def rival(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """The same database and run with a journal elsewhere."""
    monkeypatch.setattr(journal_keeper, "HANDOVER", 0.0)
    rival = World(tmp_path / "elsewhere", memory=world.memory)
    yield rival
    await rival.close()


async def test_whoever_opens_a_run_ends_the_writing_of_the_journal_before(
    world: World, rival: World
) -> None:
    """Else two systems approve the same orders, each without seeing the other's."""
    await world.play(PLAY[:6])
    assert await world.ledger.drained(LONG)
    known = await world.state()
    await rival.begin()
    assert rival.run == world.run
    assert await rival.state() == known
    with pytest.raises(StaleEpoch, match="stop it, or stop the other one"):
        await world.ledger.roster(0)  # the engine asks every other second
    for refused in (
        world.ledger.append(world.history.step(6)),
        world.ledger.run_state(world.run.run_id),
        world.ledger.open_run("simulation", "a test", "default", world.run.initial_capital),
    ):
        with pytest.raises(StaleEpoch, match="stop it"):
            await refused
    await world.restart()  # only its persistence process: it is superseded all the same
    with pytest.raises(StaleEpoch, match="stop it"):
        await world.ledger.append(world.history.step(6))
    assert await rival.state() == known


async def test_a_run_is_opened_when_the_system_before_has_had_time_to_notice(
    world: World, rival: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_keeper, "LOOK", 0.005)
    monkeypatch.setattr(journal_keeper, "HANDOVER", 0.3)
    await world.play(PLAY[:6])
    assert await world.ledger.drained(LONG)
    await rival.begin()
    with pytest.raises(StaleEpoch):
        await world.ledger.append(world.history.step(6))
    assert await world.journal(lambda journal: journal.waiting) == 0


async def test_a_superseded_journal_moves_nothing_to_the_database(
    world: World, rival: World
) -> None:
    await world.play(PLAY[:6])
    assert await world.ledger.drained(LONG)
    world.database.on = False
    await world.play([6])
    await rival.begin()
    world.database.on = True

    async def refused() -> bool:
        try:
            await world.ledger.append([])
        except StaleEpoch:
            return True
        return False

    await until(refused)
    with pytest.raises(StaleEpoch):
        await world.ledger.drained(LONG)
    assert len(world.memory.store.signals) == 3  # of PLAY


async def test_a_system_that_is_started_again_takes_the_database_back_with_all_that_is_in_it(
    world: World, rival: World
) -> None:
    await world.play(PLAY[:6])
    assert await world.ledger.drained(LONG)
    world.database.on = False
    await world.play([6])  # the rival will not see this
    await world.crash()
    world.database.on = True
    await rival.begin()
    rival.history.__dict__.update(world.history.__dict__)
    rival.history.minute += 1
    await rival.play([10, 30, 6, 55])
    assert await rival.ledger.drained(LONG)
    await rival.crash()
    world.ledger = world.incarnation()
    await world.ledger.open_run("simulation", "a test", "default", world.run.initial_capital)
    world.told[-4:] = rival.told + world.told[-4:]  # as they came to the database
    await world.assert_nothing_differs()
    world.database.on = False  # from here on its own journal knows
    await world.restart()
    assert await world.state() == text(await world.memory.run_state(world.run.run_id))


async def test_a_run_that_cannot_be_opened_costs_nothing(world: World) -> None:
    await world.play(PLAY[:6])
    before = await world.state()
    world.database.on = False
    with pytest.raises(LedgerUnavailable):
        await world.ledger.open_run("simulation", "a test", "default", world.run.initial_capital)
    assert await world.state() == before
    await world.restart()
    assert await world.state() == before
