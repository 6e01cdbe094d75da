"""One order of the loopback's book, and what of it shows on the wire."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from hftray.core.matching import average_price
from hftray.core.orders import Execution
from hftray.testing.groww.order_form import NewOrder, Terms

TERMINAL = frozenset({"EXECUTED", "CANCELLED", "REJECTED"})


@dataclass(frozen=True, slots=True)
class Fill:
    """One trade of an order; it shows on the wire from `visible_at` on."""

    execution: Execution
    visible_at: datetime


@dataclass(slots=True)
class WireOrder:
    """One order of the book. `terms` change with modifications; fills only ever grow."""

    groww_order_id: str
    order: NewOrder
    terms: Terms
    status: str
    created_at: datetime
    acted_at: datetime
    remark: str = ""
    foreign: bool = False
    triggered: bool = False
    cancel_at: datetime | None = None
    fills: list[Fill] = field(default_factory=list)

    @property
    def working(self) -> bool:
        """Whether the order can still trade."""
        return self.status not in TERMINAL

    @property
    def filled(self) -> int:
        """Shares traded, whether they show yet or not."""
        return sum(fill.execution.quantity for fill in self.fills)

    def seen(self, now: datetime) -> list[Execution]:
        """The trades that show on the wire at a moment."""
        return [fill.execution for fill in self.fills if fill.visible_at <= now]

    def seen_status(self, now: datetime, resting: str) -> str:
        """The status that shows: an order whose trades do not all show yet is still resting."""
        if not self.working and len(self.seen(now)) < len(self.fills):
            return resting
        return resting if self.status == "OPEN" else self.status

    def average(self, now: datetime) -> Decimal | None:
        """Mean price of the trades that show."""
        return average_price(self.seen(now))
