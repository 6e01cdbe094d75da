"""Orders as values, their life as a table, and the reference that makes them unique.

Prices that go to or come from a broker are Decimal rupees on the instrument's tick.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from hftray.core.errors import IllegalTransition


class Side(StrEnum):
    """Direction of an order."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> "Side":
        """The side that closes what this one opened."""
        return Side.SELL if self is Side.BUY else Side.BUY


class Leg(StrEnum):
    """What an order does to a position. MANUAL rows are recorded by hand and move no position."""

    ENTRY = "ENTRY"
    EXIT = "EXIT"
    MANUAL = "MANUAL"


class OrderStatus(StrEnum):
    """What the broker's book says of an order."""

    WORKING = "WORKING"
    FILLED = "FILLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"

    @property
    def terminal(self) -> bool:
        """Whether nothing more can happen to the order."""
        return self is not OrderStatus.WORKING


class TradeStatus(StrEnum):
    """What the ledger says of an order (the specification's three words)."""

    PENDING = "PENDING"
    EXECUTED = "EXECUTED"
    FAILED = "FAILED"


TRADE_LIFE: dict[tuple[TradeStatus, TradeStatus], str] = {
    (TradeStatus.PENDING, TradeStatus.EXECUTED): "filled, wholly or in part",
    (TradeStatus.PENDING, TradeStatus.FAILED): "rejected, or cancelled before any share traded",
}


def require_trade_step(before: TradeStatus, after: TradeStatus) -> None:
    """IllegalTransition unless the ledger row may go from one status to the other."""
    if (before, after) not in TRADE_LIFE:
        raise IllegalTransition(f"a trade cannot go from {before} to {after}")


@dataclass(frozen=True, slots=True)
class OrderIntent:
    """What a symbol wants done; it becomes an Order only when risk approves it.

    `price` is the price the decision was made at; `trigger` is set when a price level inside
    the present candle was touched (the exit happens there, not at the next price).
    `quantity` is 0 on an entry: risk sizes it. `stop`: see Order.
    """

    symbol: str
    leg: Leg
    side: Side
    price: float
    time: datetime
    reason: str
    session_day: date
    quantity: int = 0
    atr: float | None = None
    trigger: Decimal | None = None
    candle_time: datetime | None = None
    score: float = 0.0
    votes: dict[str, int] = field(default_factory=dict)
    strategy_id: int | None = None
    position: str | None = None  # reference of the entry order, on exits
    stop: bool = False
    limit_price: Decimal | None = None  # of a stop order; an entry's is set by risk


@dataclass(frozen=True, slots=True)
class Order:
    """An approved order, durable in the ledger under `reference` before it is sent.

    A `stop` order rests at the broker until the market reaches `trigger` (a SELL at or below it, a
    BUY at or above it) and is from then on an order with that limit. Without `stop`, a trigger is a
    level that the market has touched already, of interest to a simulated exchange alone.
    """

    reference: str
    symbol: str
    exchange: str
    leg: Leg
    side: Side
    quantity: int
    time: datetime
    limit_price: Decimal | None = None
    trigger: Decimal | None = None
    stop: bool = False


@dataclass(frozen=True, slots=True)
class Approval:
    """Risk said yes: the order is durable and may be sent."""

    order: Order
    intent: OrderIntent


@dataclass(frozen=True, slots=True)
class Denial:
    """Risk said no, with a reason a person can read."""

    reason: str


@dataclass(frozen=True, slots=True)
class Execution:
    """One fill of an order at the exchange."""

    trade_id: str
    quantity: int
    price: Decimal
    time: datetime


@dataclass(frozen=True, slots=True)
class OrderReport:
    """The broker's cumulative view of one order; applying it twice changes nothing twice.

    `trigger` is where a stop order stands at the broker, `limit_price` the limit at which an order
    that works waits there; None where that is not known. `unconfirmed`: why what it says of an
    order's end is believed although the broker does not show the fills; then `executions` may lack
    some, and price and quantity are the best that is known.
    """

    reference: str
    symbol: str
    status: OrderStatus
    broker_order_id: str
    quantity: int
    filled_quantity: int = 0
    average_price: Decimal | None = None
    time: datetime | None = None
    reason: str = ""
    executions: tuple[Execution, ...] = ()
    trigger: Decimal | None = None
    limit_price: Decimal | None = None
    unconfirmed: str = ""


@dataclass(frozen=True, slots=True)
class BrokerPosition:
    """What the broker holds for us in one symbol: shares bought (+) or sold short (-)."""

    symbol: str
    quantity: int
    average_price: Decimal | None = None


def order_reference(
    run: int, day: date, symbol: str, leg: Leg, sequence: int, database: str = ""
) -> str:
    """The order's name at the broker: 20 letters and digits, a pure function of its arguments.

    Day and leg are readable (`20261122E…`), the rest is a hash, so a retry of the same step
    finds the earlier order instead of making a second one. Runs are numbered in each `database`
    anew, so an account that several of them trade on wants their names told apart.
    """
    written = day.isoformat()
    text = f"{run}|{written}|{symbol}|{leg}|{sequence}" + (f"|{database}" if database else "")
    digest = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    tail = ""
    for _ in range(5):
        digest, index = divmod(digest, len(_PAIRS))
        tail += _PAIRS[index]
    tail += _LETTERS[digest % len(_LETTERS)]
    return f"{written.replace('-', '')}{leg[0] if leg is not Leg.EXIT else 'X'}{tail}"


_LETTERS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"
_PAIRS = [low + high for high in _LETTERS for low in _LETTERS]  # two digits at a time
