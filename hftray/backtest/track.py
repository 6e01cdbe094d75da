"""One symbol's played candles by their rows: prices, moments, and what they mean to a position.

Rows are places among the played candles.
"""

import numpy as np

from hftray.backtest.foresight import Foresight
from hftray.backtest.history import SymbolHistory
from hftray.backtest.tape import Reel
from hftray.backtest.timeline import Hours, timeline
from hftray.core.candles import Ints
from hftray.core.exits import first_touch
from hftray.core.market import Candle
from hftray.core.position import Position
from hftray.core.rules import TradingRules


class Track:
    """A history as it is played.

    `line` says when its candles close, `reel` what the buffer will hold.
    """

    def __init__(self, history: SymbolHistory, rules: TradingRules) -> None:
        self.history = history
        self.line = timeline(history, rules.signals.candle_minutes * 60)
        self.reel = Reel.of(history, self.line, rules)
        self._exits = rules.exits

    def end(self, row: int) -> int:
        """How many candles the buffer has seen once the row's candle is in."""
        return self.reel.ends.item(row)

    def close_of(self, row: int) -> int:
        """The moment the row's candle closes."""
        return self.line.moments.item(row)

    def opened(self, row: int) -> int:
        """The moment the row's candle opens."""
        return self.history.candles.time.item(self.line.rows.item(row))

    def candle(self, row: int) -> Candle:
        """The row's candle."""
        return self.history.candle(self.line.rows.item(row))

    def open(self, row: int) -> float:
        """The row's first price."""
        return self.history.candles.open.item(self.line.rows.item(row))

    def close(self, row: int) -> float:
        """The row's last price."""
        return self.history.candles.close.item(self.line.rows.item(row))

    def row_from(self, hours: Hours, moment: int) -> int:
        """The first row of the day whose candle closes then or later."""
        rows = hours.rows
        return rows.start + int(self.line.moments[rows.start : rows.stop].searchsorted(moment))

    def touch_from(self, position: Position, row: int, last: int) -> int:
        """The first row from `row` on that could end the position; `last` if none before does."""
        if row >= last:
            return row
        candles, ends = self.reel.candles, self.reel.ends
        part = slice(ends.item(row) - 1, ends.item(last - 1))
        place = first_touch(
            position, candles.high[part], candles.low[part], candles.close[part],
            self._exits, self.history.instrument.tick_size,
        )  # fmt: skip
        return last if place is None else row + place

    def seen(self, position: Position, begin: int, end: int) -> Position:
        """The position after the buffer's candles from one place to another."""
        if begin >= end:
            return position
        candles = self.reel.candles
        part = slice(begin, end)
        lowest, highest = float(candles.low[part].min()), float(candles.high[part].max())
        return position.improved_within(lowest, highest)

    def entry_chances(self, foresight: Foresight) -> tuple[Ints, Ints]:
        """Rows on which an entry is possible, and their places in the foresight."""
        places = np.flatnonzero(foresight.possible >= self.reel.warm)
        rows = self.reel.ends.searchsorted(foresight.possible[places] + 1)
        days = self.line.days.values()
        starts = [hours.rows.start for hours in days]
        until = np.array([hours.entry_until for hours in days], dtype=np.int64)
        if not starts:
            return rows, places
        day = np.searchsorted(starts, rows, side="right") - 1
        early = self.line.moments[rows] < until[day]
        return rows[early], places[early]

    def first_rows(self, rows: Ints) -> set[int]:
        """The first rows of the days that these rows belong to."""
        starts = np.array([hours.rows.start for hours in self.line.days.values()], dtype=np.int64)
        days = np.searchsorted(starts, rows, side="right") - 1
        return set(starts[np.unique(days)].tolist())
