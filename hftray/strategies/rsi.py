"""RSI mean reversion: a fall into the oversold zone is bought, a rise into overbought sold."""

from collections.abc import Sequence

from pydantic import ValidationInfo, field_validator

from hftray.core.indicators import rsi
from hftray.strategies.comparison import Pair, Truth, crosses_above, crosses_below
from hftray.strategies.registry import register
from hftray.strategies.strategy import Input, Parameters, Percent, Period, Strategy, Weight


class RsiParameters(Parameters):
    """Levels are RSI values, 0 to 100."""

    period: Period = 14
    oversold: Percent = 30.0
    overbought: Percent = 70.0
    weight: Weight = 0.8

    @field_validator("overbought")
    @classmethod
    def _above_oversold(cls, value: float, info: ValidationInfo) -> float:
        if value <= info.data.get("oversold", 0.0):
            raise ValueError("must be greater than oversold")
        return value


@register("rsi", RsiParameters)
class RsiReversion(Strategy[RsiParameters]):
    """BUY when RSI falls below `oversold`, SELL when it rises above `overbought`."""

    def __init__(self, parameters: RsiParameters, variant: str = "") -> None:
        super().__init__(parameters, variant)
        self._low = parameters.oversold, parameters.oversold
        self._high = parameters.overbought, parameters.overbought

    def needs(self) -> tuple[Input, ...]:
        """RSI of the close."""
        return (Input(rsi, (self.parameters.period,)),)

    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        """A cross of either level, outwards."""
        (value,) = columns
        return crosses_below(value, self._low), crosses_above(value, self._high)
