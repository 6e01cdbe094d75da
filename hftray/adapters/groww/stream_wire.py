"""The live feed's wire format: subjects, and the protobuf messages that travel on them.

The messages are described here by field number and type, in proto2, so that a field which was not
sent is absent instead of 0; on the wire that makes no difference. Enumerations are read as numbers
and maps as repeated entries for the same reason. The pool is private: the same names may exist
elsewhere in the process. Fields that are not named here are ignored.

Prices in price and depth messages are rupees. Those in order messages have a unit nobody states,
so no reader of them is offered.
"""

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from hftray.adapters.groww.stream_quotes import PriceUpdate, StreamKey
from hftray.core.errors import DataError

_Field = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "hftray.groww"
_DOUBLES = (
    "tsInMillis", "open", "high", "low", "close", "volume", "value", "bidQty", "offerQty",
    "avgPrice", "highPriceRange", "lowPriceRange", "ltp", "openInterest", "lowTradeRange",
    "highTradeRange",
)  # fmt: skip

# Message: field: (number, type or the name of a message, repeated)
_MESSAGES: Mapping[str, Mapping[str, tuple[int, int | str, bool]]] = {
    "Price": {name: (at + 1, _Field.TYPE_DOUBLE, False) for at, name in enumerate(_DOUBLES)},
    "Level": {"price": (1, _Field.TYPE_DOUBLE, False), "qty": (2, _Field.TYPE_DOUBLE, False)},
    "LevelEntry": {"key": (1, _Field.TYPE_INT32, False), "value": (2, "Level", False)},
    "Depth": {
        "tsInMillis": (1, _Field.TYPE_DOUBLE, False),
        "buyBook": (2, "LevelEntry", True),
        "sellBook": (3, "LevelEntry", True),
    },
    "Market": {
        "symbol": (1, _Field.TYPE_STRING, False),
        "segment": (2, _Field.TYPE_INT32, False),
        "exchange": (3, _Field.TYPE_INT32, False),
        "stockLivePrice": (4, "Price", False),
        "stocksMarketDepth": (5, "Depth", False),
    },
    "Order": {
        "qty": (1, _Field.TYPE_INT32, False),
        "price": (2, _Field.TYPE_INT64, False),
        "triggerPrice": (3, _Field.TYPE_INT64, False),
        "filledQty": (4, _Field.TYPE_INT32, False),
        "remainingQty": (5, _Field.TYPE_INT32, False),
        "avgFillPrice": (6, _Field.TYPE_INT64, False),
        "growwOrderId": (7, _Field.TYPE_STRING, False),
        "exchangeOrderId": (8, _Field.TYPE_STRING, False),
        "orderStatus": (9, _Field.TYPE_INT32, False),
        "duration": (10, _Field.TYPE_INT32, False),
        "exchange": (11, _Field.TYPE_INT32, False),
        "segment": (12, _Field.TYPE_INT32, False),
        "product": (13, _Field.TYPE_INT32, False),
        "orderType": (14, _Field.TYPE_INT32, False),
        "buySell": (15, _Field.TYPE_INT32, False),
        "remark": (16, _Field.TYPE_STRING, False),
        "contractId": (22, _Field.TYPE_STRING, False),
    },
    "OrderBroadcast": {"orderDetailUpdateDto": (2, "Order", False)},
}


def _build() -> Mapping[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="hftray/groww_stream.proto", package=_PACKAGE, syntax="proto2"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated) in fields.items():
            label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
            if isinstance(kind, str):
                message.field.add(
                    name=field,
                    number=number,
                    label=label,
                    type=_Field.TYPE_MESSAGE,
                    type_name=f".{_PACKAGE}.{kind}",
                )
            else:
                message.field.add(name=field, number=number, label=label, type=kind)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.{name}"))
        for name in _MESSAGES
    }


_CLASSES = _build()
MarketMessage: Any = _CLASSES["Market"]
OrderMessage: Any = _CLASSES["OrderBroadcast"]


def price_subject(key: StreamKey) -> str:
    """Where a cash share's last traded price is published."""
    return f"/ld/eq/{key.exchange.lower()}/price.{key.token}"


def depth_subject(key: StreamKey) -> str:
    """Where a cash share's five best levels are published."""
    return f"/ld/eq/{key.exchange.lower()}/book.{key.token}"


def orders_subject(subscription_id: str) -> str:
    """Where changes of an account's equity orders are published."""
    return f"stocks/order/updates.apex.{subscription_id}"


def read_price(data: bytes) -> PriceUpdate:
    """A price message; one about something else has no price. DataError when it is no message."""
    message = _parse(MarketMessage, data)
    if not message.HasField("stockLivePrice"):
        return PriceUpdate(None, None, None)
    live = message.stockLivePrice
    return PriceUpdate(
        price=live.ltp if live.HasField("ltp") else None,
        stamp=live.tsInMillis if live.HasField("tsInMillis") else None,
        day_volume=live.volume if live.HasField("volume") else None,
    )


def read_order_id(data: bytes) -> str | None:
    """Which order (groww_order_id) a message is about. DataError when it is no message."""
    message = _parse(OrderMessage, data)
    return message.orderDetailUpdateDto.growwOrderId or None


def _parse(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise DataError(f"live feed: {len(data)} bytes that are no message") from error
