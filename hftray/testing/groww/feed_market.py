"""The live feed of a loopback: its market's ticks and depth, its account's order news.

    with LoopbackFeed(market) as feed, LoopbackGroww(market, more=feed.routes) as groww:
        feed.attach(groww.world)
        client = MyClient(groww.api, feed.url)
        groww.clock.step(75)  # publishes the ticks of these 75 seconds

Other processes use GET and POST /_test/feed (see `_change`).
"""

import asyncio
import threading
from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

from hftray.testing.groww.api_data import depth
from hftray.testing.groww.clock import RunningClock
from hftray.testing.groww.faults import Fault, FaultKind
from hftray.testing.groww.feed import FeedFaults, FeedServer
from hftray.testing.groww.feed_messages import LivePrice, OrderNews
from hftray.testing.groww.limits import Category
from hftray.testing.groww.market import Market
from hftray.testing.groww.orders import WireOrder
from hftray.testing.groww.price_path import PriceState
from hftray.testing.groww.routes import Route
from hftray.testing.groww.shares import Share
from hftray.testing.groww.wire import Answer, Call, GrowwFailure, success
from hftray.testing.groww.world import World

TOKEN_PATH = "/api/apex/v1/socket/token/create/"
# After a jump of the clock over days nobody wants every tick of them.
_REACH = timedelta(hours=1)
_PUMP_SECONDS = 0.02
_ALLOWED: dict[type, tuple[type, ...]] = {bool: (bool,), float: (int, float)}


class LoopbackFeed(FeedServer):
    """Publishes what happens in a market, and to the orders of the world it is attached to."""

    def __init__(self, market: Market, *, port: int = 0) -> None:
        super().__init__(market.clock.now, port=port)
        self._market = market
        self._world: World | None = None
        self._told_until = market.clock.now()
        self._telling = threading.Lock()
        market.clock.on_jump(self.publish_due)

    @property
    def routes(self) -> tuple[Route, ...]:
        """The REST call by which clients get a login."""
        return (Route("POST", TOKEN_PATH, self._token, Category.NON_TRADING, data=True),)

    def attach(self, world: World) -> None:
        """Follow a world's orders and share its network."""
        self._world = world
        world.on_order_update(self._order_changed)
        world.faults.on_add(self._fault_added)
        world.controls["GET", "/feed"] = lambda *_: self._state()
        world.controls["POST", "/feed"] = self._change

    def publish_due(self) -> None:
        """Publish the ticks since the last time, and close connections whose token has ended."""
        with self._telling:
            now = self._market.clock.now()
            after = max(self._told_until, now - _REACH)
            for share in self._market.shares():
                for state in self._market.ticks(share, after, now):
                    self.publish_state(share, state)
            self._told_until = now
        self.expire()

    def publish_state(self, share: Share, state: PriceState) -> None:
        """Publish one tick and the depth around it."""
        price = LivePrice(
            state.time,
            state.price,
            day_volume=state.day_volume,
            open=state.day_open,
            high=state.day_high,
            low=state.day_low,
            close=state.previous_close,
            value=state.day_value,
            average=state.average,
        )
        self.publish_price(share.exchange, share.exchange_token, price)
        bids, offers = (
            [(level["price"], level["quantity"]) for level in side] for side in depth(state, share)
        )
        self.publish_depth(share.exchange, share.exchange_token, state.time, bids, offers)

    def is_away(self) -> bool:
        """Whether no connection can be made at this moment."""
        return self._world is not None and self._world.faults.network_away()

    async def until_stopped(self, over: asyncio.Event) -> None:
        """Publish while a running market passes."""
        while isinstance(self._market.clock, RunningClock) and not over.is_set():
            self.publish_due()
            await asyncio.sleep(_PUMP_SECONDS)
        await super().until_stopped(over)

    def _token(self, world: World, call: Call) -> Answer:
        try:
            return success(self.logins.create(call.body))
        except ValueError as error:
            raise GrowwFailure("GA001", str(error)) from error

    def _order_changed(self, entry: WireOrder) -> None:
        now = self._market.clock.now()
        share = self._market.share(entry.order.exchange, entry.order.symbol)
        news = OrderNews(
            entry.groww_order_id,
            entry.seen_status(now, "ACKED"),
            str(entry.order.side),
            entry.terms.order_type,
            entry.order.exchange,
            share.isin,
            entry.terms.quantity,
            filled=sum(own.quantity for own in entry.seen(now)),
            price=float(entry.terms.price or 0),
            trigger=float(entry.terms.trigger or 0),
            average=float(entry.average(now) or 0),
            remark=entry.remark,
        )
        self.publish_order(news)

    def _fault_added(self, fault: Fault) -> None:
        if fault.kind is FaultKind.NETWORK_AWAY:
            self.drop()

    def _state(self) -> dict[str, Any]:
        return {
            "url": self.url,
            "faults": asdict(self.faults),
            "connections": self.connections,
            "clients": self.clients,
            "logins": len(self.let_in),
            "most_subscriptions": self.most_subscriptions,
        }

    def _change(self, world: World, call: Call, body: dict[str, Any]) -> dict[str, Any]:
        """Any fields of `FeedFaults`; {"revoke": true}, {"end": error text}, {"drop": true}."""
        kinds = {field.name: type(getattr(self.faults, field.name)) for field in fields(FeedFaults)}
        for name, value in body.items():
            if name in kinds and isinstance(value, _ALLOWED[kinds[name]]):
                setattr(self.faults, name, kinds[name](value))
            elif name == "revoke":
                self.logins.revoke_all()
                self.expire()
            elif name == "end":
                self.end_all(str(value))
            elif name == "drop":
                self.drop()
            else:
                allowed = ", ".join([*kinds, "revoke", "end", "drop"])
                raise ValueError(f"{name}={value!r}: allowed are {allowed}")
        return self._state()
