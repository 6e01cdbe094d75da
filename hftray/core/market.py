"""Market facts as values: instrument, tick, candle.

Prices are rupees as float64 (they feed indicators); money lives in Decimal elsewhere.
Times are timezone-aware datetimes; a candle's time is the moment it opens.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from hftray.core.errors import DataError


@dataclass(frozen=True, slots=True)
class Instrument:
    """A tradable share.

    `tick_size` is rupees; `derivatives` says whether futures or options exist on the share,
    which decides when its continuous session ends.
    """

    symbol: str
    exchange: str = "NSE"
    tick_size: Decimal = Decimal("0.05")
    derivatives: bool = True


@dataclass(frozen=True, slots=True)
class Tick:
    """The last traded price at a moment, and the shares traded since the tick before."""

    symbol: str
    time: datetime
    price: float
    volume: float = 0.0


@dataclass(frozen=True, slots=True)
class Candle:
    """One closed or forming OHLCV bar; `time` is its open."""

    symbol: str
    time: datetime
    open: float
    high: float
    low: float
    close: float
    volume: float


def candle_fault(candle: Candle) -> str | None:
    """Why a candle must not reach a strategy, or None when it is sound."""
    prices = (candle.open, candle.high, candle.low, candle.close)
    if any(not 0.0 < price < float("inf") for price in prices):
        return "price is not a positive finite number"
    if candle.high < candle.low:
        return "high is below low"
    if not candle.low <= min(candle.open, candle.close):
        return "low is above open or close"
    if not candle.high >= max(candle.open, candle.close):
        return "high is below open or close"
    if not 0.0 <= candle.volume < float("inf"):
        return "volume is not a finite number of shares"
    return None


def tick_fault(tick: Tick) -> str | None:
    """Why a tick must not be used, or None when it is sound."""
    if not 0.0 < tick.price < float("inf"):
        return "price is not a positive finite number"
    if not 0.0 <= tick.volume < float("inf"):
        return "volume is not a finite number of shares"
    return None


def require_aware(moment: datetime, what: str) -> datetime:
    """The moment itself; DataError when it has no time zone."""
    if moment.tzinfo is None:
        raise DataError(f"{what} has no time zone: {moment.isoformat()}")
    return moment
