"""Bodies of order calls: every field checked by type, enumeration and rule before it counts.

What is wrong with a field is answered with GA001 and the field's name. Prices are rupees.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from hftray.core.orders import Side
from hftray.testing.groww import wire
from hftray.testing.groww.wire import GrowwFailure

_REFERENCE = re.compile(r"[A-Za-z0-9-]{8,20}", re.ASCII)
_PLACE = (
    "trading_symbol", "quantity", "price", "trigger_price", "validity", "exchange", "segment",
    "product", "order_type", "transaction_type", "order_reference_id",
)  # fmt: skip
_MODIFY = ("quantity", "price", "trigger_price", "groww_order_id", "order_type", "segment")
_CANCEL = ("segment", "groww_order_id")


@dataclass(frozen=True, slots=True)
class Terms:
    """The part of an order that can be modified. A price or trigger the type lacks is None."""

    order_type: str
    quantity: int
    price: Decimal | None
    trigger: Decimal | None

    @property
    def is_stop(self) -> bool:
        """Whether the order waits for a trigger."""
        return self.order_type in ("SL", "SL_M")


@dataclass(frozen=True, slots=True)
class NewOrder:
    """A well-formed order; whether the exchange takes it is another matter."""

    symbol: str
    exchange: str
    product: str
    side: Side
    reference: str
    terms: Terms
    segment: str = "CASH"
    validity: str = "DAY"


@dataclass(frozen=True, slots=True)
class Change:
    """A well-formed modification."""

    groww_order_id: str
    terms: Terms


def read_new_order(body: Any) -> NewOrder:
    """The order of a create call. GA001 names the field that is wrong."""
    fields = _Fields(body, _PLACE)
    return NewOrder(
        symbol=fields.text("trading_symbol"),
        exchange=fields.one_of("exchange", wire.EXCHANGES),
        product=fields.one_of("product", wire.PRODUCTS),
        side=Side(fields.one_of("transaction_type", wire.TRANSACTION_TYPES)),
        reference=fields.reference("order_reference_id"),
        terms=fields.terms(),
        segment=fields.one_of("segment", wire.SEGMENTS),
        validity=fields.one_of("validity", wire.VALIDITIES),
    )


def read_change(body: Any) -> Change:
    """The modification of a modify call. GA001 names the field that is wrong."""
    fields = _Fields(body, _MODIFY)
    fields.one_of("segment", wire.SEGMENTS)
    return Change(fields.text("groww_order_id"), fields.terms())


def read_cancel(body: Any) -> str:
    """The order id of a cancel call. GA001 names the field that is wrong."""
    fields = _Fields(body, _CANCEL)
    fields.one_of("segment", wire.SEGMENTS)
    return fields.text("groww_order_id")


class _Fields:
    def __init__(self, body: Any, allowed: tuple[str, ...]) -> None:
        if not isinstance(body, Mapping):
            raise GrowwFailure("GA001", "the body must be a JSON object")
        for name in body:
            if name not in allowed:
                raise GrowwFailure("GA001", f"{name} is unknown; allowed: {', '.join(allowed)}")
        self._body = body

    def text(self, name: str) -> str:
        value = self._body.get(name)
        if not isinstance(value, str) or not value:
            raise GrowwFailure("GA001", f"{name} must be text")
        return value

    def one_of(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self._body.get(name)
        if value not in allowed:
            raise GrowwFailure("GA001", f"{name} must be one of {', '.join(allowed)}")
        return str(value)

    def reference(self, name: str) -> str:
        value = self.text(name)
        if not _REFERENCE.fullmatch(value) or value.count("-") > 2:
            raise GrowwFailure(
                "GA001", f"{name} must be 8 to 20 letters and digits with at most two hyphens"
            )
        return value

    def terms(self) -> Terms:
        order_type = self.one_of("order_type", wire.ORDER_TYPES)
        return Terms(
            order_type=order_type,
            quantity=self._shares("quantity"),
            price=self._price("price", order_type in ("LIMIT", "SL"), order_type),
            trigger=self._price("trigger_price", order_type in ("SL", "SL_M"), order_type),
        )

    def _shares(self, name: str) -> int:
        value = self._body.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
            raise GrowwFailure("GA001", f"{name} must be a whole number of at least 1")
        return value

    def _price(self, name: str, wanted: bool, order_type: str) -> Decimal | None:
        value = self._body.get(name)
        if not isinstance(value, int | float | None) or isinstance(value, bool):
            raise GrowwFailure("GA001", f"{name} must be a number")
        amount = Decimal(str(value or 0))
        if not amount.is_finite() or amount < 0:
            raise GrowwFailure("GA001", f"{name} must not be negative")
        if wanted and not amount:
            raise GrowwFailure("GA001", f"{name} is required for {order_type}")
        if not wanted and amount:
            raise GrowwFailure("GA001", f"{name} does not go with {order_type}")
        return amount if wanted else None
