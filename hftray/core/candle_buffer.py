"""A symbol's recent candles, and how ticks become candles.

Tick rule. Buckets are anchored at the session's open (09:15), so they fit any interval. A tick
belongs to the bucket of its own time. A tick older than the newest tick of the forming candle
still widens that candle's high and low and adds its volume, but does not move its close; a tick
for a candle that is already closed is rejected and counted ("late"); a tick that repeats time,
price and volume of the newest one is rejected and counted ("duplicate"). A forming candle closes
when a tick of a later bucket arrives or when market time reaches the bucket's end.

The exchange's own candle counts more than what ticks made of it: it takes the place of the forming
candle, which is closed by it, or of the newest closed one if that was built from ticks.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, Self

import numpy as np

from hftray.core.candles import COLUMNS, Candles, ist_day
from hftray.core.events import Rejections
from hftray.core.market import Candle, Tick, candle_fault, tick_fault
from hftray.core.session import TradingSession


class CandleBuffer:
    """The newest closed candles of one symbol, plus the forming one as the last row.

    Rows live in arrays of twice the capacity; when they are full the newest rows move to the
    front, so a view is always contiguous (TA-Lib wants that) and appending costs O(1) on average.
    """

    def __init__(self, symbol: str, capacity: int, candle_minutes: int) -> None:
        self.symbol = symbol
        self.capacity = capacity
        self.interval = timedelta(minutes=candle_minutes)
        self.rejections = Rejections()
        self._ints = np.zeros((2, 2 * capacity + 1), dtype=np.int64)
        self._floats = np.zeros((len(COLUMNS), 2 * capacity + 1), dtype=np.float64)
        self._start = 0
        self._end = 0
        self._closes_at: datetime | None = None  # end of the forming candle's bucket
        self._newest: Tick | None = None
        self._built = False  # whether the newest closed candle was built from ticks

    def __len__(self) -> int:
        return self._end - self._start

    @property
    def forming(self) -> bool:
        """Whether the last row is still being built."""
        return self._closes_at is not None

    @property
    def closed_count(self) -> int:
        """How many closed candles there are."""
        return len(self) - int(self.forming)

    def view(self) -> Candles:
        """All rows, the forming one last if there is one."""
        rows = slice(self._start, self._end)
        return Candles(self._ints[0, rows], self._ints[1, rows], *self._floats[:, rows])

    def last_time(self) -> datetime | None:
        """When the newest row opened."""
        if not len(self):
            return None
        return datetime.fromtimestamp(int(self._ints[0, self._end - 1]), UTC)

    def last(self) -> Candle:
        """The newest row as a value; IndexError when there is none."""
        when = self.last_time()
        if when is None:
            raise IndexError(f"{self.symbol} has no candle yet")
        return Candle(self.symbol, when, *(float(x) for x in self._floats[:, self._end - 1]))

    def close_of(self, day: int) -> float | None:
        """The newest price of that day (ordinal); None when the newest row is of another one."""
        if not len(self) or self._ints[1, self._end - 1] != day:
            return None
        return self._floats.item(3, self._end - 1)

    def frozen(self, count: int, day: int) -> bool:
        """Whether the newest `count` closed candles are all of that day and know one price only."""
        end = self._end - int(self.forming)
        start = end - count
        if start < self._start or self._ints[1, start] != day:
            return False
        highs, lows = self._floats[1, start:end], self._floats[2, start:end]
        # Hardly a candle has one price only, so the newest one nearly always answers.
        return bool(highs[-1] == lows[-1] and highs.max() == lows.min())

    def resume(self, forming: Candle) -> bool:
        """Take up a candle that others began, so that its earlier ticks are not missing from it."""
        if not self.append(forming):
            return False
        self._closes_at = forming.time + self.interval
        self._newest = None
        return True

    def append(self, candle: Candle) -> bool:
        """Take a closed candle; False (and counted) when it is faulty or not newer.

        One of the very bucket that ticks were building takes the place of what they built.
        """
        fault = candle_fault(candle)
        newest = self.last_time()
        official = self.forming and candle.time == newest
        if fault is None and newest is not None and candle.time <= newest and not official:
            fault = "candle is not newer than the one before"
        if fault is not None:
            self.rejections.add(fault)
            return False
        self.close_forming()
        if official:
            self._write(self._end - 1, candle)
        else:
            self._push(candle)
        self._built = False
        return True

    def correct(self, candle: Candle) -> bool:
        """Put a sound candle in the place of the newest closed one, if ticks had built that."""
        row = self._end - 1 - int(self.forming)
        if not self._built or row < self._start or candle_fault(candle) is not None:
            return False
        if self._ints[0, row] != int(candle.time.timestamp()):
            return False
        self._write(row, candle)
        self._built = False
        return True

    def take(self, tick: Tick, session: TradingSession) -> bool:
        """Fold a tick into the forming candle; call `due` first. False when it was rejected."""
        fault = tick_fault(tick) or self._tick_order_fault(tick, session)
        if fault is not None:
            self.rejections.add(fault)
            return False
        if not self.forming:
            opens = self._bucket(tick.time, session)
            price = tick.price
            self._push(Candle(self.symbol, opens, price, price, price, price, tick.volume))
            self._closes_at = opens + self.interval
            self._newest = tick
            return True
        row = self._floats[:, self._end - 1]
        row[1] = max(row[1], tick.price)
        row[2] = min(row[2], tick.price)
        row[4] += tick.volume
        if self._newest is None or tick.time >= self._newest.time:
            row[3] = tick.price
            self._newest = tick
        return True

    def due(self, now: datetime) -> bool:
        """Whether the forming candle's bucket has ended at `now`."""
        return self._closes_at is not None and now >= self._closes_at

    def close_forming(self) -> None:
        """The forming candle becomes a closed one."""
        self._built = self._built or self.forming
        self._closes_at = None

    def _tick_order_fault(self, tick: Tick, session: TradingSession) -> str | None:
        if not session.contains(tick.time):
            return "tick is outside the session"
        newest = self.last_time()
        opens = self._bucket(tick.time, session)
        if newest is not None and (opens < newest or (opens == newest and not self.forming)):
            return "late tick for a closed candle"
        if self.forming and tick == self._newest:
            return "duplicate tick"
        return None

    def _bucket(self, moment: datetime, session: TradingSession) -> datetime:
        return session.opens + (moment - session.opens) // self.interval * self.interval

    def _push(self, candle: Candle) -> None:
        if self._end == self._ints.shape[1]:
            keep = self.capacity - 1
            self._ints[:, :keep] = self._ints[:, self._end - keep : self._end]
            self._floats[:, :keep] = self._floats[:, self._end - keep : self._end]
            self._start, self._end = 0, keep
        self._write(self._end, candle)
        self._end += 1
        self._start = max(self._start, self._end - self.capacity)

    def _write(self, row: int, candle: Candle) -> None:
        self._ints[:, row] = int(candle.time.timestamp()), ist_day(candle.time)
        self._floats[:, row] = candle.open, candle.high, candle.low, candle.close, candle.volume

    def snapshot(self) -> dict[str, Any]:
        """State as plain values."""
        rows = slice(self._start, self._end)
        return {
            "ints": self._ints[:, rows].tolist(),
            "floats": self._floats[:, rows].tolist(),
            "closes_at": self._closes_at,
            "newest": self._newest,
            "built": self._built,
            "rejections": dict(self.rejections.counts),
        }

    def restore(self, state: dict[str, Any]) -> Self:
        """Continue from a snapshot."""
        count = len(state["ints"][0])
        self._ints[:, :count] = state["ints"]
        self._floats[:, :count] = state["floats"]
        self._start, self._end = 0, count
        self._closes_at = state["closes_at"]
        self._newest = state["newest"]
        self._built = state["built"]
        self.rejections.counts = dict(state["rejections"])
        return self
