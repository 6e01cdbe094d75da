"""The broker of the crash tests: its book is the truth, whatever of its news gets through."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from hftray.core.errors import NotFound, OrderRejected
from hftray.core.matching import average_price
from hftray.core.orders import (
    BrokerPosition,
    Execution,
    Order,
    OrderReport,
    OrderStatus,
    Side,
)


@dataclass(eq=False)
class BookOrder:
    """An order that the broker took."""

    order: Order
    status: OrderStatus = OrderStatus.WORKING
    executions: list[Execution] = field(default_factory=list)
    time: datetime | None = None
    triggered: bool = False

    @property
    def filled(self) -> int:
        return sum(fill.quantity for fill in self.executions)

    def report(self) -> OrderReport:
        order = self.order
        return OrderReport(
            order.reference,
            order.symbol,
            self.status,
            f"B{order.reference}",
            order.quantity,
            self.filled,
            average_price(self.executions),
            self.time,
            executions=tuple(self.executions),
            trigger=order.trigger if order.stop else None,
        )


class NastyBroker:
    """Takes an order once by its reference, and never one that `resolve` has given up.

    `dedupes` and `remembers` break one of these promises each. `news` are the reports of a symbol
    that were not sent yet, `told` all that ever were. `blind` is how many times `resolve` cannot
    tell yet, `refusals` how many new orders it does not want.
    """

    def __init__(self, *, dedupes: bool = True, remembers: bool = True) -> None:
        self.dedupes, self.remembers = dedupes, remembers
        self.book: list[BookOrder] = []
        self.given_up: dict[str, OrderReport] = {}
        self.requests: Counter[str] = Counter()
        self.news: dict[str, list[OrderReport]] = {}
        self.told: dict[str, list[OrderReport]] = {}
        self.blind = self.refusals = 0

    async def place(self, order: Order) -> OrderReport:
        self.requests[order.reference] += 1
        known = self._find(order.reference) if self.dedupes else None
        if known is not None:
            return known.report()
        if order.reference in self.given_up and self.remembers:
            raise OrderRejected(f"{order.reference} was given up")
        if self.refusals:
            self.refusals -= 1
            self._give_up(order.reference, order.symbol)
            raise OrderRejected(f"{order.reference} is not wanted")
        taken = BookOrder(order, time=order.time)
        self.book.append(taken)
        return self._tell(taken)

    async def cancel(self, reference: str) -> OrderReport:
        taken = self._find(reference)
        if taken is None:
            raise NotFound(reference)
        if not taken.status.terminal:
            taken.status = OrderStatus.CANCELLED
            self._tell(taken)
        return taken.report()

    async def amend(
        self, reference: str, trigger: Decimal, limit_price: Decimal | None
    ) -> OrderReport:
        taken = self._find(reference)
        if taken is None:
            raise NotFound(reference)
        moved = replace(taken.order, trigger=trigger, limit_price=limit_price)
        if not taken.status.terminal and not taken.triggered and moved != taken.order:
            taken.order = moved
            self._tell(taken)
        return taken.report()

    async def report(self, reference: str) -> OrderReport | None:
        taken = self._find(reference)
        return self.given_up.get(reference) if taken is None else taken.report()

    async def resolve(self, reference: str, symbol: str) -> OrderReport | None:
        if self.blind:
            self.blind -= 1
            return None
        taken = self._find(reference)
        return self._give_up(reference, symbol) if taken is None else taken.report()

    async def reports(self) -> list[OrderReport]:
        return [*(taken.report() for taken in self.book), *self.given_up.values()]

    async def positions(self) -> list[BrokerPosition]:
        return [BrokerPosition(name, net) for name in self.news if (net := self.net(name))]

    # The market

    def trade(self, symbol: str, price: Decimal, parts: Sequence[int], now: datetime) -> None:
        """Executions of so many sixths of what is left of each working order, one after the other.

        Nothing trades beyond an order's limit, nor a stop order before its trigger was reached. A
        part of 0 ends the order: the exchange cancels it.
        """
        for taken in self.book:
            if taken.order.symbol != symbol or taken.status.terminal or now <= taken.order.time:
                continue
            for part in parts:
                self._trade(taken, price, part, now)

    def net(self, symbol: str) -> int:
        """Shares held (+) or sold short (-)."""
        return sum(
            taken.order.side.sign * taken.filled
            for taken in self.book
            if taken.order.symbol == symbol
        )

    def _trade(self, taken: BookOrder, price: Decimal, part: int, now: datetime) -> None:
        order = taken.order
        if taken.status.terminal:
            return
        if part == 0:
            taken.status, taken.time = OrderStatus.CANCELLED, now
            self._tell(taken)
            return
        if order.stop and not taken.triggered:
            if (price - order.trigger) * order.side.sign < 0:
                return
            taken.triggered = True
        limit = order.limit_price
        if limit is not None and (price - limit) * order.side.sign > 0:
            return
        left = order.quantity - taken.filled
        shares = max(1, left * part // 6)
        # Each execution a little worse than the one before, so that averages mean something.
        paid = price + order.side.sign * Decimal("0.05") * len(taken.executions)
        if limit is not None:
            paid = min(paid, limit) if order.side is Side.BUY else max(paid, limit)
        name = f"{order.reference}-{len(taken.executions) + 1}"
        taken.executions.append(Execution(name, shares, paid, now))
        taken.time = now
        if taken.filled == order.quantity:
            taken.status = OrderStatus.FILLED
        self._tell(taken)

    def _find(self, reference: str) -> BookOrder | None:
        return next((taken for taken in self.book if taken.order.reference == reference), None)

    def _give_up(self, reference: str, symbol: str) -> OrderReport:
        never = OrderReport(reference, symbol, OrderStatus.REJECTED, "", 0, reason="never came")
        return self.given_up.setdefault(reference, never)

    def _tell(self, taken: BookOrder) -> OrderReport:
        report = taken.report()
        self.news.setdefault(report.symbol, []).append(report)
        self.told.setdefault(report.symbol, []).append(report)
        return report
