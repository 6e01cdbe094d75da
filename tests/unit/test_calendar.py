"""Trading days and hours: what the shipped dates say, and what wrong dates are told."""

import csv
import gzip
from datetime import date, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
import yaml

from hftray.adapters.calendar import KnownDays, SessionCalendar
from hftray.core.errors import ConfigError
from hftray.core.market import Instrument
from hftray.core.session import IST, SessionRules

REPOSITORY = Path(__file__).parents[2]
DAILY_FILES = REPOSITORY.parent / "shared" / "data" / "eod"
TCS = Instrument("TCS", derivatives=True)
SMALL = Instrument("SMALL", derivatives=False)


@cache
def shipped() -> SessionCalendar:
    return SessionCalendar.from_mapping(
        yaml.safe_load((REPOSITORY / "config" / "sessions.yaml").read_text())
    )


def calendar_of(**data: object) -> SessionCalendar:
    hours = [{"from": date(2020, 1, 1), "group": "all", "opens": "09:15", "closes": "15:30"}]
    known = KnownDays(date(2026, 1, 1), date(2026, 1, 31), frozenset({date(2026, 1, 5)}))
    return SessionCalendar.from_mapping({"hours": hours, **data}, known)


def ist(*when: int) -> datetime:
    return datetime(*when, tzinfo=IST)


@pytest.mark.parametrize(
    ("day", "share", "closes", "square_off"),
    [
        (date(2026, 7, 31), TCS, (15, 30), (15, 20)),
        (date(2026, 8, 3), TCS, (15, 15), (15, 0)),
        (date(2026, 8, 3), SMALL, (15, 30), (15, 5)),
        (date(2024, 3, 1), TCS, (15, 30), (15, 20)),
    ],
)
def test_the_end_of_a_day_depends_on_the_date_and_on_derivatives(day, share, closes, square_off):
    session = shipped().session(day, share, SessionRules())
    assert session is not None
    assert (session.opens.hour, session.opens.minute) == (9, 15)
    assert (session.closes.hour, session.closes.minute) == closes
    assert (session.square_off_at.hour, session.square_off_at.minute) == square_off
    assert session.entry_until == session.closes - timedelta(minutes=30)


def test_positions_go_before_the_broker_takes_them_and_nothing_is_entered_after():
    rules = SessionRules(no_entry_minutes=0, square_off_minutes=0)
    session = shipped().session(date(2026, 8, 3), TCS, rules)
    assert session is not None
    assert session.square_off_at == session.entry_until == ist(2026, 8, 3, 15, 0)


def test_a_special_session_has_its_own_end():
    muhurat = {"day": date(2026, 1, 3), "opens": "18:00", "closes": "19:00"}
    early = {"from": date(2020, 1, 1), "group": "all", "at": "15:00"}
    calendar = calendar_of(special_sessions=[muhurat], square_off=[early])
    session = calendar.session(date(2026, 1, 3), TCS, SessionRules())
    assert session is not None
    assert session.square_off_at == ist(2026, 1, 3, 18, 50)


def test_weekends_and_holidays_have_no_session():
    for day in (date(2026, 11, 22), date(2026, 10, 2), date(2026, 11, 8)):
        assert shipped().session(day, TCS, SessionRules()) is None


def test_muhurat_is_a_session_of_one_hour():
    session = shipped().session(date(2025, 10, 21), TCS, SessionRules())
    assert session is not None
    assert session.opens == ist(2025, 10, 21, 13, 45)
    assert session.closes == ist(2025, 10, 21, 14, 45)


def test_neighbouring_days_skip_weekends_and_holidays():
    calendar = shipped()
    assert calendar.next_session_day(date(2026, 10, 1)) == date(2026, 10, 5)
    assert calendar.previous_days(date(2026, 10, 5), 2) == [date(2026, 9, 30), date(2026, 10, 1)]


def test_past_the_horizon_weekdays_count_and_a_warning_says_so():
    calendar = shipped()
    assert calendar.warning(calendar.horizon) is None
    beyond = calendar.horizon + timedelta(days=1)
    warning = calendar.warning(beyond)
    assert warning is not None
    assert "holidays are known only to 2026-12-31" in warning
    assert calendar.is_session(date(2027, 1, 25))
    assert not calendar.is_session(date(2027, 1, 26)), "named in the file's holidays"
    assert not calendar.is_session(date(2027, 1, 24)), "a Sunday"


def test_state_says_what_changes_when():
    calendar = shipped()
    during = calendar.state(ist(2026, 11, 20, 15, 14, 59), TCS)
    assert (during.open, during.next_change) == (True, ist(2026, 11, 20, 15, 15))
    after = calendar.state(ist(2026, 11, 20, 15, 15), TCS)
    assert (after.open, after.next_change) == (False, ist(2026, 11, 23, 9, 15))
    early = calendar.state(ist(2026, 11, 23, 9, 0), TCS)
    assert (early.open, early.next_change) == (False, ist(2026, 11, 23, 9, 15))
    assert calendar.state(ist(2026, 11, 20, 15, 15), SMALL).open


def test_a_closure_in_the_file_beats_the_published_calendar():
    assert calendar_of().is_session(date(2026, 1, 5))
    assert not calendar_of(closures=[date(2026, 1, 5)]).is_session(date(2026, 1, 5))


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ({"hollidays": []}, "sessions.hollidays"),
        (
            {"square_off": [{"from": "2026-01-01", "group": "all", "at": 1500}]},
            r"square_off\[0\].at",
        ),
        ({"closures": ["soon"]}, r"sessions.closures\[0\]"),
        ({"special_sessions": [{"day": date(2026, 1, 3), "opens": "09:15"}]}, r"sessions\[0\]"),
        (
            {"special_sessions": [{"day": "2026-01-03", "opens": 555, "closes": "10:00"}]},
            r"special_sessions\[0\].opens",
        ),
        (
            {"special_sessions": [{"day": "2026-01-03", "opens": "10:00", "closes": "10:00"}]},
            r"special_sessions\[0\].closes",
        ),
        ({"hours": []}, "sessions.hours"),
        (
            {"hours": [{"from": 2026, "group": "all", "opens": "09:15", "closes": "15:30"}]},
            r"hours\[0\].from",
        ),
        (
            {"hours": [{"from": "2026-01-01", "group": "x", "opens": "1", "closes": "2"}]},
            r"hours\[0\].group",
        ),
    ],
)
def test_a_wrong_key_is_named(data, names):
    with pytest.raises(ConfigError, match=names):
        calendar_of(**data)


@pytest.mark.market_data
def test_the_shipped_calendar_agrees_with_the_exchanges_daily_files():
    if not DAILY_FILES.exists():
        pytest.skip("NSE's daily files are not beside the checkout")
    traded: set[date] = set()
    for file in DAILY_FILES.glob("*.csv.gz"):
        with gzip.open(file, "rt") as rows:
            traded |= {date.fromisoformat(row["date"]) for row in csv.DictReader(rows)}
    first, last = min(traded), max(traded)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    expected = {day for day in days if shipped().is_session(day)}
    # Missing in the daily files although it was a trading day.
    assert expected - traded <= {date(2022, 8, 8)}
    # Special sessions whose hours no source confirms stay out (see sessions.yaml).
    unconfirmed = traded - expected
    assert len(unconfirmed) == 10
    assert date(2024, 11, 1) not in unconfirmed
    assert date(2025, 10, 21) not in unconfirmed
