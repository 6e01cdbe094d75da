"""Candles for the tests of indicators, patterns, strategies and the ensemble."""

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from hftray.core.candles import Candles

COLUMNS = ("time", "day", "open", "high", "low", "close", "volume")


def draw(
    closes: Sequence[float],
    *,
    volumes: Sequence[float] | float = 1_000.0,
    days: Sequence[int] | int = 738_000,
    reach: float = 0.0,
) -> Candles:
    """Candles with these closes; high and low lie `reach` rupees around them."""
    close = np.array(closes, dtype=np.float64)
    count = len(close)
    return Candles(
        time=np.arange(count, dtype=np.int64) * 300,
        day=np.broadcast_to(np.array(days, dtype=np.int64), count).copy(),
        open=close.copy(),
        high=close + reach,
        low=close - reach,
        close=close,
        volume=np.broadcast_to(np.array(volumes, dtype=np.float64), count).copy(),
    )


def part(candles: Candles, start: int, end: int) -> Candles:
    return Candles(*(getattr(candles, name)[start:end] for name in COLUMNS))


@st.composite
def random_candles(pick: st.DrawFn, max_size: int = 160) -> Candles:
    """Tick-sized walks: flat stretches, exact ties, untraded candles, odd session lengths."""
    count = pick(st.integers(0, max_size))
    rows = st.lists(
        st.tuples(
            st.integers(-3, 3), st.integers(0, 2), st.integers(0, 2),
            st.sampled_from([0, 100, 1_000, 5_000]),
        ),
        min_size=count, max_size=count,
    )  # fmt: skip
    drawn = np.array(pick(rows), dtype=np.float64).reshape(count, 4)
    start = pick(st.sampled_from([400, 2_000, 46_913]))  # in ticks of 0.05 rupees
    close = np.maximum(start + np.cumsum(drawn[:, 0]), 20)
    session = pick(st.integers(1, 75))
    return Candles(
        time=np.arange(count, dtype=np.int64) * 300,
        day=738_000 + np.arange(count, dtype=np.int64) // session,
        open=close * 0.05,
        high=(close + drawn[:, 1]) * 0.05,
        low=(close - drawn[:, 2]) * 0.05,
        close=close * 0.05,
        volume=drawn[:, 3].copy(),
    )
