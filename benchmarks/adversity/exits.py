"""Ways out of a position, held against what the exchange filled: one at a time, and never past it.

A guard that rests at the exchange and an exit that is sent are both alive at once for nobody: what
both fill would open a position the other way.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

from adversity.facts import Facts, Violation
from adversity.record import BookOrder

NEVER = datetime.max.replace(tzinfo=UTC)


def wrong_exits(facts: Facts) -> Iterator[Violation]:
    """Exits that were alive together, and exits that sold or bought more than there was."""
    yield from _alive_together(facts)
    yield from _past_zero(facts)


def _alive_together(facts: Facts) -> Iterator[Violation]:
    """Only where the exchange tells when an order ended; a rejected one was never alive."""
    exits: dict[str, list[BookOrder]] = defaultdict(list)
    for order in facts.book.orders:
        row = facts.rows.get(order.reference)
        alive = order.ended is not None or order.status == "WORKING"
        if order.leg == "EXIT" and row and row.position and alive and order.status != "REJECTED":
            exits[row.position].append(order)
    if not any(order.ended for order in facts.book.orders):
        return
    for position, orders in exits.items():
        orders.sort(key=lambda order: (order.time, order.ended or NEVER))
        for first, second in pairwise(orders):
            if (first.ended or NEVER) > second.time:
                text = f"{facts.both(first.reference)} and {facts.both(second.reference)}"
                yield Violation("doubled", "two exits alive at once", position, text)


def _past_zero(facts: Facts) -> Iterator[Violation]:
    """A symbol's shares after each fill; what an exit fills must bring them towards zero."""
    net: Counter[str] = Counter()
    for fill in facts.book.fills:
        order = facts.orders.get(fill.reference)
        if order is None:
            continue  # counted as lost
        before = net[order.symbol]
        net[order.symbol] += fill.quantity if order.side == "BUY" else -fill.quantity
        after = net[order.symbol]
        if order.leg == "EXIT" and (abs(after) > abs(before) or before * after < 0):
            text = f"{before} shares before it, {after} after it: {facts.both(fill.reference)}"
            yield Violation("doubled", "exit past zero", fill.reference, text)
