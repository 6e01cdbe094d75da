"""Limits of the risk section, held against what the exchange filled."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from adversity.facts import Facts, Violation
from adversity.record import BookOrder, Fill, Ledger, Row


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in force, in percent and counts."""

    per_symbol_day: int
    per_day: int
    exposure_percent: Decimal
    leverage: Decimal
    band_percent: Decimal


def breaches(facts: Facts, limits: Limits) -> Iterator[Violation]:
    """Every limit that was exceeded."""
    yield from _too_many(facts, limits)
    yield from _too_large(facts, limits)
    yield from _while_halted(facts)


def _too_many(facts: Facts, limits: Limits) -> Iterator[Violation]:
    entered = [r for r in facts.ledger.rows if r.leg == "ENTRY" and facts.filled(r.reference)]
    for (day, symbol), times in Counter((r.session_day, r.symbol) for r in entered).items():
        if times > limits.per_symbol_day:
            text = f"{times} entries in {symbol} on {day}"
            yield Violation("breach", "trades a symbol and day", symbol, text)
    for day, times in Counter(r.session_day for r in entered).items():
        if times > limits.per_day:
            yield Violation("breach", "trades a day", str(day), f"{times} entries")


def _too_large(facts: Facts, limits: Limits) -> Iterator[Violation]:
    """Walk through the exchange's fills and hold what is deployed against the day's opening."""
    openings = dict(facts.ledger.openings)
    capital = _most_capital(facts.ledger)
    open_cost: dict[str, tuple[int, Decimal]] = {}  # by entry reference: shares, rupees each
    of_symbol: dict[str, str] = {}
    worst: dict[date, tuple[Decimal, str]] = {}
    for fill in facts.book.fills:
        order, row = facts.orders.get(fill.reference), facts.rows.get(fill.reference)
        if order is None or row is None:
            continue  # counted as lost
        if order.leg == "EXIT":
            _take_off(open_cost, of_symbol, row, fill.quantity)
            continue
        other = of_symbol.get(order.symbol, order.reference)
        if other != order.reference:
            text = f"entered while {other} is open: {facts.both(order.reference)}"
            yield Violation("breach", "two positions at once", order.symbol, text)
        of_symbol[order.symbol] = order.reference
        shares, paid = open_cost.get(order.reference, (0, Decimal(0)))
        total = shares + fill.quantity
        paid = (paid * shares + _cost(order, row, fill, limits) * fill.quantity) / total
        open_cost[order.reference] = total, paid
        most = limits.exposure_percent / 100 * capital.get(row.session_day, Decimal(0))
        if total * paid > most * (1 + 2 * limits.band_percent / 100):
            text = f"{total * paid:.2f} in one symbol, limit {most:.2f}"
            yield Violation("breach", "exposure of a symbol", order.reference, text)
        deployed = sum((n * price for n, price in open_cost.values()), Decimal(0))
        if deployed > worst.get(row.session_day, (Decimal(0), ""))[0]:
            worst[row.session_day] = deployed, fill.reference
    for day, (deployed, reference) in worst.items():
        most = openings.get(day, Decimal(0)) * limits.leverage
        if deployed > most:
            text = f"{deployed:.2f} deployed on {day} with {reference}, limit {most:.2f}"
            yield Violation("breach", "deployed", reference, text)


def _take_off(
    open_cost: dict[str, tuple[int, Decimal]],
    of_symbol: dict[str, str],
    row: Row,
    quantity: int,
) -> None:
    position = row.position or ""
    shares, price = open_cost.pop(position, (0, Decimal(0)))
    if shares > quantity:
        open_cost[position] = shares - quantity, price
    elif of_symbol.get(row.symbol) == position:
        del of_symbol[row.symbol]


def _cost(order: BookOrder, row: Row, fill: Fill, limits: Limits) -> Decimal:
    """Rupees a share ties up; a short that fills beyond its band counts at the band's edge."""
    if order.side == "BUY" or row.decision_price is None:
        return fill.price
    return min(fill.price, row.decision_price * (1 + limits.band_percent / 100))


def _most_capital(ledger: Ledger) -> dict[date, Decimal]:
    """The highest that the capital stood on each day."""
    highest: dict[date, Decimal] = dict(ledger.openings)
    for day, opening in ledger.openings:
        running = opening
        for row in ledger.rows:
            if row.session_day == day and row.pnl is not None:
                running += row.pnl
                highest[day] = max(highest[day], running)
    return highest


def _while_halted(facts: Facts) -> Iterator[Violation]:
    """Entries recorded after the batch that brought HALTED and before the one that ended it."""
    entries = {r.reference for r in facts.ledger.rows if r.leg == "ENTRY"}
    moments: dict[datetime, list[str]] = defaultdict(list)
    for applied in facts.ledger.applied:
        if applied.state or applied.reference in entries:
            moments[applied.at].append(applied.state or applied.reference)
    halted = False
    for at in sorted(moments):
        states = [name for name in moments[at] if name not in entries]
        for name in moments[at]:
            # Within one batch nobody can tell which came first.
            if halted and not states and name in entries:
                yield Violation("breach", "entry while halted", name, facts.both(name))
        if states:
            halted = "HALTED" in states and len(states) == 1
