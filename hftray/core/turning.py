"""Where SuperTrend turns, whatever candle the buffer begins with.

SuperTrend remembers without end, so a live buffer's line need not be the one of the whole history.
But two lines on the same candles soon become one: an upper band that some close has passed, or
that a lower basic band replaced, is the same for both from there on. `turns` follows everything
that the lines of all buffers can be, which tells nearly every turn; it is a loop, to be compiled.
`may_turn` says only where a turn is possible, in a few passes over whole columns.
"""

from math import ceil, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftray.core import talib
from hftray.core.candles import Candles, Floats, writable
from hftray.core.drift import rounding_of

_REACHES = (5, 40)  # candles; any would do, these two leave the fewest places open
_EVERY = 96  # candles from one beginning that is followed to the next
_LITTLE, _MUCH = 1e-4, 1e-2  # what may be left of an ATR's start when a line begins


def may_turn(
    candles: Candles, window: int, period: int, multiplier: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where SuperTrend could turn up, and down, wherever the buffer begins; it does nowhere else.

    An upper band stands where some candle set it, as long as no close lay above it. Either that
    was within the last few candles, or the closes of all of these lie below it. So it is nowhere
    below the lower of their lowest basic band and their highest close, and a close that is not
    above this turns nothing up. The lower band mirrors that.
    """
    settled, count = window - period - max(_REACHES) - 2, len(candles)
    if settled < 1 or count < period + max(_REACHES) + 2:
        return np.ones(count, dtype=np.bool_), np.ones(count, dtype=np.bool_)
    cap, floor, slack = _bands(candles, period, multiplier, settled)
    up = _may_cross(candles.close, cap, period, slack)
    return up, _may_cross(-candles.close, -floor, period, slack)


def _may_cross(close: Floats, band: Floats, period: int, slack: float) -> NDArray[np.bool_]:
    possible = np.ones(len(close), dtype=np.bool_)
    for reach in _REACHES:
        lowest = talib.MIN(band[period:], reach)
        highest = talib.MAX(close, reach)[period - 1 : -1]
        possible[period:] &= ~(close[period:] <= np.minimum(lowest, highest) - slack)
    return possible


def _bands(
    candles: Candles, period: int, multiplier: float, settled: int
) -> tuple[Floats, Floats, float]:
    """The basic bands, and how far those of a buffer are off after so many candles at most."""
    high, low = candles.high, candles.low
    atr = talib.ATR(high, low, candles.close, period)
    slack = multiplier * (_off(candles, atr, period) * (1 - 1 / period) ** settled)
    middle, reach = (high + low) / 2, multiplier * atr
    return middle + reach, middle - reach, slack + multiplier * rounding_of(high)


def _off(candles: Candles, atr: Floats, period: int) -> float:
    """How far a buffer's ATR, which starts with a plain mean, can be off as it starts."""
    ranges = talib.TRANGE(candles.high, candles.low, candles.close)
    return float(np.abs(talib.SMA(ranges, period) - atr)[period:].max(initial=0.0))


def turning_terms(
    candles: Candles, window: int, period: int, multiplier: float
) -> tuple[Floats, Floats, Floats, float, int, int, int] | None:
    """What `turns` is called with: close, bands, slack, first row, how far a beginning serves, and
    how many rows there are from one to the next.

    None where the buffer is too short to tell anything.
    """
    # At least half of the buffer is left for the bands.
    settled = min(ceil(log(_LITTLE) / log(1 - 1 / period)), (window - period) // 2)
    ahead = window - 1 - period - settled
    every = min(_EVERY, ahead // 4)
    if (1 - 1 / period) ** settled > _MUCH or every < 1 or len(candles) <= window:
        return None
    cap, floor, slack = _bands(candles, period, multiplier, settled)
    return writable(candles.close), cap, floor, slack, window - ahead, ahead, every


def turns(
    close: Any, cap: Any, floor: Any, slack: float, first: int, ahead: int, every: int
) -> tuple[Any, Any]:
    """The lowest and the highest vote on each row from `first + ahead` on, earlier ones are 0.

    A vote is +1 where the line turns up, -1 where it turns down. `cap` and `floor` are the basic
    bands of the whole history, at most `slack` from those of any buffer that a row's vote is of,
    from `ahead` candles before the row on. Lines are followed from `every` so many
    rows on, with nothing known of them at first, until they are what those from earlier rows were.
    """
    count = len(close)
    lines = np.full((count, 4), np.nan)
    up, down = np.ones(count, np.bool_), np.ones(count, np.bool_)
    lowest, highest = np.zeros(count, np.int8), np.zeros(count, np.int8)
    row = first + ahead
    begin = first
    while row < count:
        _follow(close, cap, floor, slack, begin, lines, up, down)
        while row < count and row <= begin + ahead:
            was, now = up[row - 1] != down[row - 1], up[row] != down[row]
            if was and now:
                vote = (up[row] and down[row - 1]) * 1 - (down[row] and up[row - 1]) * 1
                lowest[row] = highest[row] = vote
            else:
                lowest[row] = -1 if up[row - 1] and down[row] else 0
                highest[row] = 1 if down[row - 1] and up[row] else 0
            row += 1
        begin += every
    return lowest, highest


def _follow(
    close: Any, cap: Any, floor: Any, slack: float, begin: int, lines: Any, up: Any, down: Any
) -> None:
    """Everything the line can be from `begin` on: `lines` has the lowest and the highest cap, then
    the same of the floor; `up` and `down` say whether it may stand so.
    """
    # No band is ever beyond the basic one of its candle.
    cap_low, cap_high = -np.inf, cap[begin] + slack
    floor_low, floor_high = floor[begin] - slack, np.inf
    is_up = is_down = True
    row = begin
    while True:
        lines[row, 0], lines[row, 1], lines[row, 2], lines[row, 3] = (
            cap_low, cap_high, floor_low, floor_high,
        )  # fmt: skip
        up[row], down[row] = is_up, is_down
        row += 1
        if row == len(close):
            return
        before, price = close[row - 1], close[row]
        cap_low, cap_high = _cap(cap_low, cap_high, before, cap[row], slack)
        # The floor is the cap of the same prices upside down.
        minus_high, minus_low = _cap(-floor_high, -floor_low, -before, -floor[row], slack)
        floor_low, floor_high = -minus_low, -minus_high
        was_up, was_down = is_up, is_down
        is_up = (was_up and not price < floor_low - slack) or (was_down and price > cap_low - slack)
        is_down = (was_down and not price > cap_high + slack) or (
            was_up and price < floor_high + slack
        )
        same = lines[row, 0] == cap_low and lines[row, 1] == cap_high
        same = same and lines[row, 2] == floor_low and lines[row, 3] == floor_high
        if same and up[row] == is_up and down[row] == is_down:
            return


def _cap(low: float, high: float, before: float, basic: float, slack: float) -> tuple[float, float]:
    """The lowest and the highest cap on the next candle; one that `before` has passed starts anew.

    A cap that starts anew is the basic band, another is the lower of the two.
    """
    if before > high + slack:
        return basic - slack, basic + slack
    if before > low - slack:
        return min(basic, max(low, before)) - slack, basic + slack
    return min(basic - slack, low), min(basic + slack, high)
