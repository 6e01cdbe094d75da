"""The guard: a stop order at the broker that closes a position while nobody here watches it.

It is an exit like any other in the ledger, and rests at the tighter of stop-loss and trailing stop.
While it stands the position stays OPEN, and at most one of guard and exit is alive: an exit that is
decided withdraws the guard first, waits until the broker tells the guard's end, and then goes for
what is left. The trailing stop pulls the guard along, the favourable way only.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from hftray.core.absence import Absence
from hftray.core.events import (
    AmendOrder,
    CancelOrder,
    Command,
    HoldingTold,
    NotAmended,
    Settle,
)
from hftray.core.exits import ExitReason
from hftray.core.guard_level import guard_level, guard_limit, in_time, worth_moving
from hftray.core.intents import exit_intent
from hftray.core.market import Instrument
from hftray.core.orders import Approval, Denial, Order, OrderIntent, OrderReport
from hftray.core.position import Phase, Position, Trigger
from hftray.core.rules import TradingRules
from hftray.core.session import TradingSession
from hftray.core.trade_life import TradeLife

LONGEST_REST = 64  # looks at the market between two tries of a guard that the broker does not want


@dataclass(frozen=True, slots=True)
class Guard:
    """The stop order under way; `order.trigger` is where it stands as far as the broker has told.

    `begun`: some of it has filled, so the market has reached it.
    """

    order: Order
    intent: OrderIntent
    begun: bool = False


@dataclass(frozen=True, slots=True)
class DueExit:
    """An exit that was decided at `time` and waits for the guard's end."""

    reason: ExitReason
    time: datetime
    trigger: Decimal | None = None


class GuardedLife(TradeLife):
    """The life of a position that a stop order at the broker may guard.

    A guard that the broker refuses or drops is asked for again, ever more rarely; meanwhile
    `guard_fault` says so, and the position is guarded from here as without any guard.
    """

    def __init__(self, instrument: Instrument, rules: TradingRules) -> None:
        super().__init__(instrument, rules)
        self.guard: Guard | None = None
        self._due: DueExit | None = None
        self._guard_fault = ""
        self._guard_setbacks = 0
        self._guard_rest = 0  # looks at the market until the broker is asked again
        self._absence = Absence()

    @property
    def under_way(self) -> Order | None:
        """The one order that is at the broker or on its way: an entry, an exit or the guard."""
        return self.order or (None if self.guard is None else self.guard.order)

    @property
    def exit_set_free(self) -> bool:
        """Whether an exit was held back for the guard and may go now."""
        return self._due is not None and self.guard is None

    @property
    def guard_fault(self) -> str:
        """Why the open position is not guarded at the broker as it should be; empty when it is."""
        return self._guard_fault if self.phase is Phase.OPEN else ""

    @property
    def absence(self) -> Absence:
        """Whether the broker is believed not to hold the open position."""
        return self._absence.of("" if self.position is None else self.position.reference)

    @property
    def absence_fault(self) -> str:
        """Why the open position is not closed when it should be; empty when it is."""
        return self.absence.reason if self.phase is Phase.OPEN and self.absence.refused else ""

    def adopt(
        self,
        position: Position | None,
        order: Order | None,
        intent: OrderIntent | None,
        exit_at: datetime | None = None,
    ) -> None:
        """Take over what the ledger knows: an open position, an order that is not finished."""
        guard = None
        if order is not None and intent is not None and order.stop:
            guard, order, intent = Guard(order, intent), None, None
        super().adopt(position, order, intent, exit_at)
        self.guard, self._absence = guard, Absence()
        self._calm()

    # What the engine asks on each look at the market

    def _held_back(
        self, reason: ExitReason, now: datetime, trigger: Decimal | None
    ) -> list[Command] | None:
        """What an exit has to wait for: the guard is withdrawn first. None when it may go."""
        if self.guard is None:
            return None
        if self._due is None:
            self._due, self._guard_rest = DueExit(reason, now, trigger), 0
        return self._withdraw(self.guard)

    def _exit_due(self) -> ExitReason | None:
        """Why the position has to go whatever the price is now, if it has to."""
        if self._due is not None:
            return self._due.reason
        if self.guard is not None and self.guard.begun and self.position is not None:
            return guard_level(self.position, self.rules.exits, self._tick_size)[0]
        return None

    def _keep_guard(
        self, price: float, now: datetime, session: TradingSession | None
    ) -> list[Command]:
        """The guard that the open position should have now: placed, moved, or withdrawn."""
        rules, guard, held = self.rules.exits, self.guard, self.position
        if (guard is None and not rules.guard) or self._due is not None:
            return []
        absent = bool(self.absence.reason)
        if guard is not None and (held is None or absent or not rules.guard):
            return self._withdraw(guard)
        if held is None:
            self._calm()
        if held is None or absent or self.phase is not Phase.OPEN:
            return []
        if not in_time(held, now, session):
            return []
        if self._guard_rest > 0:
            self._guard_rest -= 1
            return []
        _, level = guard_level(held, rules, self._tick_size)
        if guard is None:
            return [self._guard_intent(held, level, price, now)]
        stands = guard.order.trigger
        assert stands is not None  # a stop order has one
        if not worth_moving(held, stands, level, rules, self._tick_size):
            return []
        self._guard_rest = self.rules.signals.entry_patience
        limit = guard_limit(guard.order.side, level, rules, self._tick_size)
        return [AmendOrder(guard.order.reference, level, limit)]

    def _withdraw(self, guard: Guard) -> list[Command]:
        if self._guard_rest > 0:
            self._guard_rest -= 1
            return []
        self._guard_rest = self.rules.signals.entry_patience
        return [CancelOrder(guard.order.reference)]

    def _guard_intent(
        self, held: Position, level: Decimal, price: float, now: datetime
    ) -> OrderIntent:
        limit = guard_limit(held.side.opposite, level, self.rules.exits, self._tick_size)
        return exit_intent(
            held,
            ExitReason.GUARD.value,
            price=price,
            time=now,
            day=held.session_day,
            trigger=level,
            stop=True,
            limit_price=limit,
        )

    # What becomes of the guard

    def _on_approved(self, event: Approval) -> list[Command]:
        if not event.order.stop:
            return super()._on_approved(event)
        self.guard = Guard(event.order, event.intent)
        return []

    def _on_denied(self, event: Denial) -> list[Command]:
        if self.phase is not Phase.OPEN:
            return super()._on_denied(event)
        self._set_back(f"no guard at the broker: {event.reason}")
        return []

    def _on_not_amended(self, event: NotAmended) -> list[Command]:
        if self.guard is not None and event.reference == self.guard.order.reference:
            self._set_back(f"the guard at the broker was not moved: {event.reason}")
        return []

    def _on_holding(self, event: HoldingTold) -> list[Command]:
        if self.position is not None and event.refused:
            self._absence = self.absence.refusal(event.reason)
        elif self.position is not None:
            self._absence = self.absence.told(event.reason)
        return []

    def _on_report(self, report: OrderReport) -> list[Command]:
        guard = self.guard
        if guard is None or report.reference != guard.order.reference:
            return super()._on_report(report)
        if report.status.terminal:
            self.guard = None
            return self._guard_ended(report)
        self._guard_fault = ""
        if report.trigger not in (None, guard.order.trigger):
            self._guard_setbacks = self._guard_rest = 0  # it was moved
            guard = replace(guard, order=replace(guard.order, trigger=report.trigger))
        self.guard = replace(guard, begun=guard.begun or report.filled_quantity > 0)
        return []

    def _guard_ended(self, report: OrderReport) -> list[Command]:
        held, due = self.position, self._due
        if held is None:  # it should not have lived; what it may have filled, risk will not take
            return [Settle(report, after=None, closed=None)]
        self._guard_rest = 0
        if report.filled_quantity == 0:
            if due is None and self.rules.exits.guard:
                told = report.reason or report.status.value.lower()
                self._set_back(f"no guard at the broker: {told}")
            return [Settle(report, after=held, closed=None)]
        if due is None:  # the market has reached it, so what it left goes too
            reason, _ = guard_level(held, self.rules.exits, self._tick_size)
            due = DueExit(reason, report.time or held.entry_time)
        commands = self._closed_by(report, Trigger.GUARD_PARTIAL, Trigger.GUARD_FILLED)
        self._calm()
        self._due = None if self.position is None else due
        return commands

    def _set_back(self, fault: str) -> None:
        self._guard_fault = fault
        patience = self.rules.signals.entry_patience
        self._guard_rest = min(patience << min(self._guard_setbacks, 16), LONGEST_REST)
        self._guard_setbacks += 1

    def _calm(self) -> None:
        self._due, self._guard_fault = None, ""
        self._guard_setbacks = self._guard_rest = 0
