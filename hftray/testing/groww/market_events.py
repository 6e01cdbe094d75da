"""What happens to the orders of a book as market time passes, as a list in order of time."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from hftray.core.session import IST
from hftray.testing.groww.exchange_rules import day_end
from hftray.testing.groww.market import Market
from hftray.testing.groww.price_path import PriceState
from hftray.testing.groww.shares import Share
from hftray.testing.groww.wire_order import WireOrder


@dataclass(frozen=True, slots=True)
class MarketEvent:
    """A tick of a share, with the price before it, or (`tick` None) a moment to look at orders."""

    time: datetime
    share: Share
    before: PriceState | None = None
    tick: PriceState | None = None


def market_events(
    market: Market, live: Iterable[WireOrder], after: datetime, until: datetime
) -> list[MarketEvent]:
    """Ticks, ends of sessions and of orders that are to be cancelled, after one moment up to
    another of the same day, of the shares with working orders. By time, then by share.
    """
    orders = [(own, market.share(own.order.exchange, own.order.symbol)) for own in live]
    day = after.astimezone(IST).date()
    events: list[MarketEvent] = []
    for share in {share.key: share for _, share in orders}.values():
        before = market.state(share, after)
        for tick in market.ticks(share, after, until):
            events.append(MarketEvent(tick.time, share, before, tick))
            before = tick
        session, end = market.session(share, day), day_end(market, share, day)
        if session is not None and end is not None:
            ends = {moment for moment in (session.closes, end) if after < moment <= until}
            events.extend(MarketEvent(moment, share) for moment in ends)
    events.extend(
        MarketEvent(own.cancel_at, share)
        for own, share in orders
        if own.cancel_at is not None and own.cancel_at <= until
    )
    return sorted(events, key=lambda event: (event.time, event.share.key, event.tick is None))


def square_offs(
    market: Market, orders: Iterable[WireOrder], before_close: timedelta | None, after: datetime
) -> dict[datetime, list[Share]]:
    """The broker's square-offs still to come on the day of `after`: moments, and which shares."""
    moments: dict[datetime, list[Share]] = {}
    if before_close is None:
        return moments
    day = after.astimezone(IST).date()
    for key in sorted({(own.order.exchange, own.order.symbol) for own in orders}):
        share = market.share(*key)
        session = market.session(share, day)
        if session is not None and (moment := session.closes - before_close) > after:
            moments.setdefault(moment, []).append(share)
    return moments
