"""VWAP: the close crosses the day's volume-weighted average price; a rise needs volume."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from hftray.core.indicators import volume_mean, vwap, vwap_of_session
from hftray.strategies.comparison import Pair, Truth, above, crosses
from hftray.strategies.registry import register
from hftray.strategies.strategy import (
    CLOSE,
    DAY,
    VOLUME,
    Input,
    Parameters,
    Period,
    Strategy,
    Weight,
)


class VwapParameters(Parameters):
    """A BUY needs volume above `volume_factor` times the mean of `volume_period` candles.

    Those candles end with the present one, whose own volume is part of the mean.
    """

    volume_period: Period = 20
    volume_factor: Annotated[float, Field(ge=0, le=100)] = 1.5
    weight: Weight = 0.9


@register("vwap", VwapParameters)
class VwapCross(Strategy[VwapParameters]):
    """BUY when the close crosses above VWAP on high volume, SELL when it crosses below.

    VWAP starts anew with each session, so nothing crosses from one session to the next.
    """

    def __init__(self, parameters: VwapParameters, variant: str = "") -> None:
        super().__init__(parameters, variant)
        self._factor = parameters.volume_factor

    def needs(self) -> tuple[Input, ...]:
        """Close, session VWAP, day, volume and its mean."""
        period = self.parameters.volume_period
        mean = Input(volume_mean, (period,), memory=period + 1)
        return CLOSE, Input(vwap, newest=vwap_of_session), DAY, VOLUME, mean

    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        """A cross within the session, upwards only with volume."""
        close, average, (day_before, day), (_, volume), (_, mean) = columns
        same_session = day_before == day
        busy = above(volume, self._factor * mean)
        above_it, below_it = crosses(close, average)
        return above_it & same_session & busy, below_it & same_session
