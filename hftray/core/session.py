"""One symbol's trading day as values: when it opens, when entries end, when positions must go.

The dates and hours come from outside (calendar, replay data, simulator); here they are only used.
"""

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

IST = timezone(timedelta(hours=5, minutes=30), "IST")


@dataclass(frozen=True, slots=True)
class SessionRules:
    """Distances from the end of the continuous session, in minutes."""

    no_entry_minutes: int = 30
    square_off_minutes: int = 10


@dataclass(frozen=True, slots=True)
class TradingSession:
    """The continuous session of one symbol on one day."""

    day: date
    opens: datetime
    closes: datetime
    entry_until: datetime
    square_off_at: datetime

    def contains(self, moment: datetime) -> bool:
        """Whether trading is possible at that moment."""
        return self.opens <= moment < self.closes

    def may_enter(self, moment: datetime) -> bool:
        """Whether a new position may be opened at that moment."""
        return self.opens <= moment < self.entry_until


def trading_session(
    day: date,
    opens: datetime,
    closes: datetime,
    rules: SessionRules,
    *,
    flat_by: datetime | None = None,
) -> TradingSession:
    """Build the day from its hours; short special sessions keep at least their first minute.

    `flat_by`: when positions must begin to go at the latest, whatever the rules say (before the
    broker closes them itself); no entry is made after that either.
    """
    first = opens + timedelta(minutes=1)
    square_off = closes - timedelta(minutes=rules.square_off_minutes)
    last_entry = closes - timedelta(minutes=rules.no_entry_minutes)
    if flat_by is not None:
        square_off, last_entry = min(square_off, flat_by), min(last_entry, flat_by)
    return TradingSession(
        day=day,
        opens=opens,
        closes=closes,
        entry_until=max(first, last_entry),
        square_off_at=max(first, square_off),
    )
