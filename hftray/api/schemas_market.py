"""Responses about market data, and the days that history may be asked for."""

from datetime import date
from typing import Annotated

from pydantic import BaseModel, Field, WithJsonSchema

from hftray.api.schemas import YEARS, IstTime, View

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
