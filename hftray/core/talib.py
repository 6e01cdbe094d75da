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

import numpy as np
from numpy.typing import NDArray


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


Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


def _plain(name: str) -> Any:
    function = getattr(_ta_lib, name)
    # Somebody who imported TA-Lib before us, with pandas, has left wrappers in the module.
    return getattr(function, "__wrapped__", function)


ADX: Callable[..., Floats] = _plain("ADX")
ATR: Callable[..., Floats] = _plain("ATR")
BBANDS: Callable[..., tuple[Floats, Floats, Floats]] = _plain("BBANDS")
EMA: Callable[..., Floats] = _plain("EMA")
MACD: Callable[..., tuple[Floats, Floats, Floats]] = _plain("MACD")
MAX: Callable[..., Floats] = _plain("MAX")
MIN: Callable[..., Floats] = _plain("MIN")
RSI: Callable[..., Floats] = _plain("RSI")
SMA: Callable[..., Floats] = _plain("SMA")
STOCH: Callable[..., tuple[Floats, Floats]] = _plain("STOCH")
SUPERTREND: Callable[..., tuple[Floats, Ints]] = _plain("SUPERTREND")
TRANGE: Callable[..., Floats] = _plain("TRANGE")
VWAP: Callable[..., Floats] = _plain("VWAP")
WILLR: Callable[..., Floats] = _plain("WILLR")

SIMPLE = 0
"""TA-Lib's number for the simple moving average, where a function takes a kind of average."""

PATTERNS: dict[str, Callable[..., Ints]] = {
    name: _plain(name)
    for name in sorted(vars(_ta_lib)["__TA_FUNCTION_NAMES__"])
    if name.startswith("CDL")
}
"""TA-Lib's candlestick patterns by name, each a function of open, high, low and close."""
