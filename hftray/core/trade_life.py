"""The life of one symbol's position: what follows from the answers of risk and of the broker.

Intended, approved or denied, filled wholly, in part or not at all; the steps are those of
`core.position.LIFE`. Decisions are made elsewhere (`core.engine`).
"""

from datetime import datetime
from decimal import Decimal

from hftray.core.events import CancelOrder, Command, Settle
from hftray.core.exits import entry_levels
from hftray.core.market import Instrument
from hftray.core.orders import Approval, Denial, Leg, Order, OrderIntent, OrderReport
from hftray.core.position import Phase, Position, Trigger, next_phase
from hftray.core.rules import TradingRules

LONGEST_EXIT_WAIT = 16  # market steps before an exit that the market left behind is sent again


class TradeLife:
    """A symbol's position and the order under way."""

    def __init__(self, instrument: Instrument, rules: TradingRules) -> None:
        self.instrument = instrument
        self.rules = rules
        self.phase = Phase.FLAT
        self.position: Position | None = None
        self.intent: OrderIntent | None = None
        self.order: Order | None = None
        self._steps_waited = 0
        self._rests_at: Decimal | None = None  # the order's limit, as far as the broker tells it
        self._waits_for = ""  # and why it has not traded
        self._exits_in_vain = 0  # withdrawn in a row, without a share
        self._exit_at: datetime | None = None  # a moment in the candle of the newest exit

    @property
    def symbol(self) -> str:
        """The symbol traded."""
        return self.instrument.symbol

    def adopt(
        self,
        position: Position | None,
        order: Order | None,
        intent: OrderIntent | None,
        exit_at: datetime | None = None,
    ) -> None:
        """Take over what the ledger knows: an open position, an order that is not finished.

        `exit_at` is a moment in the candle on which the day's last exit was decided, or filled.
        """
        self.position, self.order, self.intent = position, order, intent
        self._exit_at = exit_at
        self._order_anew()
        self._exits_in_vain = 0
        if order is None:
            self.phase = Phase.FLAT if position is None else Phase.OPEN
        else:
            self.phase = Phase.ENTERING if order.leg is Leg.ENTRY else Phase.EXITING

    @property
    def exit_fault(self) -> str:
        """Why an exit at the broker has not traded, if the broker says why."""
        if self.order is None or self.phase is not Phase.EXITING or not self._waits_for:
            return ""
        return f"exit {self.order.reference}: {self._waits_for}"

    def _patience(self, price: float) -> list[Command]:
        """The withdrawal of an order that found no counterparty for too long.

        An exit keeps its place in the queue for as long as the market has not left its limit
        behind: sent again it would have the same limit. At a locked price band that may take long.
        """
        if self.order is None:
            return []
        patience = self.rules.signals.entry_patience
        if self.order.leg is Leg.EXIT and self._rests_at is not None:
            if (price - float(self._rests_at)) * self.order.side.sign <= 0:
                self._steps_waited = 0
                return []
            patience = max(patience, min(patience << self._exits_in_vain, LONGEST_EXIT_WAIT))
        self._steps_waited += 1
        if self._steps_waited <= patience:
            return []
        self._steps_waited = 0
        return [CancelOrder(self.order.reference)]

    def _order_anew(self) -> None:
        self._steps_waited = 0
        self._rests_at, self._waits_for = None, ""

    def _on_approved(self, event: Approval) -> list[Command]:
        self.order, self.intent = event.order, event.intent
        self._order_anew()
        return []

    def _on_denied(self, event: Denial) -> list[Command]:
        entering = self.phase is Phase.ENTERING
        trigger = Trigger.ENTRY_DENIED if entering else Trigger.EXIT_DENIED
        self.phase = next_phase(self.phase, trigger)
        self.intent = None
        return []

    def _on_report(self, report: OrderReport) -> list[Command]:
        order, intent = self.order, self.intent
        if order is None or intent is None or report.reference != order.reference:
            return []  # late or repeated news of an order that is finished here
        if not report.status.terminal:
            self._rests_at, self._waits_for = report.limit_price, report.reason
            # Shares already bought must be guarded, so the rest of the entry is withdrawn.
            begun = order.leg is Leg.ENTRY and report.filled_quantity > 0
            return [CancelOrder(order.reference)] if begun else []
        self.order = self.intent = None
        if order.leg is Leg.ENTRY:
            return self._entry_done(report, intent)
        return self._exit_done(report)

    def _entry_done(self, report: OrderReport, intent: OrderIntent) -> list[Command]:
        if report.filled_quantity == 0 or report.average_price is None:
            self.phase = next_phase(self.phase, Trigger.ENTRY_FAILED)
            return [Settle(report, after=None, closed=None)]
        self.phase = next_phase(self.phase, Trigger.ENTRY_FILLED)
        self.position = opened_position(report, intent, self.rules, self._tick_size)
        return [Settle(report, after=self.position, closed=None)]

    def _exit_done(self, report: OrderReport) -> list[Command]:
        held = self.position
        assert held is not None  # EXITING always has one
        if report.filled_quantity == 0:
            self._exits_in_vain = min(self._exits_in_vain + 1, LONGEST_EXIT_WAIT)
            self.phase = next_phase(self.phase, Trigger.EXIT_FAILED)
            return [Settle(report, after=held, closed=None)]
        self._exits_in_vain = 0
        return self._closed_by(report, Trigger.EXIT_PARTIAL, Trigger.EXIT_FILLED)

    def _closed_by(self, report: OrderReport, partly: Trigger, wholly: Trigger) -> list[Command]:
        held = self.position
        assert held is not None  # the callers looked
        left, closed = held.parted(report.filled_quantity)
        self.position = left
        self.phase = next_phase(self.phase, wholly if left is None else partly)
        return [Settle(report, after=left, closed=closed)]

    @property
    def _tick_size(self) -> Decimal:
        return self.instrument.tick_size


def opened_position(
    report: OrderReport, intent: OrderIntent, rules: TradingRules, tick: Decimal
) -> Position:
    """The position an entry's fill makes, with its stop-loss and take-profit."""
    price = report.average_price
    assert price is not None
    stop, target = entry_levels(intent.side, price, intent.atr, rules.exits, tick)
    return Position(
        reference=report.reference,
        symbol=intent.symbol,
        side=intent.side,
        quantity=report.filled_quantity,
        entry_price=price,
        entry_time=report.time or intent.time,
        session_day=intent.session_day,
        stop_loss=stop,
        take_profit=target,
        best_price=float(price),
        atr=intent.atr,
        strategy_id=intent.strategy_id,
        score=intent.score,
        votes=intent.votes,
    )
