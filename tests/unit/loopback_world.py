"""Small worlds of the loopback Groww: one share, a few five-minute candles, a stepped clock."""

import itertools
from datetime import datetime, timedelta
from typing import Any

import httpx

from hftray.core.market import Candle
from hftray.core.session import IST
from hftray.testing.groww import Behaviour, LoopbackGroww, Market, SteppedClock, World
from hftray.testing.groww.order_form import read_new_order
from hftray.testing.groww.wire_order import WireOrder

FRIDAY = datetime(2026, 11, 20, 9, 15, tzinfo=IST)
MONDAY = datetime(2026, 11, 23, 9, 15, tzinfo=IST)
FIVE = timedelta(minutes=5)
TICK = 75.0  # seconds between two ticks of a five-minute candle
_numbers = itertools.count(1)


def flat_day(opens: datetime, price: float, symbol: str = "RELIANCE") -> list[Candle]:
    return [Candle(symbol, opens + FIVE * n, *[price] * 4, 1000) for n in range(72)]


def day(
    *rows: tuple[float, float, float, float], opens: datetime = MONDAY, symbol: str = "RELIANCE"
) -> list[Candle]:
    """Candles of 1,000 shares from (open, high, low, close)."""
    return [Candle(symbol, opens + FIVE * n, *row, 1000) for n, row in enumerate(rows)]


def market_of(*candles: Candle, at: datetime = MONDAY) -> tuple[Market, SteppedClock]:
    """RELIANCE closed at 1,000 on Friday; what follows is given."""
    clock = SteppedClock(at)
    return Market({"RELIANCE": [*flat_day(FRIDAY, 1000.0), *candles]}, clock), clock


def world_of(
    *candles: Candle, at: datetime = MONDAY, **switches: Any
) -> tuple[World, SteppedClock]:
    market, clock = market_of(*candles, at=at)
    behaviour = Behaviour(square_off_minutes=None)
    behaviour.change(switches)
    return World.of(market, behaviour=behaviour), clock


def body(side: str = "BUY", quantity: int = 10, **changes: Any) -> dict[str, Any]:
    """The body of a create call: a MARKET order unless price or trigger are given."""
    price, trigger = changes.get("price"), changes.get("trigger_price")
    kind = {(False, False): "MARKET", (True, False): "LIMIT", (True, True): "SL"}
    return {
        "trading_symbol": "RELIANCE",
        "quantity": quantity,
        "price": 0.0,
        "trigger_price": None,
        "validity": "DAY",
        "exchange": "NSE",
        "segment": "CASH",
        "product": "MIS",
        "order_type": kind.get((price is not None, trigger is not None), "SL_M"),
        "transaction_type": side,
        "order_reference_id": f"test{next(_numbers):08d}",
        **changes,
    }


def place(world: World, side: str = "BUY", quantity: int = 10, **changes: Any) -> WireOrder:
    return world.place(read_new_order(body(side, quantity, **changes)))


def client_of(groww: LoopbackGroww) -> httpx.Client:
    token = groww.sessions.mint()
    headers = {"authorization": f"Bearer {token}"}
    # Without certificates to read a client is made a hundred times faster.
    return httpx.Client(base_url=groww.api, headers=headers, timeout=10, verify=False)
