"""Values to rows and back. Fields and columns share their names, so most of it is a zip."""

from dataclasses import fields
from decimal import Decimal
from typing import Any

from sqlalchemy import RowMapping as Row

from hftray.catalog_rows import MANUAL_RUN, PositionRow, StrategyRow, TradeRow, UserRow
from hftray.core.events import Decision, Signal
from hftray.core.ledger import (
    EquityMarked,
    OrderSettled,
    RiskStateChanged,
    RunInfo,
    SessionStarted,
    TradeRecord,
)
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.core.position import Position


def field_names(kind: type) -> tuple[str, ...]:
    """The names of a dataclass's fields, which are its columns."""
    return tuple(field.name for field in fields(kind))


def values_of(value: Any) -> dict[str, Any]:
    """A dataclass value as column values (one level deep, nothing copied)."""
    return {name: getattr(value, name) for name in field_names(type(value))}


def _picked(kind: type, row: Row) -> dict[str, Any]:
    return {name: row[name] for name in field_names(kind)}


def trade_of(row: Row) -> TradeRecord:
    """The record of a `trades` row."""
    values = _picked(TradeRecord, row)
    return TradeRecord(
        **values
        | {
            "run_id": MANUAL_RUN if row["run_id"] is None else row["run_id"],
            "side": Side(row["side"]),
            "leg": Leg(row["leg"]),
            "status": TradeStatus(row["status"]),
        }
    )


def trade_row_of(row: Row) -> TradeRow:
    """What the API shows of a `trades` row."""
    return TradeRow(row["id"], trade_of(row), row["strategy_name"])


def position_of(row: Row) -> Position:
    """The position of a `positions` row."""
    return Position(**_picked(Position, row) | {"side": Side(row["side"])})


def position_row_of(row: Row) -> PositionRow:
    """What the API shows of a `positions` row."""
    return PositionRow(
        run_id=row["run_id"],
        position=position_of(row),
        closed_at=row["closed_at"],
        exit_price=row["exit_price"],
        exit_reason=row["exit_reason"],
        pnl=row["pnl"],
    )


def position_values(event: OrderSettled) -> dict[str, Any] | None:
    """The `positions` row that a settled order leaves, None when it touched no position.

    `pnl` is this order's share of the position's; the exit columns are set when shares left.
    """
    position = event.position or event.closed
    if position is None:
        return None
    trade, shares_left = event.trade, event.closed is not None
    return values_of(position) | {
        "run_id": trade.run_id,
        "closed_at": trade.timestamp if event.position is None else None,
        "exit_price": trade.price if shares_left else None,
        "exit_reason": trade.reason if shares_left else None,
        "pnl": trade.pnl or Decimal(0),
    }


def signal_of(row: Row) -> Signal:
    """The signal of a `signals` row."""
    return Signal(**_picked(Signal, row) | {"signal": Decision(row["signal"])})


def equity_of(row: Row) -> EquityMarked:
    """The account of an `equity` row."""
    return EquityMarked(**_picked(EquityMarked, row))


def session_of(row: Row) -> SessionStarted:
    """The day of a `trading_sessions` row."""
    return SessionStarted(**_picked(SessionStarted, row))


def risk_event_of(row: Row) -> RiskStateChanged:
    """The change of a `risk_events` row."""
    return RiskStateChanged(**_picked(RiskStateChanged, row))


def run_of(row: Row) -> RunInfo:
    """The run of a `runs` row."""
    return RunInfo(row["id"], row["mode"], row["source"], row["user_id"], row["initial_capital"])


def strategy_of(row: Row) -> StrategyRow:
    """A `strategies` row."""
    return StrategyRow(**_picked(StrategyRow, row))


def user_of(row: Row) -> UserRow:
    """A `users` row without its secrets."""
    names = [name for name in field_names(UserRow) if name != "has_groww_credentials"]
    has_keys = row["groww_api_key"] is not None and row["groww_api_secret"] is not None
    return UserRow(**{name: row[name] for name in names}, has_groww_credentials=has_keys)
