"""The one place that imports TA-Lib.

`import talib` also imports pandas and polars where they are installed, only to accept their
series; that costs 40 MB in every symbol actor. Here both look absent while TA-Lib loads, and its
plain C functions are handed out. They take contiguous float64 arrays (views too), write nothing
into them, and answer an input that is too short with NaN, or with 0 where the output is whole
numbers.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, cast


@contextmanager
def _absent(*names: str) -> Iterator[None]:
    """Let imports of these modules fail for a moment; one that is loaded already stays."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = cast(ModuleType, None)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


with _absent("pandas", "polars"):
    from talib import _ta_lib


def _plain(name: str) -> Callable[..., Any]:
    function = getattr(_ta_lib, name)
    # Somebody who imported TA-Lib before us, with pandas, has left wrappers in the module.
    return cast(Callable[..., Any], getattr(function, "__wrapped__", function))


ADX = _plain("ADX")
ATR = _plain("ATR")
BBANDS = _plain("BBANDS")
EMA = _plain("EMA")
MACD = _plain("MACD")
RSI = _plain("RSI")
SMA = _plain("SMA")
STOCH = _plain("STOCH")
SUPERTREND = _plain("SUPERTREND")
VWAP = _plain("VWAP")
WILLR = _plain("WILLR")

SIMPLE = 0
"""TA-Lib's number for the simple moving average, where a function takes a kind of average."""

PATTERNS: dict[str, Callable[..., Any]] = {
    name: _plain(name) for name in sorted(_ta_lib.__TA_FUNCTION_NAMES__) if name.startswith("CDL")
}
"""TA-Lib's candlestick patterns by name, each a function of open, high, low and close."""
