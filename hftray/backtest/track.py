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
from hftray.core.orders import Side
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

    def range(self, row: int) -> tuple[float, float]:
        """The row's lowest and highest price."""
        candles, place = self.history.candles, self.line.rows.item(row)
        return candles.low.item(place), candles.high.item(place)

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

    def touch_from(self, position: Position, row: int, last: int) -> tuple[int, float]:
        """The first row from `row` on that could end the position; `last` if none before does.

        And the position's best price before that row.
        """
        if row >= last:
            return row, position.best_price
        candles, ends = self.reel.candles, self.reel.ends
        part = slice(ends.item(row) - 1, ends.item(last - 1))
        place, best = first_touch(
            position, candles.high[part], candles.low[part], candles.close[part],
            self._exits, self.history.instrument.tick_size,
        )  # fmt: skip
        return last if place == part.stop - part.start else row + place, best

    def seen(self, position: Position, begin: int, end: int) -> Position:
        """The position after the buffer's candles from one place to another."""
        if begin >= end:
            return position
        candles = self.reel.candles
        bought = position.side is Side.BUY
        prices = (candles.high if bought else candles.low)[begin:end]
        return position.improved_by(float(prices.max() if bought else prices.min()))

    def entry_chances(self, foresight: Foresight) -> tuple[Ints, Ints]:
        """Rows on which an entry is possible, and their places in the foresight."""
        places = np.flatnonzero(foresight.possible >= self.reel.warm)
        rows = self.reel.ends.searchsorted(foresight.possible[places] + 1)
        if not self.line.days:
            return rows, places
        day = self.line.starts.searchsorted(rows, side="right") - 1
        early = self.line.moments[rows] < self.line.entry_until[day]
        return rows[early], places[early]

    def lively_days(self, chances: Ints) -> set[int]:
        """The days (ordinals) of these rows, and those on which no candle may be skipped."""
        places = np.unique(self.line.starts.searchsorted(chances, side="right") - 1)
        days = np.array(list(self.line.days), dtype=np.int64)
        return set(days[places].tolist()) | self.reel.doubted
