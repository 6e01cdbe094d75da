"""How far an indicator on the newest candles may lie from the same one on all of history.

A live symbol computes its indicators on a buffer of the newest candles, a backtest on the whole
history at once. Averages that remember for ever start from another candle then, and running sums
have been rounded more often, so the last digits differ. `drift` bounds the difference, column by
column and for any candle, and a backtest looks again, on the very buffer, wherever that much could
change a comparison.

The bounds. An exponential average of period p forgets its start by a factor of 1 - 2 / (p + 1) a
candle, a Wilder average by 1 - 1 / p. A running sum of n steps is off by at most n roundings of its
largest value. Nothing is known of a function that is not listed here: its drift is infinite.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftray.core import indicators, talib
from hftray.core.candles import Candles, Floats

Radius = float | Floats
"""A bound for all candles, or one for each."""

UNKNOWN = float("inf")

_EPSILON = float(np.finfo(np.float64).eps)
_REACHES = (5, 40)  # candles; any would do, these two leave the fewest places open


def drift(
    series: Callable[..., Any],
    arguments: tuple[float, ...],
    candles: Candles,
    window: int,
    result: Any,
) -> Any:
    """A bound for each column of `result`, which is `series(candles, *arguments)`, in its unit.

    As the result is: a tuple of bounds for a tuple of columns, or one.

    `window` is how many candles the buffer holds. Infinite for an unknown function, and wherever
    the buffer is too short for the indicator to settle.
    """
    known = _DRIFTS.get(series) if len(candles) else None
    bound = UNKNOWN if known is None else known(candles, window, result, *arguments)
    return (bound,) * len(result) if isinstance(result, tuple) else bound


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
    close, high, low = candles.close, candles.high, candles.low
    widest = float(high.max() - low.min())
    slack = multiplier * (widest * (1 - 1 / period) ** settled + _rounding(high))
    middle, reach = (high + low) / 2, multiplier * talib.ATR(high, low, close, period)
    up = _may_cross(close, middle + reach, period, slack)
    return up, _may_cross(-close, reach - middle, period, slack)


def _may_cross(close: Floats, band: Floats, period: int, slack: float) -> NDArray[np.bool_]:
    possible = np.ones(len(close), dtype=np.bool_)
    for reach in _REACHES:
        lowest = talib.MIN(band[period:], reach)
        highest = talib.MAX(close, reach)[period - 1 : -1]
        possible[period:] &= ~(close[period:] <= np.minimum(lowest, highest) - slack)
    return possible


def _rounding(values: Floats) -> float:
    return 16 * len(values) * _EPSILON * float(np.abs(values).max())


def _span(values: Floats) -> float:
    return float(values.max() - values.min())


def _sma(candles: Candles, window: int, _: Any, period: int) -> Radius:
    return _rounding(candles.close) if window > period else UNKNOWN


def _volume_mean(candles: Candles, window: int, _: Any, period: int) -> Radius:
    return _rounding(candles.volume) if window > period else UNKNOWN


def _ema(candles: Candles, window: int, _: Any, period: int) -> Radius:
    settled = window - period - 1  # candles since the start, seen from the candle before the newest
    if settled < 1:
        return UNKNOWN
    forgotten = (1 - 2 / (period + 1)) ** settled
    return _span(candles.close) * forgotten + _rounding(candles.close)


def _macd(candles: Candles, window: int, _: Any, fast: int, slow: int, signal: int) -> Radius:
    """The signal line averages lines that had settled less, so it bounds them too."""
    longest = max(fast, slow)
    settled = window - longest - signal - 1
    if settled < 1:
        return UNKNOWN
    factor = 1 - 2 / (max(longest, signal) + 1)
    forgotten = 8 * _span(candles.close) * (window + 1) * factor**settled
    return forgotten + 8 * _rounding(candles.close)


def _rsi(candles: Candles, window: int, _: Any, period: int = 14) -> Radius:
    """Both averages are off by what they forgot; their ratio by as much against their sum.

    The sum of Wilder's averages of gains and of losses is the one of moves, an EMA of 2p - 1.
    """
    settled = window - period - 2
    if settled < 1 or len(candles) < 2 * period:
        return UNKNOWN
    moves = np.abs(np.diff(candles.close, prepend=candles.close[0]))
    forgotten = 2 * (1 - 1 / period) ** settled * float(moves.max())
    forgotten += _rounding(candles.close)
    mean = talib.EMA(moves, 2 * period - 1) - forgotten
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean > forgotten, 200 * forgotten / mean, UNKNOWN)


def _bollinger(
    candles: Candles, window: int, result: Any, period: int, deviations: float = 2.0
) -> Radius:
    """The variance is a difference of squares, so its rounding is that of the squared price."""
    if window <= period:
        return UNKNOWN
    upper, middle, _ = result
    variance = 4 * _rounding(candles.close) * float(candles.close.max())
    deviation = np.maximum((upper - middle) / deviations, variance**0.5)
    bound: Floats = _rounding(candles.close) + deviations * variance / deviation
    return bound


def _stochastic(
    candles: Candles, window: int, _: Any, period: int, smooth: int, signal: int
) -> Radius:
    """%K before smoothing is exact; the means of it are running sums of numbers up to 100."""
    enough = window >= period + smooth + signal
    return 16 * len(candles) * _EPSILON * 100 if enough else UNKNOWN


def _vwap(candles: Candles, window: int, _: Any) -> Radius:
    """The same sums while the session's first candle is in the buffer, added by other code."""
    starts = np.flatnonzero(np.diff(candles.day, prepend=-1))
    lengths = np.diff(starts, append=len(candles))
    longest = int(lengths.max())
    rounding = 4 * longest * _EPSILON * float(candles.high.max())
    if longest < window:
        return rounding
    age = np.arange(len(candles)) - np.repeat(starts, lengths)
    return np.where(age < window - 1, rounding, UNKNOWN)


def _atr(candles: Candles, window: int, _: Any, period: int = 14) -> Radius:
    """Exact as long as the buffer holds all there is."""
    bound = np.zeros(len(candles))
    settled, values = window - period - 1, float(candles.high.max() - candles.low.min())
    if settled < 1:
        bound[window:] = UNKNOWN
    else:
        forgotten = values * (1 - 1 / period) ** settled
        bound[window:] = forgotten + 16 * len(candles) * _EPSILON * values
    return bound


_DRIFTS: dict[Callable[..., Any], Callable[..., Radius]] = {
    indicators.sma: _sma,
    indicators.ema: _ema,
    indicators.volume_mean: _volume_mean,
    indicators.rsi: _rsi,
    indicators.macd: _macd,
    indicators.bollinger: _bollinger,
    indicators.stochastic: _stochastic,
    indicators.vwap: _vwap,
    indicators.atr: _atr,
}
