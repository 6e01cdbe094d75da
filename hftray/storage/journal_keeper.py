"""The journal's upkeep: mirrors of the runs, checkpoints, draining, and what to do when it fails.

`JournaledLedger` holds its lock around everything here but `drain`.
"""

import asyncio
import sqlite3
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from hftray import observe
from hftray.core.errors import LedgerUnavailable, NotFound, StaleEpoch
from hftray.core.ledger_fold import RunMirror, run_of
from hftray.storage.event_codec import Entry
from hftray.storage.group_commit import GroupCommit, JournalFailed, Step
from hftray.storage.journal import Journal, Waiting
from hftray.storage.known_answers import KnownAnswers
from hftray.storage.outage import Database
from hftray.storage.run_mirror import load, refused_events

BATCH = 500  # events a database transaction
CHECKPOINT = 2_000  # events between two bases
LOOK = 1.0  # seconds between two looks, with nothing to do, at the database: there, and ours?
HANDOVER = 3.0  # seconds for the process of another journal to notice that it is ours now
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
        self.known = KnownAnswers(self.submit)
        self._since_checkpoint = 0
        self._draining = asyncio.Lock()
        self._work = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    @property
    def journal(self) -> GroupCommit:
        """The open journal; `sound` comes first."""
        assert self._opened is not None
        return self._opened

    async def sound(self) -> None:
        """Open what is not open, take stock, start to drain. LedgerUnavailable, StaleEpoch."""
        await self._ready()
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._keep_draining())
            self._worker.add_done_callback(self._worker_ended)

    def submit(self, step: Step) -> asyncio.Future[Any]:
        """Queue a step for the next commit."""
        return self.journal.submit(step)

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

    async def mirror(self, run_id: int) -> RunMirror:
        """The run as recorded. NotFound; LedgerUnavailable when nobody here knows for certain."""
        if run_id not in self.mirrors:
            self.mirrors[run_id] = await self._load(run_id)
            # The next checkpoint ends the bases of all others, and these cannot do without.
            for other in {run_of(event) for event in refused_events(self.journal)}:
                if other not in self.mirrors:
                    with suppress(NotFound, LedgerUnavailable):
                        self.mirrors[other] = await self._load(other)
            if not self.broken:
                self._checkpoint()
        return self.mirrors[run_id]

    async def drain(self) -> None:
        """Bring the database up to date. LedgerUnavailable, StaleEpoch."""
        async with self._draining:
            try:
                while self.journal.waiting and (rows := await self.journal.look(_oldest)):
                    await self._move(rows)
            except sqlite3.Error as error:
                raise LedgerUnavailable(f"the journal cannot be read: {error}") from error

    async def require_own(self) -> None:
        """StaleEpoch when another process has the journal, or another journal the database.

        LedgerUnavailable when the database does not answer. A journal that cannot be read is no
        reason.
        """
        with suppress(sqlite3.Error):
            await self.journal.look(Journal.require_own)
        await self._database.require_own()

    async def take_over(self) -> None:
        """Make the database ours, before anything is drained. Conflict, LedgerUnavailable.

        What another journal brought there meanwhile is not in ours: its bases end here.
        StaleEpoch from one that was superseded: a new process may take the database back.
        """
        await self._ready()
        ledger, own = self._database.ledger, self._database.owner
        present = await self._database.ask(ledger.owner())
        if present == own:
            return
        self.mirrors.clear()
        try:
            await self._checkpoint()
        except JournalFailed:
            await self.flag_gap()
        await self._database.ask(ledger.take_over(own, present))
        if present:
            log.warning("the database was taken over from another journal", before=present)
            await asyncio.sleep(HANDOVER)  # or both would approve orders meanwhile

    async def flag_gap(self, gap: bool = True) -> bool:
        """Events are about to go past the journal: its bases end here, also after a restart.

        False takes it back. Whether that is a change.
        """
        if self.journal.gap == gap:
            return False
        try:
            await self.journal.look(lambda journal: journal.head.flag_gap(gap))
        except OSError as error:
            log.error("the journal's gap could not be noted", reason=str(error))
        return True

    async def close(self) -> None:
        """End the task and release the files."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if self._opened is not None:
            await self._opened.close()

    async def _ready(self) -> None:
        if (superseded := self._superseded or self._database.superseded) is not None:
            raise superseded
        if self._opened is None:
            await self._open()
        if self.journal.failure and not self.broken:
            await self._take_stock()

    async def _open(self) -> None:
        try:
            journal = await GroupCommit.open(self._directory)
            self.event_ids = await journal.look(Journal.event_ids)
            self.known.load(await journal.look(Journal.known))
        except (sqlite3.Error, OSError) as error:
            raise LedgerUnavailable(f"the journal cannot be opened: {error}") from error
        self._opened = journal
        self._database.owner = journal.identity
        for note in journal.notes:
            log.error("not all is well with the journal", what=note)

    async def _take_stock(self) -> None:
        """A commit failed. What it left behind is read from the file, not remembered."""
        self.broken = f"journal cannot be written: {self.journal.failure}"
        log.error("the journal fails", reason=self.journal.failure)
        self.mirrors.clear()
        self._work.set()
        try:
            await self.journal.look(Journal.reload)
            self.event_ids = await self.journal.look(Journal.event_ids)
        except sqlite3.Error as error:
            log.error("the journal cannot be read", reason=str(error))

    async def _load(self, run_id: int) -> RunMirror:
        return await load(run_id, self.journal, self._database, self.drain)

    def _checkpoint(self) -> asyncio.Future[list[str]]:
        self._since_checkpoint = 0
        states = [mirror.state() for mirror in self.mirrors.values()]
        written = self.submit(lambda journal: journal.rebase(states))
        written.add_done_callback(self._forget)
        return written

    def _forget(self, written: asyncio.Future[list[str]]) -> None:
        if not written.cancelled() and written.exception() is None:
            self.event_ids.difference_update(written.result())

    async def _move(self, rows: list[Waiting]) -> None:
        refused = await self._database.record(rows)
        await self.journal.look(partial(Journal.drained, rows=rows, refused=refused))
        self.submit(Journal.save_drained)

    async def _keep_draining(self) -> None:
        delay = FIRST_DELAY
        while True:
            idle = False
            if not (self.journal.waiting or self._database.away or self.broken):
                idle = not await self._work_comes()
            if self.broken:
                await self._mend()
            with suppress(LedgerUnavailable):
                await self.drain()
                if idle or self._database.away:
                    await self._database.require_own()
                if not self.broken:
                    delay = FIRST_DELAY
                    continue
            await self._database.pause(delay)
            delay = min(delay * 2, LONGEST_DELAY)

    async def _work_comes(self) -> bool:
        self._work.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                return await self._work.wait()
        return False

    async def _mend(self) -> None:
        async with self._lock:
            states = [mirror.state() for mirror in self.mirrors.values()]
            if not await self.journal.mend(states if self.journal.gap else None):
                return
            self.broken = ""
            self.event_ids = await self.journal.look(Journal.event_ids)
            self.known.write_again()
            log.info("the journal is written again")

    def _worker_ended(self, worker: asyncio.Task[None]) -> None:
        if worker.cancelled() or (error := worker.exception()) is None:
            return
        log.error("draining ended", reason=repr(error))
        if isinstance(error, StaleEpoch):
            self._superseded = error


def _oldest(journal: Journal) -> list[Waiting]:
    return journal.rows_waiting(BATCH)
