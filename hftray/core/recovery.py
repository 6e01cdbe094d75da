"""From the ledger's rows back to the values a running engine holds."""

from hftray.core.ledger import TradeRecord
from hftray.core.orders import Order, OrderIntent, OrderReport, OrderStatus


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
    )


def never_sent(trade: TradeRecord) -> OrderReport:
    """The report of an order that the broker certainly never saw."""
    return OrderReport(
        reference=trade.reference,
        symbol=trade.symbol,
        status=OrderStatus.REJECTED,
        broker_order_id="",
        quantity=trade.requested_quantity,
        time=trade.timestamp,
        reason="never reached the broker",
    )
