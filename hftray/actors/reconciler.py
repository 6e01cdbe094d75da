"""The ledger held against the broker's book, beside the scans and without making them wait."""

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Protocol

from hftray import observe
from hftray.core.errors import HftrayError, RetryError, UnknownOutcome
from hftray.core.ledger import RunState
from hftray.core.orders import BrokerPosition, OrderReport
from hftray.core.reconcile import (
    Difference,
    compare,
    locks,
    to_look_up,
    to_recover,
    to_withdraw,
)
from hftray.ports import Broker

log = observe.logger("engine")

NOT_RECONCILED = "not compared with the broker's book yet"
AGAIN = 1.0  # seconds to the next look when one failed, or found what is being repaired
SHORT_AGAIN = 5.0  # and when a position seemed to be missing: the broker's book may only lag behind

Books = tuple[RunState, list[OrderReport], list[BrokerPosition]]


class Record(Protocol):
    """Whoever knows the run as the ledger has it."""

    async def run_state(self) -> RunState:
        """The run as the ledger has it."""
        ...


class Reconciler:
    """Compares now and then; what it found last is `differences`, what follows from it below.

    Reading both books takes a while, and scans go on meanwhile: symbols that had to do with an
    order since the reading began are left out. What a moment may explain is believed when it is
    found twice in a row. `clock` counts seconds.
    """

    def __init__(
        self,
        record: Record,
        broker: Broker,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.differences: list[Difference] = []
        self.doubt = NOT_RECONCILED
        self._record, self._broker = record, broker
        self._interval, self._clock = interval, clock
        self.holding: dict[str, str] = {}
        self._moments: set[tuple[str, str]] = set()  # what was found once
        self._hurried = False
        self._due = 0.0
        self._reading: asyncio.Task[Books] | None = None
        self._withdrawing: asyncio.Task[None] | None = None

    @property
    def locks(self) -> dict[str, str]:
        """Symbols that should open nothing, and why."""
        return locks(self.differences)

    @property
    def repairable(self) -> set[str]:
        """Symbols that put things right by reading the ledger and asking the broker again."""
        return to_recover(self.differences)

    @property
    def unseen(self) -> set[str]:
        """Symbols that should ask the broker for the order that they have there."""
        return to_look_up(self.differences)

    def hurry(self) -> None:
        """Compare as soon as can be."""
        self._due, self._hurried = 0.0, self._reading is not None

    def restart(self) -> None:
        """What was found is of another time; until the next comparison there is doubt."""
        self.differences, self.doubt, self._due = [], NOT_RECONCILED, 0.0
        self.holding, self._moments = {}, set()
        for task in (self._reading, self._withdrawing):
            if task is not None:
                task.cancel()
        self._reading = self._withdrawing = None

    def begin(self) -> bool:
        """Start reading the books if it is time; whether it did."""
        if self._reading is not None or self._clock() < self._due:
            return False
        self._reading = asyncio.create_task(self._read())
        return True

    async def finish(self, acted: Collection[str], patience: float) -> bool:
        """Compare once both books are read; False when that takes longer than `patience` seconds.

        `acted`: symbols that had to do with an order since `begin`.
        """
        reading = self._reading
        if reading is None:
            return False
        await asyncio.wait([reading], timeout=patience)
        if not reading.done():
            return False
        self._reading, self._due = None, self._clock() + AGAIN
        try:
            state, orders, held = reading.result()
        except (RetryError, UnknownOutcome) as error:
            log.warning("cannot compare with the broker", reason=str(error))
            return False
        found = compare(state, orders, held, skip=acted)
        self._take(found)
        seen = {position.symbol for position in state.positions if position.symbol not in acted}
        self.holding = dict.fromkeys(seen - {d.symbol for d in found if not d.reference}, "")
        self.holding |= {d.symbol: f"{d.kind}: {d.detail}" for d in self.differences if d.short}
        return True

    async def _read(self) -> Books:
        state = await self._record.run_state()
        orders, held = await asyncio.gather(self._broker.reports(), self._broker.positions())
        return state, orders, held

    def _take(self, found: list[Difference]) -> None:
        moments = {(d.kind.value, d.symbol) for d in found if d.fleeting}
        new, self._moments = moments - self._moments, moments
        found = [d for d in found if not d.fleeting or (d.kind.value, d.symbol) not in new]
        for difference in found:
            if difference not in self.differences:
                log.warning(
                    "ledger and broker differ",
                    symbol=difference.symbol,
                    kind=difference.kind,
                    detail=difference.detail,
                )
        self.differences, self.doubt = found, ""
        # What is being repaired is looked at again soon, to be shown no longer than it lasts.
        strays = to_withdraw(found)
        wait = SHORT_AGAIN if new or any(d.short for d in found) else self._interval
        if self.repairable or self.unseen or strays or self._hurried:
            wait = AGAIN
        self._due, self._hurried = self._clock() + min(wait, self._interval), False
        if strays and (self._withdrawing is None or self._withdrawing.done()):
            self._withdrawing = asyncio.create_task(self._withdraw(strays))

    async def _withdraw(self, references: list[str]) -> None:
        for reference in references:
            try:
                report = await self._broker.cancel(reference)
            except HftrayError as error:
                log.warning("stray order not withdrawn", reference=reference, reason=str(error))
            else:
                log.warning("stray order", reference=reference, status=report.status)
