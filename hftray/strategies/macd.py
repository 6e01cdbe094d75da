"""MACD: the line (fast minus slow EMA of the close) crosses its own average, the signal line."""

from collections.abc import Sequence

from pydantic import ValidationInfo, field_validator

from hftray.core.indicators import macd
from hftray.strategies.comparison import Pair, Truth, crosses
from hftray.strategies.registry import register
from hftray.strategies.strategy import Input, Parameters, Period, Strategy


class MacdParameters(Parameters):
    """Periods of the two averages of the close, and of the signal line, in candles."""

    fast_period: Period = 12
    slow_period: Period = 26
    signal_period: Period = 9

    @field_validator("slow_period")
    @classmethod
    def _slower_than_fast(cls, value: int, info: ValidationInfo) -> int:
        if value <= info.data.get("fast_period", 0):
            raise ValueError("must be greater than fast_period")
        return value


@register("macd", MacdParameters)
class MacdCrossover(Strategy[MacdParameters]):
    """BUY when the MACD line crosses above its signal line, SELL when below."""

    def needs(self) -> tuple[Input, ...]:
        """MACD line and signal line."""
        p = self.parameters
        return (Input(macd, (p.fast_period, p.slow_period, p.signal_period), (0, 1)),)

    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        """A cross of the two lines."""
        line, signal = columns
        return crosses(line, signal)
