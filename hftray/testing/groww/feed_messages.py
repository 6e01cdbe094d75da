"""What the loopback's live feed can say: prices, depth and order news as protobuf messages.

The wire carries enumerations as numbers; those of order news are listed here. Prices are rupees,
except in order news, whose unit Groww does not state: the loopback sends paise, so that a client
which takes them for rupees is caught.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hftray.adapters.groww.stream_wire import MarketMessage, OrderMessage

_EXCHANGES = {"BSE": 0, "NSE": 1}
_STATUSES = (
    "NEW", "ACKED", "TRIGGER_PENDING", "APPROVED", "REJECTED", "FAILED", "EXECUTED",
    "DELIVERY_AWAITED", "CANCELLED", "CANCELLATION_REQUESTED", "MODIFICATION_REQUESTED",
    "COMPLETED",
)  # fmt: skip
_ORDER_TYPES = ("MARKET", "LIMIT", "SL", "SL_M")
_SIDES = ("BUY", "SELL")
_DAY, _CASH, _MIS = 1, 0, 1


@dataclass(frozen=True, slots=True)
class LivePrice:
    """A price message. A field that is None is not sent, as protobuf sends no zeros."""

    time: datetime | None
    price: float | None
    day_volume: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    value: float | None = None
    average: float | None = None

    def encode(self) -> bytes:
        """As it travels."""
        message = MarketMessage()
        live = message.stockLivePrice
        live.SetInParent()  # a message without any field is still a price message
        fields = {
            "tsInMillis": None if self.time is None else milliseconds(self.time),
            "ltp": self.price, "volume": self.day_volume, "open": self.open, "high": self.high,
            "low": self.low, "close": self.close, "value": self.value, "avgPrice": self.average,
        }  # fmt: skip
        for name, number in fields.items():
            if number:
                setattr(live, name, number)
        return _bytes(message)


@dataclass(frozen=True, slots=True)
class OrderNews:
    """Something happened to an order. Prices are rupees here and paise on the wire."""

    groww_order_id: str
    status: str
    side: str
    order_type: str
    exchange: str
    isin: str
    quantity: int
    filled: int = 0
    price: float = 0.0
    trigger: float = 0.0
    average: float = 0.0
    remark: str = ""

    def encode(self) -> bytes:
        """As it travels. A status the feed has no number for (OPEN) travels as ACKED."""
        message = OrderMessage()
        order = message.orderDetailUpdateDto
        order.qty, order.filledQty = self.quantity, self.filled
        order.remainingQty = self.quantity - self.filled
        order.price, order.triggerPrice = _paise(self.price), _paise(self.trigger)
        order.avgFillPrice = _paise(self.average)
        order.growwOrderId, order.contractId, order.remark = (
            self.groww_order_id, self.isin, self.remark,
        )  # fmt: skip
        status = self.status if self.status in _STATUSES else "ACKED"
        order.orderStatus = _STATUSES.index(status)
        order.exchange = _EXCHANGES[self.exchange]
        order.orderType = _ORDER_TYPES.index(self.order_type)
        order.buySell = _SIDES.index(self.side)
        order.duration, order.segment, order.product = _DAY, _CASH, _MIS
        return _bytes(message)


Levels = Sequence[tuple[float, float]]
"""Price and quantity, best first."""


def encode_depth(time: datetime, bids: Levels, offers: Levels) -> bytes:
    """A depth message; levels are numbered from 1."""
    message = MarketMessage()
    depth = message.stocksMarketDepth
    depth.tsInMillis = milliseconds(time)
    for side, levels in ((depth.buyBook, bids), (depth.sellBook, offers)):
        for number, (price, quantity) in enumerate(levels, start=1):
            entry = side.add(key=number)
            entry.value.price, entry.value.qty = price, quantity
    return _bytes(message)


def milliseconds(moment: datetime) -> float:
    """Milliseconds since 1970, as the feed's times are."""
    return round(moment.timestamp() * 1000)


def _paise(rupees: float) -> int:
    return round(rupees * 100)


def _bytes(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
