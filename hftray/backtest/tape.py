"""A symbol's candles laid out for a backtest: a buffer that can be wound forward, without a copy.

The engine sees the buffer it has live. Candles that its feed guard would refuse are found here, by
the guard itself, on the few days that have any.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hftray.backtest.history import SymbolHistory
from hftray.backtest.timeline import Timeline
from hftray.core.candle_buffer import CandleBuffer
from hftray.core.candles import COLUMNS, Candles, Floats, Ints
from hftray.core.feed_guard import FeedGuard, within_band
from hftray.core.market import Candle
from hftray.core.rules import SignalRules, TradingRules


class Tape(CandleBuffer):
    """A buffer whose candles are all known from the start, up to the end it is wound to."""

    def __init__(self, symbol: str, reel: "Reel", rules: SignalRules) -> None:
        super().__init__(symbol, 1, rules.candle_minutes)
        self.capacity = rules.candle_buffer
        self._ints, self._floats = reel.stacked

    def wind_to(self, end: int) -> None:
        """Let the candle before `end` be the newest."""
        self._start, self._end = max(0, end - self.capacity), end

    def append(self, candle: Candle) -> bool:
        """Take the candle that comes next; it is here already, and known to be sound."""
        self.wind_to(self._end + 1)
        return True


@dataclass(frozen=True)
class Reel:
    """The candles a symbol's buffer will ever hold, and where the played ones are among them.

    The first `warm` are there before the first played one. `ends` gives for each played row how
    many of `candles` are in by its close, `doubted` the days (ordinals) on which the feed guard
    refused any.
    """

    candles: Candles
    warm: int
    ends: Ints
    doubted: frozenset[int]

    @cached_property
    def stacked(self) -> tuple[Ints, Floats]:
        """The candles' whole numbers and their floats, as a buffer keeps them."""
        candles = self.candles
        floats = np.stack([getattr(candles, name) for name in COLUMNS])
        return np.stack([candles.time, candles.day]), floats

    @classmethod
    def of(cls, history: SymbolHistory, line: Timeline, rules: TradingRules) -> "Reel":
        """The reel of a history, the part before its start cut to what a live buffer holds.

        Kept with the history, as every set of a sweep asks for it.
        """
        key = "reel", rules.signals.candle_minutes, rules.signals.candle_buffer, rules.feed
        known: Reel | None = history.found.get(key)
        if known is None:
            known = history.found[key] = cls._of(history, line, rules)
        return known

    @classmethod
    def _of(cls, history: SymbolHistory, line: Timeline, rules: TradingRules) -> "Reel":
        earliest = max(0, history.start - rules.signals.candle_buffer)
        warm = history.start - earliest
        first, count = history.start, len(line.rows)
        whole = not count or line.rows[-1] - first + 1 == count
        rows = (
            slice(earliest, first + count)
            if whole
            else np.concatenate([np.arange(earliest, first), line.rows])
        )
        candles = history.candles.rows(rows)
        taken, doubted = _admitted(history.symbol, candles, rules)
        if taken is None:
            return cls(candles, warm, np.arange(warm + 1, warm + count + 1), doubted)
        ends: Ints = np.cumsum(taken, dtype=np.int64)[warm:]
        return cls(candles.rows(taken), int(taken[:warm].sum()), ends, doubted)


def _admitted(
    symbol: str, candles: Candles, rules: TradingRules
) -> tuple[NDArray[np.bool_] | None, frozenset[int]]:
    """Which candles the feed guard lets through (None: all), and the days it had doubts on."""
    band = rules.feed.price_band_percent / 100
    near = within_band(candles.close[:-1], candles.low[1:], candles.high[1:], band)
    jumps = (candles.day[1:] == candles.day[:-1]) & ~near
    if not jumps.any():
        return None, frozenset()
    doubted = frozenset(candles.day[1:][jumps].tolist())
    taken = np.ones(len(candles), dtype=np.bool_)
    for day in doubted:
        buffer = CandleBuffer(symbol, len(candles), rules.signals.candle_minutes)
        guard = FeedGuard(rules.feed, buffer.interval)
        for row in np.flatnonzero(candles.day == day).tolist():
            candle = candles.at(row, symbol)
            taken[row] = guard.admits_candle(candle, buffer) and buffer.append(candle)
    return taken, doubted
