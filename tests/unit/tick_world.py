"""The same candles told in two ways: closed, and as ticks with the exchange's candle at the end.

A small exact exchange fills every order at the next price there is; no limits, no slippage.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from play_world import ROSTER

from hftray.backtest.history import SymbolHistory
from hftray.core.engine import SymbolEngine
from hftray.core.events import CancelOrder, Event, SessionOpened, Signal
from hftray.core.exits import exit_at_price, exit_in_candle
from hftray.core.market import Candle, Tick
from hftray.core.money import rupees
from hftray.core.orders import (
    Approval,
    Leg,
    Order,
    OrderIntent,
    OrderReport,
    OrderStatus,
    Side,
    order_reference,
)
from hftray.core.position import Position
from hftray.core.rules import TradingRules
from hftray.strategies.ensemble import Ensemble

TICK_SIZE = Decimal("0.05")
Way = Callable[[Candle, Side], list[float]]


def extremes(candle: Candle, side: Side) -> list[float]:
    """Open, adverse extreme, favourable extreme, close, for a position of that side."""
    worst, best = (candle.low, candle.high) if side is Side.BUY else (candle.high, candle.low)
    return [candle.open, worst, best, candle.close]


def ends(candle: Candle, side: Side) -> list[float]:
    """Open and close: polling was too slow for the extremes."""
    return [candle.open, candle.close]


@dataclass
class Run:
    """An engine over a history, and what it decided on which candle.

    Told as candles when `way` is None. `cut` is the first candle of which ticks in time and a
    closed candle must be read differently (see `open_decides`).
    """

    history: SymbolHistory
    roster: list[dict[str, object]]
    rules: TradingRules
    way: Way | None = None
    signals: list[tuple[object, ...]] = field(default_factory=list)
    decisions: list[tuple[datetime, Leg, Side, str]] = field(default_factory=list)
    cut: datetime | None = None

    def __post_init__(self) -> None:
        history, start = self.history, self.history.start
        voters = Ensemble(self.roster, self.rules.signals.threshold)
        self.engine = SymbolEngine(history.instrument, self.rules, voters)
        self.engine.warm([history.candle(row) for row in range(start)])
        self.working: Order | None = None
        self.orders = 0
        for row in range(start, len(history.candles)):
            candle = history.candle(row)
            hours = history.sessions[candle.time.date()]
            if hours != self.engine.session:
                self.carry_out(SessionOpened(hours))
            self.play(candle)

    def play(self, candle: Candle) -> None:
        if self.way is None:
            self.fill(candle.open, candle.time)
            held = self.engine.position
            if self.cut is None and held is not None and open_decides(held, candle, self.rules):
                self.cut = candle.time
        else:
            for tick in self.ticks(candle, self.way):
                self.fill(tick.price, tick.time)
                self.carry_out(tick)
        self.carry_out(candle)

    def ticks(self, candle: Candle, way: Way) -> Iterator[Tick]:
        """Their volume is nonsense: the official candle's is what counts."""
        side = Side.BUY
        if self.working is not None:
            side = self.working.side if self.working.leg is Leg.ENTRY else side
        elif self.engine.position is not None:
            side = self.engine.position.side
        for number, price in enumerate(way(candle, side)):
            at = candle.time + timedelta(seconds=60 * number)
            yield Tick(candle.symbol, at, price, 7.0 + number)

    def fill(self, price: float, time: datetime) -> None:
        order, self.working = self.working, None
        if order is not None:
            average = rupees(price)
            self.carry_out(
                OrderReport(order.reference, order.symbol, OrderStatus.FILLED, "B", order.quantity,
                            order.quantity, average, time)
            )  # fmt: skip

    def carry_out(self, event: Event) -> None:
        for command in self.engine.handle(event):
            if isinstance(command, Signal) and command.final:
                entered = command.action == "enter"
                self.signals.append(
                    (command.candle_time, command.signal, command.score, command.votes, entered)
                )
            if isinstance(command, OrderIntent):
                self.order(command)
            assert not isinstance(command, CancelOrder)

    def order(self, intent: OrderIntent) -> None:
        assert intent.candle_time is not None
        self.decisions.append((intent.candle_time, intent.leg, intent.side, intent.reason))
        self.orders += 1
        name = order_reference(1, intent.session_day, intent.symbol, intent.leg, self.orders)
        shares = intent.quantity or 10
        order = Order(name, intent.symbol, "NSE", intent.leg, intent.side, shares, intent.time)
        self.carry_out(Approval(order, intent))
        self.working = order
        if self.way is None and intent.trigger is not None:
            self.fill(float(intent.trigger), intent.time)


def open_decides(held: Position, candle: Candle, rules: TradingRules) -> bool:
    """Whether the candle's open alone does something that a closed candle cannot tell.

    It comes before the extremes. So it can raise the trailing stop that the worst price then
    touches, or touch a level itself while the worst price touches one that counts more.
    """
    raised = held.improved_by(candle.open)
    worst = candle.low if held.side is Side.BUY else candle.high
    touched = exit_in_candle(held, candle, rules.exits, TICK_SIZE)
    reason = None if touched is None else touched[0]
    for price in (candle.open, worst):
        by_tick = exit_at_price(raised, price, rules.exits, TICK_SIZE)
        if by_tick is not None:
            return by_tick is not reason
    return False


def told_both_ways(history, rules, way):
    """The decisions that both runs must share, having demanded that they do."""
    closed, ticked = Run(history, ROSTER, rules), Run(history, ROSTER, rules, way)

    def until(made):
        return [one for one in made if closed.cut is None or one[0] < closed.cut]

    assert until(ticked.signals) == until(closed.signals)
    parts = slice(None) if way is extremes else slice(3)  # without the extremes, not the reason
    expected, got = ([one[parts] for one in until(run.decisions)] for run in (closed, ticked))
    assert got == expected
    return expected
