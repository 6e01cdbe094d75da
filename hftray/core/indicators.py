"""Technical indicators over candle columns, on TA-Lib.

Each function takes `Candles` and gives float64 arrays as long as they are, in the prices' unit
(rupees) unless said otherwise. While an indicator warms up, and on an input too short for it, its
values are NaN. Nothing here looks ahead: a value depends on its own candle and earlier ones.

Indicators with a finite memory take `rows`, the part of the candles to work on: for the newest
values alone `slice(-n, None)` spares the rest.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from hftray.core import talib
from hftray.core.candles import Candles, Floats, Ints, first_of_days
from hftray.core.errors import NotFound

EVERY = slice(None)


def sma(candles: Candles, period: int, rows: slice = EVERY) -> Floats:
    """Simple moving average of the close."""
    return talib.SMA(candles.close[rows], period)


def ema(candles: Candles, period: int) -> Floats:
    """Exponential moving average of the close, seeded with the simple one."""
    return talib.EMA(candles.close, period)


def volume_mean(candles: Candles, period: int, rows: slice = EVERY) -> Floats:
    """Mean volume, in shares, of the `period` candles that end with each one."""
    return talib.SMA(candles.volume[rows], period)


def rsi(candles: Candles, period: int = 14) -> Floats:
    """Wilder's relative strength index, 0 to 100.

    NaN until the price has moved once: without gains or losses their ratio is undefined, where
    TA-Lib says 0, which reads as deeply oversold.
    """
    close = candles.close
    values = talib.RSI(close, period)
    if len(close) > period and values.item(period) == 0.0:
        moved = close != close.item(0)
        values[: int(moved.argmax()) if moved.any() else None] = np.nan
    return values


def macd(
    candles: Candles, fast: int = 12, slow: int = 26, signal: int = 9
) -> tuple[Floats, Floats, Floats]:
    """MACD line, its signal line, and the histogram (their difference)."""
    return talib.MACD(candles.close, fast, slow, signal)


def bollinger(
    candles: Candles, period: int = 20, deviations: float = 2.0, rows: slice = EVERY
) -> tuple[Floats, Floats, Floats]:
    """Upper, middle and lower band; the deviation is the population's (divided by N)."""
    return talib.BBANDS(candles.close[rows], period, deviations, deviations, talib.SIMPLE)


def atr(candles: Candles, period: int = 14) -> Floats:
    """Wilder's average true range."""
    return talib.ATR(candles.high, candles.low, candles.close, period)


def adx(candles: Candles, period: int = 14) -> Floats:
    """Wilder's average directional index, 0 to 100."""
    return talib.ADX(candles.high, candles.low, candles.close, period)


def stochastic(
    candles: Candles, period: int = 14, smooth: int = 3, signal: int = 3, rows: slice = EVERY
) -> tuple[Floats, Floats]:
    """%K over `period` candles smoothed by `smooth`, and %D, its mean over `signal`; 0 to 100."""
    return talib.STOCH(
        candles.high[rows], candles.low[rows], candles.close[rows],
        period, smooth, talib.SIMPLE, signal, talib.SIMPLE,
    )  # fmt: skip


def williams_r(candles: Candles, period: int = 14) -> Floats:
    """Williams %R, -100 to 0."""
    return talib.WILLR(candles.high, candles.low, candles.close, period)


def supertrend(
    candles: Candles, period: int = 10, multiplier: float = 3.0
) -> tuple[Floats, talib.Ints]:
    """SuperTrend line and direction.

    The direction is +1 while the line supports the price, -1 while it caps it, and, being whole
    numbers, 0 during warm-up.
    """
    return talib.SUPERTREND(candles.high, candles.low, candles.close, period, multiplier)


def vwap(candles: Candles) -> Floats:
    """Volume-weighted mean of the typical price since the session's first candle.

    NaN until the session has traded a share.
    """
    stretches = _stretches(candles.day)
    means = _sums((candles.high + candles.low + candles.close) / 3.0 * candles.volume, stretches)
    with np.errstate(invalid="ignore"):  # nothing traded yet
        means /= _sums(candles.volume, stretches)
    return means


def _stretches(day: Ints) -> list[tuple[slice, int]]:
    """Days that follow one another and are equally long, as most are, and how long."""
    starts, count = first_of_days(day), len(day)
    lengths = np.diff(starts, append=count)
    changes = np.flatnonzero(np.diff(lengths, prepend=-1))
    begins = starts[changes].tolist()
    parts = map(slice, begins, [*begins[1:], count])
    return list(zip(parts, lengths[changes].tolist(), strict=True))


def _sums(values: Floats, stretches: Sequence[tuple[slice, int]]) -> Floats:
    """Running sums of values, anew each day."""
    sums = np.empty(len(values))
    for part, length in stretches:
        np.cumsum(values[part].reshape(-1, length), axis=1, out=sums[part].reshape(-1, length))
    return sums


def vwap_of_session(candles: Candles) -> Floats:
    """The end of `vwap`, at least two values of it: the present session's, without the others."""
    day = candles.day
    start = day.searchsorted(day[-1])
    if day.size - start < 2:
        return vwap(candles)
    return _anchored_vwap(candles, slice(start, None))


def _anchored_vwap(candles: Candles, session: slice) -> Floats:
    values = talib.VWAP(
        candles.high[session], candles.low[session],
        candles.close[session], candles.volume[session],
    )  # fmt: skip
    if values.item(0) == 0.0:  # TA-Lib's answer before the first share; no price is 0
        values[values == 0.0] = np.nan
    return values


INDICATORS: dict[str, Callable[[Candles], dict[str, Floats]]] = {
    "sma": lambda c: {"sma_20": sma(c, 20), "sma_50": sma(c, 50)},
    "ema": lambda c: {"ema_20": ema(c, 20), "ema_50": ema(c, 50)},
    "rsi": lambda c: {"rsi": rsi(c)},
    "macd": lambda c: _named(("macd", "macd_signal", "macd_histogram"), macd(c)),
    "bollinger": lambda c: _named(
        ("bollinger_upper", "bollinger_middle", "bollinger_lower"), bollinger(c)
    ),
    "atr": lambda c: {"atr": atr(c)},
    "adx": lambda c: {"adx": adx(c)},
    "stochastic": lambda c: _named(("stochastic_k", "stochastic_d"), stochastic(c)),
    "vwap": lambda c: {"vwap": vwap(c)},
    "supertrend": lambda c: _supertrend_columns(*supertrend(c)),
    "williams_r": lambda c: {"williams_r": williams_r(c)},
}
"""Indicators by the name a request uses, with the specification's periods: their columns."""


def _named(names: tuple[str, ...], columns: tuple[Floats, ...]) -> dict[str, Floats]:
    return dict(zip(names, columns, strict=True))


def _supertrend_columns(line: Floats, direction: talib.Ints) -> dict[str, Floats]:
    known = np.where(direction == 0, np.nan, direction)
    return {"supertrend": line, "supertrend_direction": known}


def indicator_columns(names: Iterable[str], candles: Candles) -> dict[str, Floats]:
    """The columns of the indicators asked for; NotFound names an unknown one and the known."""
    columns: dict[str, Floats] = {}
    for name in names:
        if name not in INDICATORS:
            raise NotFound(f"no indicator '{name}'; known are {', '.join(INDICATORS)}")
        columns |= INDICATORS[name](candles)
    return columns
