"""Candlestick patterns: every CDL function of TA-Lib, by its name there (`CDLHAMMER`).

A hit is a whole number: +100 bullish, -100 bearish; a few patterns say ±200 when the candle after
confirmed them (Hikkake) and ±80 for a weaker form (Engulfing, Harami).
"""

from hftray.core import talib
from hftray.core.candles import Candles
from hftray.core.talib import Ints

PATTERN_NAMES = tuple(talib.PATTERNS)


def pattern_history(candles: Candles) -> dict[str, Ints]:
    """Each pattern that occurs at least once, with its value on every candle (0 where absent)."""
    found: dict[str, Ints] = {}
    for name, function in talib.PATTERNS.items():
        values = function(candles.open, candles.high, candles.low, candles.close)
        if values.any():
            found[name] = values
    return found


def patterns(candles: Candles) -> dict[str, int]:
    """The patterns that the newest candle completes; empty when there is none."""
    history = pattern_history(candles)
    return {name: int(values[-1]) for name, values in history.items() if values[-1]}
