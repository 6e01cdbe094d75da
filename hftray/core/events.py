"""What goes into a SymbolEngine (events) and what comes out (commands).

Time arrives inside the events; nothing here asks a clock. Besides these, `Tick` and `Candle`
(a closed bar, from a feed that has no ticks) are events; `Approval` and `Denial` are risk's answers
to an intent, `OrderReport` tells what became of the order.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from hftray.core.market import Candle, Tick
from hftray.core.orders import Approval, Denial, OrderIntent, OrderReport
from hftray.core.position import Position
from hftray.core.session import TradingSession


class Decision(StrEnum):
    """The outcome of a vote."""

    BUY = "BUY"
    SELL = "SELL"
    HOLD = "HOLD"


@dataclass(frozen=True, slots=True)
class Vote:
    """One count of all voters: each voter's -1/0/+1, the weighted mean, the decision.

    `strategy_id` is the row of the heaviest voter that agrees with the decision (None on HOLD).
    """

    decision: Decision
    score: float
    votes: dict[str, int]
    strategy_id: int | None = None


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """A trading day begins (or an engine joins one that is under way)."""

    session: TradingSession


@dataclass(frozen=True, slots=True)
class ClockAdvanced:
    """Market time reached `now`, whether or not anything traded.

    `awaiting`: the candle that is over will still be told, so what ticks built is not closed yet.
    """

    now: datetime
    awaiting: bool = False


@dataclass(frozen=True, slots=True)
class FlattenRequested:
    """Close whatever is open, now (kill switch)."""

    now: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class NotAmended:
    """The broker did not move a stop order; it stands where it stood."""

    reference: str
    reason: str


@dataclass(frozen=True, slots=True)
class HoldingTold:
    """Why the broker does not hold the open position, empty when it was seen to.

    `refused`: it refused an exit for that.
    """

    reason: str
    refused: bool = False


Event = (
    SessionOpened
    | ClockAdvanced
    | Tick
    | Candle
    | Approval
    | Denial
    | OrderReport
    | FlattenRequested
    | NotAmended
    | HoldingTold
)


@dataclass(frozen=True, slots=True)
class Signal:
    """One decision for the log: indicative on a forming candle, final on a closed one."""

    symbol: str
    signal: Decision
    score: float
    votes: dict[str, int]
    price: float
    candle_time: datetime
    timestamp: datetime
    final: bool
    action: str = ""

    def acted(self, action: str) -> "Signal":
        """The same signal with what was done about it."""
        return replace(self, action=action)


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Withdraw a working order that found no counterparty in time."""

    reference: str


@dataclass(frozen=True, slots=True)
class AmendOrder:
    """Move a stop order that rests at the broker to another trigger and limit."""

    reference: str
    trigger: Decimal
    limit_price: Decimal


@dataclass(frozen=True, slots=True)
class Settle:
    """An order is finished: record it together with the position it left and what it closed.

    `closed` carries the quantity that left, at the entry price it had.
    """

    report: OrderReport
    after: Position | None
    closed: Position | None


Command = OrderIntent | CancelOrder | AmendOrder | Signal | Settle


@dataclass(slots=True)
class Rejections:
    """Counts of market data that never reached a strategy, by reason."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, reason: str) -> None:
        """Count one rejected tick or candle."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
