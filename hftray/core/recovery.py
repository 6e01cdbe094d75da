"""From the ledger's rows back to the values a running engine holds."""

from datetime import datetime

from hftray.core.ledger import RunState, TradeRecord
from hftray.core.orders import Leg, Order, OrderIntent


def order_of(trade: TradeRecord) -> Order:
    """The order a PENDING row stands for."""
    return Order(
        reference=trade.reference,
        symbol=trade.symbol,
        exchange=trade.exchange,
        leg=trade.leg,
        side=trade.side,
        quantity=trade.requested_quantity,
        time=trade.timestamp,
        limit_price=trade.limit_price,
        trigger=trade.trigger,
        stop=trade.guards,
    )


def intent_of(trade: TradeRecord) -> OrderIntent:
    """The intent a PENDING row came from."""
    return OrderIntent(
        symbol=trade.symbol,
        leg=trade.leg,
        side=trade.side,
        price=float(trade.decision_price or 0),
        time=trade.timestamp,
        reason=trade.reason,
        session_day=trade.session_day,
        quantity=trade.requested_quantity,
        atr=trade.atr,
        trigger=trade.trigger,
        candle_time=trade.candle_time,
        score=trade.score,
        votes=trade.votes,
        strategy_id=trade.strategy_id,
        position=trade.position,
        stop=trade.guards,
        limit_price=trade.limit_price if trade.guards else None,
    )


def last_exit_at(state: RunState, symbol: str) -> datetime | None:
    """A moment in the newest candle of the day on which a position of the symbol was left.

    That is the candle on which an exit was decided, and of a guard the moment at which it filled.
    """
    rows = (*state.trades_today, *state.pending)
    exits = [row for row in rows if row.symbol == symbol and row.leg is Leg.EXIT]
    decided = [row.candle_time for row in exits if row.candle_time is not None]
    filled = [row.timestamp for row in exits if row.guards and row.quantity]
    return max(decided + filled, default=None)
