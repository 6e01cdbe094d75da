"""One symbol of a backtest, wound from one candle that matters to the next.

What is skipped are candles on which the engine would do nothing but count: flat and no decision
possible, or holding with every exit level out of reach. Everything else it decides itself.
"""

from datetime import datetime
from decimal import Decimal
from functools import cached_property

import numpy as np

from hftray.backtest.foresight import Foresight, VoteCache, ballots_of
from hftray.backtest.history import SymbolHistory
from hftray.backtest.interpreter import Interpreter
from hftray.backtest.outcome import Outcome
from hftray.backtest.tape import Tape
from hftray.backtest.timeline import NEVER, Clock, Hours
from hftray.backtest.track import Track
from hftray.core.candles import Ints
from hftray.core.engine import SymbolEngine
from hftray.core.events import Command, Decision, Vote
from hftray.core.money import ZERO
from hftray.core.position import Phase, Position
from hftray.core.risk import RiskBook
from hftray.core.rules import TradingRules
from hftray.core.session import TradingSession
from hftray.strategies.ensemble import Ensemble
from hftray.strategies.rough import Compiler


class _Quiet(SymbolEngine):
    """An engine that leaves out signals which decide nothing: a backtest has no use for them."""

    electorate: Foresight

    def _vote(self, now: datetime, price: float, *, final: bool) -> list[Command]:
        if self.phase is Phase.FLAT and self.electorate.open:
            return super()._vote(now, price, final=final)
        return []


class Lane:
    """A symbol's engine, where it stands in the symbol's history, and when it is `due` next.

    Rows are places among the played candles. All before `row` are behind it. `chances` are the rows
    on which an entry is possible, and their places in the foresight.
    """

    def __init__(
        self,
        history: SymbolHistory,
        ensemble: Ensemble,
        rules: TradingRules,
        book: RiskBook,
        outcome: Outcome,
        *,
        slippage_bps: float,
        cache: VoteCache | None,
        compiler: Compiler | None = None,
    ) -> None:
        signals = rules.signals
        self.history = history
        self.track = Track(history, rules)
        self.line, self._reel = self.track.line, self.track.reel
        self._rules = rules
        candles, window = self._reel.candles, signals.candle_buffer
        ballots = ballots_of(history.symbol, candles, ensemble, window, cache, compiler)
        self._foresight = Foresight(candles, ensemble, window, ballots)
        self.chances = self.track.entry_chances(self._foresight)
        self.engine = _Quiet(history.instrument, rules, self._foresight)
        self._tape = Tape(history.symbol, self._reel, signals)
        self._start_engine()
        self._player = Interpreter(self.engine, book, slippage_bps=slippage_bps, outcome=outcome)
        self.hours: Hours | None = None
        self._clock: Clock | None = None
        self._decision: Vote | None = None  # of the candle at `due_row`, while flat
        self.doubted = False  # whether no candle of the day may be skipped
        self._own: int | None = None  # the row that the present moment brings
        self.row = self.due_row = 0
        self.due = NEVER

    # Days

    @cached_property
    def lively(self) -> set[int]:
        """The days (ordinals) on which something may be decided."""
        return self.track.lively_days(self.chances[0])

    def open_day(self, day: int, clock: Clock) -> None:
        """Go to the symbol's first candle of the day, if it has any."""
        self.hours, self._clock = self.line.days.get(day), clock
        self.due = NEVER
        self.doubted = day in self._reel.doubted
        if self.hours is not None:
            self.row = self.hours.rows.start
            if day in self.lively:
                self.look_ahead(0)

    def session(self, moment: int) -> TradingSession | None:
        """The session the symbol trades in at that moment."""
        hours = self.hours
        return None if hours is None or moment > hours.closes else hours.session

    @property
    def worst(self) -> Decimal:
        """The most rupees, charges included, that the position can be down and still be open."""
        held = self.engine.position
        if held is None:
            return ZERO
        return held.risk + self._player.paid

    @property
    def active(self) -> bool:
        """Whether there is a position or an order."""
        return self.engine.phase is not Phase.FLAT

    # A moment

    def catch_up(self, moment: int) -> None:
        """Stand right before a moment, everything before it counted."""
        hours = self.hours
        if hours is None:
            return
        row = self.track.row_from(hours, moment)
        self._skip_to(row)
        own = row < hours.rows.stop and self.line.moments.item(row) == moment
        self._own = row if own else None

    def see(self, moment: int, now: datetime) -> None:
        """The exchange's part of the moment."""
        own = self._own
        candle = None if own is None else self.track.candle(own)
        self._player.price = self._price_before()
        self._player.see(candle, self.session(moment), now)

    def decide(self, moment: int, now: datetime) -> None:
        """The engine's part of the moment; entries wait for `enter`."""
        if self._own is not None:
            self._foresight.row = self._reel.ends.item(self._own) - 1
            self.row = self._own + 1
        self._player.decide(self.session(moment), now)

    def enter(self) -> None:
        """The entry that was decided, if one was."""
        self._player.enter()

    def play(self, now: datetime) -> None:
        """All of the moment that is due, for a symbol alone and not `doubted` today.

        The same as the parts above, one after the other; only the feed guard is not asked, which
        knows no candle of the day to refuse.
        """
        moment, row = self.due, self.due_row
        self._skip_to(row)
        hours, player, end = self.hours, self._player, self.track.end(row)
        assert hours is not None  # there is something due
        candle = self.track.candle(row)
        player.price = self._price_before()
        player.see(candle, hours.session, now)
        self._foresight.row = end - 1
        self.row = row + 1
        self._tape.wind_to(end)
        player.decide_trusting(hours.session, candle, now)
        player.enter()
        self.look_ahead(moment)

    # Whole trips and days (`backtest.express`, `backtest.whole_days`)

    def vote_at(self, place: int) -> Vote:
        """The vote at a place in the foresight."""
        return self._foresight.at(place)

    def side_at(self, place: int) -> int:
        """The side it decides for: +1, -1, or 0 for none."""
        return self._foresight.side_at(place)

    def sides(self) -> Ints:
        """The sides at all `chances`, UNSURE where votes must be counted first."""
        return self._foresight.sides[self.chances[1]].astype(np.int64)

    def entry_due(self, now: datetime) -> Vote | None:
        """The vote due now, of which the engine would make an entry; it stands on its candle."""
        vote, hours, row = self._decision, self.hours, self.due_row
        if hours is None or vote is None or self.active:
            return None
        self._player.open(hours.session)
        self._tape.wind_to(self.track.end(row))
        return None if self.engine.entry_obstacle(vote, now) else vote

    def stand_behind(self, row: int) -> None:
        """Go on after this row; what happened up to it is over and needs no trace here."""
        self.row = row + 1
        self.look_ahead(self.due)

    def end(self, now: datetime) -> None:
        """The exchange's part of the day's end."""
        self._own = None
        self.rest(NEVER - 1)
        self._player.price = self._price_before()
        self._player.see(None, None, now)

    def pass_time(self, now: datetime) -> None:
        """The engine's part of the day's end."""
        self._player.decide(None, now)

    def rest(self, moment: int) -> None:
        """Let a moment pass on which nothing can happen here."""
        if self.hours is not None:
            self._skip_to(self.track.row_from(self.hours, moment + 1))

    # What comes next

    def look_ahead(self, moment: int) -> None:
        """Find the next moment, after this one, on which something can happen."""
        hours, clock = self.hours, self._clock
        assert hours is not None  # without candles today there are no moments
        assert clock is not None
        row, over = self.row, NEVER
        if self.engine.phase is Phase.FLAT:
            row = self._next_entry(hours)
        elif self._player.working is None and self.engine.position is not None:
            over = clock.first_from(max(hours.square_off_at, moment + 1))
            row = self._next_exit(self.engine.position, hours, over)
        else:
            over = clock.first_from(max(hours.closes, moment) + 1)
        if self.doubted:
            row = min(row, self.row)
        self.due_row = row
        own = self.track.close_of(row) if row < hours.rows.stop else NEVER
        self.due = min(own, over)

    def _next_entry(self, hours: Hours) -> int:
        rows, places = self.chances
        index = int(rows.searchsorted(self.row))
        while index < len(rows) and rows.item(index) < hours.rows.stop:
            vote = self._foresight.at(places.item(index))
            if vote.decision is not Decision.HOLD:
                self._decision = vote
                return rows.item(index)
            index += 1
        return hours.rows.stop

    def _next_exit(self, position: Position, hours: Hours, over: int) -> int:
        last = min(self.track.row_from(hours, over), hours.rows.stop)
        return self.track.touch_from(position, self.row, last)[0]

    def _skip_to(self, row: int) -> None:
        """Pass over candles on which nothing happens; a held position still sees their prices."""
        engine, candles = self.engine, self._reel.candles
        end = self._reel.ends.item(row - 1) if row else self._reel.warm
        if end:
            engine.last_price = candles.close.item(end - 1)
        if row > self.row and engine.position is not None:
            engine.position = self.track.seen(engine.position, end - (row - self.row), end)
        self._tape.wind_to(end)
        self.row = row

    def _price_before(self) -> float | None:
        return self.track.close(self.row - 1) if self.row else None

    def _start_engine(self) -> None:
        """Put the tape in place; the feed guard begins where the warm-up left it."""
        first = next(iter(self.line.days), None)
        if first in self._reel.doubted:
            start = self.history.start
            earliest = max(0, start - self._rules.signals.candle_buffer)
            self.engine.warm([self.history.candle(row) for row in range(earliest, start)])
        self.engine.candles = self._tape
