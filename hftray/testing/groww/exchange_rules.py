"""What the exchange and the broker refuse although the request was well-formed.

Each rule gives the reason as text, or None. Times are the market's.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum

from hftray.core.money import rupees
from hftray.core.orders import Side
from hftray.core.session import IST
from hftray.testing.groww.behaviour import Behaviour
from hftray.testing.groww.market import Market
from hftray.testing.groww.matching import reached
from hftray.testing.groww.order_form import NewOrder, Terms
from hftray.testing.groww.shares import Share

# Shares with derivatives end in a closing auction since 3 August 2026: it takes limit orders from
# five minutes after the close on, no stop orders ever, and ends twenty minutes after the close.
# (SEBI circular HO/47/11/11(3)2025-MRD-POD2 of 16 January 2026.)
_AUCTION_CLOSE = time(15, 15)
_AUCTION_QUIET = timedelta(minutes=5)
_AUCTION = timedelta(minutes=20)


class Phase(Enum):
    """Part of a share's trading day."""

    CLOSED = "the market is closed"
    CONTINUOUS = "continuous session"
    AUCTION_QUIET = "the closing auction takes no orders yet"
    AUCTION = "closing auction"


def day_end(market: Market, share: Share, day: date) -> datetime | None:
    """When DAY orders of the share lapse on a day; None on a day without trading."""
    session = market.session(share, day)
    if session is None:
        return None
    if share.derivatives and session.closes.astimezone(IST).time() == _AUCTION_CLOSE:
        return session.closes + _AUCTION
    return session.closes


def phase(market: Market, share: Share, now: datetime) -> Phase:
    """Which part of its day the share is in."""
    day = now.astimezone(IST).date()
    session, end = market.session(share, day), day_end(market, share, day)
    if session is None or end is None or not session.opens <= now < end:
        return Phase.CLOSED
    if now < session.closes:
        return Phase.CONTINUOUS
    return Phase.AUCTION_QUIET if now < session.closes + _AUCTION_QUIET else Phase.AUCTION


@dataclass(frozen=True, slots=True)
class ExchangeRules:
    """The refusals of one market."""

    market: Market
    behaviour: Behaviour

    def refusal(self, order: NewOrder, terms: Terms, now: datetime) -> str | None:
        """Why the order cannot be taken at this moment. NotFound for a share that is not listed."""
        share = self.market.share(order.exchange, order.symbol)
        return (
            self._hours(share, terms, now)
            or self._listing(share, order, terms)
            or self._prices(share, order.side, terms, now)
        )

    def _hours(self, share: Share, terms: Terms, now: datetime) -> str | None:
        current = phase(self.market, share, now)
        if current in (Phase.CLOSED, Phase.AUCTION_QUIET):
            return current.value
        if current is Phase.AUCTION and terms.is_stop:
            return "stop-loss orders are not allowed in the closing auction"
        return None

    def _listing(self, share: Share, order: NewOrder, terms: Terms) -> str | None:
        if order.product == "NRML":
            return "product NRML is not available in segment CASH"
        if order.product == "MIS" and not share.intraday:
            return f"{share.symbol} is not allowed for MIS"
        if not (share.buy_allowed if order.side is Side.BUY else share.sell_allowed):
            return f"{order.side} is blocked for {share.symbol}"
        if terms.quantity % share.lot_size:
            return f"quantity must be a multiple of the lot size {share.lot_size}"
        if terms.quantity > share.freeze_quantity:
            return f"quantity is above the freeze quantity {share.freeze_quantity}"
        if terms.price is None and not self.behaviour.market_orders:
            return f"{terms.order_type} orders are not allowed through the API"
        return None

    def _prices(self, share: Share, side: Side, terms: Terms, now: datetime) -> str | None:
        state = self.market.state(share, now)
        for name, price in (("price", terms.price), ("trigger price", terms.trigger)):
            if price is None:
                continue
            if price % share.tick_size:
                return f"{name} {price} is not a multiple of the tick size {share.tick_size}"
            if state is not None and not state.lower <= price <= state.upper:
                return (
                    f"{name} {price} is outside the circuit limits {state.lower} to {state.upper}"
                )
        if terms.trigger is None:
            return None
        if terms.price is not None and _beyond(terms.trigger, terms.price, side):
            return f"trigger price {terms.trigger} lies beyond the limit {terms.price}"
        if state is not None and self.behaviour.trigger_check:
            last = rupees(state.price)
            if reached(terms.trigger, last, side):
                return f"trigger price {terms.trigger} is already passed at {last}"
        return None


def _beyond(trigger: Decimal, price: Decimal, side: Side) -> bool:
    return trigger > price if side is Side.BUY else trigger < price
