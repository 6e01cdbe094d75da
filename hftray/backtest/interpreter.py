"""Carries out one symbol's commands over history: the actor's counterpart without processes.

The same engine decides, the same RiskBook grants, the same `core.matching` fills. Whoever drives it
(`backtest.reference` moment by moment, `backtest.play` only where something can happen) keeps the
order of a live scan: what the exchange does with working orders, then the candle with its exits,
and entries when every symbol has had its exits.
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from hftray.backtest.outcome import Outcome, RoundTrip
from hftray.core.engine import SymbolEngine
from hftray.core.events import CancelOrder, ClockAdvanced, Command, Event, SessionOpened, Settle
from hftray.core.market import Candle
from hftray.core.matching import fill_price, taker_price, trigger_price
from hftray.core.orders import Approval, Leg, Order, OrderIntent, OrderReport, OrderStatus
from hftray.core.risk import RiskBook
from hftray.core.session import TradingSession


class Interpreter:
    """One symbol's engine, its orders at the exchange, and the round trips they made."""

    def __init__(
        self,
        engine: SymbolEngine,
        book: RiskBook,
        *,
        slippage_bps: float,
        outcome: Outcome | None = None,
    ) -> None:
        self.engine = engine
        self.outcome = Outcome() if outcome is None else outcome
        self.price: float | None = None  # the newest the exchange has seen
        self.working: Order | None = None
        self.wanted: OrderIntent | None = None  # an entry that waits for the others' exits
        self._book = book
        self._slippage = slippage_bps
        self._epoch = book.register(engine.symbol)
        self._candle: Candle | None = None
        self._trading = False
        self._before: float | None = None
        self.paid = Decimal(0)  # rupees of charges for the open position's entry

    # One moment, in this order

    def see(self, candle: Candle | None, session: TradingSession | None, now: datetime) -> None:
        """The exchange's part: the moment's candle, and what becomes of the working order.

        `session` is the one the symbol still trades in, None when it is over.
        """
        self._candle, self._trading = candle, session is not None
        if candle is not None:
            self._before, self.price = self.price, candle.close
        if self.working is None:
            return
        if session is None:
            self._end(self.working, now)
        elif candle is not None:
            self._match(self.working, candle, now)

    def decide(self, session: TradingSession | None, now: datetime) -> None:
        """The engine's part: the candle, or only the time; exits are ordered at once."""
        self.open(session)
        self._carry_out(ClockAdvanced(now) if self._candle is None else self._candle)

    def decide_trusting(self, session: TradingSession, candle: Candle, now: datetime) -> None:
        """`decide` on the moment's candle, which is in the engine's buffer and past doubt."""
        self.open(session)
        self._obey(self.engine.candle_closed(candle, now))

    def enter(self) -> None:
        """Ask for the entry that was decided on this candle, if one was."""
        intent, self.wanted = self.wanted, None
        if intent is not None:
            self._order(intent)

    # What follows from it

    def _match(self, order: Order, candle: Candle, now: datetime) -> None:
        share = self.engine.instrument
        price = fill_price(order, candle.open, share, slippage_bps=self._slippage)
        if price is not None:
            self._before = candle.open  # a position entered here is guarded from here on
            self._report(order, OrderStatus.FILLED, now, price)

    def _end(self, order: Order, now: datetime) -> None:
        """The session is over: an exit goes at the last price there was, an entry is withdrawn."""
        if order.leg is not Leg.EXIT or self.price is None:
            self._report(order, OrderStatus.CANCELLED, now)
            return
        share = self.engine.instrument
        price = taker_price(self.price, order.side, share, slippage_bps=self._slippage)
        self._report(order, OrderStatus.FILLED, now, price)

    def open(self, session: TradingSession | None) -> None:
        """Tell the engine of a session it does not know yet."""
        known = self.engine.session
        if session is not None and session is not known and session != known:
            self._carry_out(SessionOpened(session))

    def _carry_out(self, event: Event) -> None:
        self._obey(self.engine.handle(event))

    def _obey(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case OrderIntent(leg=Leg.ENTRY):
                    self.wanted = command
                case OrderIntent():
                    self._order(command)
                case CancelOrder():
                    self._cancel(command)
                case Settle():
                    self._settle(command)

    def _order(self, intent: OrderIntent) -> None:
        answer = self._book.reserve(intent, self._epoch)
        self._carry_out(answer)
        if not isinstance(answer, Approval):
            return
        order, candle = answer.order, self._candle
        if order.trigger is not None and candle is not None:
            share = self.engine.instrument
            price = trigger_price(
                order, candle, share, before=self._before, slippage_bps=self._slippage
            )
            self._report(order, OrderStatus.FILLED, order.time, price)
        elif self._trading:
            self.working = order
        else:
            self._end(order, order.time)

    def _cancel(self, command: CancelOrder) -> None:
        order = self.working
        if order is not None and order.reference == command.reference:
            self._report(order, OrderStatus.CANCELLED, order.time)

    def _report(
        self, order: Order, status: OrderStatus, time: datetime, price: Decimal | None = None
    ) -> None:
        self.working = None
        report = OrderReport(
            reference=order.reference,
            symbol=order.symbol,
            status=status,
            broker_order_id="",
            quantity=order.quantity,
            filled_quantity=0 if price is None else order.quantity,
            average_price=price,
            time=time,
        )
        self._carry_out(report)

    def _settle(self, command: Settle) -> None:
        trade = self._book.settle(command.report, self._epoch, command.after, command.closed)
        if command.after is not None:
            self.paid = trade.charges or Decimal(0)
        if command.closed is not None:
            self.outcome.add(RoundTrip(command.closed, trade, self.paid))
