"""`hftray.ports.Ledger` that works while PostgreSQL is away: a local journal in front of it.

`append` folds the events into a mirror of their run, which refuses illegal ones, and returns when
they are in the journal on this machine's disk. A task moves them on to the database, in order and
exactly once. `run_state` is answered from the mirror. A mirror is loaded from the database, once
that has all that was journaled, or else from the journal's own base and the rows after it.

When the journal cannot be written, events go straight to the database and the journal's base is
not trusted any more until it has been written anew; when neither works, LedgerUnavailable.

One journal at a time writes a database: `open_run` makes it the caller's, and whoever had it
before is refused from its next look at the database on.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import time_ns
from typing import Any

from hftray.core.errors import LedgerUnavailable, RejectError, StaleEpoch
from hftray.core.ledger import (
    LedgerEvent,
    LedgerHealth,
    RunInfo,
    RunState,
    ScanningSet,
    SessionStarted,
)
from hftray.core.ledger_fold import RunMirror, require_term, run_of
from hftray.storage.event_codec import Roster, entry_of
from hftray.storage.event_limit import EventLimit
from hftray.storage.group_commit import JournalFailed
from hftray.storage.journal_keeper import JournalKeeper
from hftray.storage.outage import Database, SharedLedger

FINISH_PATIENCE = 2.0  # seconds to leave a complete database behind


class JournaledLedger:
    """A journal in `directory` before the ledger `remote`, which the caller owns.

    From `max_events` waiting events on `append` reports an impairment and takes only what orders
    and risk write. StaleEpoch from every call once another process has opened the same journal, or
    another journal was found to have taken over the database.
    """

    def __init__(self, remote: SharedLedger, directory: Path, *, max_events: int) -> None:
        self._database = Database(remote)
        self._lock = asyncio.Lock()  # appends are folded and queued one after the other
        self._keeper = JournalKeeper(self._database, directory, self._lock)
        self._remote = remote
        self._limit = EventLimit(max_events)
        self._term = 0

    # Runs: they begin and end in the database

    async def open_run(
        self, mode: str, source: str, user_id: str, initial_capital: Decimal
    ) -> RunInfo:
        """The user's unfinished run, or a new one, in a database that is ours from now on.

        NotFound; Conflict when another journal takes it over just now; LedgerUnavailable.
        """
        async with self._lock:
            await self._keeper.take_over()
            await self._keeper.sound()
        await self._keeper.drain()
        run = await self._database.ask(
            self._remote.open_run(mode, source, user_id, initial_capital)
        )
        self._keeper.known.learn_run(run)
        await self._read_roster()
        async with self._lock:
            await self._keeper.mirror(run.run_id)
        return run

    async def current_run(self, mode: str, source: str) -> RunInfo | None:
        """The run of this mode and source that was opened last; None before the first."""
        await self._ready()
        known = self._keeper.known.current_run(mode, source)
        if known is not None and self._database.away:
            return known
        try:
            await self._keeper.drain()
            run = await self._database.ask(self._remote.current_run(mode, source))
        except LedgerUnavailable:
            if known is None:
                raise
            return known
        if run is not None:
            self._keeper.known.learn_run(run)
        return run

    async def finish_run(self, run_id: int, time: datetime) -> None:
        """End the run once the database has all of it. NotFound, LedgerUnavailable."""
        await self._ready()
        await self._keeper.drain()
        await self._database.ask(self._remote.finish_run(run_id, time))

    async def set_scanning(self, run_id: int, scanning: bool) -> None:
        """Remember whether the engine is meant to scan. NotFound."""
        await self.append([ScanningSet(run_id, scanning, datetime.now(UTC))])
        await self.drained(FINISH_PATIENCE)

    # Events

    async def open_term(self) -> int:
        """A new term for the one writer of orders, on disk when it is given."""
        async with self._lock:
            await self._keeper.sound()
            # Milliseconds since 1970: it grows even when the journal had to be made anew.
            term = max(self._newest_term(), time_ns() // 1_000_000 - 1) + 1
            self._term = term
            kept = self._keeper.submit(lambda journal: journal.set_term(term))
        with suppress(JournalFailed):  # then it holds as long as this process
            await kept
        return term

    async def append(self, events: Sequence[LedgerEvent], term: int | None = None) -> LedgerHealth:
        """Record all events or none; those recorded before are skipped.

        NotFound for an unknown run or order, IllegalTransition, StaleEpoch; LedgerUnavailable
        when neither the journal nor the database takes them, or too many wait. Whether a step of
        an order of a day that is over was recorded before, the database alone may still know: if
        the order is not PENDING, it is refused, where the database would skip it.
        """
        while True:
            async with self._lock:
                await self._keeper.sound()
                self._term = require_term(term, self._newest_term())
                if not events:
                    return self._health()
                if self._keeper.broken:
                    await self._write_through(events)
                    return self._health()
                journaled = await self._write(events)
            with suppress(JournalFailed):
                await journaled
                return self._health()

    async def run_state(self, run_id: int) -> RunState:
        """What recovery needs. NotFound; LedgerUnavailable when nobody here knows for certain."""
        while True:
            async with self._lock:
                await self._keeper.sound()
                state = (await self._keeper.mirror(run_id)).state()
                everything = None if self._keeper.broken else self._keeper.submit(_nothing)
            if everything is None:
                return self._keeper.known.shown(state)
            with suppress(JournalFailed):
                await everything  # nothing is told that is not on disk
                return self._keeper.known.shown(state)

    async def roster(self, known_version: int) -> tuple[int, list[dict[str, Any]]] | None:
        """Version and rows of all strategies; None when the version is the known one."""
        await self._ready()
        known = self._keeper.known.roster
        if known is None or not self._database.away:
            try:
                known = await self._read_roster()
            except LedgerUnavailable:
                if known is None:
                    raise
        return None if known[0] == known_version else known

    async def drained(self, timeout: float) -> bool:
        """Wait until the database has everything; False when it takes longer than that."""
        try:
            async with asyncio.timeout(timeout):
                await self._ready()
                await self._keeper.drain()
        except (TimeoutError, LedgerUnavailable):
            return False
        return True

    async def close(self) -> None:
        """Move to the database what it takes in a short time, and release the files."""
        with suppress(StaleEpoch):
            await self.drained(FINISH_PATIENCE)
        await self._keeper.close()

    async def _ready(self) -> None:
        async with self._lock:
            await self._keeper.sound()

    def _newest_term(self) -> int:
        return max(self._term, self._keeper.journal.term)

    async def _fold(
        self, events: Sequence[LedgerEvent]
    ) -> tuple[dict[int, RunMirror], dict[str, LedgerEvent]]:
        drafts: dict[int, RunMirror] = {}
        fresh: dict[str, LedgerEvent] = {}
        for event in events:
            event_id, run_id = event.event_id, run_of(event)
            if event_id in self._keeper.event_ids or event_id in fresh:
                continue
            if run_id not in drafts:
                drafts[run_id] = (await self._keeper.mirror(run_id)).copy()
            drafts[run_id].apply(event)
            fresh[event_id] = event
        return drafts, fresh

    async def _write(self, events: Sequence[LedgerEvent]) -> Awaitable[None]:
        drafts, fresh = await self._fold(events)
        self._limit.require_room(fresh.values(), self._keeper.journal.waiting)
        entries = [entry_of(event) for event in fresh.values()]
        # From here on without a pause: the mirrors and the queue must not part.
        self._keeper.mirrors.update(drafts)
        self._keeper.event_ids.update(fresh)
        new_day = any(isinstance(event, SessionStarted) for event in fresh.values())
        return self._keeper.append(entries, new_day=new_day)

    async def _write_through(self, events: Sequence[LedgerEvent]) -> None:
        await self._keeper.drain()
        drafts, fresh = await self._fold(events)
        if not fresh:
            return
        await self._keeper.require_own()  # it answers, too: what follows may happen
        flagged = await self._keeper.flag_gap()
        # Until the database has said yes or no, nobody here knows whether it did.
        known = {run_id: self._keeper.mirrors.pop(run_id) for run_id in drafts}
        try:
            await self._database.append(list(fresh.values()))
        except RejectError:
            self._keeper.mirrors.update(known)
            if flagged:
                await self._keeper.flag_gap(False)
            raise
        self._keeper.mirrors.update(drafts)

    def _health(self) -> LedgerHealth:
        waiting = self._keeper.journal.waiting
        impairments = filter(None, (self._keeper.broken, self._limit.impairment(waiting)))
        notes = [*self._keeper.journal.notes, self._database.note(waiting)]
        return LedgerHealth(waiting, "; ".join(impairments), tuple(note for note in notes if note))

    async def _read_roster(self) -> Roster:
        known = self._keeper.known.roster
        fresh = await self._database.roster(-1 if known is None else known[0])
        if fresh is not None:
            self._keeper.known.learn_roster(fresh)
        roster = fresh or known
        assert roster is not None  # no version is -1
        return roster


def _nothing(journal: object) -> None:
    """A step that waits for the steps before it."""
