"""Rows of the database as people read and write them: users, strategies and the record.

Times are timezone-aware, money is Decimal rupees.
"""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, TypedDict

from hftray.core.ledger import TradeRecord
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.core.position import Position
from hftray.core.session import IST
from hftray.core.symbols import exchange_of

MANUAL_RUN = 0
"""`TradeRecord.run_id` of trades recorded by hand: they belong to no run."""


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """One row of `strategies`."""

    id: int
    name: str
    description: str
    kind: str
    is_active: bool
    parameters: dict[str, Any]
    created_at: datetime


class StrategyChanges(TypedDict, total=False):
    """What an update sets; an absent key stays as it is."""

    name: str
    description: str
    kind: str
    is_active: bool
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class UserRow:
    """One row of `users`, without its secrets."""

    id: str
    email: str | None
    first_name: str | None
    last_name: str | None
    initial_capital: Decimal
    has_groww_credentials: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be created; the keys are encrypted before they are stored."""

    id: str
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    initial_capital: Decimal = Decimal(100_000)
    groww_api_key: str | None = field(default=None, repr=False)
    groww_api_secret: str | None = field(default=None, repr=False)


class UserChanges(TypedDict, total=False):
    """What an update sets; an absent key stays, None clears (an empty Groww key clears too)."""

    email: str | None
    first_name: str | None
    last_name: str | None
    initial_capital: Decimal
    groww_api_key: str | None
    groww_api_secret: str | None


@dataclass(frozen=True, slots=True)
class GrowwCredentials:
    """A user's decrypted Groww keys, for the broker's process only."""

    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TradeRow:
    """One row of `trades`. `strategy_name` outlives the strategy; `trade.strategy_id` does not."""

    id: int
    trade: TradeRecord
    strategy_name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeFilter:
    """Which trades to list; None means any. `start` is inclusive, `end` exclusive.

    A `run_id` selects that run's rows and the hand-recorded ones, which belong to no run.
    """

    run_id: int | None = None
    symbol: str | None = None
    side: Side | None = None
    status: TradeStatus | None = None
    leg: Leg | None = None
    strategy_id: int | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualTrade:
    """A trade recorded by hand: kept in the list, moves no position and no capital."""

    user_id: str
    symbol: str
    side: Side
    quantity: int
    price: Decimal
    timestamp: datetime
    status: TradeStatus = TradeStatus.EXECUTED
    strategy_id: int | None = None
    pnl: Decimal | None = None
    reason: str = "recorded by hand"

    def record(self, reference: str) -> TradeRecord:
        """The ledger's row for it; `reference` must be unique."""
        return TradeRecord(
            reference=reference,
            run_id=MANUAL_RUN,
            user_id=self.user_id,
            symbol=self.symbol,
            exchange=exchange_of(self.symbol),
            side=self.side,
            leg=Leg.MANUAL,
            requested_quantity=self.quantity,
            reason=self.reason,
            timestamp=self.timestamp,
            session_day=self.timestamp.astimezone(IST).date(),
            quantity=self.quantity,
            price=self.price,
            status=self.status,
            strategy_id=self.strategy_id,
            pnl=self.pnl,
        )


@dataclass(frozen=True, slots=True)
class PositionRow:
    """One row of `positions`; `closed_at` is None while it is open.

    `position.quantity` is what is open, or all that was entered once it is closed. `pnl` is net
    and realised so far (a partly closed position has some); `exit_price` and `exit_reason` are
    those of the last exit.
    """

    run_id: int
    position: Position
    closed_at: datetime | None
    exit_price: Decimal | None
    exit_reason: str | None
    pnl: Decimal
