"""The account's calls: positions, holdings, margins, the user."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hftray.core.errors import NotFound
from hftray.testing.groww.account import MARGIN_RATE
from hftray.testing.groww.order_rows import (
    holding_row,
    margin_row,
    order_margin_row,
    position_row,
)
from hftray.testing.groww.wire import (
    EXCHANGES,
    ORDER_TYPES,
    PRODUCTS,
    SEGMENTS,
    TRANSACTION_TYPES,
    Answer,
    Call,
    GrowwFailure,
    success,
)
from hftray.testing.groww.world import World

_MARGIN_KEYS = (
    "trading_symbol", "transaction_type", "quantity", "price", "order_type", "product", "exchange",
)  # fmt: skip


def positions(world: World, call: Call) -> Answer:
    """GET /positions/user."""
    if call.one_of("segment", SEGMENTS, "CASH") != "CASH":
        return success({"positions": []})
    rows = [position_row(own, world.market) for own in world.account.positions()]
    return success({"positions": rows})


def position(world: World, call: Call) -> Answer:
    """GET /positions/trading-symbol."""
    call.one_of("segment", SEGMENTS)
    symbol = call.value("trading_symbol")
    rows = [
        position_row(own, world.market) for own in world.account.positions() if own.symbol == symbol
    ]
    return success({"positions": rows})


def holdings(world: World, call: Call) -> Answer:
    """GET /holdings/user."""
    rows = [
        holding_row(symbol, quantity, average, world.market)
        for symbol, (quantity, average) in world.account.holdings.items()
    ]
    return success({"holdings": rows})


def margins(world: World, call: Call) -> Answer:
    """GET /margins/detail/user."""
    return success(margin_row(world.account))


def order_margins(world: World, call: Call) -> Answer:
    """POST /margins/detail/orders: one CASH order."""
    if call.one_of("segment", SEGMENTS) != "CASH":
        raise GrowwFailure("GA006", "only segment CASH is traded here")
    orders = call.body
    if not isinstance(orders, list) or len(orders) != 1:
        raise GrowwFailure("GA001", "the body must be an array with one order for CASH")
    product, needed = _margin_of(world, orders[0])
    none = Decimal(0)
    return success(
        order_margin_row(needed, none) if product == "CNC" else order_margin_row(none, needed)
    )


def user(world: World, call: Call) -> Answer:
    """GET /user/detail."""
    return success(
        {
            "vendor_user_id": "loopback-user",
            "ucc": "000000",
            "nse_enabled": True,
            "bse_enabled": True,
            "ddpi_enabled": False,
            "active_segments": ["CASH"],
        }
    )


def _margin_of(world: World, order: Any) -> tuple[str, Decimal]:
    if not isinstance(order, Mapping) or set(order) != set(_MARGIN_KEYS):
        raise GrowwFailure("GA001", f"an order needs exactly {', '.join(_MARGIN_KEYS)}")
    allowed = {
        "transaction_type": TRANSACTION_TYPES,
        "order_type": ORDER_TYPES,
        "product": PRODUCTS,
        "exchange": EXCHANGES,
    }
    for name, values in allowed.items():
        if order[name] not in values:
            raise GrowwFailure("GA001", f"{name} must be one of {', '.join(values)}")
    quantity, price = order["quantity"], order["price"]
    if not isinstance(quantity, int) or isinstance(quantity, bool) or quantity < 1:
        raise GrowwFailure("GA001", "quantity must be a whole number of at least 1")
    if not isinstance(price, int | float) or isinstance(price, bool) or not 0 <= price < 1e9:
        raise GrowwFailure("GA001", "price must be a number that is not negative")
    try:
        share = world.market.share(order["exchange"], str(order["trading_symbol"]))
    except NotFound as error:
        raise GrowwFailure("GA004", str(error)) from error
    state = world.market.state(share, world.market.clock.now())
    at = price or (state.price if state else 0.0)
    assert order["product"] in MARGIN_RATE
    return order["product"], world.account.required(
        [(share, order["product"], quantity, Decimal(str(at)))]
    )
