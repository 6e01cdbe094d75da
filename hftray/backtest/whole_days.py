"""Many days at once, for a symbol that is alone on its account: the kernel plays, the book is told.

The book sees whole days only. A day that the kernel leaves is played step by step, then the kernel
goes on; a vote or an ATR that it cannot be sure of is settled, and it goes on from that day.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from hftray.backtest import kernel
from hftray.backtest.compiling import compiled
from hftray.backtest.course import course_of, exact_atr, highest_rate, terms_of
from hftray.backtest.foresight import UNSURE
from hftray.backtest.lane import Lane
from hftray.backtest.outcome import RoundTrip
from hftray.backtest.records import Records, Way
from hftray.backtest.timeline import Clock, Hours, when
from hftray.core.candles import Floats, Ints
from hftray.core.exits import LEVELS, ExitReason
from hftray.core.money import ZERO
from hftray.core.risk import RiskBook
from hftray.core.rules import TradingRules

_MOST_AHEAD = 64  # votes settled at once
_PLACE = {name: place for place, name in enumerate(kernel.COLUMNS)}
_REASONS = (*LEVELS, ExitReason.SQUARE_OFF)


class Stretch(NamedTuple):
    """Days that were played: up to which, their trips, the equity after each."""

    until: int
    trips: "TripBatch"
    curve: list[tuple[datetime, Decimal]]


class WholeDays:
    """Plays days of one lane, `clocks`, from any of them on; nothing may be open then."""

    def __init__(
        self, lane: Lane, rules: TradingRules, book: RiskBook, *,
        slippage_bps: float, margin: Decimal, clocks: Sequence[Clock],
    ) -> None:  # fmt: skip
        self._lane, self._rules, self._book, self._clocks = lane, rules, book, clocks
        course = course_of(lane.track, rules, book.charges)
        tick = lane.history.instrument.tick_size
        terms = course and terms_of(rules, tick, slippage_bps, highest_rate(course), margin)
        self._plan = None if course is None or terms is None else (course, terms)
        self._chances = lane.chances
        self._sides = lane.sides() if self._plan else np.zeros(0, dtype=np.int64)

    def play(self, first: int) -> Stretch | None:
        """Play from the day at this place on as long as days are usual; None if it is not."""
        capital = _in_paise(self._book.equity)
        if self._plan is None or capital is None or not self._book.untroubled:
            return None
        course, terms = self._plan
        rows, _ = self._chances
        trips = np.empty((len(rows), len(_PLACE)), dtype=np.int64)
        best, equity = np.empty(len(rows)), np.empty(len(self._clocks), dtype=np.int64)
        play_days = compiled(kernel.play_days)
        until, count, ahead = first, 0, 1
        while True:
            before = until
            until, why, place, count = play_days(
                course, terms, rows, self._sides, until, capital, count, trips, best, equity
            )
            if until > before:
                capital = equity.item(until - 1)
            if why == kernel.VOTE:
                self._settle_votes(place, ahead)
                ahead = min(2 * ahead, _MOST_AHEAD)
            elif why == kernel.ATR:
                self._settle_atr(course, place)
            else:
                break
        if until == first:
            return None
        curve = self._enter(trips[:count], first, until, equity)
        batch = TripBatch(self._lane, self._rules, self._book, trips[:count].copy(), best)
        return Stretch(until, batch, curve)

    def _settle_votes(self, chance: int, ahead: int) -> None:
        """Be sure of this chance, and of the next unsure ones: they will be asked for, mostly."""
        unsure = chance + np.flatnonzero(self._sides[chance:] == UNSURE)[:ahead]
        for place in unsure.tolist():
            self._sides[place] = self._lane.side_at(self._chances[1].item(place))

    def _settle_atr(self, course: kernel.Course, chance: int) -> None:
        row = self._chances[0].item(chance)
        exact = exact_atr(self._lane.track, self._rules, row) or 0.0
        course.atr_low[row] = course.atr_high[row] = exact

    def _enter(
        self, trips: Ints, first: int, until: int, equity: Ints
    ) -> list[tuple[datetime, Decimal]]:
        """Let the book take the trips, the last day's as that day's; the equity after each day."""
        book, symbol, days = self._book, self._lane.engine.symbol, trips[:, _PLACE["day"]]
        pnl, earlier = trips[:, _PLACE["pnl"]], int(days.searchsorted(until - 1))
        moved = np.flatnonzero(pnl)
        begin = int(days[moved[0]]) if len(moved) else until
        before = [book.equity] * (begin - first)
        after = [_rupees(paise) for paise in equity[begin:until].tolist()]
        if earlier:
            book.pass_trips(symbol, earlier, _net(pnl[:earlier]))
        opens = when(self._clocks[until - 1].moments.item(0))
        book.open_day(opens.date(), opens)
        if earlier < len(days):
            book.pass_trips(symbol, len(days) - earlier, _net(pnl[earlier:]))
        closes = [clock.closes for clock in self._clocks[first:until]]
        return list(zip(closes, before + after, strict=True))


class TripBatch:
    """The kernel's trips: numbers, of which records are made for whoever reads them."""

    def __init__(
        self, lane: Lane, rules: TradingRules, book: RiskBook, numbers: Ints, best: Floats
    ) -> None:
        self._lane, self._rules, self._numbers = lane, rules, numbers
        self._best = best[: len(numbers)].copy()
        self._records = Records(lane.track, book.run)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def pnls(self) -> list[Decimal]:
        """Each trip's net P&L in rupees."""
        return [_rupees(paise) for paise in self._numbers[:, _PLACE["pnl"]].tolist()]

    def trips(self) -> list[RoundTrip]:
        """The trips as records."""
        hours = list(self._lane.line.days.values())
        return [
            self._trip(dict(zip(kernel.COLUMNS, numbers, strict=True)), best, hours)
            for numbers, best in zip(self._numbers.tolist(), self._best.tolist(), strict=True)
        ]

    def _trip(self, it: dict[str, int], best: float, hours: Sequence[Hours]) -> RoundTrip:
        lane, tick = self._lane, self._lane.history.instrument.tick_size
        step = int(tick * 100)
        row, place = (int(column[it["chance"]]) for column in lane.chances)

        def on_tick(paise: int) -> Decimal:
            return paise // step * tick

        position = self._records.position(
            lane.vote_at(place), row, hours[it["day"]].session.day,
            quantity=it["quantity"], price=on_tick(it["entry"]), best=best,
            levels=(on_tick(it["stop"]), on_tick(it["target"])),
            atr=exact_atr(lane.track, self._rules, row), sequence=it["sequence"],
        )  # fmt: skip
        reason, level = _REASONS[it["reason"]], it["level"]
        assert reason is not None  # it is 0 for no trip
        trigger = on_tick(level) if level else None
        way = Way(position, reason, it["row"], it["filled"], on_tick(it["price"]), trigger)
        return self._records.trip(
            way, paid=_rupees(it["paid"]), charges=_rupees(it["charges"]), sequence=it["sequence"]
        )


def _net(pnl: Ints) -> Decimal:
    """The sum in rupees, written as one trip after the other would have it."""
    return _rupees(int(pnl.sum())) if pnl.any() else ZERO


def _rupees(paise: int) -> Decimal:
    return Decimal(paise).scaleb(-2)


def _in_paise(amount: Decimal) -> int | None:
    """The amount, None unless it is whole paise, and an int64 however it is used."""
    paise = amount * 100
    return int(paise) if paise == int(paise) and abs(paise) < 1 << 61 else None
