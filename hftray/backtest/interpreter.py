"""Carries out a SymbolEngine's commands over history, one closed candle at a time.

It is the actor's counterpart: the same engine decides, the same RiskBook grants, the same
`core.matching` fills. Only the ledger and the processes are missing. Assumptions about what
happens inside a candle are those of `core.exits` and `core.matching`.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from hftray.core.engine import SymbolEngine
from hftray.core.events import CancelOrder, ClockAdvanced, Event, SessionOpened, Settle
from hftray.core.ledger import TradeRecord
from hftray.core.market import Candle
from hftray.core.matching import fill_price, taker_price, trigger_price
from hftray.core.orders import (
    Approval,
    Leg,
    Order,
    OrderIntent,
    OrderReport,
    OrderStatus,
)
from hftray.core.position import Position
from hftray.core.risk import RiskBook
from hftray.core.session import TradingSession


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """Shares bought and sold again (or the other way round): the exit's row and what it closed."""

    closed: Position
    exit: TradeRecord
    entry_charges: Decimal


@dataclass(slots=True)
class Outcome:
    """What a run over history produced."""

    trips: list[RoundTrip] = field(default_factory=list)
    curve: list[tuple[datetime, Decimal]] = field(default_factory=list)
    candles: int = 0


class Interpreter:
    """One symbol over its history."""

    def __init__(self, engine: SymbolEngine, book: RiskBook, *, slippage_bps: float) -> None:
        self._engine = engine
        self._book = book
        self._slippage = slippage_bps
        self._epoch = book.register(engine.symbol)
        self._working: Order | None = None
        self._session: TradingSession | None = None
        self._candle: Candle | None = None
        self._before: float | None = None
        self._charges: dict[str, Decimal] = {}
        self.outcome = Outcome()

    def open_session(self, session: TradingSession) -> None:
        """A trading day begins."""
        self._session = session
        self._book.open_day(session.day, session.opens)
        self._carry_out(SessionOpened(session))

    def play(self, candle: Candle) -> None:
        """One closed candle: fills at its open first, then what the engine makes of it."""
        self._candle = candle
        if self._working is not None:
            self._match(self._working, candle)
        self._carry_out(candle)
        self._before = candle.close
        closes = candle.time + self._engine.candles.interval
        self._book.mark({self._engine.symbol: self._engine.open_pnl()}, closes)
        self.outcome.candles += 1

    def close_session(self) -> None:
        """The day is over: exits go at the last price there was, entries are withdrawn."""
        candle, session = self._candle, self._session
        if candle is None or session is None:
            return
        closes = session.closes
        # Candles may be missing at the day's end: what is still open is sold now.
        self._carry_out(ClockAdvanced(closes))
        order = self._working
        if order is not None and order.leg is Leg.EXIT:
            price = taker_price(
                candle.close, order.side, self._engine.instrument, slippage_bps=self._slippage
            )
            self._report(order, OrderStatus.FILLED, closes, price)
        elif order is not None:
            self._report(order, OrderStatus.CANCELLED, closes)
        self.outcome.curve.append((closes, self._book.view().equity))

    def _match(self, order: Order, candle: Candle) -> None:
        price = fill_price(order, candle.open, self._engine.instrument, slippage_bps=self._slippage)
        if price is not None:
            self._before = candle.open
            closes = candle.time + self._engine.candles.interval
            self._report(order, OrderStatus.FILLED, closes, price)

    def _carry_out(self, event: Event) -> None:
        for command in self._engine.handle(event):
            match command:
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
        if order.trigger is None or candle is None:
            self._working = order
            return
        price = trigger_price(
            order,
            candle,
            self._engine.instrument,
            before=self._before,
            slippage_bps=self._slippage,
        )
        self._report(order, OrderStatus.FILLED, order.time, price)

    def _cancel(self, command: CancelOrder) -> None:
        order = self._working
        if order is not None and order.reference == command.reference and self._candle is not None:
            self._report(order, OrderStatus.CANCELLED, self._candle.time)

    def _report(
        self, order: Order, status: OrderStatus, time: datetime, price: Decimal | None = None
    ) -> None:
        self._working = None
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
        self._charges[trade.reference] = trade.charges or Decimal(0)
        if command.closed is not None:
            paid = self._charges.get(command.closed.reference, Decimal(0))
            self.outcome.trips.append(RoundTrip(replace(command.closed), trade, paid))
