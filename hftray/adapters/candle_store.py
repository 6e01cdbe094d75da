"""Candles of past days on disk: Parquet, a file a symbol and month, and which days it holds whole.

The files lie in `<folder>/<exchange>/<symbol>/`. They are only a copy of what the source would say
again: one that cannot be read counts as absent and is written anew, and one that cannot be written
is asked for again.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from hftray.core.candles import COLUMNS, Candles
from hftray.core.market import Instrument
from hftray.observe import logger

log = logger("candles")

_DAYS = b"hftray_days"  # the days held, as ordinals


@dataclass(frozen=True, slots=True)
class StoredMonth:
    """A month's candles and the days (ordinals) that need not be asked for again."""

    candles: Candles
    days: frozenset[int]


class CandleStore:
    """Months of candles of one length. Reading and writing block; call it in a thread."""

    def __init__(self, folder: Path, minutes: int) -> None:
        self._folder = folder
        self._minutes = minutes

    def read(self, share: Instrument, month: date) -> StoredMonth:
        """What is kept of the month that the day lies in; empty when nothing is."""
        path = self._path(share, month)
        try:
            table = parquet.read_table(path)
            days = frozenset(int(day) for day in (table.schema.metadata or {})[_DAYS].split())
            prices = [np.array(table.column(name), dtype=np.float64) for name in COLUMNS]
            time, day = (np.array(table.column(name), dtype=np.int64) for name in ("time", "day"))
        except FileNotFoundError:
            return StoredMonth(Candles.of([]), frozenset())
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            log.warning("stored candles cannot be read", path=str(path), reason=str(error))
            return StoredMonth(Candles.of([]), frozenset())
        return StoredMonth(Candles(time, day, *prices), days)

    def write(self, share: Instrument, month: date, kept: StoredMonth) -> None:
        """Replace the month's file, whole or not at all; that it cannot be is only logged."""
        path = self._path(share, month)
        columns = {name: getattr(kept.candles, name) for name in ("time", "day", *COLUMNS)}
        days = b" ".join(str(day).encode() for day in sorted(kept.days))
        table = pa.table(columns).replace_schema_metadata({_DAYS: days})
        fresh = path.with_suffix(".new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            parquet.write_table(table, fresh)
            fresh.replace(path)
        except (OSError, pa.ArrowException) as error:
            log.warning("candles cannot be stored", path=str(path), reason=str(error))
            with suppress(OSError):  # what was begun would only fill the disk further
                fresh.unlink(missing_ok=True)

    def _path(self, share: Instrument, month: date) -> Path:
        folder = self._folder / share.exchange / quote(share.symbol, safe="")
        return folder / f"{self._minutes}m-{month:%Y-%m}.parquet"
