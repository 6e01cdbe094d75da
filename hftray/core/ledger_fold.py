"""What a ledger event does to the state of its run: the rule the database follows, as plain code.

It lets the local journal answer `run_state` while PostgreSQL is away, and refuse an illegal event
before it is recorded. Tests hold it equal to both ledgers.
"""

from dataclasses import replace
from datetime import datetime

from hftray.core.errors import IllegalTransition, NotFound, StaleEpoch
from hftray.core.ledger import (
    EquityMarked,
    LedgerEvent,
    OrderIntended,
    OrderSettled,
    PositionMarked,
    RiskStateChanged,
    RunState,
    ScanningSet,
    SessionStarted,
    SignalRecorded,
    TradeRecord,
)
from hftray.core.orders import TradeStatus, require_trade_step


def run_of(event: LedgerEvent) -> int:
    """The run an event belongs to."""
    if isinstance(event, OrderIntended | OrderSettled):
        return event.trade.run_id
    return event.run_id


def require_term(term: int | None, newest: int) -> int:
    """The newest term known now; StaleEpoch when a writer's own is older. None is no writer."""
    if term is None:
        return newest
    if term < newest:
        raise StaleEpoch(f"term {term} of the order writer ended when term {newest} began")
    return term


def require_owner(owner: str, present: str) -> None:
    """StaleEpoch when the ledger is not `owner`'s but somebody else's; an empty name is nobody."""
    if owner and present and owner != present:
        raise StaleEpoch(
            "another hftray has taken over this database and writes it now. This one records "
            "nothing any more: stop it, or stop the other one and start this one again, which "
            "takes the database back"
        )


def applied(state: RunState, event: LedgerEvent) -> RunState:
    """The state after one event; see `RunMirror` for many."""
    mirror = RunMirror(state)
    mirror.apply(event)
    return mirror.state()


class RunMirror:
    """The state of one run, kept in step event by event.

    An order's step that has been taken is not taken again. Orders of days that are over are
    forgotten unless they are pending. A step of a forgotten one cannot be told from one of an
    order that was never recorded, and is refused like it: nothing counts twice, nothing gets lost.
    """

    __slots__ = ("_positions", "_scalars", "_trades")

    def __init__(self, state: RunState) -> None:
        today = {trade.reference: trade for trade in state.trades_today}
        carried = {t.reference: t for t in state.pending if t.reference not in today}
        self._trades: dict[str, TradeRecord] = carried | today
        self._positions = {position.reference: position for position in state.positions}
        self._scalars = replace(state, trades_today=(), pending=(), positions=())

    @property
    def run_id(self) -> int:
        """The run that is mirrored."""
        return self._scalars.run.run_id

    def copy(self) -> "RunMirror":
        """An independent mirror of the same state."""
        twin = RunMirror.__new__(RunMirror)
        twin._trades, twin._positions = dict(self._trades), dict(self._positions)
        twin._scalars = self._scalars
        return twin

    def state(self) -> RunState:
        """The run as a restarted process would read it."""
        day, trades = self._scalars.session_day, self._trades.values()
        held = self._positions.values()
        return replace(
            self._scalars,
            trades_today=tuple(t for t in trades if day is not None and t.session_day == day),
            pending=tuple(t for t in trades if t.status is TradeStatus.PENDING),
            positions=tuple(sorted(held, key=lambda p: (p.entry_time, p.reference))),
        )

    def apply(self, event: LedgerEvent) -> None:
        """Take one event. NotFound for an unknown run or order, IllegalTransition."""
        if run_of(event) != self.run_id:
            raise NotFound(f"this is run {self.run_id}, not run {run_of(event)}")
        match event:
            case OrderIntended(trade):
                self._intend(trade)
            case OrderSettled():
                self._settle(event)
            case PositionMarked(_, reference, best_price):
                if (held := self._positions.get(reference)) is not None:
                    self._positions[reference] = held.improved_by(best_price)
            case SignalRecorded(_, signal):
                self._reach(signal.timestamp)
            case EquityMarked():
                self._reach(event.time)
            case SessionStarted():
                self._open_day(event)
            case RiskStateChanged():
                self._scalars = replace(
                    self._scalars,
                    risk_state=event.state,
                    risk_reason=event.reason,
                    risk_since=event.time,
                    risk_sequence=event.sequence,
                )
            case ScanningSet():
                self._scalars = replace(self._scalars, scanning=event.scanning)

    def catch_up(self, event: LedgerEvent) -> None:
        """Take an event that the state lacks although it may know of later ones, which stay.

        NotFound, IllegalTransition.
        """
        match event:
            case OrderIntended(trade):
                self._trades.setdefault(trade.reference, trade)
            case OrderSettled() if self._left_behind(event):
                # The order and its P&L count; the position is as later orders left it.
                self.apply(replace(event, position=None, closed=None))
            case RiskStateChanged(sequence=number) if number <= self._scalars.risk_sequence:
                pass
            case ScanningSet():
                pass  # whether a later wish is known cannot be told
            case _:
                self.apply(event)

    def _left_behind(self, event: OrderSettled) -> bool:
        """Whether the order's position went on without it, or may have."""
        trade, position = event.trade, event.position or event.closed
        if position is None:
            return False
        held = position.reference in self._positions
        went_on = any(
            other.position == position.reference
            and other.reference != trade.reference
            and other.status is TradeStatus.EXECUTED
            and other.timestamp >= trade.timestamp
            for other in self._trades.values()
        )
        if event.closed is not None:
            return went_on or not held
        # It is the first that would be known of the position, unless its exits are out of sight.
        return went_on or held or self._over(trade)

    def _reach(self, moment: datetime) -> None:
        known = self._scalars.market_time
        if known is None or moment > known:
            self._scalars = replace(self._scalars, market_time=moment)

    def _open_day(self, event: SessionStarted) -> None:
        day, known = event.session_day, self._scalars.session_day
        if known is not None and day <= known:
            return
        self._scalars = replace(
            self._scalars, session_day=day, opening_capital=event.opening_capital
        )
        self._trades = {
            reference: trade
            for reference, trade in self._trades.items()
            if trade.status is TradeStatus.PENDING or trade.session_day >= day
        }

    def _over(self, trade: TradeRecord) -> bool:
        """Whether the order is of a day that is over."""
        day = self._scalars.session_day
        return day is not None and trade.session_day < day

    def _intend(self, trade: TradeRecord) -> None:
        if trade.reference not in self._trades and self._over(trade):
            raise IllegalTransition(
                f"order {trade.reference} is of {trade.session_day}, and that day is over"
            )
        self._trades.setdefault(trade.reference, trade)

    def _settle(self, event: OrderSettled) -> None:
        trade = event.trade
        before = self._trades.get(trade.reference)
        if before is None:
            or_ended = ", or has ended" if self._over(trade) else ""
            raise NotFound(
                f"order {trade.reference} was never recorded{or_ended}, so it cannot be settled"
            )
        if before.status is not TradeStatus.PENDING:
            return  # an order ends once
        require_trade_step(before.status, trade.status)
        self._trades[trade.reference] = replace(trade, strategy_id=before.strategy_id)
        if trade.status is TradeStatus.EXECUTED and trade.pnl is not None:
            total = self._scalars.realised_total + trade.pnl
            self._scalars = replace(self._scalars, realised_total=total)
        self._hold(event)

    def _hold(self, event: OrderSettled) -> None:
        after, closed = event.position, event.closed
        if after is None:
            if closed is not None:
                self._positions.pop(closed.reference, None)
            return
        before = self._positions.get(after.reference)
        if before is not None:  # what was agreed at its entry stays
            after = replace(before, quantity=after.quantity).improved_by(after.best_price)
        self._positions[after.reference] = after
