"""The risk book and its record: what the book has granted, the ledger has too.

When a write fails the book may know more than the ledger, so it is thrown away and read back from
the ledger before the next answer, under a new term: a write whose answer was lost may still be
under way, and must not come after that. The ledger refuses writes of an older term than the newest.
Whoever is refused has been superseded, or a late request of a dead risk actor looks like it: should
anybody still call it, it opens a term and reads the ledger again, as after a restart.

A kill or a reduction holds from the moment it is ordered, on record or not: every book read since
is told of it, and every write brings it along until the ledger has it. A resume has to be on
record to count.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime

from hftray import observe
from hftray.core.errors import HftrayError, RetryError, StaleEpoch
from hftray.core.ledger import LedgerEvent, RiskStateChanged, RunInfo, RunState
from hftray.core.risk import RiskBook
from hftray.core.risk_view import RiskState
from hftray.ports import Ledger

log = observe.logger("risk")

EPOCHS_A_TERM = 1_000_000


class DurableBook:
    """The book of the run that trades now; one caller at a time."""

    def __init__(
        self, run: RunInfo, build_book: Callable[[RunInfo, int], RiskBook], ledger: Ledger
    ) -> None:
        self.run = run
        self.present: RiskBook | None = None  # None: to be read from the ledger
        self.superseded = False
        self.trouble = ""  # why nothing should be opened, as the ledger said last
        self._build_book = build_book
        self._ledger = ledger
        self._joined = False
        self._term: int | None = None  # of the present book
        self._ordered: RiskStateChanged | None = None  # a kill or a reduction not on record yet

    @property
    def owes_order(self) -> bool:
        """Whether a kill or a reduction is not on record yet."""
        return self._ordered is not None

    def use_run(self, run: RunInfo) -> None:
        """Change to another account, whose book is read next."""
        self.run, self.present, self._joined = run, None, True

    async def state(self) -> RunState:
        """The run as the ledger has it now."""
        return await self._ledger.run_state(self.run.run_id)

    async def read(self) -> RiskBook:
        """The book as it stands, from the ledger where need be."""
        self.superseded = False
        if self.present is None:
            self.present = await self._from_ledger()
        return self.present

    async def retry(self) -> RiskBook:
        """The book, after another try at what keeps entries away: nothing else would try it."""
        await self.read()
        with suppress(RetryError):
            if self._ordered is not None:
                await self.write()
            elif self.trouble:
                await self._append()
        return await self.read()

    async def write(self, *events: LedgerEvent) -> None:
        """Put on record what the book has done, and what was ordered before."""
        if self._ordered is not None:
            events = (self._ordered, *events)
        if not events:
            return
        # Until the write is known to be done, what the ledger has is what counts. It may still be
        # done when no answer comes, so the next book is read under a new term.
        book, self.present = self.present, None
        await self._append(*events)
        self.present, self._ordered = book, None
        for event in events:
            if isinstance(event, RiskStateChanged):
                log.warning(
                    "risk state changed", state=event.state, reason=event.reason, by=event.actor
                )

    async def record(self, change: RiskStateChanged | None) -> None:
        """`write` a change of the state, if there is one."""
        if change is not None:
            await self.write(change)

    def order(self, order: RiskStateChanged) -> None:
        """A kill or a reduction: holds from now on, and goes on record with the next write."""
        if self.present is not None:
            self._ordered = _given(self.present, order) or self._ordered
        elif self._ordered is None or self._ordered.state != RiskState.HALTED:
            self._ordered = order  # for the next book, once that is read

    async def resume(self, book: RiskBook, reason: str, now: datetime, actor: str) -> None:
        """Entries again, once that is on record."""
        try:
            await self.record(book.resume(reason, now, actor))
        except HftrayError:
            if self._ordered is not None:
                # The resume may have come through, so what it was to end is ordered anew after it.
                self._ordered = replace(self._ordered, time=datetime.now(UTC))
            raise

    async def _from_ledger(self) -> RiskBook:
        # Before anything is read: nothing older may be written after that.
        self._term = await self._ledger.open_term()
        if not self._joined:
            # After a restart the constructor's run may be history: another user may trade now.
            current = await self._ledger.current_run(self.run.mode, self.run.source)
            self.run, self._joined = current or self.run, True
        # Terms only grow and every book has its own, so no epoch is ever given twice.
        book = self._build_book(self.run, self._term * EPOCHS_A_TERM)
        book.recover(await self.state())
        if self._ordered is not None:  # unless the ledger had it all the same
            self._ordered = _given(book, self._ordered)
        return book

    async def _append(self, *events: LedgerEvent) -> None:
        try:
            health = await self._ledger.append(events, self._term)
        except StaleEpoch as error:
            log.error("superseded by another risk actor", reason=str(error))
            self.present, self.superseded = None, True
            raise
        self.trouble = health.impairment


def _given(book: RiskBook, order: RiskStateChanged) -> RiskStateChanged | None:
    """What an order changes in a book, to be recorded; None when it stands so already."""
    give = book.kill if order.state == RiskState.HALTED else book.reduce
    return give(order.reason, order.time, order.actor)
