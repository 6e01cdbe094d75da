"""What a person puts on record. The broker is asked first: what it tells is not contradicted."""

from decimal import Decimal

from hftray.actors.risk_desk import EngineRisk
from hftray.core.errors import IllegalTransition, NotFound
from hftray.core.fill_confirmation import confirmations
from hftray.core.ledger import TradeRecord
from hftray.core.reconcile import confirmed_price, not_held
from hftray.ports import Broker


async def settle(
    risk: EngineRisk, broker: Broker, symbol: str, price: Decimal, why: str
) -> tuple[TradeRecord, int]:
    """Close at `price` what the broker does not hold of a position any more; sends no order.

    The exit's row, and how many shares stay open. NotFound without a position; IllegalTransition
    while the broker holds it all, or an order of it is under way.
    """
    state = await risk.run_state()
    held = next((p for p in state.positions if p.symbol == symbol), None)
    if held is None:
        raise NotFound(f"there is no open position in {symbol}")
    missing = not_held(held, await broker.positions())
    if missing <= 0:
        raise IllegalTransition(
            f"the broker holds all {held.quantity} shares of {symbol}: close them there, "
            "or let the engine do it"
        )
    trade = await risk.settle_by_hand(symbol, missing, price, why)
    return trade, held.quantity - missing


async def confirm(
    risk: EngineRisk, broker: Broker, reference: str, price: Decimal | None, why: str
) -> tuple[TradeRecord, TradeRecord]:
    """Take a person's word for what an order of the day filled at, None without a share.

    What was booked stays; the difference is booked beside it. The confirmation's row and the
    order's. NotFound without such an order; IllegalTransition when its fill is not in doubt, as it
    is not any more once it was confirmed and the broker tells no other price.
    """
    state = await risk.run_state()
    order = next((t for t in state.trades_today if t.reference == reference), None)
    if order is None:
        raise NotFound(f"there is no order {reference} in the present trading day")
    said = confirmations(state.trades_today).get(reference, [])
    price = confirmed_price(order, said, await broker.report(reference), price)
    after = said[-1].reference if said else None
    return await risk.confirm_fill(reference, price, why, after), order
