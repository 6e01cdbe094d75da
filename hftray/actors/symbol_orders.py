"""A symbol's orders at the broker, and the search for one whose outcome is unknown.

What the broker answers comes back as events for the symbol's engine, none where it gave no answer:
then the order is looked up by its reference, ever more rarely, until the broker can tell. While
that goes on nothing is withdrawn or moved, for whether there is anything to move is not known.
"""

from collections.abc import Callable, Sequence

from hftray import observe
from hftray.core.errors import (
    BrokerUnavailable,
    NotFound,
    NotHeld,
    OrderRejected,
    RetryError,
    UnknownOutcome,
)
from hftray.core.events import AmendOrder, Event, HoldingTold, NotAmended
from hftray.core.orders import Order, OrderReport, OrderStatus
from hftray.ports import Broker

log = observe.logger("symbol")

FIRST_LOOK, LONGEST_WAIT = 0.1, 5.0  # seconds between looks for an order of unknown outcome


class Search:
    """The look-ups of one order whose outcome is unknown, ever further apart."""

    def __init__(self, reference: str, now: float) -> None:
        self.reference = reference
        self._due, self._wait = now, FIRST_LOOK

    def due(self, now: float) -> bool:
        """Whether to ask the broker now; if so the next time is set."""
        if now < self._due:
            return False
        self._due, self._wait = now + self._wait, min(2 * self._wait, LONGEST_WAIT)
        return True


class SymbolOrders:
    """The line of one symbol to the broker; `clock` counts seconds."""

    def __init__(self, symbol: str, broker: Broker, clock: Callable[[], float]) -> None:
        self._symbol = symbol
        self._broker = broker
        self._clock = clock
        self._search: Search | None = None  # an order was sent, nobody knows what became of it

    @property
    def sought(self) -> str | None:
        """The reference of the order whose outcome is unknown, if there is one."""
        return None if self._search is None else self._search.reference

    def seek(self, reference: str) -> None:
        """The outcome of this order is unknown; it is looked up from now on."""
        self._search = Search(reference, self._clock())

    def lose_sight(self, reference: str, why: str) -> None:
        """`seek`, for a reason that belongs into the log."""
        log.warning("outcome unknown", symbol=self._symbol, reference=reference, reason=why)
        self.seek(reference)

    def forget(self) -> None:
        """Nothing is sought: what is believed of the orders is about to be read anew."""
        self._search = None

    async def look_up(self, sent: Order | None) -> Sequence[Event]:
        """Ask what became of the order that is sought, when it is time to.

        `sent` is the order that the engine has under way. Has it another one or none, a report of
        the exchange has told meanwhile.
        """
        search = self._search
        if search is None or sent is None or sent.reference != search.reference:
            self._search = None
            return ()
        if not search.due(self._clock()):
            return ()
        try:
            report = await self._broker.resolve(search.reference, self._symbol)
        except (RetryError, UnknownOutcome) as error:
            log.warning("look-up failed", symbol=self._symbol, reason=str(error))
            return ()
        if report is None:
            return ()
        log.info("outcome found", symbol=self._symbol, reference=report.reference)
        self._search = None
        return (report,)

    async def place(self, order: Order) -> Sequence[Event]:
        """Send an order that is on record."""
        try:
            return (await self._broker.place(order),)
        except UnknownOutcome as error:
            self.lose_sight(order.reference, str(error))
            return ()
        except (OrderRejected, BrokerUnavailable) as error:
            why = str(error)
            log.warning("order refused", symbol=self._symbol, reference=order.reference, why=why)
            refused = _refused(order, why)
            if isinstance(error, NotHeld):
                return refused, HoldingTold(why, refused=True)
            return (refused,)

    async def cancel(self, reference: str) -> Sequence[Event]:
        """Withdraw an order."""
        if self._search is not None:
            return ()  # whether there is anything to withdraw comes out first
        try:
            return (await self._broker.cancel(reference),)
        except (RetryError, UnknownOutcome, NotFound) as error:
            self.lose_sight(reference, str(error))
            return ()

    async def amend(self, command: AmendOrder) -> Sequence[Event]:
        """Move a stop order."""
        if self._search is not None:
            return ()  # whether there is anything to move comes out first
        reference, trigger, limit = command.reference, command.trigger, command.limit_price
        try:
            return (await self._broker.amend(reference, trigger=trigger, limit_price=limit),)
        except (OrderRejected, BrokerUnavailable) as error:
            log.warning("guard not moved", symbol=self._symbol, reason=str(error))
            return (NotAmended(reference, str(error)),)
        except (RetryError, UnknownOutcome, NotFound) as error:
            self.lose_sight(reference, str(error))
            return ()


def _refused(order: Order, reason: str) -> OrderReport:
    return OrderReport(
        reference=order.reference,
        symbol=order.symbol,
        status=OrderStatus.REJECTED,
        broker_order_id="",
        quantity=order.quantity,
        time=order.time,
        reason=reason,
    )
