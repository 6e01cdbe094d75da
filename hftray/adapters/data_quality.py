"""What is wrong, or odd, with a folder of candles before anybody trades or tests on it.

Nothing is repaired here: bad rows are left out by whoever reads the file (`candle_files`), and the
rest is for a person to judge. `Finding.serious` marks what makes results wrong; the others only
want to be known.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.candle_files import candle_rows, find_candle_files, read_candles
from hftray.adapters.instruments import Listings
from hftray.core.candles import Candles
from hftray.core.market import Candle
from hftray.core.session import IST, SessionRules

SPLITS = ("1:10", "1:5", "1:4", "1:3", "2:5", "1:2", "3:5", "2:3", "3:4", "4:5")
"""New price to old one after the usual splits and bonus issues."""
SPLIT_TOLERANCE = 0.04  # how far overnight trading may carry the price beside the split
JUMP = 0.2  # overnight, beyond which a price is asked about even when it fits no split
SECONDS = 60  # a minute
_SHOWN_DAYS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of trouble in a file: how often, where first, and what it is."""

    kind: str
    count: int
    first: str
    detail: str
    serious: bool


@dataclass(frozen=True, slots=True)
class FileQuality:
    """A file of candles and what was found in it; `minutes` between candles, 0 when unknown."""

    symbol: str
    path: Path
    candles: int
    sessions: int
    first_day: date | None
    last_day: date | None
    minutes: float
    findings: tuple[Finding, ...]

    @property
    def serious(self) -> bool:
        """Whether results on this file would be wrong."""
        return any(finding.serious for finding in self.findings)


def inspect(path: Path, listings: Listings, calendar: SessionCalendar) -> list[FileQuality]:
    """Look through every candle file of a folder, or one file. DataError when it cannot be read."""
    inspector = _Inspector(listings, calendar)
    return [inspector.file(symbol, file) for symbol, file in find_candle_files(path).items()]


def summary(reports: Sequence[FileQuality]) -> str:
    """The serious findings in one line; empty when there are none."""
    totals: Counter[str] = Counter()
    for report in reports:
        totals.update({f.kind: f.count for f in report.findings if f.serious})
    files = sum(report.serious for report in reports)
    found = ", ".join(f"{count} × {kind}" for kind, count in totals.most_common())
    return f"{files} of {len(reports)} files have faults: {found}" if files else ""


class _Inspector:
    def __init__(self, listings: Listings, calendar: SessionCalendar) -> None:
        self._listings = listings
        self._calendar = calendar

    def file(self, symbol: str, path: Path) -> FileQuality:
        """Rows first, then what the sound ones say."""
        read = read_candles(symbol, path, strict=False)
        findings = list(_bad_rows(symbol, path)) if read.rejected.count else []
        candles = read.candles
        if not len(candles):
            return FileQuality(symbol, path, 0, 0, None, None, 0.0, tuple(findings))
        seconds = _interval(candles)
        days = np.unique(candles.day).tolist()
        findings += self._sessions(symbol, candles, seconds)
        findings += _zero_volume(candles)
        findings += _jumps(candles)
        return FileQuality(
            symbol,
            path,
            len(candles),
            len(days),
            date.fromordinal(days[0]),
            date.fromordinal(days[-1]),
            seconds / SECONDS,
            tuple(findings),
        )

    def _sessions(self, symbol: str, candles: Candles, seconds: int) -> Iterator[Finding]:
        """Candles missing within sessions, candles outside them, and whole sessions missing."""
        days, starts = np.unique(candles.day, return_index=True)
        price = Decimal(str(candles.close.item(0)))
        share = self._listings.instrument(symbol, date.fromordinal(days.item(0)), price)
        missing, outside, unknown = [], [], []
        for ordinal, times in zip(days.tolist(), np.split(candles.time, starts[1:]), strict=True):
            day = date.fromordinal(ordinal)
            session = self._calendar.session(day, share, SessionRules())
            opens, closes = int(times[0]), int(times[-1]) + seconds
            if session is None:
                unknown.append(day)
            else:
                opens, closes = int(session.opens.timestamp()), int(session.closes.timestamp())
            if seconds:
                grid = np.arange(opens, closes - seconds + 1, seconds)
                missing += np.setdiff1d(grid, times).tolist()
                outside += np.setdiff1d(times, grid).tolist()
        span = range(days.item(0), days.item(-1))
        absent = set(span) - set(days.tolist())
        lost = [d for d in map(date.fromordinal, sorted(absent)) if self._calendar.is_session(d)]
        yield from _at("gap", missing, "candles missing within sessions", serious=True)
        yield from _at("outside session", outside, "candles outside the session or its grid")
        yield from _on("unknown session", unknown, "days that the calendar has closed")
        yield from _on("missing session", lost, "trading days without any candle")


def _bad_rows(symbol: str, path: Path) -> Iterator[Finding]:
    """The rows that are not used, by kind and reason."""
    seen: set[datetime] = set()
    found: dict[str, list[tuple[int, str]]] = {}
    newest: datetime | None = None
    for line, row in candle_rows(symbol, path):
        if isinstance(row, str):
            unreadable = row.startswith(("the row", "timestamp", "not a number"))
            found.setdefault("unreadable row" if unreadable else "OHLC fault", []).append(
                (line, row)
            )
        elif newest is None or row.time > newest:
            newest = row.time
            seen.add(row.time)
        else:
            kind = "duplicate" if row.time in seen else "out of order"
            found.setdefault(kind, []).append((line, _repeated(row)))
    for kind, rows in found.items():
        reasons = Counter(reason for _, reason in rows) if kind == "OHLC fault" else Counter()
        line, first = rows[0]
        detail = "; ".join(f"{n} × {reason}" for reason, n in reasons.most_common()) or first
        yield Finding(kind, len(rows), f"line {line}", detail, serious=True)


def _repeated(row: Candle) -> str:
    return f"candle of {row.time.astimezone(IST):%Y-%m-%d %H:%M} is not newer than those before"


def _interval(candles: Candles) -> int:
    """Seconds between candles of one day, as most of them are apart; 0 when no day has two."""
    steps = np.diff(candles.time)[np.diff(candles.day) == 0]
    values, counts = np.unique(steps, return_counts=True)
    return int(values[counts.argmax()]) if len(values) else 0


def _zero_volume(candles: Candles) -> Iterator[Finding]:
    untraded = candles.time[candles.volume == 0]
    yield from _at("zero volume", untraded.tolist(), "candles in which nothing was traded")


def _jumps(candles: Candles) -> Iterator[Finding]:
    """Nights after which the price stands near a split's ratio, or just far away."""
    opens = np.flatnonzero(np.diff(candles.day)) + 1
    ratios = candles.open[opens] / candles.close[opens - 1]
    splits, jumps = [], []
    for row, ratio in zip(opens.tolist(), ratios.tolist(), strict=True):
        near = _split(ratio)
        told = f"{date.fromordinal(int(candles.day[row]))} × {ratio:.4f}"
        if near:
            splits.append(f"{told}, near {near}")
        elif not 1 - JUMP < ratio < 1 / (1 - JUMP):
            jumps.append(told)
    yield from _told("split", splits, "not adjusted for a split or bonus", serious=True)
    yield from _told("jump", jumps, f"overnight change beyond {JUMP:.0%}")


def _split(ratio: float) -> str:
    """The split or, upwards, the consolidation that a change of price looks like."""
    for name in SPLITS:
        new, old = name.split(":")
        for wanted, label in ((int(new) / int(old), name), (int(old) / int(new), f"{old}:{new}")):
            if abs(ratio / wanted - 1) <= SPLIT_TOLERANCE:
                return label
    return ""


def _at(
    kind: str, times: Sequence[int], detail: str, *, serious: bool = False
) -> Iterable[Finding]:
    moments = [f"{datetime.fromtimestamp(at, IST):%Y-%m-%d %H:%M}" for at in sorted(times)[:1]]
    return [Finding(kind, len(times), moments[0], detail, serious)] if times else []


def _on(kind: str, days: Sequence[date], detail: str) -> Iterable[Finding]:
    if not days:
        return []
    shown = ", ".join(day.isoformat() for day in days[:_SHOWN_DAYS])
    more = ", …" if len(days) > _SHOWN_DAYS else ""
    return [Finding(kind, len(days), days[0].isoformat(), f"{detail}: {shown}{more}", False)]


def _told(
    kind: str, told: Sequence[str], detail: str, *, serious: bool = False
) -> Iterable[Finding]:
    return [Finding(kind, len(told), told[0], detail, serious)] if told else []
