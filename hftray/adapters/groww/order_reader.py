"""What Groww's books say of today's orders, read as seldom as possible.

A new process reads the day's list once; from then on only what can still change is read again. One
page of the list covers many orders, one detail call a single one: whichever takes fewer calls is
made. Trades are read only where more was filled than they account for, and once after an order
ended short of its quantity. Rows that are not ours (no reference of the kind we make) are kept
apart as foreign.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing

from hftray import observe
from hftray.adapters.groww.governor import Urgency
from hftray.adapters.groww.listed import Listed
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.groww.parts import order_of_part
from hftray.adapters.groww.rows import KNOWN_WORDS, MIS, OrderRow
from hftray.adapters.groww.tracked import TrackedOrder
from hftray.core.errors import HftrayError, RetryError
from hftray.core.session import IST

log = observe.logger("groww.broker")


class OrderReader:
    """Our orders by reference, the others by Groww's id. `patience`: seconds without a trace."""

    def __init__(
        self,
        calls: OrderCalls,
        listed: Listed,
        freeze: Mapping[str, int],
        patience: float,
        clock: Callable[[], float],
    ) -> None:
        self.orders: dict[str, TrackedOrder] = {}
        self.foreign: dict[str, OrderRow] = {}
        self._calls, self._listed, self._clock = calls, listed, clock
        self._freeze, self._patience = freeze, patience
        self._loaded = False
        self._loading = asyncio.Lock()
        self._depth = 1  # pages until every working order was seen, the last time
        self._odd: set[str] = set()  # what was logged once
        self._not_ours: set[str] = set()  # references of ours that somebody else has used

    def expect(self, reference: str, symbol: str, asked: int, note: str) -> TrackedOrder:
        """Follow an order that is about to be sent."""
        order = TrackedOrder(reference, symbol, self._freeze.get(symbol), asked, note)
        self.orders[reference] = order
        return order

    def disown(self, reference: str) -> None:
        """What has this reference at Groww is somebody else's, whatever it looks like."""
        self._not_ours.add(reference)
        order = self.orders.pop(reference, None)
        if order is not None:
            self.foreign |= {part.row.order_id: part.row for part in order.parts.values()}

    async def load(self, urgency: Urgency) -> None:
        """Read the day's list, unless it was read before. RetryError."""
        async with self._loading:
            if not self._loaded:
                await self._read_list(urgency)

    async def walk(self, urgency: Urgency) -> list[HftrayError]:
        """Read the whole list, and the trades that are missing; what could not be read.

        RetryError when the list itself cannot.
        """
        await self._read_list(urgency)
        return await self._complete(self.orders.values(), urgency)

    async def poll(self) -> list[HftrayError]:
        """Read what can still change; what could not be read. RetryError."""
        urgency = Urgency.LOOK_UP
        waiting = [o for o in self.orders.values() if o.parts and _may_change(o)]
        unseen = {row.order_id for order in waiting for row in order.open_parts().values()}
        if unseen and len(unseen) >= self._depth:
            depth = 0
            async with aclosing(self._calls.pages(urgency)) as pages:
                async for page in pages:
                    depth += 1
                    self._take_all(page)
                    unseen -= {row.order_id for row in page}
                    if not unseen:
                        break
            self._depth = depth
        faults = await _all(self._read_again(order_id, urgency) for order_id in sorted(unseen))
        return faults + await self._complete(waiting, urgency)

    async def locate(self, reference: str, urgency: Urgency) -> TrackedOrder | None:
        """The order with a reference, asked for when it is not known; None without a trace."""
        order = self.orders.get(reference)
        if order is not None and order.parts:
            return order
        row = await self._calls.find(reference, urgency)
        if row is None:
            return None
        self.take(row)
        return self.orders.get(reference)

    async def refresh(self, order: TrackedOrder, urgency: Urgency) -> None:
        """Read everything of one order that can still change. RetryError."""
        open_ids = [row.order_id for row in order.open_parts().values()]
        faults = await _all(self._read_again(order_id, urgency) for order_id in open_ids)
        faults += await self._complete([order], urgency)
        if faults:
            raise faults[0]

    async def read_trades(self, order: TrackedOrder, urgency: Urgency) -> None:
        """Read the trades of one order that are missing; what cannot be read stays missing."""
        for fault in await self._complete([order], urgency):
            log.warning("trades not read", reference=order.reference, reason=str(fault))

    def take(self, row: OrderRow) -> None:
        """Take a row that Groww told."""
        if row.word not in KNOWN_WORDS:
            self._once(f"order status {row.word!r} is not documented, taken for working")
        own = order_of_part(row.reference)
        if own is None and row.product != MIS:
            self._once(f"orders of product {row.product} are not looked at")
            return
        if own is None or own[0] in self._not_ours:
            self.foreign[row.order_id] = row
            return
        reference, number = own
        order = self.orders.get(reference)
        if order is None:
            symbol = self._listed.ours(row.exchange, row.trading_symbol)
            order = TrackedOrder(reference, symbol, self._freeze.get(symbol))
            self.orders[reference] = order
        order.take_row(number, row)

    async def _read_list(self, urgency: Urgency) -> None:
        rows: list[OrderRow] = []
        async with aclosing(self._calls.pages(urgency)) as pages:
            async for page in pages:
                rows += page
        self.foreign = {}
        self._take_all(rows)
        self._forget_other_days(rows)
        self._loaded = True

    def _take_all(self, rows: Iterable[OrderRow]) -> None:
        for row in rows:
            self.take(row)

    def _forget_other_days(self, rows: Iterable[OrderRow]) -> None:
        today = max((r.time.astimezone(IST).date() for r in rows if r.time), default=None)
        for reference, order in list(self.orders.items()):
            times = [part.row.time for part in order.parts.values()]
            old = today is not None and all(
                time is not None and time.astimezone(IST).date() < today for time in times
            )
            if times and old and not _may_change(order):
                del self.orders[reference]

    async def _read_again(self, order_id: str, urgency: Urgency) -> None:
        row = await self._calls.detail(order_id, urgency)
        if row is not None:
            self.take(row)

    async def _complete(
        self, orders: Iterable[TrackedOrder], urgency: Urgency
    ) -> list[HftrayError]:
        """Look for parts in doubt and read the trades that are missing."""
        orders = list(orders)
        faults = await _all(
            self._look_for_parts(o, urgency) for o in orders if o.unsure and o.parts
        )
        return faults + await _all(
            self._read_trades(order, number, urgency)
            for order in orders
            for number in order.unread()
        )

    async def _look_for_parts(self, order: TrackedOrder, urgency: Urgency) -> None:
        while order.unsure is not None:
            number = order.unsure
            row = await self._calls.find(order.unsure_reference, urgency)
            if row is not None:
                order.take_row(number, row)
            elif not order.no_trace(self._clock(), self._patience):
                return

    async def _read_trades(self, order: TrackedOrder, number: int, urgency: Urgency) -> None:
        part = order.parts[number]
        try:
            if part.row.time is None:  # it ended in the answer to its sending, which tells little
                await self._read_again(part.row.order_id, urgency)
            trades = await self._calls.trades(part.row.order_id, urgency)
        except RetryError as error:
            if not part.by_row:
                raise
            log.info("trades still not read", reference=order.reference, reason=str(error))
            return
        before = order.fault
        order.take_trades(number, trades)
        if order.fault and order.fault != before:
            log.error("fills refused", symbol=order.symbol, reason=order.fault)

    def _once(self, text: str) -> None:
        if text not in self._odd:
            self._odd.add(text)
            log.warning("order row", text=text)


def _may_change(order: TrackedOrder) -> bool:
    return bool(order.open_parts() or order.waits_for_trades() or order.unsure is not None)


async def _all(calls: Iterable[Awaitable[None]]) -> list[HftrayError]:
    """Make the calls side by side; what went wrong on purpose."""
    faults: list[HftrayError] = []
    for result in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(result, HftrayError):
            faults.append(result)
        elif isinstance(result, BaseException):
            raise result
    return faults
