"""RiskBook: the one place that grants capital.

Entries pass only while the book is ACTIVE and within its limits; exits pass in every state. What
is granted stays reserved until the order is finished, so deployed + reserved never exceeds
opening capital x leverage (a position carried into a day that opens with less capital may, and
then nothing new is granted). Money is Decimal rupees; no clock: moments come with the calls.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Self

from hftray.core.charges import ChargeSchedule
from hftray.core.errors import IllegalTransition
from hftray.core.fill_confirmation import (
    as_confirmed,
    confirmation,
    confirmed,
    require_latest,
    require_price,
)
from hftray.core.hand_settlement import HandSettlement
from hftray.core.ledger import (
    LedgerEvent,
    OrderIntended,
    OrderSettled,
    RiskStateChanged,
    RunInfo,
    RunState,
    SessionStarted,
    TradeRecord,
)
from hftray.core.market import Instrument
from hftray.core.money import ZERO, paisa
from hftray.core.orders import (
    Approval,
    Denial,
    Leg,
    OrderIntent,
    OrderReport,
    Side,
    TradeStatus,
)
from hftray.core.position import Position
from hftray.core.recovery import order_of
from hftray.core.risk_account import Account
from hftray.core.risk_day import RiskDay
from hftray.core.risk_epochs import Epochs
from hftray.core.risk_limits import LimitCheck
from hftray.core.risk_records import approved, finished, holding_of, require_settleable
from hftray.core.risk_switch import RiskSwitch
from hftray.core.risk_terms import EntryTerms, Terms
from hftray.core.risk_view import RiskState, RiskView
from hftray.core.rules import ExitRules, RiskLimits


class RiskBook:
    """Capital, limits, states and fencing of one run.

    Every epoch handed out lies above `epoch_floor`. A restarted shell passes a number that grows
    with each start, so that what registered with the book before stays refused. An entry decided
    more than `max_intent_age` of market time before the newest mark is refused: whoever decided it
    was away, and the market has moved on. `database` is part of the orders' references
    (`order_reference`).
    """

    def __init__(
        self,
        *,
        run: RunInfo,
        limits: RiskLimits,
        exits: ExitRules,
        charges: ChargeSchedule,
        instruments: Mapping[str, Instrument],
        epoch_floor: int = 0,
        max_intent_age: timedelta = timedelta(minutes=6),
        database: str = "",
    ) -> None:
        self.run = run
        self.limits = limits
        self.charges = charges
        self._instruments = instruments
        self._account = Account(run.initial_capital)
        self._day = RiskDay(run.initial_capital)
        self._switch = RiskSwitch(run.run_id)
        self._locks: dict[str, str] = {}
        self._check = LimitCheck(limits, self._account, self._day, self._switch, self._locks)
        self._entry_terms = EntryTerms(self._check, exits, instruments)
        self._epochs = Epochs(instruments, epoch_floor)
        self._max_intent_age = max_intent_age
        self._database = database
        self._market_time: datetime | None = None

    # Days, states, who may ask

    def open_day(self, day: date, now: datetime) -> tuple[LedgerEvent, ...]:
        """Begin a trading day with the present capital; what to record, nothing if it is open.

        A reduction for the daily loss ends here; an ordered one and a kill do not.
        IllegalTransition for a day before the open one.
        """
        if not self._day.open(day, self._account.capital):
            return ()
        started = SessionStarted(self.run.run_id, day, self._day.opening, now)
        lifted = self._switch.new_day(now)
        return (started,) if lifted is None else (started, lifted)

    def mark(
        self,
        open_pnl: Mapping[str, Decimal | float],
        now: datetime,
        *,
        impairment: str = "",
        locks: Mapping[str, str] | None = None,
    ) -> RiskStateChanged | None:
        """Take open P&L before charges by symbol, and what stands against entries now.

        Reduces when the daily loss is reached or while something is impaired, and lifts the
        latter by itself. Symbols without a position are ignored; positions not named keep their
        last mark. `locks` (symbol: reason) replaces all locks, None keeps them. `now` is the
        market's time.
        """
        self._market_time = now
        self.revalue(open_pnl)
        self.bar(impairment, locks)
        return self._switch.judge(self._check.loss_refusal(), now, "risk")

    def revalue(self, open_pnl: Mapping[str, Decimal | float]) -> None:
        """Take open P&L before charges by symbol, without any consequence for the state."""
        for symbol, gross in open_pnl.items():
            self._account.mark(symbol, paisa(gross))

    def impair(self, text: str, now: datetime, actor: str = "risk") -> RiskStateChanged | None:
        """No entries until a mark comes without an impairment; None when it is so already."""
        self.bar(text)
        return self._switch.judge(None, now, actor)

    def bar(self, impairment: str, locks: Mapping[str, str] | None = None) -> None:
        """No entries at all, or in the locked symbols, until told otherwise.

        The state does not change before the next `mark` or `impair`.
        """
        self._switch.impairment = impairment
        if locks is not None:
            self._locks.clear()
            self._locks.update(locks)

    def kill(self, reason: str, now: datetime, actor: str = "risk") -> RiskStateChanged | None:
        """No entries until `resume`; None when it is so already."""
        return self._switch.kill(reason, now, actor)

    def reduce(self, reason: str, now: datetime, actor: str = "risk") -> RiskStateChanged | None:
        """No entries until `resume`, over the day's end too; None when halted or told before."""
        return self._switch.reduce(reason, now, actor)

    def resume(self, reason: str, now: datetime, actor: str = "risk") -> RiskStateChanged | None:
        """Entries again, within the limits: a daily loss that still stands refuses them."""
        return self._switch.resume(reason, now, actor)

    def register(self, symbol: str) -> int:
        """A new epoch for the symbol: from now on only calls that carry it pass. NotFound."""
        return self._epochs.register(symbol)

    # Orders

    def reserve(self, intent: OrderIntent, epoch: int) -> Approval | Denial:
        """Approve the intent with a sized, named order and set its money aside, or deny it.

        StaleEpoch when another incarnation of the symbol has registered since.
        """
        self._epochs.require(intent.symbol, epoch)
        if intent.session_day != self._day.day:
            return Denial(f"session day {intent.session_day} is not open (it is {self._day.day})")
        if intent.leg is not Leg.ENTRY:
            refusal = self._check.exit_refusal(intent)
            if refusal:
                return Denial(refusal)
            return self._approve(intent, intent.quantity, limit_price=intent.limit_price)
        refusal = self._check.entry_refusal(intent.symbol, intent.price) or self._lateness(intent)
        if refusal:
            return Denial(refusal)
        terms = self._entry_terms.of(intent.symbol, intent.side, intent.price, intent.atr)
        if terms is None:
            return Denial("size: neither the risk nor the capital allowed carries one share")
        return self._approve(
            intent, terms.quantity, limit_price=terms.limit, reserved=terms.reserved
        )

    def terms(self, symbol: str, side: Side, price: float, atr: float | None) -> Terms | None:
        """What an entry decided now at `price` would be granted, None for nothing.

        Nothing is set aside; see `pass_trips`.
        """
        if self._check.entry_refusal(symbol, price):
            return None
        return self._entry_terms.of(symbol, side, price, atr)

    def pass_trips(self, symbol: str, count: int, net: Decimal) -> None:
        """Take round trips that are over already, which made `net` rupees together.

        The book is then as after reserving and settling their orders today, but it does not know
        them by reference. For whoever plays the past and knows how trades ended.
        """
        sequences, entries = self._day.sequences, self._day.entries
        for leg in (Leg.ENTRY, Leg.EXIT):
            sequences[symbol, leg] = sequences.get((symbol, leg), 0) + count
        entries[symbol] = entries.get(symbol, 0) + count
        self._account.realised += net

    def next_sequence(self, symbol: str, leg: Leg) -> int:
        """The number that the symbol's next order of the leg will have."""
        return self._day.sequences.get((symbol, leg), 0) + 1

    def trade_record(self, approval: Approval) -> TradeRecord:
        """The PENDING row of an order under way. NotFound once it is settled."""
        return self._account.order(approval.order.reference)

    def settle(
        self, report: OrderReport, epoch: int, after: Position | None, closed: Position | None
    ) -> TradeRecord:
        """Take an order's end and return its finished row; the same report again changes nothing.

        `after` is the position the order left open, `closed` the shares it closed. NotFound for
        an unknown reference, StaleEpoch, and IllegalTransition when the order is not finished or
        the report, the positions and the book disagree; the book is unchanged then.
        """
        settled = self._day.settled.get(report.reference)
        if settled is not None:
            self._epochs.require(settled.symbol, epoch)
            return settled
        pending = self._account.order(report.reference)
        self._epochs.require(pending.symbol, epoch)
        held = self._account.holdings.get(pending.symbol)
        require_settleable(pending, report, held, after, closed)
        record = finished(pending, report, held, self.charges)
        self._account.settle(record)
        if record.status is TradeStatus.FAILED:
            self._day.give_back(record)
        self._day.settled[record.reference] = record
        return record

    def settle_by_hand(
        self, held: Position, quantity: int, price: Decimal, why: str, now: datetime
    ) -> tuple[OrderIntended, OrderSettled]:
        """Close shares of a position that left elsewhere at `price`; to be recorded as one.

        Whoever acts on the symbol has to register again. IllegalTransition while an order of it is
        under way, when the position or the quantity is not the book's, or the price is no price of
        that share.
        """
        if (working := self._account.working(held.symbol)) is not None:
            raise IllegalTransition(f"{held.symbol}: order {working.reference} is under way")
        day = self._day.day
        if day is None:
            raise IllegalTransition(f"{held.symbol}: no trading day was opened yet")
        told = HandSettlement(held, quantity, price, why, now)
        told.require_price()
        epoch = self.register(held.symbol)
        answer = self.reserve(told.intent(day), epoch)
        if isinstance(answer, Denial):
            raise IllegalTransition(f"{held.symbol}: {answer.reason}")
        pending = self.trade_record(answer)
        after, closed = held.parted(quantity)
        trade = self.settle(told.report(pending.reference), epoch, after, closed)
        return OrderIntended(pending), OrderSettled(trade, after, closed)

    def confirm_fill(
        self,
        reference: str,
        price: Decimal | None,
        why: str,
        now: datetime,
        after: str | None = None,
    ) -> tuple[OrderIntended, OrderSettled]:
        """Take a person's word for what an order of the day filled at; to be recorded as one.

        NotFound for an order that has not ended today; IllegalTransition when it cannot have filled
        at that price (None: no share of it traded), or was confirmed before: another confirmation
        names the latest one's reference (`after`), and whoever asks for it knows why.
        """
        row, said = self._day.ended(reference)
        require_latest(row, said, after)
        require_price(row, price)
        sequence = self._day.take_sequence(row.symbol, Leg.MANUAL)
        pending = confirmation(row, why, now, sequence=sequence, database=self._database)
        trade = confirmed(pending, as_confirmed(row, said), price, self.charges)
        self._account.realised += trade.pnl or ZERO
        self._day.settled[trade.reference] = trade
        return OrderIntended(pending), OrderSettled(trade)

    # State

    @property
    def state(self) -> RiskState:
        """Whether entries pass at all."""
        return self._switch.state

    @property
    def untroubled(self) -> bool:
        """Whether nothing is open or under way, and nothing stands against entries in itself."""
        account, switch = self._account, self._switch
        barred = switch.state.entries_barred or switch.impairment or self._locks
        return not (barred or account.holdings or account.pending)

    @property
    def equity(self) -> Decimal:
        """Capital and open P&L at the marks, in rupees."""
        return self._account.equity

    @property
    def loss_room(self) -> Decimal:
        """Rupees that closed trades leave of the day's loss limit; open positions not counted."""
        return self._check.daily_loss_limit - (self._day.opening - self._account.capital)

    @property
    def loss_room_anew(self) -> Decimal:
        """`loss_room` of a day that would open now."""
        return self._check.loss_limit_of(self._account.capital)

    def view(self) -> RiskView:
        """The book at this moment."""
        return self._check.view()

    def snapshot(self) -> dict[str, Any]:
        """Everything the next answer depends on, as picklable values."""
        return {
            "account": self._account.snapshot(),
            "day": self._day.snapshot(),
            "switch": self._switch.snapshot(),
            "locks": dict(self._locks),
            "epochs": self._epochs.snapshot(),
            "market_time": self._market_time,
        }

    def restore(self, state: dict[str, Any]) -> Self:
        """Continue exactly where a snapshot was taken."""
        self._account.restore(state["account"])
        self._day.restore(state["day"])
        self._switch.restore(state["switch"])
        self._locks.clear()
        self._locks.update(state["locks"])
        self._epochs.restore(state["epochs"])
        self._market_time = state["market_time"]
        return self

    def recover(self, state: RunState) -> None:
        """Rebuild the book from the ledger. IllegalTransition for the state of another run.

        Epochs, marks and what bars entries are not in the ledger: symbols register again and the
        next scan marks. An open position's entry row is looked for in `trades_today`, where rows of
        earlier days do no harm; without it the charges are computed from what is open.
        """
        if state.run.run_id != self.run.run_id:
            raise IllegalTransition(f"run {self.run.run_id} is not run {state.run.run_id}")
        present = RiskState(state.risk_state)
        self._switch.recover(present, state.risk_reason, state.risk_since, state.risk_sequence)
        self._market_time = state.market_time
        rows = {trade.reference: trade for trade in (*state.trades_today, *state.pending)}
        self._account.recover(
            state.realised_total,
            pending=state.under_way,
            holdings=(holding_of(p, rows, self.run, self.charges) for p in state.positions),
        )
        opening = state.opening_capital
        self._day.recover(
            state.session_day, self._account.capital if opening is None else opening, rows.values()
        )

    # Granting

    def _lateness(self, intent: OrderIntent) -> str | None:
        known = self._market_time
        if known is None or known - intent.time <= self._max_intent_age:
            return None
        return f"too late: decided {known - intent.time} of market time ago"

    def _approve(
        self,
        intent: OrderIntent,
        quantity: int,
        *,
        limit_price: Decimal | None = None,
        reserved: Decimal = ZERO,
    ) -> Approval:
        trade = approved(
            intent,
            self.run,
            self._instruments[intent.symbol],
            sequence=self._day.take_sequence(intent.symbol, intent.leg),
            quantity=quantity,
            limit_price=limit_price,
            reserved=reserved,
            database=self._database,
        )
        self._account.pending[trade.reference] = trade
        self._day.count(trade)
        return Approval(order_of(trade), intent)
