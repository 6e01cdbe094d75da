"""One symbol's trading day by hand: moments, ticks, candles, scripted voters, a scripted broker."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

from hftray.core.candles import Candles
from hftray.core.engine import SymbolEngine
from hftray.core.events import CancelOrder, Command, Decision, Event, SessionOpened, Settle, Signal
from hftray.core.events import Vote as Count
from hftray.core.market import Candle, Instrument, Tick
from hftray.core.orders import (
    Approval,
    Denial,
    Leg,
    Order,
    OrderIntent,
    OrderReport,
    OrderStatus,
    order_reference,
)
from hftray.core.rules import TradingRules
from hftray.core.session import IST, SessionRules, TradingSession, trading_session

D = Decimal
SYMBOL = "INFY"
INFY = Instrument(SYMBOL, tick_size=D("0.05"))
DAY = date(2026, 6, 1)  # a Monday, 09:15 to 15:30
BUY, SELL, HOLD = Decision.BUY, Decision.SELL, Decision.HOLD


def at(minutes: float, day: date = DAY) -> datetime:
    """That many minutes after the session opened."""
    opens = datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
    return opens + timedelta(minutes=minutes)


def session(
    day: date = DAY, minutes: int = 375, rules: SessionRules | None = None
) -> TradingSession:
    return trading_session(day, at(0, day), at(minutes, day), rules or SessionRules())


def tick(minutes: float, price: float, volume: float = 10.0, day: date = DAY) -> Tick:
    return Tick(SYMBOL, at(minutes, day), price, volume)


def bar(number: int, prices: str, volume: float = 100.0, day: date = DAY) -> Candle:
    """The day's `number`-th five-minute candle, "open high low close"."""
    return Candle(SYMBOL, at(5 * number, day), *(float(p) for p in prices.split()), volume)


def quiet_history(
    count: int = 60, price: float = 1000.0, spread: float = 50.0, day: date = DAY
) -> list[Candle]:
    """Candles of earlier days that never move; their average true range is `spread`."""
    half = spread / 2
    first = at(0, day) - timedelta(days=7)
    return [
        Candle(
            SYMBOL, first + timedelta(minutes=5 * n), price, price + half, price - half, price, 100
        )
        for n in range(count)
    ]


class Script:
    """An electorate that decides what the script says for the newest candle's open."""

    def __init__(self, decisions: dict[datetime, Decision] | None = None) -> None:
        self.decisions = decisions or {}

    def vote(self, candles: Candles) -> Count:
        opened = datetime.fromtimestamp(int(candles.time[-1]), IST)
        decision = self.decisions.get(opened, HOLD)
        score = {BUY: 1.0, SELL: -1.0}.get(decision, 0.0)
        return Count(decision, score, {"script": int(score)}, None if decision is HOLD else 1)


def on_bar(number: int, decision: Decision) -> Script:
    """Decides once, on the day's `number`-th candle."""
    return Script({at(5 * number): decision})


class Desk:
    """An engine whose intents are all approved (or denied) at once; orders fill when told."""

    def __init__(
        self,
        electorate: object,
        rules: TradingRules | None = None,
        *,
        quantity: int = 20,
        deny: Callable[[OrderIntent], str | None] = lambda intent: None,
        history: list[Candle] | None = None,
    ) -> None:
        self.engine = SymbolEngine(INFY, rules or TradingRules(), electorate)  # type: ignore[arg-type]
        self.engine.warm(quiet_history() if history is None else history)
        self.quantity, self.deny = quantity, deny
        self.commands: list[Command] = []
        self.orders: list[Order] = []
        self.send(SessionOpened(session()))

    def send(self, event: Event) -> list[Command]:
        """What the engine made of the event; intents are answered before this returns."""
        made = self.engine.handle(event)
        self.commands += made
        for command in made:
            if isinstance(command, OrderIntent):
                self._answer(command)
        return made

    def _answer(self, intent: OrderIntent) -> None:
        reason = self.deny(intent)
        if reason is not None:
            self.send(Denial(reason))
            return
        sequence = len(self.orders) + 1
        order = Order(
            order_reference(1, intent.session_day, SYMBOL, intent.leg, sequence),
            SYMBOL,
            "NSE",
            intent.leg,
            intent.side,
            intent.quantity or self.quantity,
            intent.time,
            limit_price=intent.limit_price,
            trigger=intent.trigger,
            stop=intent.stop,
        )
        self.orders.append(order)
        self.send(Approval(order, intent))

    def report(
        self,
        status: OrderStatus,
        filled: int = 0,
        price: str | None = None,
        time: datetime | None = None,
        limit: str | None = None,
        reason: str = "",
    ) -> OrderReport:
        """News of the newest order."""
        order = self.orders[-1]
        return OrderReport(
            order.reference,
            SYMBOL,
            status,
            "B1",
            order.quantity,
            filled_quantity=filled,
            average_price=None if price is None else D(price),
            time=time or order.time,
            reason=reason,
            trigger=order.trigger if order.stop else None,
            limit_price=None if limit is None else D(limit),
        )

    def fill(self, price: str, filled: int | None = None) -> list[Command]:
        shares = self.orders[-1].quantity if filled is None else filled
        return self.send(self.report(OrderStatus.FILLED, shares, price))

    def enter(self, price: str = "1000", number: int = 1) -> None:
        """Close candle `number` (the script decides on it) and fill the entry at `price`."""
        self.send(bar(number, f"{price} {price} {price} {price}"))
        self.fill(price)

    # What came out

    def intents(self, leg: Leg | None = None) -> list[OrderIntent]:
        return [c for c in self.commands if isinstance(c, OrderIntent) and leg in (None, c.leg)]

    def exits(self) -> list[tuple[str, float, Decimal | None]]:
        return [(i.reason, i.price, i.trigger) for i in self.intents(Leg.EXIT)]

    def signals(self, *, final: bool | None = None) -> list[Signal]:
        return [c for c in self.commands if isinstance(c, Signal) and final in (None, c.final)]

    def settled(self) -> list[Settle]:
        return [c for c in self.commands if isinstance(c, Settle)]

    def cancels(self) -> list[CancelOrder]:
        return [c for c in self.commands if isinstance(c, CancelOrder)]


def rules(**changes: object) -> TradingRules:
    """Default rules with changed signal rules."""
    default = TradingRules()
    return replace(default, signals=replace(default.signals, **changes))  # type: ignore[arg-type]
