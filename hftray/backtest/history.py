"""One symbol's history as a backtest wants it: columns, and where playing begins."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Self

import numpy as np

from hftray.core.candles import Candles
from hftray.core.market import Candle, Instrument
from hftray.core.session import IST, TradingSession


@dataclass(frozen=True, slots=True)
class SymbolHistory:
    """Sound candles, oldest first, of which those before `start` only warm the voters up.

    Of the others those are played that lie within their day's session. All of it is numpy columns
    and plain values, so it is cheap to pickle. ValueError for a start beyond the candles, and for
    candles that a live symbol would refuse in themselves.
    """

    instrument: Instrument
    candles: Candles
    start: int
    sessions: Mapping[date, TradingSession]
    found: dict[Hashable, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What backtests have worked out of it, by what that was made for; it never changes."""

    def __post_init__(self) -> None:
        candles = self.candles
        if not 0 <= self.start <= len(candles):
            raise ValueError(f"start: {self.start} is not within 0 to {len(candles)}")
        faulty = _faulty(candles)
        if faulty.size:
            moment = datetime.fromtimestamp(int(candles.time[faulty[0]]), IST)
            raise ValueError(
                f"candles: {self.symbol} at {moment.isoformat()} is not sound, or not newer than "
                f"the one before ({faulty.size} such)"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        """Without what was found, which whoever gets it can find as well."""
        return type(self), (self.instrument, self.candles, self.start, self.sessions)

    @property
    def symbol(self) -> str:
        """The symbol traded."""
        return self.instrument.symbol

    def candle(self, row: int) -> Candle:
        """One candle as a value."""
        return self.candles.at(row, self.symbol)

    @classmethod
    def of(
        cls,
        instrument: Instrument,
        candles: Sequence[Candle],
        start: int,
        sessions: Mapping[date, TradingSession],
    ) -> Self:
        """The history of candle values."""
        return cls(instrument, Candles.of(candles), start, dict(sessions))


def _faulty(candles: Candles) -> np.ndarray:
    """Places of candles that `core.market.candle_fault` would refuse, or that are out of order."""
    low, high = candles.low, candles.high
    sound = (
        (low > 0) & (high < np.inf) & (candles.volume >= 0) & (candles.volume < np.inf)
        & (low <= candles.open) & (low <= candles.close)
        & (candles.open <= high) & (candles.close <= high)
    )  # fmt: skip
    sound[1:] &= candles.time[1:] > candles.time[:-1]
    return np.flatnonzero(~sound)
