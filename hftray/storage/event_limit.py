"""How many events may wait in the journal, and which are refused first when too many do."""

from collections.abc import Collection
from dataclasses import dataclass

from hftray.core.errors import LedgerUnavailable
from hftray.core.ledger import EquityMarked, LedgerEvent, PositionMarked, SignalRecorded


@dataclass(frozen=True, slots=True)
class EventLimit:
    """From `count` waiting events on nothing new should be opened."""

    count: int

    def impairment(self, waiting: int) -> str:
        """Why nothing new should be opened, empty while there is room."""
        if waiting < self.count:
            return ""
        return f"{waiting} events wait for PostgreSQL, the limit is {self.count}"

    def require_room(self, events: Collection[LedgerEvent], waiting: int) -> None:
        """LedgerUnavailable when all of these can wait where they come from.

        A stop that trails hangs on a best price, so with one of those there is twice the room.
        Whatever holds orders, risk changes, days or wishes is never refused.
        """
        if not all(isinstance(e, SignalRecorded | EquityMarked | PositionMarked) for e in events):
            return
        marks = any(isinstance(event, PositionMarked) for event in events)
        if events and waiting >= self.count * (2 if marks else 1):
            raise LedgerUnavailable(f"{self.impairment(waiting)}: only orders and risk are taken")
