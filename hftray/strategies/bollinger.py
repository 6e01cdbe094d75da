"""Bollinger bands: a close that leaves the band is expected to come back."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from hftray.core.indicators import bollinger
from hftray.strategies.comparison import Pair, Truth, crosses_above, crosses_below
from hftray.strategies.registry import register
from hftray.strategies.strategy import CLOSE, Input, Parameters, Period, Strategy, Weight


class BollingerParameters(Parameters):
    """The band lies `deviations` standard deviations around the mean of `period` closes."""

    period: Period = 20
    deviations: Annotated[float, Field(gt=0, le=10)] = 2.0
    weight: Weight = 0.7


@register("bollinger", BollingerParameters)
class BollingerReversion(Strategy[BollingerParameters]):
    """BUY when the close crosses below the lower band, SELL when above the upper."""

    def needs(self) -> tuple[Input, ...]:
        """Upper and lower band; the close."""
        p = self.parameters
        return Input(bollinger, (p.period, p.deviations), (0, 2), memory=p.period + 1), CLOSE

    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        """A cross of either band, outwards."""
        upper, lower, close = columns
        return crosses_below(close, lower), crosses_above(close, upper)
