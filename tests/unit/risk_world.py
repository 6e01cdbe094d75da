"""A risk book with what surrounds it: intents, fills and the positions a symbol would report."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import yaml

from hftray.core.charges import ChargeSchedule
from hftray.core.ledger import RunInfo
from hftray.core.market import Instrument
from hftray.core.orders import Leg, OrderIntent, OrderReport, OrderStatus, Side
from hftray.core.position import Position
from hftray.core.risk import RiskBook
from hftray.core.rules import ExitRules, RiskLimits

D = Decimal
DAY = date(2026, 6, 1)
NOW = datetime(2026, 6, 1, 5, tzinfo=UTC)
RUN = RunInfo(7, "simulation", "seed 1", "local", D(100_000))
SYMBOLS = ("INFY", "ITC", "TCS")
INSTRUMENTS = {name: Instrument(name, tick_size=D("0.05")) for name in SYMBOLS}
CONFIG = Path(__file__).parents[2] / "config" / "charges.yaml"
CHARGES = ChargeSchedule.from_mapping(yaml.safe_load(CONFIG.read_text()))


def new_book(limits=None, **changes):
    parts = {
        "run": RUN,
        "limits": limits or RiskLimits(),
        "exits": ExitRules(),
        "charges": CHARGES,
        "instruments": INSTRUMENTS,
    }
    return RiskBook(**(parts | changes))


def entry(symbol="INFY", side=Side.BUY, price=1_000.0, atr=50.0, day=DAY):
    return OrderIntent(symbol, Leg.ENTRY, side, price, NOW, "signal", day, atr=atr)


def leave(position, quantity=None, price=1_000.0, day=DAY):
    return OrderIntent(
        position.symbol,
        Leg.EXIT,
        position.side.opposite,
        price,
        NOW,
        "stop_loss",
        day,
        quantity=quantity or position.quantity,
        position=position.reference,
    )


def fill(order, price, quantity=None, status=OrderStatus.FILLED):
    filled = order.quantity if quantity is None else quantity
    return OrderReport(
        order.reference,
        order.symbol,
        status,
        "B1",
        order.quantity,
        filled_quantity=filled,
        average_price=D(price) if filled else None,
        time=NOW,
    )


def reject(order, reason="circuit"):
    report = fill(order, 1, quantity=0, status=OrderStatus.REJECTED)
    return replace(report, reason=reason)


def opened(order, report, day=DAY):
    """The position that a symbol makes of an entry's fill."""
    if not report.filled_quantity:
        return None
    price = report.average_price
    return Position(
        order.reference,
        order.symbol,
        order.side,
        report.filled_quantity,
        price,
        NOW,
        day,
        stop_loss=price,
        take_profit=price,
        best_price=float(price),
    )


def reduced(position, quantity):
    """What stays open and what is closed when `quantity` shares leave."""
    left = position.quantity - quantity
    after = replace(position, quantity=left) if left else None
    return after, replace(position, quantity=quantity) if quantity else None


class Desk:
    """One symbol's dealings with a book, for tests that read as a story."""

    def __init__(self, book, symbol="INFY"):
        self.book, self.symbol = book, symbol
        self.epoch = book.register(symbol)

    def ask(self, intent):
        return self.book.reserve(intent, self.epoch)

    def buy(self, price=1_000.0, fill_at=None, side=Side.BUY, **changes):
        """Enter and be filled; the position."""
        approval = self.ask(entry(self.symbol, side, price, **changes))
        report = fill(approval.order, fill_at or str(price))
        position = opened(approval.order, report)
        self.book.settle(report, self.epoch, position, None)
        return position

    def sell(self, position, price, quantity=None):
        """Exit and be filled; the ledger row."""
        approval = self.ask(leave(position, quantity))
        report = fill(approval.order, price)
        after, closed = reduced(position, approval.order.quantity)
        return self.book.settle(report, self.epoch, after, closed)
