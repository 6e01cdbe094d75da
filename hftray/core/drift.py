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

from hftray.core import indicators, talib
from hftray.core.candles import Candles, Floats, first_of_days

Radius = float | Floats
"""A bound for all candles, or one for each."""

UNKNOWN = float("inf")

_EPSILON = float(np.finfo(np.float64).eps)
_LITTLE = 1e-7  # against the values; then one number for all candles will do, which is quicker


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


def rounding_of(values: Floats) -> float:
    """What running sums and averages of all the values, none negative, can be off at most."""
    return 16 * len(values) * _EPSILON * float(values.max())


def span_of(high: Floats, low: Floats) -> float:
    """From the lowest value to the highest."""
    return float(high.max() - low.min())


def _sma(candles: Candles, window: int, _: Any, period: int) -> Radius:
    return rounding_of(candles.close) if window > period else UNKNOWN


def _volume_mean(candles: Candles, window: int, _: Any, period: int) -> Radius:
    return rounding_of(candles.volume) if window > period else UNKNOWN


def _ema(candles: Candles, window: int, result: Any, period: int) -> Radius:
    """A buffer starts with the mean of its first closes; how far that was off is being forgotten.

    Of the candle before the newest a little less was forgotten, so it goes by that one.
    """
    rounding, count = rounding_of(candles.close), len(candles)
    settled = window - period - 1
    if settled < 1:
        return UNKNOWN
    if count < window:
        return rounding
    starts = slice(period - 1, count - window + period + 1)
    off = np.abs(talib.SMA(candles.close, period)[starts] - result[starts])
    left = (1 - 2 / (period + 1)) ** settled
    if (most := float(off.max()) * left + rounding) <= _LITTLE * float(candles.close.max()):
        return most
    return _later(np.maximum(off[:-1], off[1:]) * left + rounding, candles, window)


def _macd(candles: Candles, window: int, _: Any, fast: int, slow: int, signal: int) -> Radius:
    """Each average starts off by at most the span of closes, the signal line by twice as much.

    The signal line also averages what the lines are off. That adds up to a geometric series, as
    the slower of both kinds forgets it.
    """
    longest = max(fast, slow)
    settled = window - longest - signal - 1
    if settled < 1:
        return UNKNOWN
    quicker, slower = sorted(1 - 2 / (period + 1) for period in (longest, signal))
    series = 1 / max(1 - quicker / slower, 1 / window)
    share = 1 + 2 / (signal + 1) * series
    forgotten = 4 * span_of(candles.close, candles.close) * share * slower**settled
    return forgotten + 8 * rounding_of(candles.close)


def _rsi(candles: Candles, window: int, _: Any, period: int = 14) -> Radius:
    """Both averages are off by what they forgot; their ratio by as much against their sum.

    The sum of Wilder's averages of gains and of losses is the one of moves, an EMA of 2p - 1.
    """
    settled = window - period - 2
    if settled < 1 or window < 2 * period:
        return UNKNOWN
    moves = np.zeros(len(candles))
    np.subtract(candles.close[1:], candles.close[:-1], out=moves[1:])
    np.abs(moves, out=moves)
    forgotten = 2 * (1 - 1 / period) ** settled * float(moves.max())
    forgotten += rounding_of(candles.close)
    mean = talib.EMA(moves, 2 * period - 1)[window - 1 :] - forgotten
    least = float(mean.min(initial=UNKNOWN))
    if least > 0 and (most := 200 * forgotten / least) <= 100 * _LITTLE:
        return most
    with np.errstate(divide="ignore", invalid="ignore"):
        bound = np.where(mean > forgotten, 200 * forgotten / mean, UNKNOWN)
    return _later(bound, candles, window)


def _bollinger(
    candles: Candles, window: int, result: Any, period: int, deviations: float = 2.0
) -> Radius:
    """The variance is a difference of squares, so its rounding is that of the squared price."""
    if window <= period:
        return UNKNOWN
    upper, middle, _ = result
    variance = 4 * rounding_of(candles.close) * float(candles.close.max())
    deviation = np.maximum((upper - middle) / deviations, variance**0.5)
    bound: Floats = rounding_of(candles.close) + deviations * variance / deviation
    return bound


def _stochastic(
    candles: Candles, window: int, _: Any, period: int, smooth: int, signal: int
) -> Radius:
    """%K before smoothing is exact; the means of it are running sums of numbers up to 100."""
    enough = window >= period + smooth + signal
    return 16 * len(candles) * _EPSILON * 100 if enough else UNKNOWN


def _vwap(candles: Candles, window: int, _: Any) -> Radius:
    """The same sums while the session's first candle is in the buffer, added by other code."""
    starts = first_of_days(candles.day)
    lengths = np.diff(starts, append=len(candles))
    longest = int(lengths.max())
    rounding = 4 * longest * _EPSILON * float(candles.high.max())
    if longest < window:
        return rounding
    age = np.arange(len(candles)) - np.repeat(starts, lengths)
    return np.where(age < window - 1, rounding, UNKNOWN)


def _atr(candles: Candles, window: int, _: Any, period: int = 14) -> Radius:
    """Exact as long as the buffer holds all there is.

    Of the candle before the newest a little less was forgotten, so it goes by that one.
    """
    count, settled = len(candles), window - period - 2
    if count < window:
        return 0.0
    span = span_of(candles.high, candles.low)
    forgotten = UNKNOWN if settled < 0 else span * (1 - 1 / period) ** settled
    bound = forgotten + 16 * count * _EPSILON * span
    return _later(np.full(count - window + 1, bound), candles, window)


def _later(bound: Floats, candles: Candles, window: int) -> Floats:
    """The bound from the first candle on whose buffer begins later than history does.

    Before that nothing differs.
    """
    whole = np.zeros(len(candles))
    whole[window - 1 :] = bound
    return whole


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
