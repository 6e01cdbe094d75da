"""Sending orders to Groww: priced, in parts, each reference once.

An answer that was lost is looked for once, at once, so that an exit is not left in the dark for
longer than one more call; what that does not tell, `GrowwBroker.resolve` finds out.
"""

from collections.abc import Mapping

from hftray import observe
from hftray.adapters.groww.errors import DuplicateReference
from hftray.adapters.groww.governor import Urgency
from hftray.adapters.groww.listed import Listed
from hftray.adapters.groww.missing import Missing
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.groww.order_reader import OrderReader
from hftray.adapters.groww.parts import leg_of, part_reference, split
from hftray.adapters.groww.pricing import OrderPrice
from hftray.adapters.groww.quotes import Pricer
from hftray.adapters.groww.rows import OrderRow
from hftray.adapters.groww.tracked import TrackedOrder
from hftray.core.errors import (
    HftrayError,
    NotFound,
    OrderRejected,
    RejectError,
    RetryError,
    StopError,
    UnknownOutcome,
)
from hftray.core.orders import Order, OrderStatus, Side

log = observe.logger("groww.broker")


class OrderSender:
    """Whoever posts orders. `sending` holds the references under way in this process."""

    def __init__(
        self,
        calls: OrderCalls,
        reader: OrderReader,
        missing: Missing,
        pricer: Pricer,
        listed: Listed,
        freeze: Mapping[str, int],
    ) -> None:
        self.sending: set[str] = set()
        self._calls, self._reader, self._missing = calls, reader, missing
        self._pricer, self._listed, self._freeze = pricer, listed, freeze

    def require_sound(self, order: Order) -> None:
        """OrderRejected for an order that needs no asking."""
        if leg_of(order.reference) is None:
            raise OrderRejected(f"{order.reference}: not a reference of 20 letters and digits")
        if order.symbol not in self._listed:
            raise OrderRejected(f"{order.reference}: {order.symbol} is not among the shares traded")
        if order.quantity <= 0:
            raise OrderRejected(f"{order.reference}: quantity {order.quantity} is not positive")

    def require_same(self, order: Order, known: TrackedOrder) -> None:
        """OrderRejected when what Groww has under the order's reference is another order."""
        listing = self._listed.at_groww(order.symbol)
        wanted = split(order.quantity, self._freeze.get(order.symbol))
        for number, part in known.parts.items():
            row = part.row
            quantity = wanted[number] if number < len(wanted) else 0
            found = (row.exchange, row.trading_symbol, row.side, row.quantity)
            if found != (*listing, order.side, quantity):
                self._reader.disown(order.reference)
                raise OrderRejected(
                    f"{order.reference} names another order at Groww, {row.order_id}: {row.side} "
                    f"{row.quantity} {row.trading_symbol} on {row.exchange}, not {order.side} "
                    f"{quantity} {listing[1]} on {listing[0]}; does another hftray trade here?"
                )

    async def send(self, order: Order, urgency: Urgency) -> TrackedOrder:
        """Price the order and send all its parts. OrderRejected, BrokerUnavailable, UnknownOutcome.

        Did a later part fail, the order ends with the parts before it.
        """
        reference = order.reference
        try:
            price = await self._pricer.order(order, urgency)
            quantities = split(order.quantity, self._freeze.get(order.symbol))
        except OrderRejected as error:
            raise OrderRejected(f"{reference}: {error}") from error
        tracked = self._reader.expect(reference, order.symbol, order.quantity, _note(order, price))
        self.sending.add(reference)
        certain = False
        try:
            for number, quantity in enumerate(quantities):
                row = await self._send_part(order, number, quantity, price, urgency)
                tracked.take_row(number, row)
                if row.status is OrderStatus.REJECTED:
                    break
            certain = True
        except (RejectError, RetryError, StopError) as error:
            certain = True
            if not tracked.parts:
                self._reader.orders.pop(reference, None)
                raise
            tracked.note = f"the rest was not sent: {error}"
            log.warning("order sent in part", reference=reference, reason=str(error))
        finally:
            if not certain:
                tracked.doubt(len(tracked.parts))
            self.sending.discard(reference)
        return tracked

    async def _send_part(
        self, order: Order, number: int, quantity: int, price: OrderPrice, urgency: Urgency
    ) -> OrderRow:
        """One order to Groww; an answer that was lost is looked for once, at once."""
        reference = part_reference(order.reference, number)
        listing = self._listed.at_groww(order.symbol)
        try:
            return await self._calls.create(
                reference, listing, order.side, quantity, price, urgency
            )
        except DuplicateReference as error:
            lost: HftrayError = error
        except UnknownOutcome as error:
            lost = error
        except (NotFound, OrderRejected) as error:
            raise OrderRejected(f"{order.reference}: {error}") from error
        try:
            row = await self._calls.find(reference, urgency)
        except RetryError as error:
            raise UnknownOutcome(f"{order.reference}: {lost}; look-up: {error}") from lost
        if row is None:
            self._missing.no_trace(order.reference)
            raise UnknownOutcome(f"{order.reference}: {lost}; no trace of it yet") from lost
        found = (row.exchange, row.trading_symbol, row.side, row.quantity)
        if found != (*listing, order.side, quantity):
            self._reader.disown(order.reference)
            raise OrderRejected(f"{order.reference} names another order at Groww: {row.order_id}")
        return row


def _note(order: Order, price: OrderPrice) -> str:
    if price.at_circuit is None:
        return ""
    edge, other = ("upper", "seller") if order.side is Side.BUY else ("lower", "buyer")
    return f"waits at the {edge} circuit limit {price.limit} for a {other}"
