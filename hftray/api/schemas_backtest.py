"""Requests and responses about backtests."""

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StringConstraints,
    WithJsonSchema,
)

from hftray.api.schemas import (
    NO_NUL,
    Body,
    IstTime,
    Money,
    Parameters,
    Rupees,
    SymbolText,
    View,
)
from hftray.api.schemas_engine import MetricsView
from hftray.api.schemas_market import HistoryDate
from hftray.backtest.order import ENSEMBLE, MAX_SLIPPAGE_BPS

StrategyName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=NO_NUL)]
_NAME = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": NO_NUL}
StrategyNames = Annotated[
    list[StrategyName],
    Field(min_length=1, max_length=16),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema(
        {
            "anyOf": [
                _NAME,
                {"type": "array", "items": _NAME, "minItems": 1, "maxItems": 16},
            ]
        }
    ),
]
"""One name, or a list of them."""

BasisPoints = Annotated[float, Field(strict=True, ge=0, le=MAX_SLIPPAGE_BPS, allow_inf_nan=False)]
JobState = Literal["queued", "running", "done", "failed"]


class BacktestRequest(Body):
    """Voters, symbols, and the days to try them on (both included)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "symbol": "RELIANCE",
                "strategy": "ma_crossover",
                "start_date": "2024-01-01",
                "end_date": "2024-12-31",
                "initial_capital": 100000,
            }
        },
    )

    symbol: SymbolText | None = None
    symbols: Annotated[list[SymbolText], Field(max_length=100)] = Field(
        default_factory=list, description="Several symbols on one account, instead of `symbol`"
    )
    strategy: StrategyNames = Field(
        [ENSEMBLE],
        json_schema_extra={"default": ENSEMBLE},
        description="ensemble (the strategies that are switched on), a kind, one voter "
        "(ma_crossover:ema), or a list of kinds and voters",
    )
    start_date: HistoryDate
    end_date: HistoryDate = Field(description="At most 20 years after start_date")
    initial_capital: Rupees = Decimal(100_000)
    parameters: Annotated[dict[StrategyName, Parameters], Field(max_length=32)] = Field(
        default_factory=dict,
        description="Parameters other than the strategies' own, by kind",
        examples=[{"rsi": {"period": 10}}],
    )
    charges: StrictBool = Field(True, description="Whether fills pay brokerage, taxes and fees")
    slippage_bps: BasisPoints | None = Field(
        None, description="Basis points a fill is worse; default: the system's"
    )
    interval: Literal[1, 2, 3, 5, 10, 15, 30, 60] | None = Field(
        None, description="Minutes a candle, a multiple of the data's; default: the data's"
    )

    @property
    def all_symbols(self) -> tuple[str, ...]:
        """`symbol` and `symbols` as one; the order takes care that none is named twice."""
        return (*([self.symbol] if self.symbol is not None else []), *self.symbols)


class BacktestMetrics(MetricsView):
    """Figures of a backtest. What cannot be told is null, and `undefined` of the result says why.

    Ratios come from daily returns at the sessions' ends, with 252 sessions a year and a risk-free
    rate of 0.
    """

    cagr_percent: float | None = Field(description="Compound growth a year")
    sortino: float | None
    calmar: float | None = Field(description="cagr_percent over max_drawdown_percent")
    max_drawdown_days: int = Field(
        description="Trading days from the peak before the deepest fall until it is regained"
    )
    gross_pnl: Money = Field(description="Before charges")
    charges: Money
    exposure_percent: float | None = Field(description="Share of the time with a position open")
    turnover: Money = Field(description="Value of all shares bought and sold")
    turnover_ratio: float = Field(description="turnover over the initial capital")


class BuyAndHold(View):
    """The same capital, spread evenly over the symbols at their first price, and kept."""

    final_capital: Money
    total_return_percent: float
    cagr_percent: float | None
    max_drawdown_percent: float
    max_drawdown_days: int
    sharpe: float | None


class BacktestTrade(View):
    """One position of a backtest, from entry to exit."""

    symbol: str
    side: str
    quantity: int
    entry_time: IstTime
    entry_price: Money
    exit_time: IstTime
    exit_price: Money
    exit_reason: str
    gross_pnl: Money
    charges: Money
    pnl: Money = Field(description="Net of charges")
    votes: dict[str, int] = Field(description="What each voter said when it was entered")
    score: float


class BacktestEquity(View):
    """The tested account at a session's end."""

    time: IstTime
    equity: Money


class BacktestResult(View):
    """What the strategy would have done; what was asked for comes first."""

    symbol: str | None = Field(description="null when several were asked for")
    symbols: list[str]
    strategy: str | list[str]
    parameters: dict[str, dict[str, Any]]
    start_date: date
    end_date: date
    initial_capital: Money
    interval: int = Field(description="Minutes a candle")
    slippage_bps: float
    charges: bool
    voters: list[str]
    final_capital: Money
    candles: int = Field(description="How many were played")
    metrics: BacktestMetrics
    undefined: dict[str, str] = Field(description="Why a figure is null, by its name")
    buy_and_hold: BuyAndHold
    trades: list[BacktestTrade]
    equity_curve: list[BacktestEquity]
    assumptions: list[str]


class BacktestJob(BaseModel):
    """A backtest under way, or what became of it."""

    id: str
    status_url: str
    state: JobState
    progress: float = Field(ge=0, le=1)
    result: BacktestResult | None = None
    error: str | None = Field(None, description="Why it failed")
