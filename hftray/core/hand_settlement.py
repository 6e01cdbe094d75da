"""A settlement by hand: shares of a position that left elsewhere, at the price a person saw.

No order of ours closed them. In the ledger they leave as by any exit, whose reason says who said
so.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from hftray.core.exits import ExitReason
from hftray.core.orders import Leg, OrderIntent, OrderReport, OrderStatus
from hftray.core.position import Position


@dataclass(frozen=True, slots=True)
class HandSettlement:
    """So many shares of `held` left at `price` rupees, told at `time` and why."""

    held: Position
    quantity: int
    price: Decimal
    why: str
    time: datetime

    def intent(self, day: date) -> OrderIntent:
        """The exit that would have closed them, in the session of `day`."""
        held = self.held
        return OrderIntent(
            symbol=held.symbol,
            leg=Leg.EXIT,
            side=held.side.opposite,
            price=float(self.price),
            time=self.time,
            reason=f"{ExitReason.SETTLED}: {self.why}",
            session_day=day,
            quantity=self.quantity,
            strategy_id=held.strategy_id,
            position=held.reference,
        )

    def report(self, reference: str) -> OrderReport:
        """What a broker would have told of that exit's order."""
        return OrderReport(
            reference=reference,
            symbol=self.held.symbol,
            status=OrderStatus.FILLED,
            broker_order_id="",
            quantity=self.quantity,
            filled_quantity=self.quantity,
            average_price=self.price,
            time=self.time,
        )
