"""An open position and its life as a transition table.

Quantities are shares, prices Decimal rupees on the tick; `best_price` is the most favourable
price seen since entry and carries the trailing stop.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from hftray.core.errors import IllegalTransition
from hftray.core.money import ZERO
from hftray.core.orders import Side
from hftray.core.values import changed


class Phase(StrEnum):
    """Where one symbol stands."""

    FLAT = "FLAT"
    ENTERING = "ENTERING"
    OPEN = "OPEN"
    EXITING = "EXITING"


class Trigger(StrEnum):
    """What can happen to a symbol's position."""

    ENTRY_INTENDED = "entry intended"
    ENTRY_DENIED = "entry denied"
    ENTRY_FILLED = "entry filled"
    ENTRY_FAILED = "entry failed"
    EXIT_INTENDED = "exit intended"
    EXIT_DENIED = "exit denied"
    EXIT_FILLED = "exit filled"
    EXIT_PARTIAL = "exit partly filled"
    EXIT_FAILED = "exit failed"
    GUARD_FILLED = "guard filled"
    GUARD_PARTIAL = "guard partly filled"


LIFE: dict[tuple[Phase, Trigger], Phase] = {
    (Phase.FLAT, Trigger.ENTRY_INTENDED): Phase.ENTERING,
    (Phase.ENTERING, Trigger.ENTRY_DENIED): Phase.FLAT,
    (Phase.ENTERING, Trigger.ENTRY_FAILED): Phase.FLAT,
    (Phase.ENTERING, Trigger.ENTRY_FILLED): Phase.OPEN,
    (Phase.OPEN, Trigger.EXIT_INTENDED): Phase.EXITING,
    (Phase.EXITING, Trigger.EXIT_DENIED): Phase.OPEN,
    (Phase.EXITING, Trigger.EXIT_FAILED): Phase.OPEN,
    # The exchange filled less than we hold: what is left stays open and guarded.
    (Phase.EXITING, Trigger.EXIT_PARTIAL): Phase.OPEN,
    (Phase.EXITING, Trigger.EXIT_FILLED): Phase.FLAT,
    # A stop order at the broker guards an open position and may close it by itself.
    (Phase.OPEN, Trigger.GUARD_PARTIAL): Phase.OPEN,
    (Phase.OPEN, Trigger.GUARD_FILLED): Phase.FLAT,
}


def next_phase(phase: Phase, trigger: Trigger) -> Phase:
    """The phase after a trigger; IllegalTransition when the table has no such step."""
    try:
        return LIFE[phase, trigger]
    except KeyError:
        raise IllegalTransition(f"'{trigger}' cannot happen while {phase}") from None


@dataclass(frozen=True, slots=True)
class Position:
    """Shares held (BUY) or sold short (SELL), with the levels that guard them."""

    reference: str  # the entry order's reference names the position
    symbol: str
    side: Side
    quantity: int
    entry_price: Decimal
    entry_time: datetime
    session_day: date
    stop_loss: Decimal
    take_profit: Decimal
    best_price: float
    atr: float | None = None
    strategy_id: int | None = None
    score: float = 0.0
    votes: dict[str, int] = field(default_factory=dict)

    @property
    def risk(self) -> Decimal:
        """The most rupees, before charges, that it can be down and its stop-loss not touched."""
        return abs(self.entry_price - self.stop_loss) * self.quantity

    def gross_pnl(self, price: Decimal, quantity: int | None = None) -> Decimal:
        """Rupees gained if `quantity` shares (default all) left at `price`, before charges."""
        shares = self.quantity if quantity is None else quantity
        return (price - self.entry_price) * shares * self.side.sign + ZERO  # never -0.00

    def parted(self, quantity: int) -> tuple["Position | None", "Position"]:
        """What stays open when `quantity` shares leave, None for nothing, and those that leave."""
        left = max(0, self.quantity - quantity)
        if not left:
            return None, self
        return changed(self, quantity=left), changed(self, quantity=self.quantity - left)

    def improved_by(self, price: float) -> "Position":
        """The position after seeing `price`: its best price can only get better."""
        better = price > self.best_price if self.side is Side.BUY else price < self.best_price
        return changed(self, best_price=price) if better else self

    def improved_within(self, low: float, high: float) -> "Position":
        """The position after prices from `low` to `high`."""
        return self.improved_by(high if self.side is Side.BUY else low)
