"""What the simulated exchange knows of one order, or of a reference that never came."""

from dataclasses import dataclass
from datetime import date, datetime

from hftray.core.matching import average_price
from hftray.core.orders import Execution, Order, OrderReport, OrderStatus


@dataclass(frozen=True, slots=True)
class BookEntry:
    """One order and everything the exchange knows of it.

    `acted_at` is the market time of its last change (placed, filled, ended). `session_day` is the
    trading day it belongs to, None when it came while the market was closed. `last_price` is the
    newest price of its symbol that it has seen. `triggered`: a stop order reached its trigger.
    """

    order: Order
    acted_at: datetime
    status: OrderStatus = OrderStatus.WORKING
    reason: str = ""
    session_day: date | None = None
    last_price: float | None = None
    executions: tuple[Execution, ...] = ()
    triggered: bool = False

    @property
    def rests(self) -> bool:
        """Whether it is a stop order that still waits for its trigger."""
        return self.order.stop and not self.triggered and self.status is OrderStatus.WORKING

    @property
    def filled(self) -> int:
        """Shares traded so far."""
        return sum(fill.quantity for fill in self.executions)

    def report(self) -> OrderReport:
        """The cumulative view that the broker port gives out."""
        return OrderReport(
            reference=self.order.reference,
            symbol=self.order.symbol,
            status=self.status,
            broker_order_id=f"SIM{self.order.reference}",
            quantity=self.order.quantity,
            filled_quantity=self.filled,
            average_price=average_price(self.executions),
            time=self.acted_at,
            reason=self.reason,
            executions=self.executions,
            trigger=self.order.trigger if self.order.stop else None,
        )


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """An order that had not come when it was asked for, and is refused since.

    `time` is the market's, None when the market had not shown itself yet.
    """

    reference: str
    symbol: str
    time: datetime | None

    def report(self) -> OrderReport:
        """The rejection of an order of which only the name is known."""
        return OrderReport(
            reference=self.reference,
            symbol=self.symbol,
            status=OrderStatus.REJECTED,
            broker_order_id="",
            quantity=0,
            time=self.time,
            reason="never reached the exchange",
        )
