"""One random life of a risk book, checked after every step against accounts kept apart from it."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis_profiles import examples
from risk_world import (
    CHARGES,
    DAY,
    NOW,
    RUN,
    SYMBOLS,
    entry,
    fill,
    leave,
    new_book,
    opened,
    reduced,
    reject,
)

from hftray.core.errors import StaleEpoch
from hftray.core.ledger import RiskStateChanged, RunState
from hftray.core.money import round_down_to_tick, round_up_to_tick
from hftray.core.orders import Approval, Leg, Side, TradeStatus
from hftray.core.rules import RiskLimits

D = Decimal
LIMITS = RiskLimits(
    leverage=D("2.5"),
    max_symbol_exposure_percent=D(120),
    max_trades_per_symbol_day=6,
    max_trades_per_day=12,
)
symbols = st.sampled_from(SYMBOLS)
prices = st.integers(500, 60_000).map(lambda ticks: ticks / 20)  # 25 to 3,000 rupees on the tick
parts = st.sampled_from([0.0, 0.3, 0.7, 1.0])
fates = st.none() | parts  # the part of an order that fills at once; None leaves it working


class RiskLife(RuleBasedStateMachine):
    """Entries, exits, fills in part, rejections, repeats, marks, days, restarts."""

    def __init__(self):
        super().__init__()
        self.book = new_book(LIMITS)
        self.twin = new_book(LIMITS)  # gets every call too, and is replaced by restored copies
        self.working = {}  # symbol -> (approval, epoch)
        self.positions = {}
        self.rows = {}  # the ledger: reference -> newest row
        self.done = []  # settle calls that were taken
        self.changes = [("ACTIVE", "", None)]
        self.epochs = {}
        self.cash = RUN.initial_capital  # moves with every fill and charge, nothing else
        self.carried = D(0)
        self.day = DAY
        self.session = self.both("open_day", DAY, NOW)[0]
        for symbol in SYMBOLS:
            self.epochs[symbol] = self.both("register", symbol)

    def both(self, name, *args, **named):
        answer = getattr(self.book, name)(*args, **named)
        assert getattr(self.twin, name)(*args, **named) == answer
        changed = answer if isinstance(answer, tuple) else (answer,)
        for event in changed:
            if isinstance(event, RiskStateChanged):
                self.changes.append((event.state, event.reason, event.time))
        return answer

    # What symbols do and the exchange answers

    @rule(
        symbol=symbols,
        side=st.sampled_from(Side),
        price=prices,
        atr=st.none() | st.floats(0.05, 100),
        fate=fates,
        where=parts,
    )
    def ask_entry(self, symbol, side, price, atr, fate, where):
        intent = entry(symbol, side, price, atr, self.day)
        self.take(self.both("reserve", intent, self.epochs[symbol]), fate, where)

    @precondition(lambda self: self.positions)
    @rule(data=st.data(), part=parts, fate=fates, where=parts)
    def ask_exit(self, data, part, fate, where):
        held = self.positions[data.draw(st.sampled_from(sorted(self.positions)))]
        intent = leave(held, max(1, round(part * held.quantity)), day=self.day)
        answer = self.both("reserve", intent, self.epochs[held.symbol])
        assert isinstance(answer, Approval) is (held.symbol not in self.working)
        self.take(answer, fate, where)

    def take(self, answer, fate, where):
        if isinstance(answer, Approval):
            self.working[answer.order.symbol] = answer
            self.rows[answer.order.reference] = self.both("trade_record", answer)
            if fate is not None:
                self.finish(answer.order.symbol, fate, where)

    @precondition(lambda self: self.working)
    @rule(data=st.data(), fate=parts, where=parts)
    def fill_working(self, data, fate, where):
        self.finish(data.draw(st.sampled_from(sorted(self.working))), fate, where)

    def finish(self, symbol, fate, where):
        approval = self.working.pop(symbol)
        order = approval.order
        filled = round(fate * order.quantity)
        price = self.fill_price(approval, where)
        report = fill(order, price, filled) if filled else reject(order)
        if order.leg is Leg.ENTRY:
            after, closed = opened(order, report, self.day), None
        else:
            after, closed = reduced(self.positions[symbol], filled)
        call = (report, self.epochs[symbol], after, closed)
        row = self.both("settle", *call)
        self.done.append((call, row))
        self.rows[row.reference] = row
        self.positions.pop(symbol, None)
        if after is not None:
            self.positions[symbol] = after
        if filled:
            # An order's charges belong to the day it was decided on.
            paid = CHARGES.charges(order.side, quantity=filled, price=price, day=row.session_day)
            self.cash -= price * filled * order.side.sign + paid.total

    def fill_price(self, approval, where):
        """A price of the band for an entry, any within a fifth for an exit."""
        order, decided = approval.order, D(str(approval.intent.price))
        reach = D("0.2") if order.leg is Leg.EXIT else LIMITS.entry_band_percent / 100
        low = round_up_to_tick(decided * (1 - reach), D("0.05"))
        high = round_down_to_tick(decided * (1 + reach), D("0.05"))
        return low + round(where * int((high - low) / D("0.05"))) * D("0.05")

    @precondition(lambda self: self.done)
    @rule(data=st.data())
    def repeat_a_report(self, data):
        call, row = data.draw(st.sampled_from(self.done))
        report, _, after, closed = call
        before = self.book.snapshot()
        assert self.both("settle", report, self.epochs[row.symbol], after, closed) == row
        assert self.book.snapshot() == before

    # What else happens

    @rule(
        percent=st.floats(-0.03, 0.03),
        impairment=st.sampled_from(["", "", "", "the journal is full"]),
        locks=st.none() | st.dictionaries(symbols, st.just("not reconciled"), max_size=1),
    )
    def mark(self, percent, impairment, locks):
        pnl = {s: float(p.entry_price) * p.quantity * percent for s, p in self.positions.items()}
        self.both("mark", pnl, NOW, impairment=impairment, locks=locks)

    @rule(name=st.sampled_from(["kill", "reduce"]), resumed=st.integers(0, 3))
    def stop(self, name, resumed):
        self.both(name, f"somebody says {name}", NOW)
        if resumed:
            self.both("resume", "all is well", NOW)

    @rule(symbol=symbols)
    def symbol_restarts(self, symbol):
        stale = self.epochs[symbol]
        self.epochs[symbol] = self.both("register", symbol)
        before = self.book.snapshot()
        with pytest.raises(StaleEpoch):
            self.book.reserve(entry(symbol, day=self.day), stale)
        assert self.book.snapshot() == before

    @rule()
    def next_day(self):
        view = self.book.view()
        self.carried = view.deployed + view.reserved
        self.day += timedelta(days=1)
        self.session = self.both("open_day", self.day, NOW)[0]
        self.done.clear()

    @rule()
    def restore_the_twin(self):
        self.twin = new_book(LIMITS).restore(self.book.snapshot())

    # What always holds

    @invariant()
    def exposure_stays_within_the_limit(self):
        view = self.book.view()
        in_use = view.deployed + view.reserved
        assert in_use <= max(self.session.opening_capital * LIMITS.leverage, self.carried)
        assert view.free <= max(D(0), view.exposure_limit - in_use)
        assert view.trades_today <= LIMITS.max_trades_per_day

    @invariant()
    def cash_positions_and_charges_balance(self):
        view = self.book.view()
        at_cost = sum(p.entry_price * p.quantity * p.side.sign for p in self.positions.values())
        gross = sum(holding.gross for holding in self.book._account.holdings.values())
        assert view.equity - gross == self.cash + at_cost
        assert view.capital == RUN.initial_capital + sum(r.pnl or 0 for r in self.rows.values())
        if not self.positions:
            assert view.capital == view.equity == self.cash

    @invariant()
    def twin_is_the_same_book(self):
        assert self.twin.snapshot() == self.book.snapshot()

    @invariant()
    def ledger_gives_the_same_book_back(self):
        carried = {p.reference for p in self.positions.values()}
        fresh = new_book(LIMITS)
        fresh.recover(
            RunState(
                RUN,
                session_day=self.day,
                opening_capital=self.session.opening_capital,
                realised_total=sum((r.pnl or D(0) for r in self.rows.values()), D(0)),
                trades_today=tuple(
                    r for r in self.rows.values()
                    if r.session_day == self.day or r.reference in carried
                ),
                pending=tuple(r for r in self.rows.values() if r.status is TradeStatus.PENDING),
                positions=tuple(self.positions.values()),
                risk_state=self.changes[-1][0],
                risk_reason=self.changes[-1][1],
                risk_since=self.changes[-1][2],
            )
        )  # fmt: skip
        live = new_book(LIMITS).restore(self.book.snapshot())
        for symbol in SYMBOLS:
            live._account.mark(symbol, D(0))  # marks come with the next scan
        live.bar("", {})  # and so does what bars entries
        assert fresh.view() == live.view()
        mine, theirs = fresh.snapshot(), live.snapshot()
        assert mine["account"] == theirs["account"]
        assert mine["day"]["sequences"] == theirs["day"]["sequences"]


RiskLife.TestCase.settings = settings(max_examples=examples(120), stateful_step_count=40)
TestRiskLife = RiskLife.TestCase
