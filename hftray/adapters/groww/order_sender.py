"""Sending orders to Groww: priced, in parts, each reference once; and withdrawing them.

An answer that was lost is looked for once, at once, so that an exit is not left in the dark for
longer than one more call; what that does not tell, `GrowwBroker.resolve` finds out.
"""

from collections.abc import Mapping
from decimal import Decimal

from hftray import observe
from hftray.adapters.groww.errors import DuplicateReference
from hftray.adapters.groww.governor import Urgency
from hftray.adapters.groww.listed import Listed
from hftray.adapters.groww.missing import Missing
from hftray.adapters.groww.options import GrowwOptions
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.groww.order_reader import OrderReader
from hftray.adapters.groww.parts import leg_of, part_reference, split
from hftray.adapters.groww.pricing import OrderPrice, entry_price, marketable, stop_price
from hftray.adapters.groww.quotes import Quotes
from hftray.adapters.groww.rows import CANCELLATION_REQUESTED, OrderRow
from hftray.adapters.groww.tracked import TrackedOrder
from hftray.core.errors import (
    BrokerUnavailable,
    HftrayError,
    NotFound,
    OrderRejected,
    RejectError,
    RetryError,
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
        quotes: Quotes,
        listed: Listed,
        options: GrowwOptions,
        freeze: Mapping[str, int],
    ) -> None:
        self.sending: set[str] = set()
        self._calls, self._reader, self._missing = calls, reader, missing
        self._quotes, self._listed = quotes, listed
        self._options, self._freeze = options, freeze

    def require_sound(self, order: Order) -> None:
        """OrderRejected for an order that needs no asking."""
        if leg_of(order.reference) is None:
            raise OrderRejected(f"{order.reference}: not a reference of 20 letters and digits")
        if self._listed.instrument(order.symbol) is None:
            raise OrderRejected(f"{order.reference}: {order.symbol} is not a share of Groww's")
        if order.quantity <= 0:
            raise OrderRejected(f"{order.reference}: quantity {order.quantity} is not positive")

    async def send(self, order: Order, urgency: Urgency) -> TrackedOrder:
        """Price the order and send all its parts. OrderRejected, BrokerUnavailable, UnknownOutcome.

        Did a later part fail, the order ends with the parts before it.
        """
        reference, price = order.reference, await self._price(order, urgency)
        quantities = split(order.quantity, self._freeze.get(order.symbol))
        tracked = self._reader.expect(reference, order.symbol, order.quantity, _note(order, price))
        self.sending.add(reference)
        try:
            for number, quantity in enumerate(quantities):
                row = await self._send_part(order, number, quantity, price, urgency)
                tracked.take_row(number, row)
                if row.status is OrderStatus.REJECTED:
                    break
        except (OrderRejected, BrokerUnavailable) as error:
            if not tracked.parts:
                del self._reader.orders[reference]
                raise
            tracked.note = f"the rest was not sent: {error}"
            log.warning("order sent in part", reference=reference, reason=str(error))
        except UnknownOutcome:
            tracked.doubt(len(tracked.parts))
            raise
        finally:
            self.sending.discard(reference)
        return tracked

    async def withdraw(self, row: OrderRow, urgency: Urgency) -> list[UnknownOutcome]:
        """Ask for one order's withdrawal; what it did shows in its row."""
        if row.word == CANCELLATION_REQUESTED:
            return []
        try:
            await self._calls.cancel(row.order_id, urgency)
        except UnknownOutcome as error:
            return [error]
        except RejectError as error:  # most likely it has just ended
            log.info("withdrawal refused", order_id=row.order_id, reason=str(error))
        return []

    async def move(
        self, order: TrackedOrder, trigger: Decimal, limit: Decimal | None
    ) -> tuple[OrderPrice, HftrayError | None]:
        """Ask for another trigger and limit of all parts that rest.

        The prices asked for, and what went wrong with one; what it did shows in their rows.
        OrderRejected when it cannot be asked for, BrokerUnavailable.
        """
        rows = [part.row for part in order.parts.values()]
        if not all(row.is_stop for row in rows):
            raise OrderRejected(f"{order.reference} is not a stop order")
        fault: HftrayError | None = None
        try:
            price = await self._stop(order.symbol, rows[0].side, trigger, limit)
        except OrderRejected as error:
            if not any(row.rests for row in rows):
                return OrderPrice(trigger), None  # nothing would be moved
            raise OrderRejected(f"{order.reference}: {error}") from error
        for row in rows:
            if row.rests and not row.stands_at(price):
                try:
                    await self._calls.modify(row, price, Urgency.EXIT)
                except (RejectError, UnknownOutcome) as error:
                    fault = error
        return price, fault

    async def _stop(
        self, symbol: str, side: Side, trigger: Decimal | None, limit: Decimal | None
    ) -> OrderPrice:
        instrument, percent = self._listed.instrument(symbol), self._options.guard_band_percent
        if instrument is None or trigger is None:
            raise OrderRejected(f"{symbol}: a stop order needs a listed share and a trigger")
        band = await self._quotes.band(symbol)
        return stop_price(trigger, limit, side, instrument, percent, band)

    async def _price(self, order: Order, urgency: Urgency) -> OrderPrice:
        instrument = self._listed.instrument(order.symbol)
        assert instrument is not None  # require_sound
        try:
            if order.stop:
                return await self._stop(order.symbol, order.side, order.trigger, order.limit_price)
            if order.limit_price is not None:
                band = await self._quotes.band(order.symbol)
                return entry_price(order.limit_price, order.side, instrument, band)
            last, band = await self._quotes.price(order.symbol, urgency)
            percent = self._options.exit_band_percent
            return marketable(last, order.side, instrument, percent, band)
        except OrderRejected as error:
            raise OrderRejected(f"{order.reference}: {error}") from error

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
        if (row.exchange, row.trading_symbol, row.side) != (*listing, order.side):
            raise OrderRejected(f"{order.reference} names another order at Groww: {row.order_id}")
        return row


def _note(order: Order, price: OrderPrice) -> str:
    if price.at_circuit is None:
        return ""
    edge, other = ("upper", "seller") if order.side is Side.BUY else ("lower", "buyer")
    return f"waits at the {edge} circuit limit {price.limit} for a {other}"
