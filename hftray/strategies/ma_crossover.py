"""Moving average crossover: the short average crosses the long one; as SMA, as EMA, or both."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from hftray.core.indicators import ema, sma
from hftray.strategies.comparison import Pair, Truth, crosses
from hftray.strategies.registry import register
from hftray.strategies.strategy import Input, Parameters, Period, Strategy

Variant = Literal["sma", "ema"]


class MovingAverageParameters(Parameters):
    """`variants` lists the averages; each casts its own vote with the row's weight."""

    short_period: Period = 20
    long_period: Period = 50
    variants: Annotated[tuple[Variant, ...], Field(strict=False, min_length=1)] = ("sma", "ema")

    @field_validator("long_period")
    @classmethod
    def _longer_than_short(cls, value: int, info: ValidationInfo) -> int:
        if value <= info.data.get("short_period", 0):
            raise ValueError("must be greater than short_period")
        return value

    @field_validator("variants")
    @classmethod
    def _each_once(cls, value: tuple[Variant, ...]) -> tuple[Variant, ...]:
        if len(set(value)) < len(value):
            raise ValueError("must not repeat a variant")
        return value


@register("ma_crossover", MovingAverageParameters)
class MovingAverageCrossover(Strategy[MovingAverageParameters]):
    """BUY when the short average crosses above the long one, SELL when below."""

    @classmethod
    def variants(cls, parameters: MovingAverageParameters) -> tuple[str, ...]:
        """One vote for each kind of average."""
        return parameters.variants

    def needs(self) -> tuple[Input, ...]:
        """Short and long average of the close."""
        p = self.parameters
        if self.variant == "ema":
            return Input(ema, (p.short_period,)), Input(ema, (p.long_period,))
        return tuple(
            Input(sma, (period,), memory=period + 1) for period in (p.short_period, p.long_period)
        )

    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        """A cross of the two averages."""
        short, long = columns
        return crosses(short, long)
