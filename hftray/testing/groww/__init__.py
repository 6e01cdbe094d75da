"""A Groww on loopback: the REST API of the broker in its wire format, for tests.

    with LoopbackGroww(Market(candles, SteppedClock(start))) as groww:
        client = MyClient(base=groww.api, ...)
        groww.clock.step(75)
        groww.faults.add("drop_reply", path="/order/create")
        assert groww.limits.highest(Category.ORDERS) <= 10

What the broker's documentation leaves open is a switch (`Behaviour`); what can go wrong is a fault
(`FaultKind`). The same is offered to other processes below /_test (see `control`).
"""

from hftray.testing.groww.behaviour import Behaviour
from hftray.testing.groww.clock import RunningClock, SteppedClock
from hftray.testing.groww.faults import FaultKind, Faults
from hftray.testing.groww.feed_market import LoopbackFeed
from hftray.testing.groww.limits import Category, RateLimits
from hftray.testing.groww.loopback import LoopbackGroww
from hftray.testing.groww.market import Market
from hftray.testing.groww.price_path import PriceState
from hftray.testing.groww.session import Keys, totp
from hftray.testing.groww.world import World

__all__ = [
    "Behaviour",
    "Category",
    "FaultKind",
    "Faults",
    "Keys",
    "LoopbackFeed",
    "LoopbackGroww",
    "Market",
    "PriceState",
    "RateLimits",
    "RunningClock",
    "SteppedClock",
    "World",
    "totp",
]
