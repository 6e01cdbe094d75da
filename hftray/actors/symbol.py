"""The symbol actor: carries out what its SymbolEngine decides, one step at a time.

Start-up and recovery are one path (`_recover`): register with risk for a new epoch, take over
what the ledger knows, and look up an order whose outcome is open. Whenever the shell cannot know
what risk made of a call it forgets what it believed and takes that path again before it acts.

An order whose fate at the broker is unknown keeps the engine entering, exiting or guarded, which
bars a second order; `SymbolOrders` looks it up until the broker can tell.

This process imports no pandas and no SQLAlchemy; keep it so.
"""

import asyncio
import pickle
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hftray import observe
from hftray.actors.messages import Step, StepReport
from hftray.actors.symbol_orders import SymbolOrders
from hftray.core.engine import SymbolEngine
from hftray.core.errors import HftrayError, NotRegistered, RejectError
from hftray.core.events import (
    AmendOrder,
    CancelOrder,
    ClockAdvanced,
    Event,
    FlattenRequested,
    HoldingTold,
    SessionOpened,
    Settle,
    Signal,
)
from hftray.core.market import Instrument
from hftray.core.orders import Approval, Denial, Leg, OrderIntent
from hftray.core.position import Phase
from hftray.core.recovery import intent_of, last_exit_at, order_of
from hftray.core.rules import TradingRules
from hftray.ports import Broker, RiskGate
from hftray.strategies.ensemble import Ensemble
from hftray.strategies.plugins import StrategyFile, load_plugins

log = observe.logger("symbol")

TOO_LATE = "its turn did not come in time"


class SymbolShell:
    """One symbol's engine with a real risk gate and broker around it."""

    def __init__(
        self,
        instrument: Instrument,
        rules: TradingRules,
        risk: RiskGate,
        broker: Broker,
        strategy_files: Sequence[StrategyFile] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        observe.configure()
        load_plugins(strategy_files)
        self._engine = SymbolEngine(instrument, rules, Ensemble([], rules.signals.threshold))
        self._threshold = rules.signals.threshold
        self._risk = risk
        self._orders = SymbolOrders(instrument.symbol, broker, clock)
        self._epoch: int | None = None
        self._roster_version = -1
        self._roster_fault = ""
        self._warm = False
        self._unknown = False  # what risk has on record may differ from what is believed here
        self._wanted: OrderIntent | None = None  # an entry that waits for its turn at risk
        self._approved: Approval | None = None  # and one that waits for its turn at the broker
        self._signals: list[Signal] = []
        self._traded = False
        self._busy = asyncio.Lock()

    @property
    def symbol(self) -> str:
        """The symbol traded."""
        return self._engine.symbol

    async def step(self, step: Step) -> StepReport:
        """Take one scan's news; steps are handled one after the other, never interleaved."""
        async with self._busy:
            if not step.proceed:
                self._signals, self._traded = [], False
            self._refresh(step)
            if not (self._ready or step.blind):
                return self._report("")
            self._engine.voteless = not self._ready
            trouble = ""
            try:
                if self._epoch is None or self._unknown or step.recover:
                    await self._recover()
                sent = self._engine.under_way
                if step.look_up and sent is not None and self._orders.sought is None:
                    self._orders.seek(sent.reference)
                await self._take_in(await self._orders.look_up(sent))
                await (self._proceed() if step.proceed else self._take(step))
                sought = self._orders.sought
                trouble = f"outcome unknown: {sought}" if sought else ""
            except HftrayError as error:
                # Another incarnation registered, risk was restarted, or it and this shell
                # disagree: what is believed here is worth nothing, so ask anew before acting.
                self._unknown = True
                trouble = f"{type(error).__name__}: {error}"
                log.warning("step not finished", symbol=self.symbol, reason=trouble)
                if step.candle and self._engine.candles.last_time() != step.candle.time:
                    self._warm = False  # the candle was not taken and will not come again
            except Exception:  # a fault of our own: whoever asks sees it, and it is recovered from
                self._unknown = True
                raise
            engine = self._engine
            told = engine.absence_fault or engine.exit_fault or engine.guard_fault
            told = told or self._roster_fault
            return self._report(trouble or told or step.blind)

    async def step_packed(self, packed: bytes) -> bytes:
        """`step` with pickled values, for callers in other processes."""
        return pickle.dumps(await self.step(pickle.loads(packed)), 5)

    async def state(self) -> dict[str, Any]:
        """The engine's snapshot, for diagnosis."""
        return self._engine.snapshot()

    def _refresh(self, step: Step) -> None:
        if step.roster is not None:
            self._roster_version, rows = step.roster
            try:
                self._engine.electorate = Ensemble(rows, self._threshold)
                self._roster_fault = ""
            except RejectError as error:
                # No reason to leave a position unguarded: the voters stay as they were.
                self._roster_fault = f"strategies: {error}"
        if step.recover:
            self._warm = False  # another run, or a pause: the buffer is of another time
        if step.history is not None:
            self._engine.warm(step.history, step.forming)
            self._warm = True
        elif step.recover and step.blind:
            self._engine.warm([])

    @property
    def _ready(self) -> bool:
        return self._warm and self._roster_version >= 0

    async def _recover(self) -> None:
        self._epoch, state = await self._risk.register(self.symbol)
        position = next((p for p in state.positions if p.symbol == self.symbol), None)
        pending = next((t for t in state.under_way if t.symbol == self.symbol), None)
        self._wanted = self._approved = None
        self._orders.forget()
        exit_at = last_exit_at(state, self.symbol)
        if pending is None:
            self._engine.adopt(position, None, None, exit_at)
        else:
            self._engine.adopt(position, order_of(pending), intent_of(pending), exit_at)
            self._orders.seek(pending.reference)
        self._unknown = False

    async def _proceed(self) -> None:
        """Let an entry take its next step, now that every symbol's exits have gone first.

        Two steps, because risk is asked in a fixed order and the broker by all at once.
        """
        if self._wanted is not None:
            intent, self._wanted = self._wanted, None
            self._approved = await self._approval(intent)
        elif self._approved is not None:
            approval, self._approved = self._approved, None
            await self._take_in(await self._orders.place(approval.order))

    async def _take(self, step: Step) -> None:
        if self._wanted is not None:
            self._wanted = None
            await self._carry_out(Denial(TOO_LATE))
        if self._approved is not None:
            self._orders.lose_sight(self._approved.order.reference, TOO_LATE)
            self._approved = None
        if step.session is not None and step.session != self._engine.session:
            await self._carry_out(SessionOpened(step.session))
        await self._take_in(step.reports)
        if step.holding is not None:
            await self._carry_out(HoldingTold(step.holding))
        if step.flatten is None:
            self._engine.permit_entries()
        else:
            await self._carry_out(FlattenRequested(step.now, step.flatten))
        market = step.candle or step.tick
        if market is not None:
            await self._carry_out(market)
        if step.candle is None and (step.tick is None or step.tick.time < step.now):
            # A feed may repeat an old price.
            await self._carry_out(ClockAdvanced(step.now, awaiting=step.awaiting))
        if self._engine.exit_set_free:  # the guard is gone, so it goes at once
            await self._carry_out(ClockAdvanced(step.now, awaiting=step.awaiting))

    async def _carry_out(self, event: Event) -> None:
        for command in self._engine.handle(event):
            match command:
                case Signal():
                    self._signals.append(command)
                case OrderIntent(leg=Leg.ENTRY):
                    self._wanted = command
                case OrderIntent():
                    await self._order(command)
                case CancelOrder():
                    await self._take_in(await self._orders.cancel(command.reference))
                case AmendOrder():
                    await self._take_in(await self._orders.amend(command))
                case Settle():
                    await self._settle(command)

    async def _take_in(self, events: Iterable[Event]) -> None:
        for event in events:
            await self._carry_out(event)

    async def _order(self, intent: OrderIntent) -> None:
        approval = await self._approval(intent)
        if approval is not None:
            await self._take_in(await self._orders.place(approval.order))

    async def _approval(self, intent: OrderIntent) -> Approval | None:
        answer = await self._reserve(intent)
        await self._carry_out(answer)
        if not isinstance(answer, Approval):
            self._note(intent, f"denied: {answer.reason}")
            return None
        self._note(intent, f"entry {intent.side} {answer.order.quantity}")
        return answer

    async def _reserve(self, intent: OrderIntent) -> Approval | Denial:
        assert self._epoch is not None
        try:
            return await self._risk.reserve(intent, self._epoch)
        except NotRegistered:
            # Risk was restarted since. A touched stop must not be lost for that, so ask again at
            # once, provided the ledger holds what this shell believes.
            self._epoch, state = await self._risk.register(self.symbol)
            known = next((p.reference for p in state.positions if p.symbol == self.symbol), None)
            held = self._engine.position
            if state.under_way or known != (held.reference if held else None):
                raise
            return await self._risk.reserve(intent, self._epoch)

    async def _settle(self, command: Settle) -> None:
        assert self._epoch is not None
        await self._risk.settle(command.report, self._epoch, command.after, command.closed)
        self._traded = True

    def _note(self, intent: OrderIntent, action: str) -> None:
        """Write into the signal that asked for an entry what became of it."""
        if intent.leg is Leg.ENTRY and self._signals:
            self._signals[-1] = self._signals[-1].acted(action)

    def _report(self, trouble: str) -> StepReport:
        engine = self._engine
        return StepReport(
            symbol=self.symbol,
            phase=Phase(engine.phase).value,
            signals=tuple(self._signals),
            position=engine.position,
            last_price=engine.last_price,
            open_pnl=engine.open_pnl(),
            roster_version=self._roster_version,
            unready=not self._ready,
            wants_turn=self._wanted is not None or self._approved is not None,
            traded=self._traded,
            trouble=trouble,
            feed_fault=engine.feed_fault,
            rejected=dict(engine.candles.rejections.counts),
            guard=None if engine.guard is None else engine.guard.order,
            absent=engine.absence_fault,
        )
