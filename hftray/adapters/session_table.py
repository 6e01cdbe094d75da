"""config/sessions.yaml as values: hours by group of shares, special days, closures, dated.

A line holds from its day until a later one that fits the same share. Times are IST.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any, Generic, Literal, Self, TypeVar, cast

from hftray.core.errors import ConfigError

Group = Literal["all", "derivatives"]
_T = TypeVar("_T")

_KEYS = {"hours", "square_off", "special_sessions", "closures", "holidays"}


@dataclass(frozen=True, slots=True)
class Hours:
    """Opening and closing time of the continuous session, IST."""

    opens: time
    closes: time


@dataclass(frozen=True, slots=True)
class Change(Generic[_T]):
    """What holds from a day on, for a group of shares."""

    since: date
    group: Group
    what: _T


@dataclass(frozen=True, slots=True)
class SessionTable:
    """The whole file. `changes` and `square_offs` are sorted by their day."""

    changes: tuple[Change[Hours], ...]
    square_offs: tuple[Change[time], ...]
    special: Mapping[date, Hours]
    closed: frozenset[date]

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Self:
        """ConfigError names the key that is wrong."""
        for key in data:
            if key not in _KEYS:
                raise ConfigError(
                    f"sessions.{key}: unknown key; allowed are {', '.join(sorted(_KEYS))}"
                )
        changes = _changes(data, "hours", {"opens", "closes"}, _read_hours)
        if not any(change.group == "all" for change in changes):
            raise ConfigError("sessions.hours: needs at least one line with group: all")
        flat = _changes(data, "square_off", {"at"}, lambda row, at: _read_time(row, "at", at))
        special = {
            _read_day(row, "day", where): _read_hours(row, where)
            for row, where in _rows(data, "special_sessions", {"day", "opens", "closes"})
        }
        closed = frozenset(
            _as_day(day, f"sessions.{key}[{index}]")
            for key in ("closures", "holidays")
            for index, day in enumerate(data.get(key) or ())
        )
        return cls(changes, flat, special, closed)

    def hours(self, day: date, *, derivatives: bool) -> Hours | None:
        """The hours of a day on which the exchange is open; None before the first known ones."""
        return self.special.get(day) or _fitting(self.changes, day, derivatives=derivatives)

    def flat_by(self, day: date, *, derivatives: bool) -> time | None:
        """When the last intraday position must begin to go, if a line says so.

        The lines are about ordinary days; a special session has its own end.
        """
        if day in self.special:
            return None
        return _fitting(self.square_offs, day, derivatives=derivatives)


def _fitting(lines: tuple[Change[_T], ...], day: date, *, derivatives: bool) -> _T | None:
    found = None
    for line in lines:
        if line.since <= day and (line.group == "all" or derivatives):
            found = line.what
    return found


def _changes(
    data: Mapping[str, Any],
    key: str,
    fields: set[str],
    read: Callable[[Mapping[str, Any], str], _T],
) -> tuple[Change[_T], ...]:
    lines = []
    for row, where in _rows(data, key, {"from", "group"} | fields):
        if row["group"] not in ("all", "derivatives"):
            raise ConfigError(f"{where}.group: {row['group']!r} is neither 'all' nor 'derivatives'")
        since = _read_day(row, "from", where)
        lines.append(Change(since, cast(Group, row["group"]), read(row, where)))
    # Of two lines of one day the narrower counts.
    return tuple(sorted(lines, key=lambda line: (line.since, line.group != "all")))


def _rows(
    data: Mapping[str, Any], key: str, wanted: set[str]
) -> list[tuple[Mapping[str, Any], str]]:
    rows = []
    for index, row in enumerate(data.get(key) or ()):
        where = f"sessions.{key}[{index}]"
        if not isinstance(row, Mapping) or set(row) != wanted:
            raise ConfigError(f"{where}: needs exactly the keys {', '.join(sorted(wanted))}")
        rows.append((row, where))
    return rows


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
