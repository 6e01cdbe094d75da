"""Our live feed behind our connection, against the whole loopback: REST, market, orders, feed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from groww_feed_world import PATIENCE
from loopback_world import day, market_of, place

from hftray.adapters.groww.connection import Credentials, GrowwConnection
from hftray.adapters.groww.errors import UnreadableReply
from hftray.adapters.groww.governor import Governor
from hftray.adapters.groww.options import GrowwOptions
from hftray.adapters.groww.stream import GrowwStream
from hftray.adapters.groww.stream_quotes import StreamKey
from hftray.adapters.groww.stream_state import (
    HOW_TO_INSTALL,
    StreamOptions,
    StreamState,
    stream_available,
)
from hftray.adapters.groww.stream_tokens import ConnectionTokens
from hftray.testing.groww import Behaviour, LoopbackFeed, LoopbackGroww

pytestmark = pytest.mark.skipif(not stream_available(), reason=HOW_TO_INSTALL)


class World:
    """One of everything; `orders` are the hints that came."""

    def __init__(self, groww: LoopbackGroww, feed: LoopbackFeed) -> None:
        self.groww, self.feed = groww, feed
        self.orders: list[str] = []
        self._changed = asyncio.Event()
        options = GrowwOptions(groww.api, groww.instruments_url, feed.url)
        self.connection = GrowwConnection(
            options, self._credentials, governor=Governor(options.limits())
        )
        self.stream = GrowwStream(
            StreamOptions(feed.url, first_pause=0.05),
            ConnectionTokens(self.connection),
            now=groww.clock.now,
            in_session=lambda _: True,
            on_order_update=self._order,
            on_change=self._changed.set,
        )
        token = groww.market.share("NSE", "RELIANCE").exchange_token
        self.stream.watch({"RELIANCE": StreamKey("NSE", token)})

    async def _credentials(self) -> Credentials:
        keys = self.groww.sessions.keys
        return Credentials(keys.api_key, keys.secret)

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def reaches(self, state: StreamState) -> None:
        await self.until(lambda: self.stream.health().state is state)

    def _order(self, groww_order_id: str) -> None:
        self.orders.append(groww_order_id)
        self._changed.set()


@asynccontextmanager
async def started() -> AsyncIterator[World]:
    market, _ = market_of(*day((1000.0, 1010.0, 990.0, 1005.0), (1005.0, 1020.0, 1000.0, 1015.0)))
    behaviour = Behaviour(square_off_minutes=None)
    with (
        LoopbackFeed(market) as feed,
        LoopbackGroww(market, behaviour=behaviour, more=feed.routes) as groww,
    ):
        feed.attach(groww.world)
        world = World(groww, feed)
        try:
            yield world
        finally:
            await world.stream.stop()
            await world.connection.close()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with started() as world:
        yield world


async def test_the_markets_ticks_arrive_as_quotes(world: World) -> None:
    world.stream.start()
    await world.reaches(StreamState.CONNECTED)

    world.groww.clock.step(75)
    await world.reaches(StreamState.LIVE)

    quote = world.stream.newest()["RELIANCE"]
    assert (quote.price, quote.day_volume, quote.streamed) == (990.0, 500, True)
    assert quote.time == world.groww.clock.now()


async def test_every_change_of_an_order_is_hinted_at(world: World) -> None:
    world.stream.start()
    await world.reaches(StreamState.CONNECTED)

    entry = place(world.groww.world, "BUY", 10)
    await world.until(lambda: world.orders)
    before = len(world.orders)
    world.groww.clock.step(75)  # it fills
    await world.until(lambda: len(world.orders) > before)

    assert set(world.orders) == {entry.groww_order_id}


async def test_without_a_subscription_to_market_data_the_feed_is_refused(world: World) -> None:
    world.groww.sessions.subscription = False

    world.stream.start()
    await world.reaches(StreamState.REFUSED)

    assert world.feed.connections == 0
    assert world.stream.health().note


async def test_an_expired_session_is_renewed_for_the_login(world: World) -> None:
    world.stream.start()
    await world.reaches(StreamState.CONNECTED)

    world.groww.sessions.expire()
    world.feed.logins.revoke_all()
    world.feed.expire()
    await world.until(lambda: world.stream.health().reconnects == 1)
    await world.reaches(StreamState.CONNECTED)

    assert len(world.feed.let_in) == 2


async def test_a_network_that_is_away_cuts_the_feed_as_well(world: World) -> None:
    world.stream.start()
    await world.reaches(StreamState.CONNECTED)

    world.groww.faults.add("network_away")
    await world.reaches(StreamState.WAITING)
    await asyncio.to_thread(world.feed.until, lambda: world.feed.clients == 0)
    world.groww.faults.clear()
    await world.until(lambda: world.stream.health().reconnects == 1)
    await world.reaches(StreamState.CONNECTED)


async def test_another_process_can_break_the_feed(world: World) -> None:
    world.stream.start()
    await world.reaches(StreamState.CONNECTED)
    async with httpx.AsyncClient(base_url=f"{world.groww.url}/_test") as control:
        answer = await control.post("/feed", json={"mute": True, "jump_percent": 5})
        assert answer.json()["faults"]["mute"] is True
        refused = await control.post("/feed", json={"mute": "yes"})
        assert refused.status_code == 400
        assert "allowed are mute" in refused.json()["error"]
        await control.post("/feed", json={"drop": True})
        await world.until(lambda: world.stream.health().reconnects == 1)
        assert (await control.get("/feed")).json()["logins"] == 2


class OddConnection:
    token_expiry = None

    def __init__(self, payload: object) -> None:
        self.payload = payload

    async def stream_token(self, socket_key: str) -> object:
        return self.payload


@pytest.mark.parametrize(
    "payload",
    [
        None,
        [],
        {"token": "t"},
        {"token": "", "subscriptionId": "s"},
        {"token": "t", "subscriptionId": "s >"},
    ],
)
async def test_an_answer_without_a_login_is_unreadable(payload: object) -> None:
    with pytest.raises(UnreadableReply, match="live feed"):
        await ConnectionTokens(OddConnection(payload)).socket_token("U")
