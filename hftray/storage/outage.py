"""The database behind the journal: whether it answers, whether it is ours, what it refuses."""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic
from typing import Protocol, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from hftray import observe
from hftray.core.errors import DataError, LedgerUnavailable, RejectError, StaleEpoch, StopError
from hftray.core.ledger import LedgerEvent, LedgerHealth
from hftray.core.ledger_fold import require_owner
from hftray.core.session import IST
from hftray.ports import Ledger
from hftray.storage.event_codec import Roster, event_of
from hftray.storage.journal import Waiting

T = TypeVar("T")
ROSTER_PATIENCE = 2.0  # seconds a scan may wait for the strategies before it uses the known ones
GRACE = 3.0  # seconds an outage lasts before an operator is told

log = observe.logger("journal")


class SharedLedger(Ledger, Protocol):
    """A ledger that journals of several data directories reach: one of them writes, its owner."""

    async def append(
        self, events: Sequence[LedgerEvent], term: int | None = None, *, owner: str = ""
    ) -> LedgerHealth:
        """As any ledger's; StaleEpoch when it is owned by another, in the same transaction."""
        ...

    async def owner(self) -> str:
        """Whose events are taken; empty before the first."""
        ...

    async def take_over(self, owner: str, before: str) -> None:
        """Make it `owner`'s; Conflict when it is not `before`'s any more."""
        ...


class Database:
    """A ledger that may be away; every question to it passes through `ask`.

    `owner` is the journal in front of it. `superseded` is set once the ledger was found to be
    another's.
    """

    def __init__(self, ledger: SharedLedger) -> None:
        self.ledger = ledger
        self.owner = ""
        self.superseded: StaleEpoch | None = None
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
        except RejectError as error:
            self._answered()
            if isinstance(error, StaleEpoch):
                log.error("superseded", reason=str(error))
                self.superseded = error
            raise
        except LedgerUnavailable as error:
            self._lost(error)
            raise
        except (StopError, SQLAlchemyError, TimeoutError) as error:
            self._lost(error)
            raise LedgerUnavailable(f"PostgreSQL does not do its work: {error!r}") from error
        self._answered()
        return found

    async def append(self, events: Sequence[LedgerEvent]) -> None:
        """Record the events in one transaction. RejectError, StaleEpoch, LedgerUnavailable."""
        await self.ask(self.ledger.append(events, owner=self.owner))

    async def require_own(self) -> None:
        """LedgerUnavailable when it does not answer, StaleEpoch when another journal owns it."""

        async def look() -> None:
            require_owner(self.owner, await self.ledger.owner())

        await self.ask(look())

    async def roster(self, known_version: int) -> Roster | None:
        """The strategies when they changed. LedgerUnavailable soon, StaleEpoch."""

        async def within_patience() -> Roster | None:
            async with asyncio.timeout(ROSTER_PATIENCE):
                found = await self.ledger.roster(known_version)
                require_owner(self.owner, await self.ledger.owner())
                return found

        return await self.ask(within_patience())

    async def record(self, rows: Sequence[Waiting]) -> list[tuple[Waiting, str]]:
        """Record journal rows in one transaction; those it will never take, with the reason.

        A refused row must not hold up the others: the batch is halved until it stands alone.
        """
        try:
            await self.append([event_of(row.entry) for row in rows])
        except StaleEpoch:
            raise
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
