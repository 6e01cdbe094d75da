"""Hand-made candles of one day in which every share has a trouble of its own.

All shares swing by half a rupee around a level, which nobody votes on; a candle that leaves it by
1 % is a vote of the Bollinger bands. The shares have made-up names, so they have no derivatives,
and a fixed price band.
"""

from collections.abc import Mapping
from datetime import date, datetime, time, timedelta

from hftray.core.candles import Candles
from hftray.core.market import Candle
from hftray.core.session import IST

DAY = date(2026, 9, 16)
EARLIER = (date(2026, 9, 9), date(2026, 9, 10), date(2026, 9, 11), date(2026, 9, 15))
FIVE_MINUTES = timedelta(minutes=5)
CANDLES = 75
LEVEL = 1000.0
SWING, WICK = 0.5, 0.2

Bar = tuple[float, float, float, float]  # open, high, low, close

FALLS: Bar = (1000.0, 1000.2, 989.8, 990.0)
"""The bands vote BUY on it: a long from 990, stop-loss and take-profit some rupees away."""
RISES: Bar = (1000.0, 1010.2, 999.8, 1010.0)
"""The bands vote SELL on it."""
TO_TARGET: Bar = (990.0, 1001.0, 989.8, 1000.0)
"""Touches a long's take-profit at its third quarter, and no stop before."""
THROUGH_STOP: Bar = (990.0, 990.2, 980.0, 981.0)
"""Passes a long's stop-loss between its second and its third quarter."""
ABOVE_THE_BAND: Bar = (1060.0, 1060.0, 1060.0, 1060.0)
"""Stands at the upper circuit, which is 5 % above the close of the day before."""

STORIES: Mapping[str, Mapping[int, Bar]] = {
    "TOKEN": {1: FALLS, 4: TO_TARGET},
    "AWAY": {1: FALLS, 5: THROUGH_STOP},
    "OURS": {1: FALLS, 12: (990.5, 990.5, 990.5, 990.5)},
    "MUTE": {1: FALLS, 11: TO_TARGET},
    "LOCK": {1: RISES, 9: ABOVE_THE_BAND, 10: ABOVE_THE_BAND, 11: (1040.0, 1040.2, 1039.0, 1040.0)},
    "REPLY": {2: FALLS},
    "FOREIGN": {9: FALLS},
    "STALE": {12: (985.0, 985.0, 985.0, 985.0)},
}
"""By share and number of the day's candle (0 opens at 09:15): what is not calm."""


def opens(number: int) -> datetime:
    """When the day's candle of that number opens."""
    return datetime.combine(DAY, time(9, 15), IST) + number * FIVE_MINUTES


def candles() -> dict[str, Candles]:
    """All shares' candles: some calm days, then the day itself."""
    return {symbol: Candles.of(_days(symbol, story)) for symbol, story in STORIES.items()}


def _days(symbol: str, story: Mapping[int, Bar]) -> list[Candle]:
    found, last = [], LEVEL
    for day in (*EARLIER, DAY):
        level = LEVEL
        for number in range(CANDLES):
            bar = story.get(number) if day == DAY else None
            if bar is None:
                close = level + (SWING if number % 2 == 0 else -SWING)
                bar = (last, max(last, close) + WICK, min(last, close) - WICK, close)
            else:
                level = bar[3]
            last = bar[3]
            opened = datetime.combine(day, time(9, 15), IST) + number * FIVE_MINUTES
            found.append(Candle(symbol, opened, *bar, 1000.0))
    return found
