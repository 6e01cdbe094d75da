"""Candles from files: CSV, CSV.gz and Parquet, one file a symbol, every bad row accounted for.

A file is named for its symbol (`RELIANCE.csv.gz`; `BSE_RELIANCE.csv` holds BSE:RELIANCE, since not
every file system takes a colon) and has the columns timestamp (the candle's open,
ISO 8601; without an offset it is taken for IST), open, high, low, close, volume; others are
ignored. Rows must be in time order. Lines are counted from 1, a CSV header being line 1; in Parquet
the first row is row 1.
"""

import csv
import gzip
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from hftray.core.candles import Candles
from hftray.core.errors import DataError
from hftray.core.market import Candle, candle_fault
from hftray.core.session import IST
from hftray.core.symbols import BSE, BSE_PREFIX, symbol_on

COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
SUFFIXES = (".csv", ".csv.gz", ".parquet")
_BSE_FILE = BSE_PREFIX.replace(":", "_")
_IST_SECONDS = 19_800  # 5:30 hours ahead of UTC
_SHOWN = 20  # rejected rows kept with their reason; beyond that they are only counted

Row = tuple[int, Sequence[Any]]  # line, and the values of COLUMNS


@dataclass(slots=True)
class Rejected:
    """The rows of one file that were not used: how many, and the first of them (line, reason)."""

    path: Path
    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, reason: str, *, strict: bool) -> None:
        """Count a row; with `strict` raise DataError with file, line and reason instead."""
        if strict:
            raise DataError(f"{self.path}, line {line}: {reason}")
        self.count += 1
        if len(self.first) < _SHOWN:
            self.first.append((line, reason))

    def __str__(self) -> str:
        line, reason = self.first[0]
        return f"{self.path}: {self.count} rows rejected, first at line {line}: {reason}"


@dataclass(frozen=True, slots=True)
class CandleFile:
    """The sound rows of a file as columns, the line each came from, and what was left out."""

    symbol: str
    candles: Candles
    lines: Sequence[int]
    rejected: Rejected


def find_candle_files(path: Path) -> dict[str, Path]:
    """Files by symbol, from a folder or a single file. DataError when there is none to use."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        suffix = next((end for end in SUFFIXES[::-1] if file.name.lower().endswith(end)), None)
        if suffix is None:
            continue
        symbol = _symbol(file.name[: -len(suffix)].upper())
        if symbol in found:
            raise DataError(f"{file}: {symbol} is already in {found[symbol].name}")
        found[symbol] = file
    if not found:
        raise DataError(f"{path}: no candle files ({', '.join(SUFFIXES)})")
    return found


def _symbol(name: str) -> str:
    share = name.removeprefix(_BSE_FILE)
    return name if share == name else symbol_on(BSE, share)


def read_candles(symbol: str, path: Path, *, strict: bool) -> CandleFile:
    """All sound candles of a file. DataError when the file cannot be read, or, with `strict`,
    at its first bad row; otherwise bad rows are left out and counted.
    """
    rejected = Rejected(path)
    whole = _sound_columns(path)
    if whole is not None:
        header = 0 if _is_parquet(path) else 1
        lines_read = range(1 + header, 1 + header + len(whole))
        return CandleFile(symbol, whole, lines_read, rejected)
    candles: list[Candle] = []
    lines: list[int] = []
    for line, row in candle_rows(symbol, path):
        if isinstance(row, str):
            rejected.add(line, row, strict=strict)
        elif candles and row.time <= candles[-1].time:
            reason = f"candle of {row.time.isoformat()} is not newer than the one before"
            rejected.add(line, reason, strict=strict)
        else:
            candles.append(row)
            lines.append(line)
    return CandleFile(symbol, Candles.of(candles), lines, rejected)


def first_candle(symbol: str, path: Path) -> Candle:
    """The first sound candle of a file, read without the rest. DataError when there is none."""
    for _, candle in candle_rows(symbol, path):
        if isinstance(candle, Candle):
            return candle
    raise DataError(f"{path}: no usable candle")


def candle_rows(symbol: str, path: Path) -> Iterator[tuple[int, Candle | str]]:
    """Every row by its line: the candle, or what is wrong with it. DataError for the file."""
    for line, values in _rows(path):
        yield line, _candle(symbol, values)


def _sound_columns(path: Path) -> Candles | None:
    """All rows at once when every single one is sound; None sends the file to the row reader.

    Twenty times faster than reading rows, and most files are sound.
    """
    try:
        table = _table(path)
    except (OSError, KeyError, pa.ArrowException):
        return None
    stamps = table.column(0)
    if any(column.null_count for column in table.columns) or not pa.types.is_timestamp(stamps.type):
        return None
    time = stamps.cast(pa.timestamp("s", stamps.type.tz), safe=False).cast(pa.int64()).to_numpy()
    if stamps.type.tz is None:
        time = time - _IST_SECONDS
    opened, high, low, close, volume = (column.to_numpy() for column in table.columns[1:])
    sound = (
        (low > 0)
        & (np.minimum(opened, close) >= low)
        & (np.maximum(opened, close) <= high)
        & (high < np.inf)
        & (volume >= 0)
        & (volume < np.inf)
    )
    if not len(time) or not sound.all() or (np.diff(time) <= 0).any():
        return None
    day = (time + _IST_SECONDS) // 86_400 + date(1970, 1, 1).toordinal()
    return Candles(time, day, opened, high, low, close, volume)


def _table(path: Path) -> pa.Table:
    """The wanted columns, numbers as float64. KeyError, OSError or an Arrow error when unfit."""
    if _is_parquet(path):
        table = parquet.read_table(path, columns=list(COLUMNS))
        numbers = [table.column(name).cast(pa.float64()) for name in COLUMNS[1:]]
        return pa.table([table.column("timestamp"), *numbers], names=COLUMNS)
    return arrow_csv.read_csv(
        path,
        # An empty line would shift the line numbers, so it is left to the row reader.
        parse_options=arrow_csv.ParseOptions(ignore_empty_lines=False),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=list(COLUMNS),
            column_types=dict.fromkeys(COLUMNS[1:], pa.float64()),
        ),
    )


def _is_parquet(path: Path) -> bool:
    return path.name.lower().endswith(".parquet")


def _candle(symbol: str, values: Sequence[Any]) -> Candle | str:
    """The candle of a row, or what is wrong with it."""
    if len(values) != len(COLUMNS):
        return "the row has too few columns"
    stamp, *numbers = values
    try:
        time = stamp if isinstance(stamp, datetime) else datetime.fromisoformat(stamp)
    except (TypeError, ValueError):
        return f"timestamp {stamp!r} is not ISO 8601"
    try:
        prices = [float(number) for number in numbers]
    except (TypeError, ValueError):
        return f"not a number among {', '.join(repr(number) for number in numbers)}"
    candle = Candle(symbol, time if time.tzinfo else time.replace(tzinfo=IST), *prices)
    return candle_fault(candle) or candle


def _rows(path: Path) -> Iterator[Row]:
    if _is_parquet(path):
        yield from _parquet_rows(path)
        return
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    try:
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from _csv_rows(path, csv.reader(file))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _csv_rows(path: Path, reader: Any) -> Iterator[Row]:
    places = _places(path, [name.strip().lower() for name in next(reader, [])])
    for fields in filter(None, reader):  # blank lines are no rows
        line = reader.line_num
        try:
            yield line, [fields[place] for place in places]
        except IndexError:
            yield line, fields[:1]


def _parquet_rows(path: Path) -> Iterator[Row]:
    try:
        with parquet.ParquetFile(path) as file:
            names = file.schema_arrow.names
            wanted = [names[place] for place in _places(path, [name.lower() for name in names])]
            line = 0
            for batch in file.iter_batches(columns=wanted):
                columns = [batch.column(name).to_pylist() for name in wanted]
                for values in zip(*columns, strict=True):
                    line += 1
                    yield line, values
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error


def _places(path: Path, header: Sequence[str]) -> list[int]:
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise DataError(f"{path}, line 1: column {', '.join(missing)} is missing")
    return [header.index(name) for name in COLUMNS]
