"""Which days and hours NSE trades: exchange_calendars for holidays, dated data for the rest.

The hours are data (`config/sessions.yaml`) because the exchange changes them. exchange_calendars
knows XBOM's holidays (BSE; NSE keeps the same days) to the end of some year and refuses beyond.
Past that horizon every weekday that the data does not name counts as a session, and `warning`
says so. It imports pandas, so nothing in `core` may import this module.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any, Self

from hftray.adapters.session_table import Hours, SessionTable
from hftray.core.errors import ConfigError
from hftray.core.market import Instrument
from hftray.core.session import IST, SessionRules, TradingSession, trading_session

# Longer than any run of closed days; a search that goes on means the data closes every day.
_LONGEST_BREAK = 60


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
        table: SessionTable,
    ) -> None:
        self._known = known
        self._table = table

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], known: KnownDays | None = None) -> Self:
        """From the content of sessions.yaml; ConfigError names the key that is wrong."""
        return cls(known or published_days(), SessionTable.from_mapping(data))

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
        if day in self._table.special:
            return True
        if day in self._table.closed or day < self._known.first:
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
        flat_by = self._table.flat_by(day, derivatives=instrument.derivatives)
        return trading_session(
            day,
            _at(day, hours.opens),
            _at(day, hours.closes),
            rules,
            flat_by=None if flat_by is None else _at(day, flat_by),
        )

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
        return self._table.hours(day, derivatives=instrument.derivatives)

    def _search(self, day: date, *, step: int) -> date:
        start = day
        for _ in range(_LONGEST_BREAK):
            day += timedelta(days=step)
            if self.is_session(day):
                return day
        raise ConfigError(f"sessions: no trading day within {_LONGEST_BREAK} days of {start}")


def _at(day: date, moment: time) -> datetime:
    return datetime.combine(day, moment, tzinfo=IST)
