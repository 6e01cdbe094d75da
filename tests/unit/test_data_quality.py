"""The report on a folder of candles: each kind of trouble, and a clean bill for sound data."""

import csv
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from market_data import ABSENT, CANDLES_5M
from typer.testing import CliRunner

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.data_quality import FileQuality, Finding, inspect, summary
from hftray.adapters.instruments import Listings
from hftray.commands import check
from hftray.core.session import IST
from hftray.layers import default_file, read_yaml

LISTINGS = Listings.from_mapping(read_yaml(default_file("instruments.yaml")))
CALENDAR = SessionCalendar.from_mapping(read_yaml(default_file("sessions.yaml")))
MONDAY = date(2024, 3, 11)
Row = list[Any]


def day_of(day: date, price: float = 100.0) -> list[Row]:
    """A session of 75 candles of five minutes."""
    opens = datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
    return [
        [(opens + timedelta(minutes=5 * n)).isoformat(), price, price + 1, price - 1, price, 1000]
        for n in range(75)
    ]


def week() -> list[Row]:
    return [row for n in range(5) for row in day_of(MONDAY + timedelta(days=n))]


def write(directory: Path, rows: list[Row], name: str = "ITC") -> Path:
    path = directory / f"{name}.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "open", "high", "low", "close", "volume"])
        writer.writerows(rows)
    return path


def looked_at(path: Path) -> FileQuality:
    (report,) = inspect(path, LISTINGS, CALENDAR)
    return report


def test_sound_candles_get_a_clean_bill(tmp_path: Path) -> None:
    report = looked_at(write(tmp_path, week()))
    assert report.findings == ()
    assert (report.candles, report.sessions, report.minutes) == (375, 5, 5.0)
    assert (report.first_day, report.last_day) == (MONDAY, date(2024, 3, 15))
    assert not report.serious
    assert summary([report]) == ""


def drop(*places: int) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        for place in sorted(places, reverse=True):
            del rows[place]

    return change


def put(place: int, column: int, value: Any) -> Callable[[list[Row]], None]:
    return lambda rows: rows[place].__setitem__(column, value)


def repeat(place: int, after: int) -> Callable[[list[Row]], None]:
    return lambda rows: rows.insert(after, list(rows[place]))


def swap(a: int, b: int) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        rows[a], rows[b] = rows[b], rows[a]

    return change


def reprice(first: int, factor: float) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        for row in rows[first:]:
            row[1:5] = [value * factor for value in row[1:5]]

    return change


def early(rows: list[Row]) -> None:
    rows.insert(0, ["2024-03-11T09:05:00+05:30", 100, 101, 99, 100, 5])


KINDS = [
    # what is done to a sound week; what is found, how often, where first, whether it is serious
    (drop(10, 11, 80), "gap", 3, "2024-03-11 10:05", True),
    (put(7, 5, 0), "zero volume", 1, "2024-03-11 09:50", False),
    (put(7, 2, 98), "OHLC fault", 1, "line 9", True),
    (put(7, 3, -1), "OHLC fault", 1, "line 9", True),
    (put(7, 4, "n/a"), "unreadable row", 1, "line 9", True),
    (put(7, 0, "noon"), "unreadable row", 1, "line 9", True),
    (repeat(7, 8), "duplicate", 1, "line 10", True),
    (swap(7, 8), "out of order", 1, "line 10", True),
    (reprice(150, 0.2), "split", 1, "2024-03-13 × 0.2000, near 1:5", True),
    (reprice(150, 2.0), "split", 1, "2024-03-13 × 2.0000, near 2:1", True),
    (reprice(150, 0.55), "jump", 1, "2024-03-13 × 0.5500", False),
    (drop(*range(75, 150)), "missing session", 1, "2024-03-12", False),
    (early, "outside session", 1, "2024-03-11 09:05", False),
]


@pytest.mark.parametrize(("change", "kind", "count", "first", "serious"), KINDS)
def test_each_trouble_is_found_counted_and_located(
    tmp_path: Path,
    change: Callable[[list[Row]], None],
    kind: str,
    count: int,
    first: str,
    serious: bool,
) -> None:
    rows = week()
    change(rows)
    found = {f.kind: f for f in looked_at(write(tmp_path, rows)).findings}
    assert found[kind] == Finding(kind, count, first, found[kind].detail, serious)
    # A row that is not used leaves a gap; nothing else comes with it.
    assert set(found) - {kind} <= {"gap"}


def test_a_day_that_the_calendar_has_closed_is_told(tmp_path: Path) -> None:
    sunday = MONDAY - timedelta(days=1)
    report = looked_at(write(tmp_path, day_of(sunday) + week()))
    assert [(f.kind, f.first) for f in report.findings] == [("unknown session", "2024-03-10")]


def test_a_usual_night_is_no_split(tmp_path: Path) -> None:
    rows = week()
    reprice(150, 0.88)(rows)
    assert looked_at(write(tmp_path, rows)).findings == ()


def test_a_file_without_a_sound_row_is_reported_not_raised(tmp_path: Path) -> None:
    report = looked_at(write(tmp_path, [["never", 1, 1, 1, 1, 1]]))
    assert (report.candles, report.first_day) == (0, None)
    assert report.serious


def test_the_command_lists_files_and_fails_with_1_on_serious_findings(tmp_path: Path) -> None:
    write(tmp_path, week(), "ITC")
    sound = CliRunner().invoke(check.commands, ["data", "--data", str(tmp_path)])
    assert sound.exit_code == 0, sound.output
    assert "no faults in 1 files" in sound.stdout
    rows = week()
    reprice(150, 0.2)(rows)
    write(tmp_path, rows, "TCS")
    options = ["data", "--data", str(tmp_path)]
    done = CliRunner().invoke(check.commands, options, env={"COLUMNS": "200"})
    assert done.exit_code == 1
    assert "1 of 2 files have faults: 1 × split" in done.stdout
    report = json.loads(CliRunner().invoke(check.commands, [*options, "--json"]).stdout)
    assert [r["symbol"] for r in report] == ["ITC", "TCS"]
    assert report[1]["findings"][0]["kind"] == "split"


@pytest.mark.market_data
def test_the_real_candles_have_no_faults_and_their_odd_days_are_named() -> None:
    if not CANDLES_5M.exists():
        pytest.skip(ABSENT)
    reports = {name: looked_at(CANDLES_5M / f"{name}.csv.gz") for name in ("RELIANCE", "ITC")}
    assert summary(list(reports.values())) == ""
    assert reports["ITC"].findings == ()
    # A Saturday that really was traded; the demerger's day and an evening session left out.
    found = {f.kind: f.detail for f in reports["RELIANCE"].findings}
    assert found["unknown session"].endswith("2024-01-20")
    assert found["missing session"].endswith("2023-07-20, 2024-11-01")
