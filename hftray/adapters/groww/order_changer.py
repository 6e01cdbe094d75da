"""Withdrawing and moving orders at Groww.

Groww answers that it was asked, not that it was done: what became of a request shows in the order's
row, which is looked at a few times before the outcome is called unknown.
"""

import asyncio
from collections.abc import Callable
from decimal import Decimal

from hftray import observe
from hftray.adapters.groww.governor import Urgency
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.groww.order_reader import OrderReader
from hftray.adapters.groww.quotes import Pricer
from hftray.adapters.groww.rows import CANCELLATION_REQUESTED
from hftray.adapters.groww.tracked import TrackedOrder
from hftray.core.errors import HftrayError, OrderRejected, RejectError, UnknownOutcome

log = observe.logger("groww.broker")

CONFIRM_WAITS = (0.0, 0.1, 0.3, 0.8)  # seconds before each look whether a request was done


class OrderChanger:
    """Whoever posts changes of orders that are at Groww. `clock` counts seconds."""

    def __init__(
        self, calls: OrderCalls, reader: OrderReader, pricer: Pricer, clock: Callable[[], float]
    ) -> None:
        self._calls, self._reader, self._pricer, self._clock = calls, reader, pricer, clock

    async def withdraw(self, order: TrackedOrder, urgency: Urgency) -> None:
        """Withdraw what is not filled, and wait until that is confirmed.

        UnknownOutcome when it is not: the order may still fill. BrokerUnavailable.
        """
        lost = await self.ask_to_withdraw(order, urgency)
        for wait in CONFIRM_WAITS:
            await asyncio.sleep(wait)
            await self._reader.refresh(order, urgency)
            if order.booked(self._clock()).status.terminal:
                return
        raise lost or UnknownOutcome(f"{order.reference}: its withdrawal is not confirmed")

    async def ask_to_withdraw(self, order: TrackedOrder, urgency: Urgency) -> UnknownOutcome | None:
        """Ask for the withdrawal of all parts that were not asked for yet; an answer lost."""
        lost = None
        for row in order.open_parts().values():
            if row.word == CANCELLATION_REQUESTED:
                continue
            try:
                await self._calls.cancel(row.order_id, urgency)
            except UnknownOutcome as error:
                lost = error
            except RejectError as error:  # most likely it has just ended
                log.info("withdrawal refused", order_id=row.order_id, reason=str(error))
        return lost

    async def move(self, order: TrackedOrder, trigger: Decimal, limit: Decimal | None) -> None:
        """Move a stop order's resting parts, and wait until that is confirmed.

        Whether they rest is read first: to modify a stop that has triggered might set it back.
        Exits go before it: until it is moved it guards where it stands.
        OrderRejected, BrokerUnavailable, UnknownOutcome.
        """
        reference = order.reference
        await self._reader.refresh(order, Urgency.ENTRY)
        rows = [part.row for part in order.parts.values()]
        if not all(row.is_stop for row in rows):
            raise OrderRejected(f"{reference} is not a stop order")
        resting = [row for row in rows if row.rests]
        if not resting:
            return
        fault: HftrayError | None = None
        try:
            price = await self._pricer.stop(order.symbol, rows[0].side, trigger, limit)
        except OrderRejected as error:
            raise OrderRejected(f"{reference} stands where it stood: {error}") from error
        for row in resting:
            try:
                if not row.stands_at(price):
                    await self._calls.modify(row, price, Urgency.ENTRY)
            except (RejectError, UnknownOutcome) as error:
                fault = error
        for wait in CONFIRM_WAITS:
            await asyncio.sleep(wait)
            await self._reader.refresh(order, Urgency.ENTRY)
            if all(not row.rests or row.stands_at(price) for row in order.open_parts().values()):
                return
            if isinstance(fault, RejectError):
                raise OrderRejected(f"{reference} stands where it stood: {fault}") from fault
        raise fault or UnknownOutcome(f"{reference}: its new trigger is not confirmed")
