"""The local journal before a ledger that can be switched off: outages, crashes, damage, full disks.

What was lost, refused or taken over is in test_journal_doubt.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from journal_world import LONG, PLAY, World, text, until

from hftray.core.errors import IllegalTransition, LedgerUnavailable, NotFound, StaleEpoch
from hftray.core.ledger import OrderIntended, PositionMarked
from hftray.storage import journal_keeper, outage
from hftray.storage.journal import FILE, Journal


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
@settings(max_examples=examples(40))
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
    before = world.ledger._keeper.journal.commits
    batches = [world.history.step(6) for _ in range(40)]
    await asyncio.gather(*(world.ledger.append(batch) for batch in batches))
    assert world.ledger._keeper.journal.commits - before <= 6
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


async def test_over_the_limit_only_what_cannot_wait_elsewhere_is_taken(tmp_path: Path) -> None:
    """Else an outage fills the disk with votes until there is no room for an exit."""
    world = World(tmp_path, max_events=20)
    await world.begin()
    await world.play([0, 10, 10])
    (held,) = world.history.held.values()
    assert await world.ledger.drained(LONG)
    world.database.on = False
    await world.play([6] * 5)
    health = await world.ledger.append([])
    assert health.waiting == 20
    assert health.impairment == "20 events wait for PostgreSQL, the limit is 20"
    votes = world.history.step(6)
    with pytest.raises(LedgerUnavailable, match="limit is 20: only orders and risk"):
        await world.ledger.append(votes)
    for minute in range(20):  # a stop that trails hangs on these
        now = world.history.now + timedelta(seconds=minute)
        mark = PositionMarked(world.run.run_id, held.reference, 101.0 + minute, now)
        await world.ledger.append([mark])
        world.told.append(mark)
    with pytest.raises(LedgerUnavailable):
        await world.ledger.append([*votes, replace(mark, best_price=130.0)])
    await world.play([10, 10, 17, 37, 8])  # an exit, risk, a wish, a day
    assert (await world.ledger.append([])).waiting == 45
    await world.ledger.append(votes[:0])
    world.database.on = True
    assert await world.ledger.drained(LONG)
    await world.ledger.append(votes)
    world.told += votes
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
    await world.play(PLAY[:1])
    poison = world.history.step(0)
    assert isinstance(poison[0], OrderIntended)
    reference = poison[0].trade.reference
    world.database.refused = (reference,)
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
