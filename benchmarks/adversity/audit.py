"""Does the ledger equal the exchange's own book? Pure; shares no code with what it checks.

The four kinds of violation:

- lost: an order or fill that one side has and the other has not, or has differently
- doubled: the same decision filled twice, more shares exited than entered, two exits alive at once,
  a name given twice
- orphan: shares that nobody guards: at the exchange but not in the ledger's positions, without
  a stop, not held by their symbol's actor, or of an earlier day
- breach: a limit of the risk section exceeded by what the exchange filled
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal

from adversity.breaches import Limits, breaches
from adversity.exits import wrong_exits
from adversity.facts import Facts, Violation
from adversity.record import Book, Ledger, Row

PRICE_TOLERANCE = Decimal("0.0001")  # the ledger's mean price has four places
FINISHED = {"FILLED", "CANCELLED", "REJECTED"}


def audit(
    book: Book,
    ledger: Ledger,
    limits: Limits,
    *,
    held: Mapping[str, str] | None = None,
    today: date | None = None,
) -> list[Violation]:
    """All violations. `held` is the reference of the position that each symbol's actor holds (None:
    nobody asked), `today` the market's day.
    """
    facts = Facts(book, ledger)
    return [
        *_lost(facts),
        *_doubled(facts),
        *wrong_exits(facts),
        *_orphans(facts, held, today),
        *breaches(facts, limits),
    ]


def _lost(facts: Facts) -> Iterator[Violation]:
    for reference in facts.orders.keys() | facts.rows.keys() | facts.fills.keys():
        rule = _difference(facts, reference)
        if rule:
            yield Violation("lost", rule, reference, facts.both(reference))
    yield from _lost_money(facts)


def _difference(facts: Facts, reference: str) -> str:
    order, row = facts.orders.get(reference), facts.rows.get(reference)
    shares = facts.filled(reference)
    if row is None:
        return "at the exchange, not in the ledger"
    if order is None:
        if shares:
            return "fills of an order that the exchange does not have"
        absent = {"EXECUTED": "executed in the ledger, unknown to the exchange",
                  "PENDING": "pending in the ledger, unknown to the exchange"}  # fmt: skip
        return absent.get(row.status, "")
    if order.status == "WORKING":
        return "" if row.status == "PENDING" else f"working at the exchange, {row.status} here"
    if order.status not in FINISHED:
        return f"the exchange calls it {order.status}"
    if row.status == "PENDING":
        return "finished at the exchange, pending in the ledger"
    if (row.status == "EXECUTED") != (shares > 0):
        return f"{shares} shares filled, {row.status} in the ledger"
    if not shares:
        return ""
    if (order.symbol, order.side, order.leg) != (row.symbol, row.side, row.leg):
        return "another symbol, side or leg"
    if order.quantity != row.requested_quantity or shares != row.quantity:
        return "another quantity"
    if row.price is None or abs(row.price - facts.mean(reference)) > PRICE_TOLERANCE:
        return "another price"
    return ""


def _lost_money(facts: Facts) -> Iterator[Violation]:
    """The gross P&L of every closed position, once more from the exchange's fills."""
    open_now = {position.reference for position in facts.ledger.held}
    exits: dict[str, list[Row]] = defaultdict(list)
    for row in facts.ledger.rows:
        if row.leg == "EXIT" and row.position and row.status == "EXECUTED":
            exits[row.position].append(row)
    for position, rows in exits.items():
        entry = facts.orders.get(position)
        references = [position, *(row.reference for row in rows)]
        if entry is None or position in open_now:
            continue
        gained = -sum((_value(facts, name) for name in references), Decimal(0))
        said = sum((row.gross_pnl or Decimal(0) for row in rows), Decimal(0))
        # Mean prices have four places, values two.
        tolerance = PRICE_TOLERANCE * facts.filled(position) + Decimal("0.02") * len(references)
        if abs(gained - said) > tolerance:
            text = f"{gained:.2f} by the exchange's fills, {said} in the ledger: {references}"
            yield Violation("lost", "another P&L", position, text)


def _value(facts: Facts, reference: str) -> Decimal:
    """Rupees paid for an order's fills, negative for those received."""
    order = facts.orders.get(reference)
    paid = sum((f.price * f.quantity for f in facts.fills[reference]), Decimal(0))
    return -paid if order is not None and order.side == "SELL" else paid


def _doubled(facts: Facts) -> Iterator[Violation]:
    decisions = Counter(
        (o.symbol, o.time)
        for o in facts.book.orders
        if o.leg == "ENTRY" and facts.filled(o.reference)
    )
    for (symbol, moment), times in decisions.items():
        if times > 1:
            text = f"{times} entries filled for the decision of {moment}"
            yield Violation("doubled", "entered twice", symbol, text)
    yield from _exited_too_much(facts)
    for name, times in Counter(fill.trade_id for fill in facts.book.fills).items():
        if times > 1:
            yield Violation("doubled", "execution twice", name, f"{times} times")
    for reference, order in facts.orders.items():
        if (shares := facts.filled(reference)) > order.quantity:
            text = f"{shares} of {order.quantity} filled: {facts.both(reference)}"
            yield Violation("doubled", "filled more than ordered", reference, text)
    names = Counter((r.session_day, r.symbol, r.leg, r.sequence) for r in facts.ledger.rows)
    for name_given, times in names.items():
        if times > 1:
            yield Violation("doubled", "number twice", name_given[1], f"{name_given}: {times} rows")


def _exited_too_much(facts: Facts) -> Iterator[Violation]:
    out: Counter[str] = Counter()
    for row in facts.ledger.rows:
        if row.leg == "EXIT" and row.position:
            out[row.position] += facts.filled(row.reference)
    for position, shares in out.items():
        if shares > facts.filled(position):
            exits = [r.reference for r in facts.ledger.rows if r.position == position]
            text = f"{shares} shares exited of {facts.filled(position)} entered, by {exits}"
            yield Violation("doubled", "exited more than entered", position, text)


def _orphans(
    facts: Facts, held: Mapping[str, str] | None, today: date | None
) -> Iterator[Violation]:
    net: Counter[str] = Counter()
    for fill in facts.book.fills:
        order = facts.orders.get(fill.reference)
        # What a working order has filled so far is settled when the order ends.
        if order is not None and order.status != "WORKING":
            net[order.symbol] += fill.quantity if order.side == "BUY" else -fill.quantity
    believed: Counter[str] = Counter()
    for position in facts.ledger.held:
        believed[position.symbol] += position.quantity * (1 if position.side == "BUY" else -1)
        name, text = position.reference, str(position)
        if not position.stop_loss or position.stop_loss <= 0:
            yield Violation("orphan", "no stop", name, text)
        if held is not None and held.get(position.symbol) != name:
            holder = f"its actor holds {held.get(position.symbol)}: {text}"
            yield Violation("orphan", "not held by its actor", name, holder)
        if today is not None and position.session_day < today:
            yield Violation("orphan", "of an earlier day", name, f"today is {today}: {text}")
    for symbol in net.keys() | believed.keys():
        if net[symbol] != believed[symbol]:
            text = f"{net[symbol]} shares at the exchange, {believed[symbol]} in the ledger"
            yield Violation("orphan", "shares differ", symbol, text)
    for symbol, name in (held or {}).items():
        if name not in {position.reference for position in facts.ledger.held}:
            yield Violation("orphan", "held by its actor only", symbol, name)
