"""Groww's order and position calls: what is sent, and what is read back.

One method a call; what follows from the answers is decided by the broker (`broker`). Exits go
before entries and both before look-ups; a look-up that an exit waits for counts as the exit.
A StopError (keys that are refused or gone) is told as BrokerUnavailable: the request was not
taken, and the engine has to go on. So is a question that Groww refuses: nothing follows from that
but to ask again. NotFound alone says something: of a list that it is empty.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from hftray import observe
from hftray.adapters.groww.connection import GrowwConnection
from hftray.adapters.groww.errors import UnreadableReply
from hftray.adapters.groww.governor import Category, Urgency
from hftray.adapters.groww.parts import order_of_part
from hftray.adapters.groww.pricing import OrderPrice
from hftray.adapters.groww.rows import (
    CASH,
    MIS,
    OrderRow,
    PositionRow,
    TradeRow,
    read_order,
    read_position,
    read_trade,
    rows_in,
)
from hftray.adapters.groww.wire import FullQuote, read_quote
from hftray.core.errors import (
    BrokerUnavailable,
    NotFound,
    RejectError,
    RetryError,
    StopError,
    UnknownOutcome,
)
from hftray.core.orders import Side

log = observe.logger("groww.broker")

SMALLEST_PAGE = 25  # documented page sizes are 25, 50 and 100; a shorter page is the last one
LARGEST_TRADE_PAGE = 50
MOST_PAGES = 400
_SEGMENT = {"segment": CASH}


class _QuestionRefused(BrokerUnavailable):
    """Groww refused a question; asked again, it may answer."""


class OrderCalls:
    """The calls of one account."""

    def __init__(self, connection: GrowwConnection) -> None:
        self._connection = connection
        self._unreadable: set[str] = set()

    async def create(
        self,
        reference: str,
        listing: tuple[str, str],
        side: Side,
        quantity: int,
        price: OrderPrice,
        urgency: Urgency,
    ) -> OrderRow:
        """Send one order for (exchange, trading symbol): MIS, valid for the day.

        A price with a trigger makes a stop. The errors of `GrowwConnection.post`.
        """
        exchange, trading_symbol = listing
        order_type = "LIMIT" if price.trigger is None else "SL"
        body = {
            "trading_symbol": trading_symbol,
            "quantity": quantity,
            "price": float(price.limit),
            "trigger_price": _wire(price.trigger),
            "validity": "DAY",
            "exchange": exchange,
            "segment": CASH,
            "product": MIS,
            "order_type": order_type,
            "transaction_type": side.value,
            "order_reference_id": reference,
        }
        answer = await self._post("/order/create", body, urgency)
        order_id, word = answer.get("groww_order_id"), answer.get("order_status")
        if not isinstance(order_id, str) or not order_id or not isinstance(word, str):
            raise UnknownOutcome(f"{reference}: the answer to the order has no groww_order_id")
        return OrderRow(
            order_id=order_id,
            reference=reference,
            trading_symbol=trading_symbol,
            exchange=exchange,
            side=side,
            word=word,
            quantity=quantity,
            order_type=order_type,
            price=price.limit,
            trigger=price.trigger,
            remark=str(answer.get("remark") or ""),
        )

    async def cancel(self, order_id: str, urgency: Urgency) -> None:
        """Ask to withdraw an order; its row tells later whether it was."""
        body = {"segment": CASH, "groww_order_id": order_id}
        await self._post("/order/cancel", body, urgency)

    async def modify(self, row: OrderRow, price: OrderPrice, urgency: Urgency) -> None:
        """Ask for other prices of an order; its row tells later whether it has them."""
        body = {
            "quantity": row.quantity,
            "price": float(price.limit),
            "trigger_price": _wire(price.trigger),
            "groww_order_id": row.order_id,
            "order_type": "LIMIT" if price.trigger is None else "SL",
            "segment": CASH,
        }
        await self._post("/order/modify", body, urgency)

    async def detail(self, order_id: str, urgency: Urgency) -> OrderRow | None:
        """An order's row; None while Groww does not show it. RetryError."""
        try:
            return read_order(await self._ask(f"/order/detail/{order_id}", _SEGMENT, urgency))
        except NotFound:
            return None

    async def find(self, reference: str, urgency: Urgency) -> OrderRow | None:
        """The row of the order with a reference; None without a trace of it. RetryError.

        How Groww answers an unknown reference is documented as GA004; any other refusal of the
        question is no trace either, and the order list has the last word before one is given up.
        """
        path = f"/order/status/reference/{reference}"
        try:
            answer = await self._ask(path, _SEGMENT, urgency)
        except (NotFound, _QuestionRefused):
            return None
        order_id = answer.get("groww_order_id") if isinstance(answer, dict) else None
        if not isinstance(order_id, str) or not order_id:
            raise UnreadableReply(f"{reference}: the look-up's answer has no groww_order_id")
        row = await self.detail(order_id, urgency)
        if row is None:
            raise RetryError(f"{reference}: order {order_id} is known, its details are not yet")
        return replace(row, reference=reference)

    async def pages(self, urgency: Urgency) -> AsyncGenerator[list[OrderRow], None]:
        """Today's orders page by page. RetryError.

        The page size is not documented consistently, so the end is a page that is shorter than
        any of them, or that brings nothing new.
        """
        seen: set[str] = set()
        for page in range(MOST_PAGES):
            params = {**_SEGMENT, "page": str(page)}
            try:
                payload = await self._ask("/order/list", params, urgency)
            except NotFound:
                return
            listed = rows_in(payload, "order_list")
            rows = [row for own in listed if (row := self._read(own)) is not None]
            fresh = [row for row in rows if row.order_id not in seen]
            seen |= {row.order_id for row in rows}
            yield fresh
            if len(listed) < SMALLEST_PAGE or (len(rows) == len(listed) and not fresh):
                return
        raise RetryError(f"the order list has not ended after {MOST_PAGES} pages")

    async def trades(self, order_id: str, urgency: Urgency) -> list[TradeRow]:
        """An order's fills as Groww lists them, repeated ones too. RetryError."""
        rows: list[TradeRow] = []
        seen: set[str] = set()
        for page in range(MOST_PAGES):
            size = {"page": str(page), "page_size": str(LARGEST_TRADE_PAGE)}
            try:
                payload = await self._ask(f"/order/trades/{order_id}", _SEGMENT | size, urgency)
            except NotFound:
                break
            read = [read_trade(row) for row in rows_in(payload, "trade_list")]
            rows += read
            fresh = {row.trade_id for row in read} - seen
            seen |= fresh
            if len(read) < SMALLEST_PAGE or not fresh:
                break
        return rows

    async def positions(self, urgency: Urgency, patience: float) -> list[PositionRow]:
        """Positions of the cash segment, in `patience` seconds. RetryError."""
        try:
            async with asyncio.timeout(patience):
                payload = await self._ask(
                    "/positions/user", _SEGMENT, urgency, Category.NON_TRADING, patience
                )
        except NotFound:
            return []
        except TimeoutError:
            raise RetryError(f"no positions within {patience:g} seconds") from None
        rows = rows_in(payload, "positions")
        return [row for own in rows if (row := self._read_position(own)) is not None]

    async def quote(self, listing: tuple[str, str], urgency: Urgency, patience: float) -> FullQuote:
        """The quote of (exchange, trading symbol), in `patience` seconds.

        RetryError.
        """
        exchange, trading_symbol = listing
        params = {"exchange": exchange, "segment": CASH, "trading_symbol": trading_symbol}
        try:
            async with asyncio.timeout(patience):
                payload = await self._ask(
                    "/live-data/quote", params, urgency, Category.LIVE_DATA, patience
                )
        except TimeoutError:
            raise RetryError(f"{trading_symbol}: no quote within {patience:g} seconds") from None
        return read_quote(payload)

    def _read(self, row: Any) -> OrderRow | None:
        """A row of the list; None for one of somebody else that cannot be read, logged once."""
        try:
            return read_order(row)
        except UnreadableReply as error:
            reference = row.get("order_reference_id") if isinstance(row, dict) else None
            if order_of_part(str(reference)) is not None:
                raise
            self._leave_out("an order that is not ours cannot be read", error)
            return None

    def _read_position(self, row: Any) -> PositionRow | None:
        """A row of the positions; None for one of another product that cannot be read."""
        try:
            return read_position(row)
        except UnreadableReply as error:
            if not isinstance(row, dict) or row.get("product") in (None, "", MIS):
                raise
            self._leave_out("a position that is not ours cannot be read", error)
            return None

    def _leave_out(self, what: str, error: UnreadableReply) -> None:
        if str(error) not in self._unreadable:
            self._unreadable.add(str(error))
            log.error(what, reason=str(error))

    async def close(self) -> None:
        """Release the connection."""
        await self._connection.close()

    async def _ask(
        self,
        path: str,
        params: dict[str, str],
        urgency: Urgency,
        category: Category = Category.NON_TRADING,
        patience: float | None = None,
    ) -> Any:
        try:
            return await self._connection.get(
                path, params, category=category, urgency=urgency, patience=patience
            )
        except NotFound:
            raise
        except RejectError as error:
            raise _QuestionRefused(str(error)) from error
        except StopError as error:
            raise BrokerUnavailable(str(error)) from error

    async def _post(self, path: str, body: dict[str, Any], urgency: Urgency) -> dict[str, Any]:
        try:
            answer = await self._connection.post(
                path, body, category=Category.ORDERS, urgency=urgency
            )
        except StopError as error:
            raise BrokerUnavailable(str(error)) from error
        return answer if isinstance(answer, dict) else {}


def _wire(price: Decimal | None) -> float | None:
    return None if price is None else float(price)
