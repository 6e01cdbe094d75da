"""What the ledger keeps, as values. Every event carries an id, so appending twice is once.

Money is Decimal rupees. `pnl` is net of charges and set on the leg that closes, and on the
confirmation of a fill, where it is what the account gains by the difference.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from hftray.core.events import Signal
from hftray.core.exits import ExitReason
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.core.position import Position

CONFIRMED = "confirmed"
"""How the reason of a MANUAL row begins with which a person confirmed an order's fill."""


@dataclass(frozen=True, slots=True)
class TradeRecord:
    """One order as the ledger knows it: a row of `trades`.

    `position` is the reference of the entry on an exit, and of the order whose fill it confirms on
    a MANUAL row (`core.fill_confirmation`).
    """

    reference: str
    run_id: int
    user_id: str
    symbol: str
    exchange: str
    side: Side
    leg: Leg
    requested_quantity: int
    reason: str
    timestamp: datetime
    session_day: date
    quantity: int = 0
    price: Decimal | None = None
    status: TradeStatus = TradeStatus.PENDING
    limit_price: Decimal | None = None
    trigger: Decimal | None = None
    reserved: Decimal = Decimal(0)
    decision_price: Decimal | None = None
    candle_time: datetime | None = None
    strategy_id: int | None = None
    position: str | None = None
    atr: float | None = None
    score: float = 0.0
    votes: dict[str, int] = field(default_factory=dict)
    broker_order_id: str = ""
    charges: Decimal | None = None
    gross_pnl: Decimal | None = None
    pnl: Decimal | None = None
    sequence: int = 0

    @property
    def guards(self) -> bool:
        """Whether it is a stop order that rests, or rested, at the broker."""
        return self._exit_reason == ExitReason.GUARD

    @property
    def settled_by_hand(self) -> bool:
        """Whether a person settled the position with it; no broker knows such an order."""
        return self._exit_reason == ExitReason.SETTLED

    @property
    def by_hand(self) -> bool:
        """Whether a person recorded it: no broker knows of it, and nobody waits for its end."""
        return self.leg is Leg.MANUAL or self.settled_by_hand

    @property
    def confirms(self) -> str | None:
        """The reference of the order whose fill a person confirmed with it, if that is so."""
        by_hand = self.leg is Leg.MANUAL and self.reason.partition(":")[0] == CONFIRMED
        return self.position if by_hand else None

    @property
    def _exit_reason(self) -> str:
        return self.reason.partition(":")[0] if self.leg is Leg.EXIT else ""


@dataclass(frozen=True, slots=True)
class OrderIntended:
    """The order exists and may now be sent (a PENDING row)."""

    trade: TradeRecord

    @property
    def event_id(self) -> str:
        """Unique name of this event."""
        return f"{self.trade.reference}:intended"


@dataclass(frozen=True, slots=True)
class OrderSettled:
    """The order's end: the finished row, and the position it left.

    `position` is what is open after it (None when flat), `closed` the position that it ended.
    """

    trade: TradeRecord
    position: Position | None = None
    closed: Position | None = None

    @property
    def event_id(self) -> str:
        """Unique name of this event."""
        return f"{self.trade.reference}:settled"


@dataclass(frozen=True, slots=True)
class PositionMarked:
    """The best price of an open position moved (its trailing stop with it)."""

    run_id: int
    reference: str
    best_price: float
    time: datetime

    @property
    def event_id(self) -> str:
        """Unique name of this event."""
        return f"{self.reference}:mark:{self.best_price!r}"


@dataclass(frozen=True, slots=True)
class SignalRecorded:
    """A closed candle's vote."""

    run_id: int
    signal: Signal

    @property
    def event_id(self) -> str:
        """Unique name of this event."""
        return f"{self.run_id}:{self.signal.symbol}:{self.signal.candle_time.isoformat()}"


@dataclass(frozen=True, slots=True)
class EquityMarked:
    """The account at a moment: capital is initial plus realised, equity adds open P&L."""

    run_id: int
    time: datetime
    session_day: date
    capital: Decimal
    equity: Decimal
    realised_pnl: Decimal
    open_pnl: Decimal
    open_positions: int

    @property
    def event_id(self) -> str:
        """Unique name of this event."""
        return f"{self.run_id}:equity:{self.time.isoformat()}"


@dataclass(frozen=True, slots=True)
class SessionStarted:
    """A trading day of a run begins with this capital."""

    run_id: int
    session_day: date
    opening_capital: Decimal
    time: datetime

    @property
    def event_id(self) -> str:
        """Unique name of this event."""
        return f"{self.run_id}:session:{self.session_day.isoformat()}"


@dataclass(frozen=True, slots=True)
class RiskStateChanged:
    """Who changed the risk state, when and why; the run's `sequence`-th change.

    The number tells changes apart that are alike: market time may stand still between them.
    """

    run_id: int
    state: str
    reason: str
    actor: str
    time: datetime
    sequence: int = 0

    @property
    def event_id(self) -> str:
        """Unique name of this event."""
        return f"{self.run_id}:risk:{self.sequence}:{self.time.isoformat()}:{self.state}"


@dataclass(frozen=True, slots=True)
class ScanningSet:
    """Whether the engine is meant to scan, for when its process comes back."""

    run_id: int
    scanning: bool
    time: datetime

    @property
    def event_id(self) -> str:
        """Unique name of this event."""
        return f"{self.run_id}:scanning:{self.time.isoformat()}"


LedgerEvent = (
    OrderIntended
    | OrderSettled
    | PositionMarked
    | SignalRecorded
    | EquityMarked
    | SessionStarted
    | RiskStateChanged
    | ScanningSet
)


@dataclass(frozen=True, slots=True)
class LedgerHealth:
    """How the record is doing.

    `waiting` events are durable here and not in the database yet; `impairment` says why nothing
    new should be opened, empty when all is well; `notes` is everything an operator should know.
    """

    waiting: int = 0
    impairment: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One continuing account of one mode: simulation with a seed, a replay, paper, live.

    Ledger rows of different runs never mix: a simulated position is not adopted by live.
    """

    run_id: int
    mode: str
    source: str
    user_id: str
    initial_capital: Decimal


@dataclass(frozen=True, slots=True)
class RunState:
    """Everything a restarted process needs of a run, read from the ledger."""

    run: RunInfo
    session_day: date | None = None
    opening_capital: Decimal | None = None
    realised_total: Decimal = Decimal(0)
    trades_today: tuple[TradeRecord, ...] = ()  # of session_day, oldest first
    pending: tuple[TradeRecord, ...] = ()
    positions: tuple[Position, ...] = ()
    risk_state: str = "ACTIVE"
    risk_reason: str = ""
    risk_since: datetime | None = None
    risk_sequence: int = 0  # of the newest change
    scanning: bool = False  # whether the engine was told to scan
    market_time: datetime | None = None  # the latest moment the run is known to have reached

    @property
    def under_way(self) -> tuple[TradeRecord, ...]:
        """The orders whose end is awaited: `pending` without what was recorded by hand.

        A row by hand ends as it is recorded. One that stands PENDING is what is left of a record
        whose second half was lost, and no broker will ever tell its end.
        """
        return tuple(trade for trade in self.pending if not trade.by_hand)
