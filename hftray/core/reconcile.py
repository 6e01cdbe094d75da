"""The ledger against the broker: where do they differ, and what follows from it?

The books are read one after the other, so name the symbols whose step is under way meanwhile in
`skip`. An order on its way differs in nothing: until its end is known, its symbol may hold any
number of shares from what the order is known to have filled up to all of it. A guard that works
at the broker is not on its way: what it fills shows at once, but for the moment between the reading
of orders and positions.

A difference that is `certain` repairs itself: the symbol looks its order up and settles it. Any
other one means that one of the two books is wrong, so the symbol should open nothing until a
person has looked. MANUAL rows and those settled by hand are the ledger's alone; of a fill that a
person has confirmed, that price counts. Quantities are shares, prices Decimal rupees.

An order of ours that has ended in the ledger and still works at the broker would open what nobody
knows of, a guard above all; it is to be withdrawn (`to_withdraw`). What is not ours is left alone.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from enum import StrEnum

from hftray.core.errors import IllegalTransition
from hftray.core.fill_confirmation import as_confirmed, confirmations
from hftray.core.ledger import RunState, TradeRecord
from hftray.core.money import PAISA
from hftray.core.orders import BrokerPosition, OrderReport, OrderStatus, TradeStatus
from hftray.core.position import Position
from hftray.core.session import IST

PRICE_TOLERANCE = PAISA
"""Prices that differ by less agree: an app rounds or cuts an average off to the paisa."""


class Discrepancy(StrEnum):
    """What a difference is about."""

    MISSING_FILL = "missing fill"
    UNKNOWN_ORDER = "unknown order"
    LOST_ORDER = "lost order"
    FOREIGN_POSITION = "foreign position"
    MISSING_GUARD = "missing guard"
    UNCONFIRMED_FILL = "unconfirmed fill"
    QUANTITY_DIFFERS = "quantity differs"
    PRICE_DIFFERS = "price differs"


DOUBTS = (Discrepancy.UNCONFIRMED_FILL, Discrepancy.PRICE_DIFFERS)
"""What a person ends who confirms the price of a fill."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that ledger and broker disagree on; `reference` is empty for a whole position.

    `stray`: an order of ours that should not work at the broker any more. `short`: the broker holds
    less of our position than the ledger. `fleeting`: a guard that fills just now would explain it.
    """

    kind: Discrepancy
    symbol: str
    reference: str
    detail: str
    certain: bool = False
    stray: bool = False
    short: bool = False
    fleeting: bool = False


def compare(
    ledger: RunState,
    reports: Iterable[OrderReport],
    positions: Iterable[BrokerPosition],
    *,
    skip: Collection[str] = (),
) -> list[Difference]:
    """Everything ledger and broker disagree on, orders before positions."""
    told = {report.reference: report for report in reports if report.symbol not in skip}
    rows = {
        trade.reference: trade
        for trade in (*ledger.trades_today, *ledger.pending)
        if not (trade.by_hand or trade.symbol in skip)
    }
    for reference, said in confirmations(ledger.trades_today).items():
        if reference in rows:
            rows[reference] = as_confirmed(rows[reference], said)
            if reference in told:
                told[reference] = _as_told(told[reference], said)
    found = [
        difference
        for row in rows.values()
        if (difference := _difference(row, told.get(row.reference))) is not None
    ]
    strangers = (report for report in told.values() if report.reference not in rows)
    found += [_unknown(r, "nothing") for r in strangers if _matters(r, ledger.session_day)]
    net = {held.symbol: held.quantity for held in positions if held.symbol not in skip}
    return found + list(_positions(ledger, rows.values(), told, net, skip))


def locks(found: Iterable[Difference]) -> dict[str, str]:
    """Symbols that must open nothing, with the reason a person can read."""
    reasons: dict[str, list[str]] = {}
    for difference in found:
        if not difference.certain:
            reasons.setdefault(difference.symbol, []).append(
                f"{difference.kind}: {difference.detail}"
            )
    return {symbol: "; ".join(details) for symbol, details in reasons.items()}


def to_recover(found: Iterable[Difference]) -> set[str]:
    """Symbols that should look up their order: its end is at the broker already."""
    repairing = (d for d in found if d.certain and d.kind is not Discrepancy.MISSING_GUARD)
    return {difference.symbol for difference in repairing}


def to_look_up(found: Iterable[Difference]) -> set[str]:
    """Symbols whose guard the broker does not list, so that they should ask for it."""
    return {d.symbol for d in found if d.kind is Discrepancy.MISSING_GUARD}


def to_withdraw(found: Iterable[Difference]) -> list[str]:
    """References of orders of ours that must not trade any more."""
    return [difference.reference for difference in found if difference.stray]


def not_held(held: Position, there: Iterable[BrokerPosition]) -> int:
    """Shares of a position that the broker does not hold; below 0 when it holds more."""
    net = sum(position.quantity for position in there if position.symbol == held.symbol)
    return held.quantity - max(0, held.side.sign * net)


def confirmed_price(
    row: TradeRecord,
    said: Sequence[TradeRecord],
    report: OrderReport | None,
    price: Decimal | None,
) -> Decimal | None:
    """The price with which a person's word ends the doubt about what an order filled at.

    `said` are the confirmations of the order before it, and the latest counts as in `compare`: only
    trades that tell another price put it in doubt again. The price is the broker's own where that
    tells one; `price` may not contradict it. IllegalTransition also when there is no such doubt.
    """
    if said:
        row = as_confirmed(row, said)
        report = None if report is None else _as_told(report, said)
    found = _difference(row, report)
    if found is None and said:
        raise IllegalTransition(f"order {row.reference} was confirmed before, at {row.price}")
    if found is None or report is None or found.kind not in DOUBTS:
        why = "the books agree on it" if found is None else f"{found.kind}: {found.detail}"
        raise IllegalTransition(f"what order {row.reference} filled is not in doubt: {why}")
    if report.unconfirmed:
        return price
    if not _same(price, report.average_price):
        raise IllegalTransition(
            f"order {row.reference} filled at {report.average_price}, its trades say so"
        )
    return report.average_price


def _as_told(report: OrderReport, said: Sequence[TradeRecord]) -> OrderReport:
    """The report with a person's last word in the place of what the broker does not tell."""
    if not report.unconfirmed:
        return report
    return replace(report, unconfirmed="", average_price=said[-1].price)


def _same(price: Decimal | None, other: Decimal | None) -> bool:
    return price is not None and other is not None and abs(price - other) < PRICE_TOLERANCE


def _difference(row: TradeRecord, report: OrderReport | None) -> Difference | None:
    match row.status:
        case TradeStatus.PENDING:
            return _missing_guard(row) if report is None else _compare_pending(row, report)
        case TradeStatus.EXECUTED:
            return _compare_executed(row, report)
        case TradeStatus.FAILED:
            if report is None or not _alive(report):
                return _unconfirmed(row, report)
            return replace(_unknown(report, "FAILED"), stray=not report.status.terminal)


def _missing_guard(row: TradeRecord) -> Difference | None:
    # An entry or an exit that is not there yet is looked up by its symbol, which waits for it. A
    # guard is waited for by nobody, so this is where it shows that the broker has lost it.
    if not row.guards:
        return None
    detail = f"order {row.reference} guards a position, the broker does not list it"
    return Difference(Discrepancy.MISSING_GUARD, row.symbol, row.reference, detail, certain=True)


def _compare_pending(row: TradeRecord, report: OrderReport) -> Difference | None:
    if not report.status.terminal:
        return None
    detail = f"order {row.reference} is PENDING in the ledger, at the broker {_told(report)}"
    return Difference(Discrepancy.MISSING_FILL, row.symbol, row.reference, detail, certain=True)


def _compare_executed(row: TradeRecord, report: OrderReport | None) -> Difference | None:
    recorded = f"order {row.reference} has {row.quantity} at {row.price} in the ledger"
    if report is None:
        detail = f"{recorded}, the broker does not know it"
        return Difference(Discrepancy.LOST_ORDER, row.symbol, row.reference, detail)
    detail = f"{recorded}, at the broker it is {_told(report)}"
    if report.filled_quantity < row.quantity:
        return Difference(Discrepancy.LOST_ORDER, row.symbol, row.reference, detail)
    if report.filled_quantity > row.quantity or not report.status.terminal:
        stray = not report.status.terminal
        return Difference(
            Discrepancy.QUANTITY_DIFFERS, row.symbol, row.reference, detail, stray=stray
        )
    if not _same(row.price, report.average_price):
        return Difference(Discrepancy.PRICE_DIFFERS, row.symbol, row.reference, detail)
    return _unconfirmed(row, report)


def _unconfirmed(row: TradeRecord, report: OrderReport | None) -> Difference | None:
    if report is None or not report.unconfirmed:
        return None
    detail = f"order {row.reference}: {report.unconfirmed}"
    return Difference(Discrepancy.UNCONFIRMED_FILL, row.symbol, row.reference, detail)


def _unknown(report: OrderReport, recorded: str) -> Difference:
    detail = f"the ledger has {recorded} of order {report.reference}, which is {_told(report)}"
    return Difference(Discrepancy.UNKNOWN_ORDER, report.symbol, report.reference, detail)


def _alive(report: OrderReport) -> bool:
    """Whether the order traded, or still can."""
    return report.filled_quantity > 0 or not report.status.terminal


def _matters(report: OrderReport, today: date | None) -> bool:
    """Whether the ledger should know the order: it may still trade, or it traded today."""
    if not report.status.terminal:
        return True
    if report.filled_quantity == 0 or today is None:
        return False
    return report.time is None or report.time.astimezone(IST).date() == today


def _positions(
    ledger: RunState,
    rows: Iterable[TradeRecord],
    told: dict[str, OrderReport],
    net: dict[str, int],
    skip: Collection[str],
) -> Iterator[Difference]:
    owned: dict[str, int] = {}
    for held in ledger.positions:
        if held.symbol not in skip:
            owned[held.symbol] = owned.get(held.symbol, 0) + held.side.sign * held.quantity
    least, most, guarded = dict(owned), dict(owned), dict[str, int]()
    for row in rows:
        if row.status is not TradeStatus.PENDING:
            continue
        report, sign = told.get(row.reference), row.side.sign
        filled = 0 if report is None else report.filled_quantity
        still = report is None or report.status is OrderStatus.WORKING
        guards = row.guards and still and report is not None
        if guards:
            guarded[row.symbol] = sign * (row.requested_quantity - filled)
        possible = row.requested_quantity if still and not guards else filled
        least[row.symbol] = least.get(row.symbol, 0) + min(sign * filled, sign * possible)
        most[row.symbol] = most.get(row.symbol, 0) + max(sign * filled, sign * possible)
    for symbol in sorted({*least, *net}):
        low, high, held_there = least.get(symbol, 0), most.get(symbol, 0), net.get(symbol, 0)
        if not low <= held_there <= high:
            foreign = low == high == 0
            kind = Discrepancy.FOREIGN_POSITION if foreign else Discrepancy.QUANTITY_DIFFERS
            expected = f"{low:+}" if low == high else f"{low:+} to {high:+}"
            detail = (
                f"the broker holds {held_there:+} shares, by the ledger it should be {expected}"
            )
            ours, filling = owned.get(symbol, 0), guarded.get(symbol, 0)
            yield Difference(
                kind,
                symbol,
                "",
                detail,
                short=(held_there - ours) * ours < 0,
                fleeting=low + min(filling, 0) <= held_there <= high + max(filling, 0),
            )


def _told(report: OrderReport) -> str:
    text = f"{report.status} with {report.filled_quantity} of {report.quantity}"
    return text if report.average_price is None else f"{text} at {report.average_price}"
