"""Which days and hours NSE trades: exchange_calendars for holidays, dated data for the rest.

The hours are data (`config/sessions.yaml`) because the exchange changes them. exchange_calendars
knows XBOM's holidays (BSE; NSE keeps the same days) to the end of some year and refuses beyond.
Past that horizon every weekday that the data does not name counts as a session, and `warning`
says so. It imports pandas, so nothing in `core` may import this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Literal, Self, cast

from hftray.core.errors import ConfigError
from hftray.core.market import Instrument
from hftray.core.session import IST, SessionRules, TradingSession, trading_session

Group = Literal["all", "derivatives"]

_KEYS = {"hours", "special_sessions", "closures", "holidays"}
# Longer than any run of closed days; a search that goes on means the data closes every day.
_LONGEST_BREAK = 60


@dataclass(frozen=True, slots=True)
class Hours:
    """Opening and closing time of the continuous session, IST."""

    opens: time
    closes: time


@dataclass(frozen=True, slots=True)
class HoursChange:
    """Hours that hold from a day on, for a group of shares."""

    since: date
    group: Group
    hours: Hours


@dataclass(frozen=True, slots=True)
class MarketState:
    """Whether a share trades at a moment, and when that changes next."""

    open: bool
    next_change: datetime


@dataclass(frozen=True, slots=True)
class KnownDays:
    """The sessions of a published calendar, and the range of days it speaks about."""

    first: date
    last: date
    sessions: frozenset[date]


def published_days() -> KnownDays:
    """XBOM's sessions as far as exchange_calendars knows them. Takes about a second."""
    from exchange_calendars.exchange_calendar_xbom import XBOMExchangeCalendar

    calendar = XBOMExchangeCalendar(start="2010-01-04", end=XBOMExchangeCalendar.bound_max())
    return KnownDays(
        first=date(2010, 1, 4),
        last=XBOMExchangeCalendar.bound_max().date(),
        sessions=frozenset(stamp.date() for stamp in calendar.sessions),
    )


class SessionCalendar:
    """Trading days and hours of every share. Times in and out are timezone-aware."""

    def __init__(
        self,
        known: KnownDays,
        changes: list[HoursChange],
        special: Mapping[date, Hours],
        closed: frozenset[date],
    ) -> None:
        self._known = known
        self._changes = sorted(changes, key=lambda change: change.since)
        self._special = dict(special)
        self._closed = closed

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], known: KnownDays | None = None) -> Self:
        """From the content of sessions.yaml; ConfigError names the key that is wrong."""
        for key in data:
            if key not in _KEYS:
                raise ConfigError(
                    f"sessions.{key}: unknown key; allowed are {', '.join(sorted(_KEYS))}"
                )
        changes = [_read_change(row, where) for row, where in _rows(data, "hours")]
        if not any(change.group == "all" for change in changes):
            raise ConfigError("sessions.hours: needs at least one line with group: all")
        special = {
            _read_day(row, "day", where): _read_hours(row, where)
            for row, where in _rows(data, "special_sessions", {"day", "opens", "closes"})
        }
        closed = frozenset(
            _as_day(day, f"sessions.{key}[{index}]")
            for key in ("closures", "holidays")
            for index, day in enumerate(data.get(key) or ())
        )
        return cls(known or published_days(), changes, special, closed)

    @property
    def horizon(self) -> date:
        """The last day whose holidays are published."""
        return self._known.last

    def warning(self, day: date) -> str | None:
        """What to tell the operator about a day past the horizon; None before it."""
        if day <= self.horizon:
            return None
        return (
            f"exchange holidays are known only to {self.horizon}: {day} counts as a trading day "
            "by its weekday; add holidays to config/sessions.yaml or upgrade exchange_calendars"
        )

    def is_session(self, day: date) -> bool:
        """Whether anything trades on that day. False before the first known hours."""
        if day in self._special:
            return True
        if day in self._closed or day < self._known.first:
            return False
        if day <= self._known.last:
            return day in self._known.sessions
        return day.weekday() < 5

    def session(
        self, day: date, instrument: Instrument, rules: SessionRules
    ) -> TradingSession | None:
        """The share's continuous session on that day, or None when it does not trade."""
        hours = self._hours(day, instrument)
        if hours is None:
            return None
        return trading_session(day, _at(day, hours.opens), _at(day, hours.closes), rules)

    def next_session_day(self, after: date) -> date:
        """The first trading day later than `after`."""
        return self._search(after, step=1)

    def previous_days(self, day: date, count: int) -> list[date]:
        """The `count` trading days before `day`, oldest first."""
        days: list[date] = []
        for _ in range(count):
            day = self._search(day, step=-1)
            days.append(day)
        return days[::-1]

    def state(self, now: datetime, instrument: Instrument) -> MarketState:
        """Whether the share trades now, and the next opening or close."""
        day = now.astimezone(IST).date()
        hours = self._hours(day, instrument)
        if hours is not None and now < _at(day, hours.closes):
            is_open = now >= _at(day, hours.opens)
            return MarketState(is_open, _at(day, hours.closes if is_open else hours.opens))
        after = self.next_session_day(day)
        opening = self._hours(after, instrument)
        assert opening is not None  # next_session_day gives days with hours
        return MarketState(open=False, next_change=_at(after, opening.opens))

    def _hours(self, day: date, instrument: Instrument) -> Hours | None:
        if not self.is_session(day):
            return None
        if day in self._special:
            return self._special[day]
        fitting = [
            change.hours
            for change in self._changes
            if change.since <= day and (change.group == "all" or instrument.derivatives)
        ]
        return fitting[-1] if fitting else None

    def _search(self, day: date, *, step: int) -> date:
        start = day
        for _ in range(_LONGEST_BREAK):
            day += timedelta(days=step)
            if self.is_session(day):
                return day
        raise ConfigError(f"sessions: no trading day within {_LONGEST_BREAK} days of {start}")


def _at(day: date, moment: time) -> datetime:
    return datetime.combine(day, moment, tzinfo=IST)


def _rows(
    data: Mapping[str, Any], key: str, fields: set[str] | None = None
) -> list[tuple[Mapping[str, Any], str]]:
    wanted = fields or {"from", "group", "opens", "closes"}
    rows = []
    for index, row in enumerate(data.get(key) or ()):
        where = f"sessions.{key}[{index}]"
        if not isinstance(row, Mapping) or set(row) != wanted:
            raise ConfigError(f"{where}: needs exactly the keys {', '.join(sorted(wanted))}")
        rows.append((row, where))
    return rows


def _read_change(row: Mapping[str, Any], where: str) -> HoursChange:
    if row["group"] not in ("all", "derivatives"):
        raise ConfigError(f"{where}.group: {row['group']!r} is neither 'all' nor 'derivatives'")
    since = _read_day(row, "from", where)
    return HoursChange(since, cast(Group, row["group"]), _read_hours(row, where))


def _read_hours(row: Mapping[str, Any], where: str) -> Hours:
    opens, closes = (_read_time(row, key, where) for key in ("opens", "closes"))
    if opens >= closes:
        raise ConfigError(f"{where}.closes: {closes:%H:%M} is not after {opens:%H:%M}")
    return Hours(opens, closes)


def _read_time(row: Mapping[str, Any], key: str, where: str) -> time:
    try:
        return time.fromisoformat(row[key])
    except (TypeError, ValueError):
        raise ConfigError(
            f'{where}.{key}: {row[key]!r} is not a time such as "09:15" (in quotes)'
        ) from None


def _read_day(row: Mapping[str, Any], key: str, where: str) -> date:
    return _as_day(row[key], f"{where}.{key}")


def _as_day(value: object, where: str) -> date:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ConfigError(f"{where}: {value!r} is not a day such as 2027-01-26") from None
