"""SuperTrend: the trend line that follows the price at a multiple of ATR changes sides."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from hftray.core.candles import Candles
from hftray.core.drift import Radius, may_turn
from hftray.core.indicators import supertrend
from hftray.strategies.comparison import Pair, Truth
from hftray.strategies.registry import register
from hftray.strategies.strategy import (
    Column,
    Input,
    Parameters,
    Period,
    Strategy,
    Votes,
    Weight,
)


class SuperTrendParameters(Parameters):
    """The line lies `multiplier` times ATR(`period`) from the middle of the candle."""

    period: Period = 10
    multiplier: Annotated[float, Field(gt=0, le=20)] = 3.0
    weight: Weight = 1.2


@register("supertrend", SuperTrendParameters)
class SuperTrendFlip(Strategy[SuperTrendParameters]):
    """BUY on the candle where the direction turns up, SELL where it turns down."""

    def needs(self) -> tuple[Input, ...]:
        """The direction of the line."""
        p = self.parameters
        return (Input(supertrend, (p.period, p.multiplier), (1,)),)

    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        """A change of direction."""
        ((was, direction),) = columns
        return (was == -1) & (direction == 1), (was == 1) & (direction == -1)

    def survey(
        self, candles: Candles, columns: Sequence[Column], radii: Sequence[Radius], window: int
    ) -> tuple[Votes, Votes]:
        """The line remembers without end, so any candle on which it could turn may be a vote."""
        p = self.parameters
        up, down = may_turn(candles, window, p.period, p.multiplier)
        return -down.view(np.int8), up.view(np.int8)
