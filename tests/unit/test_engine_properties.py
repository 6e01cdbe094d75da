"""SymbolEngine on random days: restarts and the future change nothing, money is never left behind.

A day is a list of moves (seconds passed, price change, kind of news). The scripted broker's fate of
an order is a function of its reference, and the voters look at the last closes, so two engines that
see the same news must do the same.
"""

import pickle
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
from engine_world import BUY, HOLD, INFY, SELL, SYMBOL, D, at, quiet_history, rules, session
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

from hftray.core.engine import SymbolEngine
from hftray.core.events import (
    AmendOrder,
    CancelOrder,
    ClockAdvanced,
    FlattenRequested,
    NotAmended,
    SessionOpened,
    Settle,
    Vote,
)
from hftray.core.market import Candle, Tick
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
from hftray.core.position import Phase

LATER = at(0).date() + timedelta(days=1)


class Momentum:
    """Buys after a rise, sells after a fall; remembers how far it was shown."""

    def __init__(self):
        self.seen = []

    def vote(self, candles):
        self.seen.append(int(candles.time[-1]))
        change = float(candles.close[-1] - candles.close[-2]) if len(candles) > 1 else 0.0
        decision = BUY if change > 2 else SELL if change < -2 else HOLD
        return Vote(decision, change, {"momentum": int(np.sign(change))})


class Broker:
    """Approves or denies, fills at the next price, in part or not at all, by the reference."""

    def __init__(self):
        self.working = None
        self.count = 0

    def approve(self, intent):
        self.count += 1
        if intent.leg is Leg.ENTRY and self.count % 5 == 0:
            return Denial("size")
        name = order_reference(1, intent.session_day, SYMBOL, intent.leg, self.count)
        order = Order(
            name, SYMBOL, "NSE", intent.leg, intent.side, intent.quantity or 20, intent.time,
            intent.limit_price, intent.trigger, intent.stop,
        )  # fmt: skip
        self.working = order
        return Approval(order, intent)

    def fate(self, price, time):
        """The report at the next price: filled, refused, or still working."""
        order = self.working
        if order is None:
            return None
        dice = int(order.reference[-2:], 36) % 10
        if order.stop and dice > 3 and (D(str(price)) - order.trigger) * order.side.sign < 0:
            return None  # it rests; others are refused, or dropped half filled
        if dice < 2:
            return None  # nobody takes it: patience withdraws it
        status, filled = OrderStatus.FILLED, order.quantity
        if dice == 2:
            status, filled = OrderStatus.REJECTED, 0
        elif dice == 3:
            status, filled = OrderStatus.CANCELLED, (order.quantity + 1) // 2
        return self._end(status, filled, price, time)

    def cancel(self, time):
        return None if self.working is None else self._end(OrderStatus.CANCELLED, 0, 1.0, time)

    def amend(self, command, time):
        """One in three moves is refused."""
        order = self.working
        if int(order.reference[-2:], 36) % 3 == 0:
            return NotAmended(order.reference, "no")
        self.working = replace(order, trigger=command.trigger)
        return OrderReport(
            order.reference, SYMBOL, OrderStatus.WORKING, "B", order.quantity, time=time,
            trigger=command.trigger,
        )  # fmt: skip

    def _end(self, status, filled, price, time):
        order, self.working = self.working, None
        average = D(str(price)) if filled else None
        return OrderReport(
            order.reference, SYMBOL, status, "B", order.quantity, filled, average, time
        )


moves = st.lists(
    st.tuples(
        st.integers(0, 400),  # seconds since the move before
        st.integers(-12, 12),  # rupees
        st.sampled_from(["tick"] * 12 + ["clock", "late", "again", "bad", "kill", "resume", "day"]),
    ),
    min_size=10,
    max_size=80,
)
entry_on = st.sampled_from(["close", "tick"])
guarded = st.booleans()


def chosen_rules(guard, **changes):
    made = rules(**changes)
    return replace(made, exits=replace(made.exits, guard=guard, trailing_stop_percent=0.5))


def news(days_moves, *, closed_candles=False):
    """The moves as events; None stands for `permit_entries`."""
    moment, price, last = at(0), 1000, None
    number, day = 0, at(0).date()
    for seconds, change, kind in days_moves:
        price = max(10, price + change)
        moment += timedelta(seconds=seconds)
        if kind == "day":
            day, moment = LATER, max(moment, at(0, LATER))
            yield SessionOpened(session(LATER))
        elif kind == "clock":
            yield ClockAdvanced(moment)
        elif kind == "kill":
            yield FlattenRequested(moment, "operator")
        elif kind == "resume":
            yield None
        elif kind == "bad":
            yield Tick(SYMBOL, moment, float("nan"))
        elif kind == "again" and last is not None:
            yield last
        elif closed_candles:
            high, low = price + abs(change), max(1, price - abs(change))
            yield Candle(SYMBOL, at(5 * number, day), price, high, low, price, 10)
            number += 1
        else:
            lag = timedelta(seconds=200 if kind == "late" else 0)
            last = Tick(SYMBOL, moment - lag, float(price), float(seconds))
            yield last


class Day:
    """An engine, its broker, and everything the engine wanted."""

    def __init__(self, chosen_rules):
        self.rules, self.broker, self.log = chosen_rules, Broker(), []
        self.engine = self.build()
        self.engine.warm(quiet_history(30, spread=6))
        self.feed(SessionOpened(session()))

    def build(self):
        return SymbolEngine(INFY, self.rules, Momentum())

    def restart(self):
        """Another process: only what pickles survives."""
        state = pickle.loads(pickle.dumps(self.engine.snapshot()))
        self.engine = self.build().restore(state)

    def feed(self, event):
        if event is None:
            self.engine.permit_entries()
            return
        if isinstance(event, Tick | Candle):
            price = event.price if isinstance(event, Tick) else event.open
            time = event.time
            if price == price and (report := self.broker.fate(price, time)) is not None:
                self.carry_out(report)
        self.carry_out(event)

    def carry_out(self, event):
        for command in self.engine.handle(event):
            self.log.append(command)
            if isinstance(command, OrderIntent):
                self.carry_out(self.broker.approve(command))
            elif isinstance(command, CancelOrder):
                report = self.broker.cancel(at(0))
                if report is not None:
                    self.carry_out(report)
            elif isinstance(command, AmendOrder):
                self.carry_out(self.broker.amend(command, at(0)))


def remembered(engine):
    """Everything an engine holds besides what it is built from."""
    built_from = ("instrument", "rules", "electorate", "candles", "feed", "_handlers")
    own = {name: value for name, value in vars(engine).items() if name not in built_from}
    return own | {"candles": engine.candles.snapshot(), "feed": engine.feed.snapshot()}


@settings(max_examples=examples(60))
@given(
    given_moves=moves, every=st.integers(1, 9), when=entry_on, closed=st.booleans(), guard=guarded
)
def test_an_engine_restored_anywhere_continues_identically(given_moves, every, when, closed, guard):
    chosen = chosen_rules(guard, entry_on=when, candle_buffer=35)
    whole, cut = Day(chosen), Day(chosen)
    for index, event in enumerate(news(given_moves, closed_candles=closed)):
        if index % every == 0:
            cut.restart()
        whole.feed(event)
        cut.feed(event)
        assert cut.log == whole.log
    assert remembered(cut.engine) == remembered(whole.engine)


@settings(max_examples=examples(40))
@given(given_moves=moves, other=moves, cut=st.integers(0, 80), when=entry_on, closed=st.booleans())
def test_another_future_changes_no_past_command(given_moves, other, cut, when, closed):
    first, second = Day(rules(entry_on=when)), Day(rules(entry_on=when))
    past = list(news(given_moves, closed_candles=closed))[:cut]
    for event in past:
        first.feed(event)
        second.feed(event)
    known = list(first.log)
    for event in news(given_moves[:cut] + other, closed_candles=closed):
        second.feed(event)
    assert second.log[: len(known)] == known


@settings(max_examples=examples(40))
@given(given_moves=moves, when=entry_on, closed=st.booleans())
def test_no_voter_is_shown_a_candle_that_has_not_begun(given_moves, when, closed):
    day = Day(rules(entry_on=when))
    newest = at(0)
    for event in news(given_moves, closed_candles=closed):
        if isinstance(event, Tick | Candle):
            newest = max(newest, event.time)
        day.feed(event)
        seen = day.engine.electorate.seen
        assert all(moment <= newest.timestamp() for moment in seen)


@settings(max_examples=examples(60))
@given(given_moves=moves, when=entry_on, closed=st.booleans(), guard=guarded)
def test_phase_position_and_order_always_agree(given_moves, when, closed, guard):
    day = Day(chosen_rules(guard, entry_on=when))
    for event in news(given_moves, closed_candles=closed):
        day.feed(event)
        engine = day.engine
        assert (engine.position is not None) == (engine.phase in (Phase.OPEN, Phase.EXITING))
        assert (engine.order is not None) == (engine.phase in (Phase.ENTERING, Phase.EXITING))
        assert (engine.order is None) == (engine.intent is None)
        assert engine.under_way == day.broker.working
        assert engine.guard is None or engine.phase is Phase.OPEN


@settings(max_examples=examples(60))
@given(given_moves=moves, when=entry_on, closed=st.booleans(), guard=guarded)
def test_every_share_that_was_entered_is_held_or_was_closed(given_moves, when, closed, guard):
    day = Day(chosen_rules(guard, entry_on=when))
    for event in news(given_moves, closed_candles=closed):
        day.feed(event)
    bought = closed_shares = 0
    for command in day.log:
        if isinstance(command, Settle):
            if command.closed is not None:
                closed_shares += command.closed.quantity
            elif command.after is not None and command.report.filled_quantity:
                bought += command.report.filled_quantity
    held = day.engine.position.quantity if day.engine.position else 0
    assert bought == closed_shares + held


@settings(max_examples=examples(40))
@given(given_moves=moves, when=entry_on)
def test_a_report_told_twice_or_late_changes_nothing(given_moves, when):
    day = Day(rules(entry_on=when))
    told = []
    original = day.broker.fate

    def remembering(price, time):
        report = original(price, time)
        if report is not None:
            told.append(report)
        return report

    day.broker.fate = remembering
    for event in news(given_moves):
        day.feed(event)
        before = pickle.dumps(day.engine.snapshot())
        for report in told:
            assert day.engine.handle(report) == []
            assert day.engine.handle(replace(report, status=OrderStatus.REJECTED)) == []
        assert pickle.dumps(day.engine.snapshot()) == before


def test_the_random_days_do_trade():
    """The properties above would be hollow on days without trades."""
    walk = [(60, 5 if n % 30 < 14 else -5, "tick") for n in range(400)]
    day = Day(rules())
    for event in news(walk):
        day.feed(event)
    legs = [c.leg for c in day.log if isinstance(c, OrderIntent)]
    assert legs.count(Leg.ENTRY) > 3
    assert legs.count(Leg.EXIT) > 3
    day = Day(chosen_rules(True))
    for event in news(walk):
        day.feed(event)
    assert len([c for c in day.log if isinstance(c, OrderIntent) and c.stop]) > 3
    assert any(isinstance(command, AmendOrder) for command in day.log)
    assert isinstance(day.log[0].timestamp, datetime)
