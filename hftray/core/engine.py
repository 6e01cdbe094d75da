"""SymbolEngine: everything one symbol decides, as a plain class.

`handle(event)` returns commands; an interpreter carries them out (an actor with a real broker and
ledger, or the backtester) and feeds the outcome back as events. Because time and every outcome
arrive inside events, the same events always give the same commands.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, Self

from hftray.core import indicators
from hftray.core.candle_buffer import CandleBuffer
from hftray.core.candles import Candles
from hftray.core.events import (
    CancelOrder,
    ClockAdvanced,
    Command,
    Decision,
    Event,
    FlattenRequested,
    HoldingTold,
    NotAmended,
    SessionOpened,
    Signal,
    Vote,
)
from hftray.core.exits import ExitReason, exit_at_price, exit_in_candle
from hftray.core.feed_guard import FeedGuard
from hftray.core.guard import GuardedLife
from hftray.core.intents import entry_intent, exit_intent
from hftray.core.market import Candle, Instrument, Tick
from hftray.core.orders import Approval, Denial, OrderIntent, OrderReport
from hftray.core.position import Phase, Position, Trigger, next_phase
from hftray.core.rules import TradingRules
from hftray.core.session import TradingSession


class Electorate(Protocol):
    """Whoever votes on candles (strategies.Ensemble)."""

    def vote(self, candles: Candles) -> Vote:
        """Count all voters on the newest candle."""
        ...


class SymbolEngine(GuardedLife):
    """One symbol's candles and votes, on top of the life of its position."""

    def __init__(self, instrument: Instrument, rules: TradingRules, electorate: Electorate) -> None:
        super().__init__(instrument, rules)
        self.electorate = electorate
        self.voteless = False  # without its history only what is open is looked after
        self._begin_anew()
        self.session: TradingSession | None = None
        self.last_price: float | None = None
        self._flatten: str | None = None
        self._at_open: Position | None = None  # the position when the forming candle began
        self._handlers: dict[type, Callable[[Any], list[Command]]] = {
            SessionOpened: self._on_session,
            ClockAdvanced: self._on_clock,
            Tick: self._on_tick,
            Candle: self._on_candle,
            Approval: self._on_approved,
            Denial: self._on_denied,
            OrderReport: self._on_report,
            FlattenRequested: self._on_flatten,
            NotAmended: self._on_not_amended,
            HoldingTold: self._on_holding,
        }

    def handle(self, event: Event) -> list[Command]:
        """Take one event; returns what should be done about it, in order."""
        return self._handlers[type(event)](event)

    def open_pnl(self) -> Decimal:
        """Gross rupees of the open position at the last price."""
        if self.position is None or self.last_price is None:
            return Decimal(0)
        return self.position.gross_pnl(Decimal(str(self.last_price)))

    @property
    def feed_fault(self) -> str:
        """Why there are no entries on the present market data; empty when it is trusted."""
        return self.feed.fault(self.session, self.candles)

    def warm(self, history: list[Candle], forming: Candle | None = None) -> None:
        """Begin the buffer anew with earlier closed candles, oldest first, and the forming one."""
        self._begin_anew()
        for candle in history:
            if self.feed.admits_candle(candle, self.candles):
                self.candles.append(candle)
        if forming is not None and self.feed.admits_forming(forming, self.candles):
            self.candles.resume(forming)
        if len(self.candles) and self.last_price is None:
            self.last_price = self.candles.last().close

    def _begin_anew(self) -> None:
        signals = self.rules.signals
        self.candles = CandleBuffer(self.symbol, signals.candle_buffer, signals.candle_minutes)
        self.feed = FeedGuard(self.rules.feed, self.candles.interval)

    # Market

    def _on_session(self, event: SessionOpened) -> list[Command]:
        # Without a session before it, a forming candle is one that was just taken up.
        if self.session is not None and event.session.day != self.session.day:
            self.candles.close_forming()
            self.feed.open_day()
        self.session = event.session
        return []

    def _on_clock(self, event: ClockAdvanced) -> list[Command]:
        return self._pass_time(self.feed.clock(event.now), awaiting=event.awaiting)

    def _pass_time(self, now: datetime, *, awaiting: bool = False) -> list[Command]:
        commands = [] if awaiting else self._close_due(now)
        if self.last_price is not None:
            commands += self._guard(self.last_price, now)
            commands += self._keep_guard(self.last_price, now, self.session)
        return commands

    def _on_tick(self, tick: Tick) -> list[Command]:
        if self.session is None:
            self.candles.rejections.add("tick before any session")
            return []
        if not self.feed.admits_tick(tick, self.candles, self.session):
            return self._pass_time(self.feed.advance(tick.time))
        commands = self._close_due(tick.time)
        begins = not self.candles.forming
        if not self.candles.take(tick, self.session):
            return commands
        if begins:
            self._at_open = self.position
        price = self.last_price = self.candles.last().close  # an out-of-order tick is not news
        if self.position is not None:
            self.position = self.position.improved_by(price)
        commands += self._patience(price)
        commands += self._guard(price, tick.time)
        commands += self._vote(tick.time, price, final=False)
        commands += self._keep_guard(price, tick.time, self.session)
        return commands

    def _on_candle(self, candle: Candle) -> list[Command]:
        now = candle.time + self.candles.interval
        # One that corrects has been voted on as ticks had built it, and is not voted on again.
        if not self.feed.admits_candle(candle, self.candles) or self.candles.correct(candle):
            return self._pass_time(self.feed.advance(now))
        commands = self._close_due(now) if self.candles.due(candle.time) else []
        ticked = self.candles.forming
        if not self.candles.append(candle):
            return commands + self._close_due(now)
        return commands + self.candle_closed(candle, now, ticked=ticked)

    def candle_closed(
        self, candle: Candle, now: datetime, *, ticked: bool = False
    ) -> list[Command]:
        """What follows from a candle that is trusted, and the newest of the buffer by now.

        `ticked`: it took the place of what ticks had built, and the position has seen those.
        """
        self.last_price = candle.close
        commands = self._patience(candle.close)
        held = self._held_at_open(candle) if ticked else self.position
        if self.phase is Phase.OPEN and held is not None:
            touched = exit_in_candle(held, candle, self.rules.exits, self._tick_size)
            if touched is not None:
                reason, level = touched
                commands += self._exit(candle.close, now, reason, trigger=level)
        if self.position is not None:
            self.position = self.position.improved_within(candle.low, candle.high)
        commands += self._guard(candle.close, now)
        commands += self._vote(now, candle.close, final=True)
        commands += self._keep_guard(candle.close, now, self.session)
        return commands

    def _held_at_open(self, candle: Candle) -> Position | None:
        """The position whose levels the official candle is held against.

        Its trailing stop is the one that stood when the candle began, not the one that the
        candle's own ticks have raised since.
        """
        position, before = self.position, self._at_open
        if position is None:
            return None
        if self.rules.signals.entry_on == "tick" and position.entry_time > candle.time:
            return None  # entered somewhere inside the candle: its extremes may have been earlier
        if before is None or before.reference != position.reference:
            return replace(position, best_price=float(position.entry_price))
        return before

    def _close_due(self, now: datetime) -> list[Command]:
        if not self.candles.due(now):
            return []
        self.candles.close_forming()
        return self._vote(now, self.candles.last().close, final=True)

    # Deciding

    def _vote(self, now: datetime, price: float, *, final: bool) -> list[Command]:
        if self.voteless:
            return []
        vote = self.electorate.vote(self.candles.view())
        candle_time = self.candles.last_time()
        assert candle_time is not None  # a vote follows a candle
        decides = final or self.rules.signals.entry_on == "tick"
        obstacle = self.entry_obstacle(vote, now) if decides else "indicative"
        signal = Signal(
            symbol=self.symbol,
            signal=vote.decision,
            score=vote.score,
            votes=vote.votes,
            price=price,
            candle_time=candle_time,
            timestamp=now,
            final=final,
            action=obstacle or "enter",
        )
        return [signal] if obstacle else [signal, self._entry(vote, price, now, candle_time)]

    def atr(self) -> float | None:
        """Average true range on the newest candle, in rupees; None while there is none."""
        newest = indicators.atr(self.candles.view(), self.rules.signals.atr_period).item(-1)
        return newest if newest > 0 else None

    def entry_obstacle(self, vote: Vote, now: datetime) -> str | None:
        """Why this vote makes no entry now; None when it does."""
        if self.phase is not Phase.FLAT:
            return {Phase.OPEN: "holding", Phase.ENTERING: "entering"}.get(self.phase, "exiting")
        if vote.decision is Decision.HOLD:
            return "hold"
        if self.session is None or not self.session.may_enter(now):
            return "no entry: outside the hours for entries"
        if self._flatten is not None:
            return f"no entry: {self._flatten}"
        candle = self.candles.last_time()
        assert candle is not None  # a vote follows a candle
        # Left at the next candle's first price, before this one was voted on, counts as well: a
        # vote on closed candles alone would still have found the position open.
        if self._exit_at is not None and self._exit_at >= candle:
            return "no entry: exit on this candle"
        age = (now - candle - self.candles.interval).total_seconds()
        if age > self.rules.feed.stale_seconds:
            return f"no entry: the candle closed {age:.0f} s ago"
        fault = self.feed_fault
        return f"no entry: {fault}" if fault else None

    def _entry(self, vote: Vote, price: float, now: datetime, candle_time: datetime) -> OrderIntent:
        assert self.session is not None  # checked by entry_obstacle
        self.phase = next_phase(self.phase, Trigger.ENTRY_INTENDED)
        self.intent = entry_intent(
            self.symbol,
            vote,
            price=price,
            time=now,
            day=self.session.day,
            atr=self.atr(),
            candle_time=candle_time,
        )
        return self.intent

    def _guard(self, price: float, now: datetime) -> list[Command]:
        """Exits by the present price and time; every open position passes here on every step."""
        if self.phase is not Phase.OPEN or self.position is None or self.session is None:
            return []
        if self._flatten is not None:
            return self._exit(price, now, ExitReason.KILL_SWITCH)
        reason = self._exit_due() or exit_at_price(
            self.position, price, self.rules.exits, self._tick_size
        )
        # A position of an earlier day should not exist; it goes at the first chance.
        overdue = now >= self.session.square_off_at or self.position.session_day < self.session.day
        if reason is None and overdue:
            reason = ExitReason.SQUARE_OFF
        return [] if reason is None else self._exit(price, now, reason)

    def _exit(
        self, price: float, now: datetime, reason: ExitReason, trigger: Decimal | None = None
    ) -> list[Command]:
        held = self.position
        assert held is not None  # _guard and _on_candle looked
        assert self.session is not None
        if self.absence.rest > 0:
            self._absence = self.absence.passed()
            return []
        self._exit_at = self.candles.last_time() or now
        held_back = self._held_back(reason, now, trigger)
        if held_back is not None:
            return held_back
        if self._due is not None:
            due, self._due = self._due, None
            reason, trigger = due.reason, due.trigger if due.time == now else None
        self.phase = next_phase(self.phase, Trigger.EXIT_INTENDED)
        self.intent = exit_intent(
            held,
            reason.value,
            price=price,
            time=now,
            day=self.session.day,
            trigger=trigger,
            candle_time=self._exit_at,
        )
        return [self.intent]

    def _guard_ended(self, report: OrderReport) -> list[Command]:
        if report.filled_quantity:
            self._exit_at = report.time  # whichever candle that is in; the buffer may be behind
        return super()._guard_ended(report)

    def _on_flatten(self, event: FlattenRequested) -> list[Command]:
        if event.reason != self._flatten:
            self._absence = replace(self.absence, rest=0)  # a person wants it tried
        self._flatten = event.reason
        if self.phase is Phase.ENTERING and self.order is not None:
            return [CancelOrder(self.order.reference)]
        return [] if self.last_price is None else self._guard(self.last_price, event.now)

    def permit_entries(self) -> None:
        """Take a flatten request back; entries are possible again."""
        self._flatten = None

    # State

    def snapshot(self) -> dict[str, Any]:
        """Everything the next decision depends on, as picklable values."""
        return {
            "candles": self.candles.snapshot(),
            "feed": self.feed.snapshot(),
            **{name: getattr(self, name) for name in _STATE},
        }

    def restore(self, state: dict[str, Any]) -> Self:
        """Continue exactly where a snapshot was taken."""
        self.candles.restore(state["candles"])
        self.feed.restore(state["feed"])
        for name in _STATE:
            setattr(self, name, state[name])
        return self


_STATE = (
    "phase", "position", "intent", "order", "session", "last_price", "_flatten",
    "_exit_at", "_at_open", "_steps_waited", "_rests_at", "_waits_for", "_exits_in_vain",
    "guard", "_due", "_guard_fault", "_guard_setbacks", "_guard_rest", "_absence",
)  # fmt: skip
