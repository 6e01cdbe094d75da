"""Responses about the running engine: status, signals, risk, positions, metrics."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from hftray.api.schemas import NOT_BLANK, Body, IstTime, Line, Money, View
from hftray.core.events import Decision
from hftray.core.orders import Side


class Welcome(View):
    """What answers at the root."""

    name: str = "hftray"
    version: str
    status: Literal["running"] = "running"
    engine: Literal["running", "stopped"]
    mode: str
    docs: str = "/docs"


class Health(View):
    """The process answers."""

    status: Literal["ok"] = "ok"
    version: str


class SessionState(View):
    """Whether the market is open, and when that changes."""

    open: bool
    next_change: IstTime | None = None
    market_time: IstTime | None = Field(None, description="The clock of the market that is played")
    ended: bool = Field(False, description="A replay is at its end")


class EngineStatus(View):
    """Is the engine running? How many scans? Capital? P&L?"""

    model_config = ConfigDict(
        from_attributes=True,
        extra="allow",
        json_schema_extra={
            "example": {
                "running": True,
                "mode": "simulation",
                "session": {"open": True, "next_change": "2026-11-20T15:15:00+05:30"},
                "scans": 128,
                "last_scan_at": "2026-11-20T10:15:00+05:30",
                "scan_ms": 6.2,
                "symbols": ["RELIANCE", "TCS"],
                "initial_capital": "100000.00",
                "capital": "100412.35",
                "equity": "100390.10",
                "realised_pnl": "412.35",
                "open_pnl": "-22.25",
                "open_positions": 1,
                "trades_today": 6,
                "risk_state": "ACTIVE",
                "degraded": [],
            }
        },
    )

    running: bool
    mode: str
    run_id: int | None = None
    user_id: str | None = None
    session: SessionState
    note: str = Field("", description="What there is to say about the scanning")
    scans: int
    last_scan_at: IstTime | None
    scan_ms: float | None = Field(description="How long the last scan took, in milliseconds")
    symbols: list[str]
    initial_capital: Money
    capital: Money = Field(description="Initial capital plus realised P&L")
    equity: Money = Field(description="Capital plus open P&L")
    realised_pnl: Money
    open_pnl: Money
    open_positions: int
    trades_today: int
    risk_state: str = Field(description="ACTIVE, REDUCING (exits only) or HALTED")
    degraded: list[str] = Field(description="What does not work as it should, in words")


class SignalView(View):
    """One weighted vote of all active strategies on one symbol."""

    model_config = ConfigDict(
        from_attributes=True,
        json_schema_extra={
            "example": {
                "symbol": "RELIANCE",
                "signal": "BUY",
                "score": 0.5676,
                "votes": {"ma_crossover:sma": 1, "ma_crossover:ema": 1, "rsi": 0, "macd": 1},
                "price": 1412.5,
                "candle_time": "2026-11-20T10:10:00+05:30",
                "timestamp": "2026-11-20T10:15:00+05:30",
                "final": True,
                "action": "entered: BUY 20",
            }
        },
    )

    symbol: str
    signal: Decision
    score: float
    votes: dict[str, int]
    price: float
    candle_time: IstTime = Field(description="When the candle opened")
    timestamp: IstTime
    final: bool = Field(description="On a closed candle; otherwise only indicative")
    action: str = Field(description="What was done, or why nothing was")


class KillRequest(Body):
    """Why entries end."""

    reason: Line = "requested through the API"


class ResumeRequest(Body):
    """Why entries may begin again."""

    reason: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=NOT_BLANK),
        Field(description="Goes on record", examples=["checked with the broker"]),
    ]


class RiskView(View):
    """What risk allows and what is used of it; null before the first scan."""

    state: str = Field(description="ACTIVE, REDUCING (exits only) or HALTED")
    reason: str = ""
    since: IstTime | None = Field(None, description="When the state changed last")
    session_day: date | None = None
    initial_capital: Money | None = None
    opening_capital: Money | None = Field(None, description="At the start of the day")
    capital: Money | None = None
    equity: Money | None = None
    realised_pnl: Money | None = None
    realised_today: Money | None = None
    open_pnl: Money | None = None
    deployed: Money | None = Field(None, description="Held in positions")
    reserved: Money | None = Field(None, description="Set aside for working orders")
    exposure_limit: Money | None = Field(None, description="Opening capital times leverage")
    free: Money | None = Field(None, description="What new positions may take")
    daily_loss: Money | None = None
    daily_loss_limit: Money | None = None
    open_positions: int = 0
    working_orders: int = 0
    trades_today: int = 0
    trades_by_symbol: dict[str, int] = Field(default_factory=dict)
    locks: dict[str, str] = Field(
        default_factory=dict, description="Symbols without entries, and why"
    )
    limits: dict[str, Decimal | int] = Field(
        default_factory=dict, description="The configured limits"
    )


class RiskEvent(View):
    """One change of the risk state."""

    state: str = Field(description="What it changed to: ACTIVE, REDUCING or HALTED")
    reason: str
    actor: str = Field(description="Who changed it: api, engine, risk, dead-man")
    time: IstTime = Field(description="By the market's clock where the market was the cause")


class MetricsView(View):
    """Portfolio figures; None where the history cannot tell."""

    trades: int = Field(description="Closed positions")
    wins: int
    losses: int
    win_rate: float | None = Field(description="0 to 1")
    profit_factor: float | None
    average_win: Money | None
    average_loss: Money | None = Field(description="Positive")
    expectancy: Money | None = Field(description="Mean net P&L of a trade")
    net_pnl: Money
    total_return_percent: float
    max_drawdown: Money
    max_drawdown_percent: float
    sharpe: float | None = Field(description="Annualised, from daily returns")


class KellyView(View):
    """The fraction of capital that the trade history justifies."""

    trades: int
    wins: int
    losses: int
    win_rate: float | None
    average_win: Money | None
    average_loss: Money | None
    payoff: float | None = Field(description="Average win over average loss")
    fraction: float | None = Field(description="Full Kelly, 0 to 1")
    half_fraction: float | None = Field(description="Half-Kelly, the advice")
    reason: str


class PositionView(View):
    """A position, open or closed."""

    reference: str
    symbol: str
    side: Side
    quantity: int
    entry_price: Money
    entry_time: IstTime
    stop_loss: Money
    take_profit: Money
    best_price: float
    strategy_id: int | None
    score: float
    votes: dict[str, int]
    run_id: int
    pnl: Money = Field(description="Net, realised so far")
    closed_at: IstTime | None
    exit_price: Money | None
    exit_reason: str | None
    last_price: Money | None = Field(None, description="Of an open position")
    trailing_stop: Money | None = Field(None, description="Of an open position")
    guard_level: Money | None = Field(
        None, description="Where the stop order of an open position stands at the broker, if it has"
    )
    open_pnl: Money | None = Field(None, description="Of an open position, before exit charges")


class OpenPosition(BaseModel):
    """What the engine's snapshot adds to an open position."""

    reference: str
    last_price: Decimal | None = None
    trailing_stop: Decimal | None = None
    guard_level: Decimal | None = None
    open_pnl: Decimal | None = None


class EquityPoint(View):
    """The account at a moment."""

    time: IstTime
    capital: Money
    equity: Money
    realised_pnl: Money
    open_pnl: Money
    open_positions: int
