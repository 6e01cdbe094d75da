"""Many appends, one fsync: steps that arrive while a commit runs share the next one.

The journal lives in a thread of its own, so the disk never holds up the event loop.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from hftray.core.errors import StaleEpoch
from hftray.core.ledger import RunState
from hftray.storage.event_codec import Entry
from hftray.storage.journal import Journal

T = TypeVar("T")
Step = Callable[[Journal], Any]


class JournalFailed(Exception):
    """A commit failed: this step and all after it are undone, whatever they were."""


class GroupCommit:
    """Commits steps in the order they were submitted. After a failure it stands still.

    `failure` then says why, until `mend` succeeds: whoever built on an undone step must begin
    again from what the file has.
    """

    def __init__(self, journal: Journal, thread: ThreadPoolExecutor) -> None:
        self._journal, self._thread = journal, thread
        self._queue: list[tuple[Step, asyncio.Future[Any]]] = []
        self._committing: asyncio.Task[None] | None = None
        self.failure = ""
        self.commits = 0

    @classmethod
    async def open(cls, directory: Path) -> Self:
        """Open the journal and make it ours; sqlite3.Error or OSError when it cannot be read.

        One that can be read and not written is opened with a `failure`.
        """
        thread = ThreadPoolExecutor(1, "journal")
        try:
            journal = await asyncio.get_running_loop().run_in_executor(thread, Journal, directory)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        opened = cls(journal, thread)
        await opened._try(journal.take_over)
        return opened

    @property
    def waiting(self) -> int:
        """Events that the database does not have yet."""
        return self._journal.waiting

    @property
    def term(self) -> int:
        """The newest term on disk."""
        return self._journal.term

    @property
    def identity(self) -> str:
        """The journal's name, which no other journal has."""
        return self._journal.identity

    @property
    def gap(self) -> bool:
        """Whether events went past the journal since its bases were written."""
        return self._journal.head.gap

    @property
    def refused(self) -> list[Entry]:
        """What the database would not take, oldest first."""
        return [row.entry for _, (row, _) in sorted(self._journal.refused.items())]

    @property
    def notes(self) -> list[str]:
        """What was wrong with the file, and how much the database refused."""
        count = len(self._journal.refused)
        refused = f"{count} events were refused by PostgreSQL and set aside"
        return [*self._journal.notes, *([refused] if count else [])]

    def submit(self, step: Step) -> asyncio.Future[Any]:
        """Queue a step; its answer comes when it is on disk. JournalFailed, StaleEpoch."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.add_done_callback(_looked_at)
        if self.failure:
            future.set_exception(JournalFailed(self.failure))
            return future
        self._queue.append((step, future))
        if self._committing is None or self._committing.done():
            self._committing = asyncio.create_task(self._commit())
        return future

    async def look(self, look: Callable[[Journal], T]) -> T:
        """Read between commits. sqlite3.Error."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, look, self._journal)

    async def mend(self, states: list[RunState] | None) -> bool:
        """Write again, with `states` from these; False when it still fails. StaleEpoch."""
        self.failure = ""
        return await self._try(partial(self._journal.take_over, states))

    async def close(self) -> None:
        """Finish what is queued and release the files."""
        if self._committing is not None:
            await self._committing
        await self.look(Journal.close)
        self._thread.shutdown(wait=False)

    async def _commit(self) -> None:
        while self._queue:
            group, self._queue = self._queue, []
            steps = [step for step, _ in group]
            answers, error = await self._outcome(partial(self._journal.run, steps))
            if error is None:
                self.commits += 1
                for (_, future), answer in zip(group, answers, strict=True):
                    _settle(future, answer)
                continue
            if not isinstance(error, StaleEpoch):
                self.failure = str(error) or repr(error)
                group, self._queue = group + self._queue, []
            for _, future in group:
                if not future.done():
                    known = isinstance(error, StaleEpoch)
                    future.set_exception(error if known else JournalFailed(self.failure))

    async def _try(self, work: Callable[[], None]) -> bool:
        _, error = await self._outcome(work)
        if isinstance(error, StaleEpoch):
            raise error
        if error is not None:
            self.failure = str(error) or repr(error)
        return error is None

    async def _outcome(self, work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        await asyncio.wait([running])
        error = running.exception()
        return (None if error else running.result()), error


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    if not future.done():  # its caller was cancelled
        future.set_result(answer)


def _looked_at(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        future.exception()  # whoever awaits it gets it too; nobody has to
