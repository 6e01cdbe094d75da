"""The database behind the journal: whether it answers, since when it does not, what it refuses."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError

from hftray import observe
from hftray.core.errors import DataError, LedgerUnavailable, RejectError, StopError
from hftray.core.session import IST
from hftray.ports import Ledger
from hftray.storage.event_codec import event_of
from hftray.storage.journal import Waiting

T = TypeVar("T")
GRACE = 3.0  # seconds an outage lasts before an operator is told

log = observe.logger("journal")


class Database:
    """A ledger that may be away; every question to it passes through `ask`."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._back = asyncio.Event()
        self._back.set()
        self._since: datetime | None = None
        self._begun = 0.0

    @property
    def away(self) -> bool:
        """Whether the last question found no answer."""
        return self._since is not None

    async def ask(self, answer: Awaitable[T]) -> T:
        """The answer; LedgerUnavailable when there is none, whatever the reason."""
        try:
            found = await answer
        except RejectError:
            self._answered()
            raise
        except LedgerUnavailable as error:
            self._lost(error)
            raise
        except (StopError, SQLAlchemyError, TimeoutError) as error:
            self._lost(error)
            raise LedgerUnavailable(f"PostgreSQL does not do its work: {error!r}") from error
        self._answered()
        return found

    async def record(self, rows: Sequence[Waiting]) -> list[tuple[Waiting, str]]:
        """Record journal rows in one transaction; those it will never take, with the reason.

        A refused row must not hold up the others: the batch is halved until it stands alone.
        """
        try:
            await self.ask(self.ledger.append([event_of(row.entry) for row in rows]))
        except (RejectError, DataError) as error:
            if len(rows) == 1:
                log.error("event refused", event_id=rows[0].entry.event_id, reason=str(error))
                return [(rows[0], str(error))]
            half = len(rows) // 2
            return await self.record(rows[:half]) + await self.record(rows[half:])
        return []

    async def pause(self, delay: float) -> None:
        """Wait so many seconds; during an outage no longer than until somebody got an answer."""
        if not self.away:
            await asyncio.sleep(delay)
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._back.wait()

    def note(self, waiting: int) -> str:
        """What to tell an operator, empty while all is well or an outage is very young."""
        if self._since is None or monotonic() - self._begun < GRACE:
            return ""
        return f"PostgreSQL away since {self._since:%H:%M:%S} IST: {waiting} events in the journal"

    def _lost(self, error: Exception) -> None:
        if self._since is None:
            self._since, self._begun = datetime.now(IST), monotonic()
            self._back.clear()
            log.warning("the database is away", reason=str(error))

    def _answered(self) -> None:
        if self._since is not None:
            log.info("the database is back", seconds=round(monotonic() - self._begun, 1))
            self._since = None
            self._back.set()
