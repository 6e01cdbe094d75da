"""What a symbol asks risk for: the intent of an entry, and of an exit of what is open."""

from datetime import date, datetime
from decimal import Decimal

from hftray.core.events import Vote
from hftray.core.orders import Leg, OrderIntent, Side
from hftray.core.position import Position


def entry_intent(
    symbol: str,
    vote: Vote,
    *,
    price: float,
    time: datetime,
    day: date,
    atr: float | None,
    candle_time: datetime,
) -> OrderIntent:
    """The entry that a vote for BUY or SELL asks for, decided at `price` rupees; risk sizes it."""
    return OrderIntent(
        symbol=symbol,
        leg=Leg.ENTRY,
        side=Side(vote.decision.value),
        price=price,
        time=time,
        reason="signal",
        session_day=day,
        atr=atr,
        candle_time=candle_time,
        score=vote.score,
        votes=vote.votes,
        strategy_id=vote.strategy_id,
    )


def exit_intent(
    held: Position,
    reason: str,
    *,
    price: float,
    time: datetime,
    day: date,
    quantity: int | None = None,
    trigger: Decimal | None = None,
    candle_time: datetime | None = None,
    stop: bool = False,
    limit_price: Decimal | None = None,
) -> OrderIntent:
    """An exit of `quantity` shares of a position (default all), decided at `price` rupees.

    `trigger`, `stop` and `limit_price` are those of `OrderIntent`.
    """
    return OrderIntent(
        symbol=held.symbol,
        leg=Leg.EXIT,
        side=held.side.opposite,
        price=price,
        time=time,
        reason=reason,
        session_day=day,
        quantity=held.quantity if quantity is None else quantity,
        trigger=trigger,
        candle_time=candle_time,
        strategy_id=held.strategy_id,
        position=held.reference,
        stop=stop,
        limit_price=limit_price,
    )
