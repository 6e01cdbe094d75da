"""SuperTrend: the trend line that follows the price at a multiple of ATR changes sides."""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field

from hftray.core.candles import Candles
from hftray.core.drift import Radius
from hftray.core.indicators import supertrend
from hftray.core.turning import may_turn, turning_terms, turns
from hftray.strategies.comparison import Pair, Truth
from hftray.strategies.registry import register
from hftray.strategies.rough import Compiler
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
        self,
        candles: Candles,
        columns: Sequence[Column],
        radii: Sequence[Radius],
        window: int,
        compiler: Compiler | None = None,
    ) -> tuple[Votes, Votes]:
        """The line remembers without end, so it is asked what the lines of all buffers do.

        A buffer that still begins with the first candle of all has the line of the history.
        """
        p, lowest, highest = self.parameters, None, None
        if compiler is not None:
            terms = turning_terms(candles, window, p.period, p.multiplier)
            if terms is not None:
                lowest, highest = compiler(turns)(*terms)
        if lowest is None or highest is None:
            up, down = may_turn(candles, window, p.period, p.multiplier)
            lowest, highest = -down.view(np.int8), up.view(np.int8)
        lowest[:window] = highest[:window] = self.votes_over([columns[0][:window]])
        return lowest, highest
