"""Real NSE candles, where they lie beside the checkout; they are never copied into it."""

import csv
import gzip
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from hftray.core.candles import Candles

CANDLES_5M = Path(__file__).parents[1].parent / "shared" / "data" / "bars5m"
ABSENT = "real candles lie beside the checkout (shared/data); they are not here"
PRICES = ("open", "high", "low", "close", "volume")


def real_candles(symbol: str, count: int | None = None) -> Candles:
    path = CANDLES_5M / f"{symbol}.csv.gz"
    if not path.exists():
        pytest.skip(ABSENT)
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))[:count]
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
    return Candles(
        np.array([int(time.timestamp()) for time in times]),
        np.array([time.date().toordinal() for time in times]),
        *(np.array([float(row[name]) for row in rows]) for name in PRICES),
    )
