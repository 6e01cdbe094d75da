"""A fill that a person confirms, at the price that the broker's app shows.

What was booked stays as it is: positions were guarded, exits decided and days judged by it. What it
was wrong by is booked beside it, in a row of its own that moves no shares: the difference between
the two values of the shares, and between the charges on them. That is the same for an entry and an
exit, whether their position is open or closed, for money was paid and received once. A later
confirmation of the same order books what the one before it was wrong by, so that all of them
together make what the true price would have made.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

from hftray.core.charges import ChargeSchedule
from hftray.core.errors import IllegalTransition
from hftray.core.ledger import CONFIRMED, TradeRecord
from hftray.core.money import ZERO, in_line, paisa
from hftray.core.orders import Leg, TradeStatus, order_reference, require_trade_step
from hftray.core.values import changed


def confirmations(rows: Iterable[TradeRecord]) -> dict[str, list[TradeRecord]]:
    """The confirmations among the rows by the order's reference, the latest last.

    One that is PENDING was not recorded to its end and says nothing.
    """
    found: dict[str, list[TradeRecord]] = {}
    for row in rows:
        if row.confirms is not None and row.status is not TradeStatus.PENDING:
            found.setdefault(row.confirms, []).append(row)
    for said in found.values():
        said.sort(key=lambda row: row.sequence)
    return found


def as_confirmed(row: TradeRecord, said: Sequence[TradeRecord]) -> TradeRecord:
    """The order's row at the price confirmed last, with all charges booked for it so far."""
    if not said:
        return row
    charges = sum((one.charges or ZERO for one in said), row.charges or ZERO)
    return changed(row, price=said[-1].price, charges=charges)


def require_latest(row: TradeRecord, said: Sequence[TradeRecord], after: str | None) -> None:
    """IllegalTransition unless `after` names the latest confirmation, None while there is none."""
    if (said[-1].reference if said else None) != after:
        raise IllegalTransition(f"order {row.reference} was confirmed before")


def require_price(row: TradeRecord, price: Decimal | None) -> None:
    """IllegalTransition unless the order can have filled at that price, None without a share.

    `row` is the one that was booked: its own price is what a price has to be in line with.
    """
    name = row.reference
    if row.status is TradeStatus.PENDING:
        raise IllegalTransition(f"order {name} is under way")
    if row.by_hand:
        raise IllegalTransition(f"{name} was recorded by hand, the broker has no such order")
    if not row.quantity:
        if price is not None:
            raise IllegalTransition(f"no share of order {name} traded, so it has no price")
        return
    if price is None:
        raise IllegalTransition(f"{row.quantity} shares of order {name} traded: at which price?")
    own = row.price or row.limit_price or row.decision_price
    if own is not None and not in_line(price, own):
        raise IllegalTransition(
            f"order {name} at {own}: {price} is out of line (paise instead of rupees?)"
        )
    if row.limit_price is not None and (price - row.limit_price) * row.side.sign > 0:
        raise IllegalTransition(
            f"order {name} cannot have traded at {price}, its limit is {row.limit_price}"
        )


def confirmation(
    row: TradeRecord, why: str, now: datetime, *, sequence: int, database: str
) -> TradeRecord:
    """The PENDING row of a confirmation, which names the order by `position`."""
    day = row.session_day
    return TradeRecord(
        reference=order_reference(row.run_id, day, row.symbol, Leg.MANUAL, sequence, database),
        run_id=row.run_id,
        user_id=row.user_id,
        symbol=row.symbol,
        exchange=row.exchange,
        side=row.side,
        leg=Leg.MANUAL,
        requested_quantity=row.quantity,
        reason=f"{CONFIRMED}: {why}",
        timestamp=now,
        session_day=day,
        strategy_id=row.strategy_id,
        position=row.reference,
        sequence=sequence,
    )


def confirmed(
    pending: TradeRecord, row: TradeRecord, price: Decimal | None, schedule: ChargeSchedule
) -> TradeRecord:
    """The row a confirmation ends as: EXECUTED with what `row` was wrong by.

    `row` is the order's row as it was confirmed before (`as_confirmed`). FAILED when no share
    traded, for then nothing is to be put right.
    """
    if price is None or row.price is None:
        require_trade_step(pending.status, TradeStatus.FAILED)
        return changed(pending, status=TradeStatus.FAILED)
    require_trade_step(pending.status, TradeStatus.EXECUTED)
    due = schedule.charges(
        row.side, quantity=row.quantity, price=price, day=row.session_day, exchange=row.exchange
    ).total
    charges = due - (row.charges or ZERO)
    spent = (paisa(price * row.quantity) - paisa(row.price * row.quantity)) * row.side.sign
    gross = ZERO - spent  # never -0.00
    return changed(
        pending,
        status=TradeStatus.EXECUTED,
        quantity=row.quantity,
        price=price,
        charges=charges,
        gross_pnl=gross,
        pnl=gross - charges,
    )
