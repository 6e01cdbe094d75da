"""What Groww counts: categories of calls and the limits that no setting can raise."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Category(StrEnum):
    """Which of Groww's limits a call counts against."""

    ORDERS = "orders"
    LIVE_DATA = "live data"
    NON_TRADING = "non-trading"
    HISTORICAL = "historical"
    AUTHENTICATION = "authentication"


class Urgency(IntEnum):
    """Who goes first when calls must wait."""

    EXIT = 0
    ENTRY = 1
    LOOK_UP = 2
    DATA = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any stretch of `seconds`."""

    calls: int
    seconds: float


# Ten orders a second is the exchange's threshold for algorithms that are not registered, and
# Groww's own limit. No setting raises it.
HARD_ORDER_LIMIT = Limit(10, 1.0)
AUTHENTICATION_LIMITS = (Limit(5, 1.0), Limit(30, 60.0), Limit(150, 86_400.0))
