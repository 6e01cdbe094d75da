"""A settlement by hand: shares of a position that left elsewhere, at the price a person saw.

No order of ours closed them. In the ledger they leave as by any exit, whose reason says who said
so.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from hftray.core.errors import IllegalTransition
from hftray.core.exits import ExitReason
from hftray.core.intents import exit_intent
from hftray.core.money import in_line
from hftray.core.orders import OrderIntent, OrderReport, OrderStatus
from hftray.core.position import Position


@dataclass(frozen=True, slots=True)
class HandSettlement:
    """So many shares of `held` left at `price` rupees, told at `time` and why."""

    held: Position
    quantity: int
    price: Decimal
    why: str
    time: datetime

    def require_price(self) -> None:
        """IllegalTransition when it cannot be a price of the share that was entered."""
        entry = self.held.entry_price
        if not in_line(self.price, entry):
            raise IllegalTransition(
                f"{self.held.symbol} was entered at {entry}: {self.price} is out of line "
                "(paise instead of rupees?)"
            )

    def intent(self, day: date) -> OrderIntent:
        """The exit that would have closed them, in the session of `day`."""
        return exit_intent(
            self.held,
            f"{ExitReason.SETTLED}: {self.why}",
            price=float(self.price),
            time=self.time,
            day=day,
            quantity=self.quantity,
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
