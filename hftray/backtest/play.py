"""The backtest: a live account's days over history, in the time that its decisions take.

The rules are those of `core`, carried out by the classes that `backtest.reference` uses too. What
makes it quick is what it leaves out: candles on which no symbol can do anything (`backtest.lane`),
and marks of the account while its open positions could not reach the daily loss limit even if each
stood at its stop. The outcome is the reference's, to the last bit.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from hftray.backtest.compiling import compiled as in_machine_code
from hftray.backtest.express import Express
from hftray.backtest.foresight import VoteCache
from hftray.backtest.history import SymbolHistory
from hftray.backtest.lane import Lane
from hftray.backtest.outcome import Outcome
from hftray.backtest.timeline import NEVER, Clock, trading_days, when
from hftray.backtest.whole_days import WholeDays
from hftray.core.money import ZERO
from hftray.core.risk import RiskBook
from hftray.core.risk_view import RiskState
from hftray.core.rules import TradingRules
from hftray.strategies.ensemble import Ensemble

__all__ = ["VoteCache", "play"]

_MARGIN = Decimal(1)  # rupees; marks are rounded to the paisa, levels to the tick


def play(
    histories: Sequence[SymbolHistory],
    roster: Sequence[Mapping[str, Any]],
    *,
    rules: TradingRules,
    book: RiskBook,
    slippage_bps: float,
    cache: VoteCache | None = None,
    compiled: bool = False,
) -> Outcome:
    """Play the histories together on one account, which `book` holds; their order breaks ties.

    Within a moment working orders are filled first, then each symbol takes its candle and its
    exits, then the entries are granted, one symbol after the other, then the account is marked.
    `slippage_bps` is in basis points a fill. With a `cache`, votes that an earlier call computed
    on the same candles are not computed again. `compiled` plays the usual days of a single history
    in machine code, which pays from the second run of a process on, as the first has to load it.
    BadStrategy when a row of the roster cannot be used.
    """
    outcome = Outcome()
    ensemble = Ensemble(roster, rules.signals.threshold)
    lanes = [
        Lane(
            history, ensemble, rules, book, outcome,
            slippage_bps=slippage_bps, cache=cache, compiler=in_machine_code if compiled else None,
        )
        for history in histories
    ]  # fmt: skip
    days = trading_days([lane.line for lane in lanes])
    whole = None
    if compiled and len(lanes) == 1:
        whole = WholeDays(
            lanes[0], rules, book,
            slippage_bps=slippage_bps, margin=_MARGIN, clocks=list(days.values()),
        )  # fmt: skip
    express = Express(lanes[0], rules, book, slippage_bps) if len(lanes) == 1 else None
    _play_days(lanes, days, book, outcome, express, whole)
    outcome.candles = sum(len(lane.line.rows) for lane in lanes)
    return outcome


def _play_days(
    lanes: Sequence[Lane],
    days: Mapping[int, Clock],
    book: RiskBook,
    outcome: Outcome,
    express: Express | None,
    whole: WholeDays | None,
) -> None:
    account = _Account(book, lanes, outcome)
    equity, until = book.equity, 0
    last = next(reversed(list(days)), None)
    lively = {last}.union(*(lane.lively for lane in lanes))
    for place, (day, clock) in enumerate(days.items()):
        if place < until:
            continue
        if whole is not None and (stretch := whole.play(place)) is not None:
            outcome.add_all(stretch.trips)
            outcome.curve += stretch.curve
            until, equity = stretch.until, book.equity
            continue
        if day in lively or not account.may_skip():
            account.open_day(clock)
            _play_day(lanes, account, day, clock, express)
            equity = book.equity
        outcome.curve.append((clock.closes, equity))


class _Account:
    """Keeps the book's marks right wherever they can matter."""

    def __init__(self, book: RiskBook, lanes: Sequence[Lane], outcome: Outcome) -> None:
        self._book = book
        self._lanes = lanes
        self._outcome = outcome
        self._counted = 0
        self._room = ZERO
        self._opened, self._opening = -1, ZERO  # trips before the newest day, its room then

    def open_day(self, clock: Clock) -> None:
        """Begin a day; all positions are closed."""
        first = when(clock.moments.item(0))
        self._book.open_day(first.date(), first)
        self._count_opening()
        self._counted, self._room = self._opened, self._opening

    def may_skip(self) -> bool:
        """Whether a day on which nothing is decided leaves no trace in the book.

        All positions are closed, and the next day opens as this one would.
        """
        self._count_opening()
        return self._opening > _MARGIN and self._book.state is RiskState.ACTIVE

    def _count_opening(self) -> None:
        if self._opened != (opened := self._outcome.count):
            self._opened, self._opening = opened, self._book.loss_room_anew

    def _count(self) -> None:
        if self._outcome.count != self._counted:
            self._counted, self._room = self._outcome.count, self._book.loss_room

    def before_entries(self, moment: int) -> None:
        """Give the book the marks of the moment before, which an entry is measured by."""
        if len(self._lanes) > 1:
            held = [lane for lane in self._lanes if lane.engine.position is not None]
            for lane in held:
                lane.rest(moment - 1)
            self._book.revalue({lane.engine.symbol: lane.engine.open_pnl() for lane in held})

    def take_trip(self, express: Express, now: datetime) -> datetime | None:
        """When the round trip that begins now was over, if it can be taken whole."""
        self._count()
        trip = express.take(self._room - _MARGIN, now)
        if trip is None:
            return None
        self._outcome.add(trip)
        return trip.exit.timestamp

    def mark(self, moment: int, now: datetime) -> bool:
        """Mark the account if the daily loss could have been reached; whether it soon could be."""
        held = [lane for lane in self._lanes if lane.engine.position is not None]
        self._count()
        worst = sum((lane.worst for lane in held), ZERO)
        if self._room - worst > _MARGIN or self._book.state is not RiskState.ACTIVE:
            return False
        for lane in held:
            lane.rest(moment)
        self._book.mark({lane.engine.symbol: lane.engine.open_pnl() for lane in held}, now)
        return bool(held) and self._book.state is RiskState.ACTIVE


def _play_day(
    lanes: Sequence[Lane],
    account: _Account,
    day: int,
    clock: Clock,
    express: Express | None,
) -> None:
    for lane in lanes:
        lane.open_day(day, clock)
    if lanes[0].doubted:
        express = None
    moment, close = 0, False  # close to the daily loss: every moment is marked
    while True:
        due = min(lane.due for lane in lanes)
        if close:
            due = min(due, clock.first_from(moment + 1))
        if due == NEVER:
            break
        moment, now = due, when(due)
        if express is not None and lanes[0].due == moment:
            if (over := account.take_trip(express, now)) is not None:
                now = over
            else:
                lanes[0].play(now)
        else:
            account.before_entries(moment)
            _play_moment([lane for lane in lanes if lane.due == moment], moment, now)
        close = account.mark(moment, now)
    _close_day([lane for lane in lanes if lane.active], clock.closes)
    account.mark(clock.closing, clock.closes)


def _play_moment(lanes: Sequence[Lane], moment: int, now: datetime) -> None:
    for lane in lanes:
        lane.catch_up(moment)
        lane.see(moment, now)
    for lane in lanes:
        lane.decide(moment, now)
    for lane in lanes:
        lane.enter()
    for lane in lanes:
        lane.look_ahead(moment)


def _close_day(lanes: Sequence[Lane], now: datetime) -> None:
    for lane in lanes:
        lane.end(now)
    for lane in lanes:
        lane.pass_time(now)
