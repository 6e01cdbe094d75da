"""Rows of Groww's answers as values: orders, trades, positions, and the words for a status.

Quantities are shares, prices Decimal rupees. A row that cannot be read raises UnreadableReply
naming the field: nothing follows from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from hftray.adapters.groww.errors import UnreadableReply
from hftray.adapters.groww.pricing import OrderPrice
from hftray.adapters.groww.wire import read_moment
from hftray.core.orders import OrderStatus, Side

MIS, CASH = "MIS", "CASH"
CANCELLATION_REQUESTED = "CANCELLATION_REQUESTED"
# Documented words and the OPEN of the documentation's samples. Any other is taken for working:
# an order counts as ended only when Groww says so in a word that is known to mean it.
WORKING_WORDS = frozenset(
    {
        "NEW",
        "ACKED",
        "OPEN",
        "TRIGGER_PENDING",
        "APPROVED",
        CANCELLATION_REQUESTED,
        "MODIFICATION_REQUESTED",
    }
)
_STOPS = ("SL", "SL_M")
_DONE = ("EXECUTED", "COMPLETED", "DELIVERY_AWAITED")
_REFUSED = ("REJECTED", "FAILED")
KNOWN_WORDS = WORKING_WORDS | {*_DONE, *_REFUSED, "CANCELLED"}
_ANNULLED = "CANCELLED"  # a trade that the exchange took back


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order as the list or the detail call has it. `reference` is empty without one."""

    order_id: str
    reference: str
    trading_symbol: str
    exchange: str
    side: Side
    word: str
    quantity: int
    filled: int = 0
    remaining: int | None = None
    product: str = MIS
    order_type: str = "LIMIT"
    price: Decimal | None = None
    trigger: Decimal | None = None
    average: Decimal | None = None
    remark: str = ""
    time: datetime | None = None

    @property
    def status(self) -> OrderStatus:
        """What the word means. Done with shares still to come is not over."""
        if self.word in _DONE:
            left = self.quantity - self.filled if self.remaining is None else self.remaining
            if left > 0 and self.filled > 0:
                return OrderStatus.WORKING
            return OrderStatus.FILLED
        if self.word in _REFUSED:
            return OrderStatus.REJECTED
        return OrderStatus.CANCELLED if self.word == "CANCELLED" else OrderStatus.WORKING

    @property
    def is_stop(self) -> bool:
        """Whether it was sent to wait for a trigger."""
        return self.order_type in _STOPS

    @property
    def rests(self) -> bool:
        """Whether it is a stop that has not met its trigger: from then on Groww calls it OPEN."""
        waiting = self.word in WORKING_WORDS - {"OPEN", CANCELLATION_REQUESTED}
        return self.is_stop and waiting and self.filled == 0

    def stands_at(self, price: OrderPrice) -> bool:
        """Whether the order has these prices already."""
        return (self.trigger, self.price) == (price.trigger, price.limit)

    @property
    def claimed(self) -> int:
        """The shares that must show up in trades before the order's end is told."""
        if self.status is OrderStatus.FILLED and self.filled == 0:
            return self.quantity  # the word came before the number
        return self.filled


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One fill. `trade_id` is the exchange's, or Groww's where that is missing."""

    trade_id: str
    quantity: int
    price: Decimal
    time: datetime
    annulled: bool = False


@dataclass(frozen=True, slots=True)
class PositionRow:
    """Net shares of one product in one listing."""

    trading_symbol: str
    exchange: str
    product: str
    quantity: int
    carried: int


def read_order(row: Any) -> OrderRow:
    """A row of the order list, or the detail call's answer. UnreadableReply."""
    side = _text(row, "transaction_type")
    if side not in Side.__members__:
        raise UnreadableReply(f"order: transaction_type {side!r} is neither BUY nor SELL")
    remaining = row.get("remaining_quantity")
    return OrderRow(
        order_id=_text(row, "groww_order_id"),
        reference=str(row.get("order_reference_id") or ""),
        trading_symbol=_text(row, "trading_symbol"),
        exchange=_text(row, "exchange"),
        side=Side(side),
        word=_text(row, "order_status"),
        quantity=_whole(row, "quantity"),
        filled=_whole(row, "filled_quantity", 0),
        remaining=None if remaining is None else _whole(row, "remaining_quantity"),
        product=str(row.get("product") or ""),
        order_type=str(row.get("order_type") or ""),
        price=amount(row, "price"),
        trigger=amount(row, "trigger_price"),
        average=_readable_amount(row, "average_fill_price"),
        remark=str(row.get("remark") or ""),
        time=read_moment(row.get("exchange_time")) or read_moment(row.get("created_at")),
    )


def read_trade(row: Any) -> TradeRow:
    """A row of the trades call. UnreadableReply."""
    if not isinstance(row, Mapping):
        raise UnreadableReply(f"trade: {row!r:.80} is not an object in Groww's answer")
    price = amount(row, "price")
    time = read_moment(row.get("trade_date_time")) or read_moment(row.get("created_at"))
    if price is None or time is None:
        raise UnreadableReply(
            f"trade: {'price' if price is None else 'trade_date_time'} is missing"
        )
    return TradeRow(
        trade_id=str(row.get("exchange_trade_id") or "") or _text(row, "groww_trade_id"),
        quantity=_whole(row, "quantity"),
        price=price,
        time=time,
        annulled=row.get("trade_status") == _ANNULLED,
    )


def read_position(row: Any) -> PositionRow:
    """A row of the positions call. UnreadableReply."""
    return PositionRow(
        trading_symbol=_text(row, "trading_symbol"),
        exchange=_text(row, "exchange"),
        product=_text(row, "product"),
        quantity=_whole(row, "quantity"),
        carried=_whole(row, "net_carry_forward_quantity", 0),
    )


def rows_in(payload: Any, name: str) -> list[Any]:
    """The list under a name of a payload; null is an empty one. UnreadableReply."""
    rows = payload.get(name, []) if isinstance(payload, Mapping) else None
    if rows is None and isinstance(payload, Mapping):
        return []
    if not isinstance(rows, list):
        raise UnreadableReply(f"{name}: not a list in Groww's answer")
    return rows


def amount(row: Mapping[str, Any], name: str) -> Decimal | None:
    """Rupees above zero; None where there are none. UnreadableReply."""
    value = _number(row, name)
    return value if value is not None and value > 0 else None


def _readable_amount(row: Mapping[str, Any], name: str) -> Decimal | None:
    """The same of a figure that nothing may depend on: None when it cannot be read."""
    try:
        return amount(row, name)
    except UnreadableReply:
        return None


def _text(row: Any, name: str) -> str:
    value = row.get(name) if isinstance(row, Mapping) else None
    if not isinstance(value, str) or not value:
        raise UnreadableReply(f"{name}: missing in Groww's answer")
    return value


def _whole(row: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = _number(row, name)
    if value is None and default is not None:
        return default
    if value is None or value != int(value):
        raise UnreadableReply(f"{name}: {row.get(name)!r} is not a whole number")
    return int(value)


def _number(row: Mapping[str, Any], name: str) -> Decimal | None:
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        number = Decimal("NaN" if isinstance(value, bool) else str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite():
        raise UnreadableReply(f"{name}: {value!r} is not a number")
    return number
