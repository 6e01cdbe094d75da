"""The local journal before a ledger that can be switched off: outages, crashes, damage, full disks.

A crash is an incarnation that is left without another word; the next one opens the same files.
"""

import asyncio
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_world import History, Switch
from pydantic_core import to_json

from hftray.core.errors import IllegalTransition, LedgerUnavailable, NotFound, StaleEpoch
from hftray.core.ledger import LedgerEvent, OrderIntended, RunInfo, RunState
from hftray.storage import journal_keeper, outage
from hftray.storage.event_codec import state_text
from hftray.storage.journal import FILE, Journal
from hftray.storage.journaled_ledger import JournaledLedger
from hftray.strategies.defaults import default_strategies
from hftray.testing.memory_ledger import MemoryLedger

KEPT = ("trades", "positions", "signals", "equity", "sessions", "risk_events", "scanning")
PLAY = [0, 0, 30, 5, 6, 1, 17, 41, 6, 30, 55, 6]  # a day with entries, exits, marks, signals
LONG = 20.0  # seconds; a limit that only a fault reaches


class World:
    """One database and one directory; incarnations come and go."""

    def __init__(self, directory: Path, *, max_events: int = 1_000) -> None:
        self.memory = MemoryLedger(default_strategies())
        self.database = Switch(self.memory)
        self.directory, self.max_events = directory, max_events
        self.living: list[JournaledLedger] = []

    async def begin(self) -> RunInfo:
        self.ledger = self.incarnation()
        self.run = await self.ledger.open_run("simulation", "a test", "default", Decimal(100_000))
        self.history = History(self.run.run_id)
        self.told: list[LedgerEvent] = []
        return self.run

    def incarnation(self) -> JournaledLedger:
        ledger = JournaledLedger(self.database, self.directory, max_events=self.max_events)
        self.living.append(ledger)
        return ledger

    async def crash(self, ledger: JournaledLedger | None = None) -> None:
        dying = ledger or self.ledger
        self.living.remove(dying)
        await dying._keeper.close()  # nothing is drained, nothing is said

    async def restart(self) -> None:
        await self.crash()
        self.ledger = self.incarnation()

    async def play(self, numbers: Sequence[int] = PLAY) -> None:
        for number in numbers:
            batch = self.history.step(number)
            await self.ledger.append(batch)
            self.told += batch

    async def state(self) -> str:
        return text(await self.ledger.run_state(self.run.run_id))

    async def undisturbed(self) -> MemoryLedger:
        """The ledger as it would be if nothing had ever gone wrong."""
        other = MemoryLedger(default_strategies())
        await other.open_run("simulation", "a test", "default", Decimal(100_000))
        for event in self.told:
            await other.append([event])
        return other

    async def assert_nothing_differs(self) -> None:
        other = await self.undisturbed()
        assert await self.state() == text(await other.run_state(self.run.run_id))
        assert await self.ledger.drained(LONG)
        for name in KEPT:
            kept, wanted = getattr(self.memory.store, name), getattr(other.store, name)
            assert as_json(kept) == as_json(wanted), name

    async def close(self) -> None:
        for ledger in self.living:
            await ledger._keeper.close()

    async def journal(self, look: Callable[[Journal], object]) -> object:
        return await self.ledger._keeper._journal.look(look)

    async def fill_the_disk(self, *, full: bool = True) -> None:
        """SQLite's own limit stands for the disk's."""
        pages = await self.journal(lambda journal: journal.pragma("page_count"))
        wanted = pages if full else 1_000_000
        await self.journal(lambda journal: journal.pragma(f"max_page_count={wanted}"))

    def edit(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.directory / FILE)) as file:
            for statement in statements:
                file.execute(statement)
            file.commit()


def text(state: RunState) -> str:
    moment = state.market_time and state.market_time.timestamp()
    return state_text(state).partition('"market_time"')[0] + repr(moment)


def as_json(kept: dict[object, object] | list[object]) -> list[bytes]:
    """Moments as moments: the same in every zone."""
    values = kept.values() if isinstance(kept, dict) else kept
    return [to_json(value, inf_nan_mode="constants") for value in values]


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LONG):
        while not await true():
            await asyncio.sleep(0.005)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    await world.begin()
    yield world
    await world.close()


async def test_what_is_appended_arrives_in_the_database_without_being_asked(world: World) -> None:
    await world.play()

    async def arrived() -> bool:
        return (await world.ledger.append([])).waiting == 0

    await until(arrived)
    await world.assert_nothing_differs()


async def test_an_outage_changes_nothing(world: World) -> None:
    await world.play(PLAY[:5])
    world.database.on = False
    await world.play(PLAY[5:])
    health = await world.ledger.append([])
    assert health.waiting > 0
    assert health.impairment == ""
    other = await world.undisturbed()
    assert await world.state() == text(await other.run_state(world.run.run_id))
    world.database.on = True
    await world.assert_nothing_differs()


async def test_a_restart_during_an_outage_knows_everything(world: World) -> None:
    await world.play(PLAY[:5])
    roster = await world.ledger.roster(0)
    world.database.on = False
    await world.play(PLAY[5:8])
    before = await world.state()
    await world.restart()
    assert await world.state() == before
    assert await world.ledger.current_run("simulation", "a test") == world.run
    assert await world.ledger.roster(0) == roster
    assert roster is not None
    assert await world.ledger.roster(roster[0]) is None
    await world.play(PLAY[8:])
    await world.restart()
    world.database.on = True
    await world.assert_nothing_differs()


async def test_without_database_no_run_begins_or_ends_and_strangers_are_unknown(
    world: World,
) -> None:
    world.database.on = False
    with pytest.raises(LedgerUnavailable):
        await world.ledger.open_run("paper", "groww", "default", Decimal(1))
    with pytest.raises(LedgerUnavailable):
        await world.ledger.finish_run(world.run.run_id, world.history.now)
    with pytest.raises(LedgerUnavailable):
        await world.ledger.run_state(4711)  # it may exist
    world.database.on = True
    with pytest.raises(NotFound):
        await world.ledger.run_state(4711)


async def test_a_finished_run_is_complete_in_the_database(world: World) -> None:
    await world.play()
    await world.ledger.finish_run(world.run.run_id, world.history.now)
    assert len(world.memory.store.equity) == 3
    assert world.run.run_id in world.memory.store.finished


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 100_000)), max_size=40))
@settings(max_examples=40, deadline=None)
def test_outages_crashes_and_lost_answers_in_any_order_change_nothing(
    course: list[tuple[int, int]],
) -> None:
    async def play(directory: Path) -> None:
        world = World(directory)
        await world.begin()
        mirror = await world.undisturbed()
        for fault, number in course:
            if fault == 0:
                await world.restart()
            elif fault == 1:
                world.database.on = not world.database.on
            elif fault == 2:
                world.database.lose_answers = 1
            else:
                told = len(world.told)
                await world.play([number])
                await mirror.append(world.told[told:])
                wanted = await mirror.run_state(world.run.run_id)
                assert await world.state() == text(wanted)
        world.database.on, world.database.lose_answers = True, 0
        await world.assert_nothing_differs()
        await world.close()

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(play(Path(directory)))


async def test_a_crash_between_the_databases_commit_and_the_journals_mark_doubles_nothing(
    world: World,
) -> None:
    world.database.lose_answers = 1
    await world.play()
    await world.restart()
    await world.assert_nothing_differs()
    assert sum(map(len, world.database.appends)) > len(world.told)  # some were sent again


async def test_an_illegal_event_is_refused_at_once_and_takes_its_append_back(world: World) -> None:
    await world.play(PLAY[:1])
    world.database.on = False
    ((intended,), (settled,)) = (world.history.step(0), world.history.step(30))
    assert isinstance(intended, OrderIntended)
    with pytest.raises(NotFound, match="never recorded"):
        await world.ledger.append([settled])
    wrong = type(settled)(intended.trade)
    with pytest.raises(IllegalTransition):
        await world.ledger.append([intended, wrong])
    assert (await world.ledger.run_state(world.run.run_id)).pending == ()
    await world.ledger.append([intended, settled])
    world.told += [intended, settled]
    world.database.on = True
    await world.assert_nothing_differs()


# What counts as durable


async def test_an_acknowledged_event_is_synced_to_the_disk(world: World) -> None:
    """Fails when synchronous=FULL goes: then a power cut takes acknowledged orders along."""
    await world.play()
    assert await world.journal(lambda journal: journal.pragma("synchronous")) == 2
    assert await world.journal(lambda journal: journal.pragma("journal_mode")) == "wal"


async def test_appends_that_come_together_share_their_commits(world: World) -> None:
    await world.play(PLAY[:1])
    world.database.on = False
    before = world.ledger._keeper._journal.commits
    batches = [world.history.step(6) for _ in range(40)]
    await asyncio.gather(*(world.ledger.append(batch) for batch in batches))
    assert world.ledger._keeper._journal.commits - before <= 6
    assert (await world.ledger.append([])).waiting >= 160


async def test_old_rows_leave_the_journal(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_keeper, "CHECKPOINT", 20)
    for _ in range(30):
        await world.play([0, 30, 6])
        assert await world.ledger.drained(LONG)
    rows = await world.journal(Journal.event_ids)
    assert len(rows) < 40 < len(world.told)
    assert world.ledger._keeper.event_ids == rows
    world.database.on = False
    await world.restart()
    await world.state()
    world.database.on = True
    await world.assert_nothing_differs()


# Who may write


async def test_a_superseded_persistence_process_is_refused(world: World) -> None:
    await world.play(PLAY[:4])
    zombie = world.ledger
    world.ledger = world.incarnation()
    await world.state()
    batch = world.history.step(6)
    with pytest.raises(StaleEpoch, match="another persistence process"):
        await zombie.append(batch)
    with pytest.raises(StaleEpoch):
        await zombie.run_state(world.run.run_id)
    await world.ledger.append(batch)
    world.told += batch
    await world.assert_nothing_differs()


async def test_a_term_ends_for_good_also_over_a_restart(world: World) -> None:
    await world.play(PLAY[:1])
    old, new = await world.ledger.open_term(), await world.ledger.open_term()
    await world.restart()
    batch = world.history.step(0)
    with pytest.raises(StaleEpoch, match="term"):
        await world.ledger.append(batch, old)
    await world.ledger.append(batch, new)
    assert await world.ledger.open_term() > new


# Damage


async def damaged(world: World, *statements: str) -> tuple[str, ...]:
    """Journal a day during an outage, crash, damage the file, start again; the notes."""
    await world.play(PLAY[:5])
    assert await world.ledger.drained(LONG)
    world.database.on = False
    await world.play(PLAY[5:])
    await world.crash()
    world.edit(*statements)
    world.ledger = world.incarnation()
    return (await world.ledger.append([])).notes


DAMAGES = {
    "altered": "UPDATE events SET payload = replace(payload, 'a', 'b') "
    "WHERE seq = (SELECT max(seq) - 2 FROM events)",
    "not text": "UPDATE events SET payload = CAST(x'ff00' AS TEXT) "
    "WHERE seq = (SELECT max(seq) - 2 FROM events)",
    "out of the middle": "DELETE FROM events WHERE seq = (SELECT max(seq) - 2 FROM events)",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
async def test_a_damaged_end_is_cut_kept_aside_and_told(world: World, damage: str) -> None:
    notes = await damaged(world, damage)
    assert any("cut" in note for note in notes)
    (aside,) = world.directory.glob("journal-cut-*.jsonl")
    assert len(aside.read_text().splitlines()) in (2, 3)
    with pytest.raises(LedgerUnavailable):  # what is left is not the whole truth
        await world.state()
    await world.restart()
    with pytest.raises(LedgerUnavailable):
        await world.state()
    world.database.on = True
    await world.state()
    assert await world.ledger.drained(LONG)
    assert await world.state() == text(await world.memory.run_state(world.run.run_id))
    world.database.on = False  # from here on the journal knows again
    await world.restart()
    assert await world.state() == text(await world.memory.run_state(world.run.run_id))


async def test_a_lost_end_is_noticed(world: World) -> None:
    notes = await damaged(world, "DELETE FROM events WHERE seq > (SELECT max(seq) - 3 FROM events)")
    assert notes == ("up to 3 acknowledged events are missing from the journal",)
    with pytest.raises(LedgerUnavailable):
        await world.state()


async def test_a_lost_write_ahead_log_is_noticed(world: World) -> None:
    await world.play(PLAY[:5])
    world.database.on = False
    await world.play(PLAY[5:])
    copies = {path: path.read_bytes() for path in world.directory.iterdir()}
    await world.crash()
    for path, content in copies.items():  # as after a kill, when nobody tidies up
        path.write_bytes(content)
    log = world.directory / f"{FILE}-wal"
    log.write_bytes(log.read_bytes()[:-5_000])
    (world.directory / f"{FILE}-shm").unlink()
    world.ledger = world.incarnation()
    (note,) = (await world.ledger.append([])).notes
    assert "missing" in note
    with pytest.raises(LedgerUnavailable):
        await world.state()


async def test_a_file_sqlite_cannot_read_is_kept_and_its_good_rows_are_saved(
    world: World,
) -> None:
    await world.play(PLAY[:5])
    world.database.on = False
    await world.play([0, 30, 6, 6] * 60)
    await world.crash()
    path = world.directory / FILE
    content = bytearray(path.read_bytes())
    content[-8_192:] = b"\xa5" * 8_192
    path.write_bytes(content)
    world.ledger = world.incarnation()
    health = await world.ledger.append([])
    assert "damaged" in health.notes[0]
    assert 0 < health.waiting < len(world.told)
    assert list(world.directory.glob("journal-bad-*.sqlite"))
    with pytest.raises(LedgerUnavailable):
        await world.state()
    world.database.on = True
    assert await world.ledger.drained(LONG)
    assert await world.state() == text(await world.memory.run_state(world.run.run_id))


async def test_a_file_that_is_something_else_is_kept_aside(world: World) -> None:
    await world.play(PLAY[:5])
    assert await world.ledger.drained(LONG)
    await world.crash()
    (world.directory / FILE).write_bytes(b"not a database at all " * 400)
    world.ledger = world.incarnation()
    assert "damaged" in (await world.ledger.append([])).notes[0]
    await world.play(PLAY[5:])
    await world.assert_nothing_differs()


# A disk that takes no more


async def test_a_full_disk_is_written_past_and_told_until_it_has_room(world: World) -> None:
    await world.play(PLAY[:5])
    await world.fill_the_disk()
    await world.play([0, 30, 6, 6] * 30)
    health = await world.ledger.append([])
    assert health.impairment.startswith("journal cannot be written: ")
    assert "full" in health.impairment
    await world.fill_the_disk(full=False)

    async def mended() -> bool:
        return not (await world.ledger.append([])).impairment

    await until(mended)
    world.database.on = False
    await world.play(PLAY[5:])
    before = await world.state()
    await world.restart()
    assert await world.state() == before
    world.database.on = True
    await world.assert_nothing_differs()


async def test_a_restart_does_not_trust_a_journal_that_was_written_past(world: World) -> None:
    await world.play(PLAY[:5])
    await world.fill_the_disk()
    await world.play([0, 30, 6, 6] * 30)
    assert (await world.ledger.append([])).impairment
    world.database.on = False
    await world.restart()
    with pytest.raises(LedgerUnavailable):
        await world.state()
    world.database.on = True
    await world.assert_nothing_differs()


async def test_with_neither_disk_nor_database_nothing_is_recorded(world: World) -> None:
    await world.play(PLAY[:5])
    assert await world.ledger.drained(LONG)
    await world.fill_the_disk()
    world.database.on = False
    batches = [world.history.step(number) for number in [0, 30, 6, 6] * 40]
    taken = 0
    for batch in batches:
        try:
            await world.ledger.append(batch)
        except LedgerUnavailable:
            break
        world.told += batch
        taken += 1
    assert 0 < taken < len(batches)
    assert await world.state() == text(
        await (await world.undisturbed()).run_state(world.run.run_id)
    )
    await world.restart()  # nobody wrote past the journal: it is the whole truth
    for batch in batches[taken:]:
        await world.ledger.append(batch)
        world.told += batch
    world.database.on = True
    await world.assert_nothing_differs()


# What an operator is told


async def test_over_the_limit_is_an_impairment_and_still_recorded(tmp_path: Path) -> None:
    world = World(tmp_path, max_events=20)
    await world.begin()
    await world.play(PLAY[:1])
    world.database.on = False
    await world.play([6] * 6)
    waiting = (await world.ledger.append([])).waiting
    health = await world.ledger.append([])
    assert health.impairment == f"{waiting} events wait for PostgreSQL, the limit is 20"
    world.database.on = True
    assert await world.ledger.drained(LONG)
    assert (await world.ledger.append([])).impairment == ""
    await world.assert_nothing_differs()
    await world.close()


async def test_an_outage_is_told_when_it_lasts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outage, "GRACE", 0.0)
    world.database.on = False
    await world.play(PLAY)
    assert not await world.ledger.drained(LONG)
    (note,) = (await world.ledger.append([])).notes
    assert note.startswith("PostgreSQL away since ")
    assert note.endswith(f": {len({e.event_id for e in world.told})} events in the journal")
    world.database.on = True
    assert await world.ledger.drained(LONG)
    assert (await world.ledger.append([])).notes == ()


async def test_what_the_database_never_takes_is_set_aside_and_holds_up_nobody(
    world: World,
) -> None:
    plain = world.memory.append
    await world.play(PLAY[:1])
    poison = world.history.step(0)
    assert isinstance(poison[0], OrderIntended)
    reference = poison[0].trade.reference

    async def append(events: Sequence[LedgerEvent]) -> object:
        if any(reference in event.event_id for event in events):
            raise NotFound("its user does not exist")
        return await plain(events)

    world.memory.append = append  # type: ignore[method-assign,assignment]
    world.database.on = False
    await world.ledger.append(poison)
    await world.play([6, 6, 11, 6])
    world.database.on = True
    assert await world.ledger.drained(LONG)
    assert len(world.memory.store.equity) == 3
    assert reference not in world.memory.store.trades
    note = "1 events were refused by PostgreSQL and set aside"
    assert (await world.ledger.append([])).notes == (note,)
    await world.restart()
    assert (await world.ledger.append([])).notes == (note,)
    # It was acknowledged, so it may have been sent: a restarted process looks after it.
    pending = (await world.ledger.run_state(world.run.run_id)).pending
    assert reference in {trade.reference for trade in pending}
