"""Candles as numpy columns."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hftray.core.market import Candle
from hftray.core.session import IST

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COLUMNS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Candles:
    """Columns of equal length, oldest first; views, not copies, so never write to them.

    `time` is epoch seconds of each candle's open; `day` is the proleptic ordinal of its IST date,
    which marks session boundaries.
    """

    time: Ints
    day: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.close)

    def tail(self, count: int) -> "Candles":
        """The newest `count` candles."""
        return self.rows(slice(max(0, len(self) - count), None))

    def rows(self, which: slice | NDArray[Any]) -> "Candles":
        """Some of the rows: a slice, a mask, or places."""
        return Candles(
            self.time[which], self.day[which], self.open[which], self.high[which],
            self.low[which], self.close[which], self.volume[which],
        )  # fmt: skip

    def at(self, row: int, symbol: str) -> Candle:
        """One row as a value, its time in India's zone."""
        moment = datetime.fromtimestamp(self.time.item(row), IST)
        prices = self.open, self.high, self.low, self.close, self.volume
        return Candle(symbol, moment, *[column.item(row) for column in prices])

    @classmethod
    def joined(cls, parts: Sequence["Candles"]) -> "Candles":
        """The rows of all parts, one after the other."""
        if not parts:
            return cls.of([])
        names = ("time", "day", *COLUMNS)
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    @classmethod
    def of(cls, candles: Iterable[Candle]) -> "Candles":
        """Columns from candle values."""
        rows = list(candles)
        return cls(
            time=np.array([int(c.time.timestamp()) for c in rows], dtype=np.int64),
            day=np.array([ist_day(c.time) for c in rows], dtype=np.int64),
            **{
                name: np.array([getattr(c, name) for c in rows], dtype=np.float64)
                for name in COLUMNS
            },
        )


def first_of_days(day: Ints) -> Ints:
    """The place of each day's first candle."""
    firsts = np.ones(len(day), dtype=np.bool_)
    np.not_equal(day[1:], day[:-1], out=firsts[1:])
    return np.flatnonzero(firsts)


def writable(column: NDArray[Any]) -> NDArray[Any]:
    """The column, or a copy where it cannot be written to, as columns out of an object store.

    To a compiler the other kind is another type, for which it would compile anew.
    """
    flags = column.flags
    return column if flags.c_contiguous and flags.writeable else column.copy()


def ist_day(moment: datetime) -> int:
    """The proleptic ordinal of the moment's date in India."""
    return moment.astimezone(IST).date().toordinal()
