"""Requests and responses about market data and backtests."""

from datetime import date
from decimal import Decimal
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from hftray.api.schemas import NO_NUL, YEARS, Body, IstTime, Money, Rupees, SymbolText, View
from hftray.api.schemas_engine import MetricsView

StrategyName = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=NO_NUL)]
HistoryDate = Annotated[
    date,
    Field(ge=date(1990, 1, 1), le=date(2200, 12, 31)),
    WithJsonSchema({"type": "string", "format": "date", "pattern": YEARS}),
]


class CandleView(View):
    """One OHLCV bar; prices are rupees."""

    time: IstTime = Field(description="When it opened")
    open: float
    high: float
    low: float
    close: float
    volume: float


class PatternHit(View):
    """A candlestick pattern that a candle completes."""

    time: IstTime
    name: str = Field(description="TA-Lib's name, such as CDLHAMMER")
    value: int = Field(description="Positive is bullish, negative bearish")


class MarketView(BaseModel):
    """Candles of one symbol, oldest first, with what was asked for beside them.

    Each indicator line is as long as the candles; null while it warms up.
    """

    symbol: str
    candles: list[CandleView]
    indicators: dict[str, list[float | None]] = Field(
        default_factory=dict, description="Lines by name"
    )
    patterns: list[PatternHit] = Field(default_factory=list)


class BacktestRequest(Body):
    """A strategy, a symbol, and the days to try it on (both included)."""

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

    symbol: SymbolText
    strategy: StrategyName = Field(
        "ensemble", description="ensemble, a strategy kind, or one voter: ma_crossover:ema"
    )
    start_date: HistoryDate
    end_date: HistoryDate
    initial_capital: Rupees = Decimal(100_000)

    @field_validator("end_date")
    @classmethod
    def _in_order(cls, end: date, info: ValidationInfo) -> date:
        start = info.data.get("start_date")
        if start is not None and end < start:
            raise ValueError("must not be before start_date")
        return end


class BacktestTrade(View):
    """One position of a backtest, from entry to exit."""

    model_config = ConfigDict(from_attributes=True, extra="allow")

    symbol: str
    side: str
    quantity: int
    entry_time: IstTime
    entry_price: Money
    exit_time: IstTime
    exit_price: Money
    exit_reason: str
    charges: Money
    gross_pnl: Money
    pnl: Money = Field(description="Net of charges")


class BacktestEquity(View):
    """The tested account at a moment."""

    time: IstTime
    equity: Money


class BacktestResult(View):
    """What the strategy would have done."""

    model_config = ConfigDict(from_attributes=True, extra="allow")

    symbol: str
    strategy: str
    start_date: date
    end_date: date
    initial_capital: Money
    final_capital: Money
    candles: int = Field(description="How many were played")
    metrics: MetricsView
    trades: list[BacktestTrade]
    equity_curve: list[BacktestEquity]
