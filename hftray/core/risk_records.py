"""The ledger's rows of risk: the PENDING row of an approved order, and the row it ends as."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hftray.core.charges import ChargeSchedule
from hftray.core.errors import IllegalTransition
from hftray.core.ledger import RunInfo, TradeRecord
from hftray.core.market import Instrument
from hftray.core.money import ZERO, paisa, rupees
from hftray.core.orders import (
    Leg,
    OrderIntent,
    OrderReport,
    Side,
    TradeStatus,
    order_reference,
    require_trade_step,
)
from hftray.core.position import Position
from hftray.core.risk_account import Holding
from hftray.core.symbols import exchange_of
from hftray.core.values import changed


def approved(
    intent: OrderIntent,
    run: RunInfo,
    instrument: Instrument,
    *,
    sequence: int,
    quantity: int,
    limit_price: Decimal | None,
    reserved: Decimal,
    database: str = "",
) -> TradeRecord:
    """The PENDING row of an intent that risk lets through, under its deterministic reference."""
    return TradeRecord(
        reference=order_reference(
            run.run_id, intent.session_day, intent.symbol, intent.leg, sequence, database
        ),
        run_id=run.run_id,
        user_id=run.user_id,
        symbol=intent.symbol,
        exchange=instrument.exchange,
        side=intent.side,
        leg=intent.leg,
        requested_quantity=quantity,
        reason=intent.reason,
        timestamp=intent.time,
        session_day=intent.session_day,
        limit_price=limit_price,
        trigger=intent.trigger,
        reserved=reserved,
        decision_price=rupees(intent.price),
        candle_time=intent.candle_time,
        strategy_id=intent.strategy_id,
        position=intent.position,
        atr=intent.atr,
        score=intent.score,
        votes=intent.votes,
        sequence=sequence,
    )


def finished(
    pending: TradeRecord, report: OrderReport, held: Holding | None, schedule: ChargeSchedule
) -> TradeRecord:
    """The row of an order that ended; `held` is what an exit closes shares of.

    An entry carries its own charges and no P&L. An exit's gross P&L is the value it left at
    against the value it was entered at; its net P&L also takes off its charges and the entry
    charges of the shares it closed.
    """
    changes: dict[str, Any] = {
        "broker_order_id": report.broker_order_id,
        "timestamp": report.time or pending.timestamp,
    }
    price, filled = report.average_price, report.filled_quantity
    if price is None or filled == 0:
        require_trade_step(pending.status, TradeStatus.FAILED)
        texts = (pending.reason, report.reason, report.unconfirmed)
        reason = ": ".join(text for text in texts if text)
        return changed(pending, **changes, status=TradeStatus.FAILED, reason=reason)
    require_trade_step(pending.status, TradeStatus.EXECUTED)
    charges = schedule.charges(
        pending.side,
        quantity=filled,
        price=price,
        day=pending.session_day,
        exchange=pending.exchange,
    ).total
    changes |= {"status": TradeStatus.EXECUTED, "quantity": filled, "price": price}
    if report.unconfirmed:
        changes["reason"] = f"{pending.reason}: {report.unconfirmed}"
    if held is not None and pending.leg is Leg.EXIT:
        entered, paid = held.entered, held.charges
        if filled < held.quantity:
            rest = held.keeping(held.quantity - filled)
            entered, paid = entered - rest.entered, paid - rest.charges
        gross = gross_result(price * filled, entered, held.entry.side)
        changes |= {"gross_pnl": gross, "pnl": gross - charges - paid}
    return changed(pending, **changes, charges=charges)


def gross_result(left: Decimal, entered: Decimal, side: Side) -> Decimal:
    """Rupees gained by shares entered on that side at one value and left at another."""
    return (paisa(left) - entered) * side.sign + ZERO  # nothing lost on a sale is 0.00, not -0.00


def holding_of(
    held: Position, rows: Mapping[str, TradeRecord], run: RunInfo, schedule: ChargeSchedule
) -> Holding:
    """The account's side of an open position, whose entry is looked for in the ledger's `rows`.

    Where it is not there, its charges are computed as if it had been for what is open: exact when
    nothing of the position was closed before.
    """
    entry = rows.get(held.reference)
    return Holding(_entry_of(held, run, schedule) if entry is None else entry, held.quantity)


def _entry_of(held: Position, run: RunInfo, schedule: ChargeSchedule) -> TradeRecord:
    exchange = exchange_of(held.symbol)
    charges = schedule.charges(
        held.side,
        quantity=held.quantity,
        price=held.entry_price,
        day=held.session_day,
        exchange=exchange,
    )
    return TradeRecord(
        reference=held.reference,
        run_id=run.run_id,
        user_id=run.user_id,
        symbol=held.symbol,
        exchange=exchange,
        side=held.side,
        leg=Leg.ENTRY,
        requested_quantity=held.quantity,
        reason="",
        timestamp=held.entry_time,
        session_day=held.session_day,
        quantity=held.quantity,
        price=held.entry_price,
        status=TradeStatus.EXECUTED,
        charges=charges.total,
    )


def require_settleable(
    pending: TradeRecord,
    report: OrderReport,
    held: Holding | None,
    after: Position | None,
    closed: Position | None,
) -> None:
    """IllegalTransition unless the order is finished and report, positions and book agree."""
    name, filled = pending.reference, report.filled_quantity
    if not report.status.terminal:
        raise IllegalTransition(f"{name} is {report.status}, not finished")
    if not 0 <= filled <= pending.requested_quantity:
        raise IllegalTransition(f"{name}: {filled} of {pending.requested_quantity} shares filled")
    if filled and (report.average_price is None or report.average_price <= ZERO):
        raise IllegalTransition(f"{name}: {filled} shares filled at no price")
    if pending.leg is Leg.ENTRY:
        left, gone = filled, 0
    else:
        left, gone = (held.quantity if held else 0) - filled, filled
    told = (after.quantity if after else 0, closed.quantity if closed else 0)
    if told != (left, gone):
        raise IllegalTransition(
            f"{name}: {left} shares stay open and {gone} closed, not {told[0]} and {told[1]}"
        )
