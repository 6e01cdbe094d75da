"""How an order at the loopback meets one tick. Prices follow the rules of `core.matching`.

Pure: the order's terms, the price before and the tick in, the fill price out.
"""

from dataclasses import dataclass
from decimal import Decimal

from hftray.core.matching import fill_price
from hftray.core.money import rupees
from hftray.core.orders import Leg, Order, Side
from hftray.testing.groww.order_form import NewOrder, Terms
from hftray.testing.groww.price_path import PriceState
from hftray.testing.groww.shares import Share


@dataclass(frozen=True, slots=True)
class Meeting:
    """What a tick does to an order: whether it is triggered now, and the price it trades at."""

    triggered: bool
    price: Decimal | None


def meet(
    order: NewOrder,
    terms: Terms,
    *,
    triggered: bool,
    before: PriceState | None,
    tick: PriceState,
    share: Share,
    slippage_bps: float,
) -> Meeting:
    """The order against the way from `before` to `tick`.

    A marketable order takes the tick's price, worse by the slippage. A resting limit that the way
    passes trades at its limit, a stop at its trigger; where the price leaps, at the tick. At the
    locked end of a price band nobody takes the other side.
    """
    side = order.side
    at = rupees(tick.price)
    start = at if before is None or tick.leaps else rupees(before.price)
    if terms.trigger is not None and not triggered:
        if not reached(terms.trigger, at, side):
            return Meeting(triggered=False, price=None)
        # Already past it on the way here means that the level was never passed: it was leapt over.
        passed = not reached(terms.trigger, start, side)
        at = terms.trigger if passed else at
    elif terms.price is not None and _within(terms.price, at, side) > _within(
        terms.price, start, side
    ):
        return Meeting(triggered, terms.price)
    if _locked(tick, side):
        return Meeting(triggered=True, price=None)
    taken = fill_price(
        _as_core(order, terms, tick), float(at), share.instrument, slippage_bps=slippage_bps
    )
    return Meeting(triggered=True, price=taken)


def reached(trigger: Decimal, price: Decimal, side: Side) -> bool:
    """Whether a stop of that side is triggered at a price: a buy from below, a sell from above."""
    return price >= trigger if side is Side.BUY else price <= trigger


def _within(limit: Decimal, price: Decimal, side: Side) -> bool:
    return price <= limit if side is Side.BUY else price >= limit


def _locked(tick: PriceState, side: Side) -> bool:
    return tick.no_sellers if side is Side.BUY else tick.no_buyers


def _as_core(order: NewOrder, terms: Terms, tick: PriceState) -> Order:
    return Order(
        reference=order.reference,
        symbol=order.symbol,
        exchange=order.exchange,
        leg=Leg.MANUAL,
        side=order.side,
        quantity=terms.quantity,
        time=tick.time,
        limit_price=terms.price,
    )
