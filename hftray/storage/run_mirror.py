"""A run's mirror, loaded from the database or from the journal's base and the rows after it.

What the database refused has happened all the same. The journal's base has it; without a base such
events are put on top of what the database shows, which may be of a later time than they.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

from hftray import observe
from hftray.core.errors import DataError, LedgerUnavailable, RejectError
from hftray.core.ledger import LedgerEvent
from hftray.core.ledger_fold import RunMirror, run_of
from hftray.storage.event_codec import event_of, state_of
from hftray.storage.group_commit import GroupCommit
from hftray.storage.outage import Database

log = observe.logger("journal")


async def load(
    run_id: int, journal: GroupCommit, database: Database, drain: Callable[[], Awaitable[None]]
) -> RunMirror:
    """The run as recorded. NotFound, StaleEpoch; LedgerUnavailable when nobody knows for certain.

    `drain` brings the database up to date first.
    """
    refused = [event for event in refused_events(journal) if run_of(event) == run_id]
    if database.away or refused:
        local = await _from_journal(journal, run_id)
        if local is not None:
            return local
    try:
        await drain()
        mirror = RunMirror(await database.ask(database.ledger.run_state(run_id)))
        await database.require_own()
    except LedgerUnavailable:
        if (local := await _from_journal(journal, run_id)) is None:
            raise
        return local
    _follow(refused, mirror.catch_up)
    return mirror


def refused_events(journal: GroupCommit) -> list[LedgerEvent]:
    """What the database would not take, oldest first, as far as this build can read it."""
    events = []
    for entry in journal.refused:
        with suppress(DataError):
            events.append(event_of(entry))
    return events


async def _from_journal(journal: GroupCommit, run_id: int) -> RunMirror | None:
    """The run from the journal alone; None when that is not the whole truth."""
    try:
        found = await journal.look(lambda journal: journal.base(run_id))
        if found is None:
            return None
        base, entries = found
        mirror = RunMirror(state_of(base))
        events = [event_of(entry) for entry in entries]
    except (sqlite3.Error, DataError) as error:
        log.error("the journal's base cannot be used", reason=str(error))
        return None
    _follow((event for event in events if run_of(event) == run_id), mirror.apply)
    return mirror


def _follow(events: Iterable[LedgerEvent], take: Callable[[LedgerEvent], None]) -> None:
    for event in events:
        with suppress(RejectError):
            take(event)
