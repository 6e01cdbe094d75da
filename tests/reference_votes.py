"""All eight votes recomputed in plain loops over the whole history; shares no rule with hftray."""

from itertools import pairwise
from statistics import fmean, pstdev

from hftray.core.candles import Candles

Series = list[float | None]


def same(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-9 * max(abs(a), abs(b))


def crossings(a: Series, b: Series) -> list[int]:
    """+1 where a was at or below b and is above, -1 mirrored."""
    found = [0] * len(a)
    for i in range(1, len(a)):
        old_a, old_b, new_a, new_b = a[i - 1], b[i - 1], a[i], b[i]
        if old_a is None or old_b is None or new_a is None or new_b is None or same(new_a, new_b):
            continue
        if new_a > new_b and (old_a < old_b or same(old_a, old_b)):
            found[i] = 1
        if new_a < new_b and (old_a > old_b or same(old_a, old_b)):
            found[i] = -1
    return found


def sma(values: list[float], period: int) -> Series:
    return [
        fmean(values[i - period + 1 : i + 1]) if i >= period - 1 else None
        for i in range(len(values))
    ]


def ema(values: list[float], period: int, first: int) -> Series:
    """Seeded on candle `first` with the mean of the `period` values that end there."""
    result: Series = [None] * len(values)
    now = fmean(values[first - period + 1 : first + 1])
    result[first] = now
    for i in range(first + 1, len(values)):
        now += (values[i] - now) * 2 / (period + 1)
        result[i] = now
    return result


def rsi(close: list[float], period: int = 14) -> Series:
    moves = [b - a for a, b in pairwise(close)]
    gain = fmean(max(move, 0) for move in moves[:period])
    loss = fmean(max(-move, 0) for move in moves[:period])
    result: Series = [None] * period + [100 * gain / (gain + loss)]
    for move in moves[period:]:
        gain = (gain * (period - 1) + max(move, 0)) / period
        loss = (loss * (period - 1) + max(-move, 0)) / period
        result.append(100 * gain / (gain + loss))
    return result


def percent_k(candles: Candles) -> Series:
    high, low, close = candles.high.tolist(), candles.low.tolist(), candles.close.tolist()
    raw = []
    for i in range(13, len(close)):
        bottom, top = min(low[i - 13 : i + 1]), max(high[i - 13 : i + 1])
        raw.append(100 * (close[i] - bottom) / (top - bottom))
    smooth = [None] * 13 + sma(raw, 3)
    return [None] * 17 + smooth[17:]  # known together with %D, its mean of three


def vwap(candles: Candles) -> list[float]:
    result, day, money, shares = [], None, 0.0, 0.0
    rows = (candles.day, candles.high, candles.low, candles.close, candles.volume)
    for today, high, low, close, volume in zip(*(c.tolist() for c in rows), strict=True):
        if today != day:
            day, money, shares = today, 0.0, 0.0
        money += (high + low + close) / 3 * volume
        shares += volume
        result.append(money / shares)
    return result


def supertrend_directions(candles: Candles, period: int = 10, multiplier: float = 3.0) -> list[int]:
    high, low, close = candles.high.tolist(), candles.low.tolist(), candles.close.tolist()
    ranges = [
        max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1]))
        for i in range(1, len(close))
    ]
    atr = fmean(ranges[:period])
    directions, direction = [0] * period, 1
    cap = floor = 0.0
    for i in range(period, len(close)):
        if i > period:
            atr = (atr * (period - 1) + ranges[i - 1]) / period
        middle = (high[i] + low[i]) / 2
        new_cap, new_floor = middle + multiplier * atr, middle - multiplier * atr
        if i == period:
            cap, floor = new_cap, new_floor
        if new_cap < cap or close[i - 1] > cap:
            cap = new_cap
        if new_floor > floor or close[i - 1] < floor:
            floor = new_floor
        if direction == 1 and close[i] < floor:
            direction = -1
        elif direction == -1 and close[i] > cap:
            direction = 1
        directions.append(direction)
    return directions


def macd_votes(close: list[float]) -> list[int]:
    fast, slow = ema(close, 12, 25), ema(close, 26, 25)
    line = [a - b for a, b in zip(fast[25:], slow[25:], strict=True)]  # type: ignore[operator]
    signal = ema(line, 9, 8)
    return [0] * 33 + crossings(line[8:], signal[8:])


def votes_by_loops(candles: Candles) -> dict[str, list[int]]:
    close, volume = candles.close.tolist(), candles.volume.tolist()
    day = candles.day.tolist()
    count = len(close)
    strength, k = rsi(close), percent_k(candles)
    low_zone = [min(vote, 0) for vote in crossings(strength, [30.0] * count)]
    high_zone = [max(vote, 0) for vote in crossings(strength, [70.0] * count)]
    middle = sma(close, 20)
    spread = [2 * pstdev(close[i - 19 : i + 1]) if i >= 19 else None for i in range(count)]
    band = list(zip(middle, spread, strict=True))
    lower = [None if m is None or s is None else m - s for m, s in band]
    upper = [None if m is None or s is None else m + s for m, s in band]
    below = [min(vote, 0) for vote in crossings(close, lower)]
    above = [max(vote, 0) for vote in crossings(close, upper)]
    mean_volume = sma(volume, 20)
    at_vwap = crossings(close, vwap(candles))
    for i, vote in enumerate(at_vwap):
        mean = mean_volume[i]
        quiet = mean is None or not volume[i] > 1.5 * mean
        if i and (day[i] != day[i - 1] or (vote == 1 and quiet)):
            at_vwap[i] = 0
    trend = supertrend_directions(candles)
    state = [0] * count
    for i in range(1, count):
        if strength[i] is not None and k[i] is not None:
            state[i] = (strength[i] < 30 and k[i] < 20) - (strength[i] > 70 and k[i] > 80)
    return {
        "ma_crossover:sma": crossings(sma(close, 20), sma(close, 50)),
        "ma_crossover:ema": crossings(ema(close, 20, 19), ema(close, 50, 49)),
        "rsi": [-a - b for a, b in zip(low_zone, high_zone, strict=True)],
        "macd": macd_votes(close),
        "bollinger": [-a - b for a, b in zip(below, above, strict=True)],
        "vwap": at_vwap,
        "supertrend": [0] + [(b - a) // 2 if a else 0 for a, b in pairwise(trend)],
        "stochastic_rsi": state,
    }
