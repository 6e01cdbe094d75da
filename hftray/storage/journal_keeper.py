"""The journal's upkeep: mirrors of the runs, checkpoints, draining, and what to do when it fails.

`JournaledLedger` holds its lock around everything here but `drain` and `learn`.
"""

import asyncio
import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from hftray import observe
from hftray.core.errors import DataError, LedgerUnavailable, RejectError, StaleEpoch
from hftray.core.ledger_fold import RunMirror, run_of
from hftray.storage.event_codec import Entry, event_of, state_of
from hftray.storage.group_commit import GroupCommit, Step
from hftray.storage.journal import Journal, Waiting
from hftray.storage.outage import Database

BATCH = 500  # events a database transaction
CHECKPOINT = 2_000  # events between two bases
FIRST_DELAY, LONGEST_DELAY = 0.05, 2.0  # seconds between two tries while something is away

log = observe.logger("journal")


class JournalKeeper:
    """The open journal, the mirrors that are in step with it, and the task that drains it.

    `broken` says why the journal cannot be written, empty while it can. A mirror is in step with
    everything submitted so far, or, while broken, with everything recorded.
    """

    def __init__(self, database: Database, directory: Path, lock: asyncio.Lock) -> None:
        self._database, self._directory, self._lock = database, directory, lock
        self._opened: GroupCommit | None = None
        self._superseded: StaleEpoch | None = None
        self.broken = ""
        self.mirrors: dict[int, RunMirror] = {}
        self.event_ids: set[str] = set()
        self.known: dict[str, str] = {}
        self._refused: dict[str, Entry] = {}
        self._gap = False
        self._since_checkpoint = 0
        self._draining = asyncio.Lock()
        self._work = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def _journal(self) -> GroupCommit:
        assert self._opened is not None  # `sound` comes first
        return self._opened

    @property
    def waiting(self) -> int:
        """Events that the database does not have yet."""
        return self._journal.waiting

    @property
    def term(self) -> int:
        """The newest term on disk."""
        return self._journal.term

    @property
    def notes(self) -> list[str]:
        """What an operator should know of the journal."""
        refused = f"{len(self._refused)} events were refused by PostgreSQL and set aside"
        return [*self._journal.notes, *([refused] if self._refused else [])]

    async def sound(self) -> None:
        """Open what is not open, take stock of what failed. LedgerUnavailable, StaleEpoch."""
        if self._superseded is not None:
            raise self._superseded
        if self._opened is None:
            await self._open()
        if self._journal.failure and not self.broken:
            await self._take_stock()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._keep_draining())
            self._worker.add_done_callback(self._worker_ended)

    def submit(self, step: Step) -> asyncio.Future[Any]:
        """Queue a step for the next commit."""
        return self._journal.submit(step)

    def append(self, entries: list[Entry], *, new_day: bool) -> asyncio.Future[None]:
        """Queue events, that the mirrors have, for the next commit and then for the database.

        Now and then, and with each day, a new base follows.
        """
        written = self.submit(lambda journal: journal.append(entries))
        written.add_done_callback(lambda _: self._work.set())
        self._since_checkpoint += len(entries)
        if new_day or self._since_checkpoint >= CHECKPOINT:
            self._checkpoint()
        return written

    def learn(self, key: str, value: str) -> None:
        """Remember an answer of the database for when it is away."""
        if self.known.get(key) != value:
            self.known[key] = value
            self.submit(lambda journal: journal.learn(key, value))

    async def mirror(self, run_id: int) -> RunMirror:
        """The run as recorded. NotFound; LedgerUnavailable when nobody here knows for certain."""
        if run_id not in self.mirrors:
            self.mirrors[run_id] = await self._load(run_id)
            if not self.broken:
                self._checkpoint()
        return self.mirrors[run_id]

    async def drain(self) -> None:
        """Bring the database up to date. LedgerUnavailable."""
        async with self._draining:
            try:
                while self.waiting and (rows := await self._journal.look(_oldest)):
                    await self._move(rows)
            except sqlite3.Error as error:
                raise LedgerUnavailable(f"the journal cannot be read: {error}") from error

    async def flag_gap(self) -> None:
        """Events are about to go past the journal: its bases end here, also after a restart."""
        if self._gap:
            return
        self._gap = True
        try:
            await self._journal.look(lambda journal: journal.head.flag_gap())
        except OSError as error:
            log.error("the journal's gap could not be noted", reason=str(error))

    async def close(self) -> None:
        """End the task and release the files."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if self._opened is not None:
            await self._opened.close()

    async def _open(self) -> None:
        try:
            journal = await GroupCommit.open(self._directory)
            self.event_ids = await journal.look(Journal.event_ids)
            self.known = await journal.look(Journal.known)
            self._refused = {e.event_id: e for e in await journal.look(Journal.refused)}
        except (sqlite3.Error, OSError) as error:
            raise LedgerUnavailable(f"the journal cannot be opened: {error}") from error
        self._opened = journal
        for note in journal.notes:
            log.error("journal damaged", what=note)

    async def _take_stock(self) -> None:
        """A commit failed. What it left behind is read from the file, not remembered."""
        self.broken = f"journal cannot be written: {self._journal.failure}"
        log.error("the journal fails", reason=self._journal.failure)
        self.mirrors.clear()
        self._work.set()
        try:
            await self._journal.look(Journal.reload)
            self.event_ids = await self._journal.look(Journal.event_ids)
        except sqlite3.Error as error:
            log.error("the journal cannot be read", reason=str(error))

    async def _load(self, run_id: int) -> RunMirror:
        local = await self._local(run_id) if self._database.away else None
        if local is not None:
            return local
        try:
            await self.drain()
            state = await self._database.ask(self._database.ledger.run_state(run_id))
        except LedgerUnavailable:
            if (local := await self._local(run_id)) is None:
                raise
            return local
        mirror = RunMirror(state)
        # What the database would not take has happened all the same.
        _follow(mirror, list(self._refused.values()))
        return mirror

    async def _local(self, run_id: int) -> RunMirror | None:
        """The run from the journal alone; None when that is not the whole truth."""
        if self._gap:
            return None
        try:
            found = await self._journal.look(lambda journal: journal.base(run_id))
            if found is None:
                return None
            base, entries = found
            mirror = RunMirror(state_of(base))
            _follow(mirror, entries)
        except (sqlite3.Error, DataError) as error:
            log.error("the journal's base cannot be used", reason=str(error))
            return None
        return mirror

    def _checkpoint(self) -> None:
        self._since_checkpoint = 0
        states = [mirror.state() for mirror in self.mirrors.values()]
        written = self.submit(lambda journal: journal.rebase(states))
        written.add_done_callback(self._forget)

    def _forget(self, written: asyncio.Future[list[str]]) -> None:
        if not written.cancelled() and written.exception() is None:
            self.event_ids.difference_update(written.result())

    async def _move(self, rows: list[Waiting]) -> None:
        refused = await self._database.record(rows)
        self._refused.update((row.entry.event_id, row.entry) for row, _ in refused)
        await self._journal.look(lambda journal: journal.drained(rows[-1], len(rows)))
        self.submit(lambda journal: journal.set_aside(refused))

    async def _keep_draining(self) -> None:
        delay = FIRST_DELAY
        while True:
            if not (self.waiting or self._database.away or self.broken):
                self._work.clear()
                await self._work.wait()
            if self.broken:
                await self._mend()
            with suppress(LedgerUnavailable):
                await self.drain()
                if self._database.away:
                    await self._database.ask(self._database.ledger.roster(-1))
                if not self.broken:
                    delay = FIRST_DELAY
                    continue
            await self._database.pause(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _mend(self) -> None:
        async with self._lock:
            states = [mirror.state() for mirror in self.mirrors.values()]
            if not await self._journal.mend(states if self._gap else None):
                return
            self.broken, self._gap = "", False
            self.event_ids = await self._journal.look(Journal.event_ids)
            for key, value in self.known.items():
                self.submit(partial(Journal.learn, key=key, value=value))
            log.info("the journal is written again")

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        if worker.cancelled() or (error := worker.exception()) is None:
            return
        log.error("draining ended", reason=repr(error))
        if isinstance(error, StaleEpoch):
            self._superseded = error


def _oldest(journal: Journal) -> list[Waiting]:
    return journal.rows_waiting(BATCH)


def _follow(mirror: RunMirror, entries: list[Entry]) -> None:
    for entry in entries:
        event = event_of(entry)
        if run_of(event) == mirror.run_id:
            with suppress(RejectError):
                mirror.apply(event)
