"""Replayed files: which rows are played, what a bad row is told, and how days follow each other."""

import csv
import gzip
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
import yaml

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.candle_files import read_candles
from hftray.adapters.instruments import Listings
from hftray.adapters.replay import ReplayFeed
from hftray.core.errors import DataError, NotFound
from hftray.core.session import IST, SessionRules

REPOSITORY = Path(__file__).parents[2]
CONFIG = REPOSITORY / "config"
REAL = REPOSITORY.parent / "shared" / "data" / "bars5m"
HEADER = "timestamp,open,high,low,close,volume"
FRIDAY, SATURDAY, MONDAY = date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 4)


@cache
def calendar() -> SessionCalendar:
    return SessionCalendar.from_mapping(yaml.safe_load((CONFIG / "sessions.yaml").read_text()))


@cache
def listings() -> Listings:
    return Listings.from_mapping(yaml.safe_load((CONFIG / "instruments.yaml").read_text()))


def feed(path: Path, **options) -> ReplayFeed:
    return ReplayFeed(path, listings(), calendar(), rules=SessionRules(), **options)


def row(day: date, hour: int, minute: int, price: float = 100.0) -> str:
    time = datetime(day.year, day.month, day.day, hour, minute, tzinfo=IST)
    return f"{time.isoformat()},{price},{price + 1},{price - 1},{price},1000"


def write(path: Path, rows: Iterable[str], header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


async def play(source: ReplayFeed, symbols: list[str], after: datetime | None = None) -> list:
    await source.start(symbols, after)
    batches = []
    while not (batch := await source.poll()).ended:
        batches.append(batch)
    return batches


async def test_candles_arrive_when_they_close_and_days_end_with_one_closed_batch(tmp_path):
    friday = [row(FRIDAY, 9, 15), row(FRIDAY, 9, 20), row(FRIDAY, 15, 25)]
    write(tmp_path / "TCS.csv", [*friday, row(MONDAY, 9, 15)])
    first, _, last, evening, monday, end = await play(feed(tmp_path), ["TCS"])
    assert first.now == datetime(2024, 3, 1, 9, 20, tzinfo=IST)
    assert first.candles["TCS"].time == datetime(2024, 3, 1, 9, 15, tzinfo=IST)
    assert first.sessions["TCS"].closes == datetime(2024, 3, 1, 15, 30, tzinfo=IST)
    assert (last.now, last.open) == (datetime(2024, 3, 1, 15, 30, tzinfo=IST), True)
    assert (evening.now, evening.open, evening.sessions) == (last.now, False, {})
    assert evening.next_change == datetime(2024, 3, 4, 9, 15, tzinfo=IST)
    assert monday.now == datetime(2024, 3, 4, 9, 20, tzinfo=IST)
    assert (end.open, end.next_change) == (False, None)


async def test_symbols_share_one_timeline_even_with_holes(tmp_path):
    write(tmp_path / "TCS.csv", [row(FRIDAY, 9, minute) for minute in (15, 25, 30)])
    write(tmp_path / "ITC.csv", [row(FRIDAY, 9, minute) for minute in (20, 25)])
    batches = await play(feed(tmp_path), ["TCS", "ITC"])
    seen = [sorted(batch.candles) for batch in batches]
    assert seen == [["TCS"], ["ITC"], ["ITC", "TCS"], ["TCS"], []]
    assert all(set(batch.sessions) == {"TCS", "ITC"} for batch in batches[:-1])


async def test_a_day_the_calendar_does_not_know_takes_its_hours_from_the_data(tmp_path):
    write(tmp_path / "TCS.csv", [row(SATURDAY, 11, 30), row(SATURDAY, 11, 35)])
    batches = await play(feed(tmp_path), ["TCS"])
    session = batches[0].sessions["TCS"]
    assert session.opens == datetime(2024, 3, 2, 11, 30, tzinfo=IST)
    assert session.closes == datetime(2024, 3, 2, 11, 40, tzinfo=IST)


async def test_rows_outside_the_session_are_counted_but_never_stop(tmp_path):
    rows = [row(FRIDAY, 9, 0), row(FRIDAY, 9, 15), row(FRIDAY, 9, 20), row(FRIDAY, 15, 30)]
    write(tmp_path / "TCS.csv", rows)
    source = feed(tmp_path, strict=True)
    batches = await play(source, ["TCS"])
    assert [len(batch.candles) for batch in batches] == [1, 1, 0]
    [rejected] = source.rejected
    assert rejected.count == 2
    assert [line for line, _ in rejected.first] == [2, 5]
    assert "line 2: candle of 2024-03-01T09:00:00+05:30 is outside" in batches[0].note


async def test_blank_lines_are_no_rows_but_count_as_lines(tmp_path):
    write(tmp_path / "TCS.csv", ["", row(FRIDAY, 9, 15), row(FRIDAY, 9, 20), row(FRIDAY, 15, 30)])
    source = feed(tmp_path, strict=True)
    await play(source, ["TCS"])
    assert [line for line, _ in source.rejected[0].first] == [5]


BAD_ROWS = {
    "2024-03-01T09:20:00+05:30,100,99,101,100,10": "high is below low",
    "2024-03-01T09:20:00+05:30,100,101,nan,100,10": "price is not a positive finite number",
    "2024-03-01T09:20:00+05:30,100,101,-1,100,10": "price is not a positive finite number",
    "2024-03-01T09:20:00+05:30,100,101,99,100,-5": "volume is not a finite number of shares",
    "2024-03-01T09:20:00+05:30,100,101,99,100,inf": "volume is not a finite number of shares",
    "2024-03-01T09:20:00+05:30,100,101,99,ten,10": "not a number among .*'ten'",
    "2024-03-01T09:20:00+05:30,100,101": "too few columns",
    "yesterday,100,101,99,100,10": "timestamp 'yesterday' is not ISO 8601",
    "2024-03-01T09:15:00+05:30,100,101,99,100,10": "is not newer than the one before",
    "2024-03-01T09:22:00+05:30,100,101,99,100,10": "not on the candle grid",
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS.items())
async def test_a_bad_row_is_told_with_file_line_and_reason(tmp_path, bad, reason):
    rows = [row(FRIDAY, 9, 15), bad, row(FRIDAY, 9, 25), row(FRIDAY, 9, 30), row(FRIDAY, 9, 35)]
    path = write(tmp_path / "TCS.csv", rows)
    with pytest.raises(DataError, match=rf"TCS\.csv, line 3: .*{reason}"):
        await feed(path, strict=True).start(["TCS"], None)
    lenient = feed(path)
    batches = await play(lenient, ["TCS"])
    assert sum(len(batch.candles) for batch in batches) == 4
    assert [file.count for file in lenient.rejected] == [1]
    assert lenient.rejected[0].first[0][0] == 3


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("timestamp,open,high,low,close\n", "line 1: column volume is missing"),
        (HEADER + "\n", "no usable candle"),
        ("", "line 1: column timestamp"),
    ],
)
async def test_a_useless_file_is_named(tmp_path, content, reason):
    (tmp_path / "TCS.csv").write_text(content)
    with pytest.raises(DataError, match=rf"TCS\.csv.*{reason}"):
        await feed(tmp_path).start(["TCS"], None)


@pytest.mark.parametrize("name", ["TCS.csv.gz", "TCS.parquet"])
async def test_a_corrupt_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"not what the name says")
    with pytest.raises(DataError, match=rf"{name}: cannot be read"):
        await feed(tmp_path).start(["TCS"], None)


def test_a_folder_without_candles_or_with_two_files_of_a_symbol_is_refused(tmp_path):
    with pytest.raises(DataError, match="no candle files"):
        feed(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        feed(tmp_path / "nowhere")
    write(tmp_path / "TCS.csv", [])
    (tmp_path / "TCS.csv.gz").write_bytes(b"")
    with pytest.raises(DataError, match=r"TCS is already in TCS\.csv"):
        feed(tmp_path)


async def test_another_candle_length_is_refused(tmp_path):
    write(tmp_path / "TCS.csv", [row(FRIDAY, 9, minute) for minute in range(15, 25)])
    with pytest.raises(DataError, match=r"1 minutes apart, but signals.candle_minutes is 5"):
        await feed(tmp_path).start(["TCS"], None)
    assert feed(tmp_path, candle_minutes=1).interval == 60
    batches = await play(feed(tmp_path, candle_minutes=1), ["TCS"])
    assert len(batches) == 11


async def test_days_outside_the_range_are_not_played_but_earlier_ones_are_history(tmp_path):
    days = [date(2024, 3, day) for day in (1, 4, 5)]
    write(tmp_path / "TCS.csv", [row(day, 9, m) for day in days for m in (15, 20)])
    source = feed(tmp_path, from_day=days[1], to_day=days[1])
    batches = await play(source, ["TCS"])
    assert {batch.now.date() for batch in batches} == {days[1]}
    before = await source.history("TCS", 10, batches[0].candles["TCS"].time)
    assert [candle.time.date() for candle in before] == [days[0], days[0]]
    with pytest.raises(DataError, match="no candles to replay"):
        await feed(tmp_path, from_day=date(2025, 1, 1)).start(["TCS"], None)


async def test_common_sessions_plays_only_days_that_all_symbols_have(tmp_path):
    write(tmp_path / "TCS.csv", [row(FRIDAY, 9, 15), row(MONDAY, 9, 15)])
    write(tmp_path / "ITC.csv", [row(MONDAY, 9, 15)])
    both = await play(feed(tmp_path, common_sessions=True), ["TCS", "ITC"])
    assert {batch.now.date() for batch in both} == {MONDAY}
    alone = await play(feed(tmp_path, common_sessions=True), ["TCS"])
    assert {batch.now.date() for batch in alone} == {FRIDAY, MONDAY}


async def test_a_moment_at_the_close_brings_the_closing_batch_again(tmp_path):
    write(tmp_path / "TCS.csv", [row(FRIDAY, 15, 25), row(MONDAY, 9, 15)])
    close = datetime(2024, 3, 1, 15, 30, tzinfo=IST)
    batches = await play(feed(tmp_path), ["TCS"], close)
    assert [(batch.now, batch.open) for batch in batches[:2]] == [
        (close, False),
        (datetime(2024, 3, 4, 9, 20, tzinfo=IST), True),
    ]


async def test_the_tick_size_is_that_of_the_days_played(tmp_path):
    write(tmp_path / "TCS.csv", [row(FRIDAY, 9, 15, 3000), row(date(2025, 6, 2), 9, 15, 3000)])
    assert (await feed(tmp_path).instruments())["TCS"].tick_size == Decimal("0.05")
    later = feed(tmp_path, from_day=date(2025, 6, 1))
    assert (await later.instruments())["TCS"].tick_size == Decimal("0.10")
    with pytest.raises(NotFound, match="no candle file for ITC"):
        await later.start(["ITC"], None)


@pytest.mark.parametrize("stamp", ["zoned", "naive", "text"])
@pytest.mark.parametrize("kind", ["TCS.csv", "TCS.csv.gz", "TCS.parquet"])
def test_all_formats_read_alike(tmp_path, kind, stamp):
    times = [datetime(2024, 3, 1, 9, 15, tzinfo=IST) + timedelta(minutes=5) * n for n in range(9)]
    stamps = {
        "zoned": times,
        "naive": [time.replace(tzinfo=None) for time in times],
        "text": [time.isoformat() for time in times],
    }[stamp]
    columns = {"timestamp": stamps, "extra": ["x"] * 9}
    columns |= {name: [100.5 + n for n in range(9)] for name in ("open", "high", "low", "close")}
    columns["volume"] = list(range(9))
    path = tmp_path / kind
    if kind.endswith("parquet"):
        parquet.write_table(pa.table(columns), path)
    else:
        with (gzip.open if kind.endswith("gz") else open)(path, "wt", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(
                [getattr(value, "isoformat", lambda value=value: value)() for value in values]
                for values in zip(*columns.values(), strict=True)
            )
    candles = read_candles("TCS", path, strict=True).candles
    assert candles.time.tolist() == [int(time.timestamp()) for time in times]
    assert set(candles.day.tolist()) == {FRIDAY.toordinal()}
    assert candles.close.tolist() == columns["close"]
    assert candles.volume.tolist() == columns["volume"]


def test_reading_rows_one_by_one_gives_what_reading_them_at_once_gives(tmp_path):
    rows = [row(FRIDAY, 9 + minute // 60, minute % 60, 90 + minute) for minute in range(15, 99, 5)]
    at_once = read_candles("TCS", write(tmp_path / "A.csv", rows), strict=True)
    # A blank line is skipped, but sends the file to the row reader.
    one_by_one = read_candles("TCS", write(tmp_path / "B.csv", [*rows, "", ""]), strict=True)
    for column in ("time", "day", "open", "high", "low", "close", "volume"):
        assert np.array_equal(
            getattr(at_once.candles, column), getattr(one_by_one.candles, column)
        ), column
    assert list(at_once.lines) == list(one_by_one.lines) == list(range(2, 19))


@pytest.mark.market_data
async def test_real_candles_play_to_the_end_without_a_rejected_row():
    if not REAL.exists():
        pytest.skip("the real candles are not beside the checkout")
    source = feed(REAL, common_sessions=True)
    batches = await play(source, ["TCS", "ITC"])
    assert source.rejected == []
    assert sum(batch.open for batch in batches) == 54 * 75
    assert sum(not batch.open for batch in batches) == 54
    assert all(len(batch.candles) == 2 for batch in batches if batch.open)


async def test_a_file_of_bse_is_named_without_a_colon(tmp_path):
    write(tmp_path / "BSE_TCS.csv", [row(FRIDAY, 9, 15, 200.0)])
    write(tmp_path / "TCS.csv", [row(FRIDAY, 9, 15)])
    write(tmp_path / "BSE.csv", [row(FRIDAY, 9, 15, 300.0)])  # the exchange's own share
    source = feed(tmp_path)
    shares = await source.instruments()
    assert {name: share.exchange for name, share in shares.items()} == {
        "TCS": "NSE", "BSE:TCS": "BSE", "BSE": "NSE"
    }  # fmt: skip
    batch, *_ = await play(source, ["TCS", "BSE:TCS", "BSE"])
    assert {name: candle.close for name, candle in batch.candles.items()} == {
        "TCS": 100.0, "BSE:TCS": 200.0, "BSE": 300.0
    }  # fmt: skip
    assert {candle.symbol for candle in batch.candles.values()} == set(batch.candles)


async def test_a_share_of_bse_that_is_not_listed_is_bses(tmp_path):
    write(tmp_path / "bse_unheard.csv", [row(FRIDAY, 9, 15)])
    share = (await feed(tmp_path).instruments())["BSE:UNHEARD"]
    assert (share.exchange, share.derivatives) == ("BSE", False)
