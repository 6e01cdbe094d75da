"""Stochastic RSI: two oscillators must agree that the price has gone too far."""

from collections.abc import Sequence

from pydantic import ValidationInfo, field_validator

from hftray.core.indicators import rsi, stochastic
from hftray.strategies.comparison import Pair, Truth, above
from hftray.strategies.registry import register
from hftray.strategies.strategy import Input, Parameters, Percent, Period, Strategy, Weight

D_PERIOD = 3


class StochasticRsiParameters(Parameters):
    """Periods in candles; levels 0 to 100. %K is smoothed over `k_smoothing` candles."""

    rsi_period: Period = 14
    rsi_oversold: Percent = 30.0
    rsi_overbought: Percent = 70.0
    k_period: Period = 14
    k_smoothing: Period = 3
    k_oversold: Percent = 20.0
    k_overbought: Percent = 80.0
    weight: Weight = 0.8

    @field_validator("rsi_overbought", "k_overbought")
    @classmethod
    def _above_oversold(cls, value: float, info: ValidationInfo) -> float:
        lower = f"{(info.field_name or '').removesuffix('overbought')}oversold"
        if value <= info.data.get(lower, 0.0):
            raise ValueError(f"must be greater than {lower}")
        return value


@register("stochastic_rsi", StochasticRsiParameters)
class StochasticRsi(Strategy[StochasticRsiParameters]):
    """BUY while both RSI and %K are oversold, SELL while both are overbought (a state)."""

    def __init__(self, parameters: StochasticRsiParameters, variant: str = "") -> None:
        super().__init__(parameters, variant)
        self._low = parameters.rsi_oversold, parameters.k_oversold
        self._high = parameters.rsi_overbought, parameters.k_overbought

    def needs(self) -> tuple[Input, ...]:
        """RSI and %K."""
        p = self.parameters
        arguments = p.k_period, p.k_smoothing, D_PERIOD
        # TA-Lib gives no %K before its %D, the mean of the last few %K, is there too.
        memory = sum(arguments) - 1
        return Input(rsi, (p.rsi_period,)), Input(stochastic, arguments, (0,), memory)

    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        """Both oscillators beyond their levels, whatever they were before."""
        (_, value), (_, k) = columns
        rsi_low, k_low = self._low
        rsi_high, k_high = self._high
        return (
            above(rsi_low, value) & above(k_low, k),
            above(value, rsi_high) & above(k, k_high),
        )
