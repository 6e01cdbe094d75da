"""A live feed on loopback, our stream before it, and a clock that moves when a test says so."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from hftray.adapters.groww.stream import GrowwStream
from hftray.adapters.groww.stream_quotes import StreamKey
from hftray.adapters.groww.stream_state import SocketToken, StreamOptions, StreamState
from hftray.testing.groww.feed import FeedServer
from hftray.testing.groww.feed_messages import LivePrice

START = datetime(2026, 11, 26, 5, 0, tzinfo=UTC)
TCS, ITC = StreamKey("NSE", "11536"), StreamKey("BSE", "500875")
KEYS = {"TCS": TCS, "ITC": ITC}
PATIENCE = 30.0  # real seconds until a test gives up


class StepClock:
    """Stands still until it is moved; `slept` is every pause that was asked for."""

    def __init__(self) -> None:
        self.on_sleep: Callable[[], None] = lambda: None
        self.moment = START
        self.slept: list[float] = []
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []
        self._asleep = asyncio.Event()

    def now(self) -> datetime:
        return self.moment

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        waking = asyncio.get_running_loop().create_future()
        entry = (self.moment + timedelta(seconds=seconds), waking)
        self._sleepers.append(entry)
        self._asleep.set()
        self.on_sleep()
        try:
            await waking
        finally:
            self._sleepers.remove(entry)

    async def advance(self, seconds: float) -> None:
        """Move on once somebody sleeps, and wake whoever is due."""
        async with asyncio.timeout(PATIENCE):
            while not self._sleepers:
                self._asleep.clear()
                await self._asleep.wait()
        self.moment += timedelta(seconds=seconds)
        woken = [waking for due, waking in self._sleepers if due <= self.moment]
        for waking in woken:
            if not waking.done():
                waking.set_result(None)
        if woken:  # let them leave the list, so that the next step waits for new ones
            await asyncio.gather(*woken)
            await asyncio.sleep(0)


class LoopbackTokens:
    """Asks the server itself; `failure` is raised instead while it is set."""

    def __init__(self, server: FeedServer) -> None:
        self.server = server
        self.mark = 1
        self.failure: Exception | None = None
        self.subscription_id: str | None = None

    def session_mark(self) -> object:
        return self.mark

    async def socket_token(self, public_key: str) -> SocketToken:
        if self.failure is not None:
            raise self.failure
        payload = self.server.logins.create({"socketKey": public_key})
        return SocketToken(payload["token"], self.subscription_id or payload["subscriptionId"])


class FeedWorld:
    """Server, clock and stream of one test.

    `states` and `prices` (of TCS) are what was seen, `stale` the symbols that had a quote while
    the feed was not live.
    """

    def __init__(self, server: FeedServer, clock: StepClock) -> None:
        self.server = server
        self.clock = clock
        self.tokens = LoopbackTokens(server)
        self.open = True
        self.orders: list[str] = []
        self.states: list[StreamState] = []
        self.prices: list[float] = []
        self.stale: set[str] = set()
        self._changed = asyncio.Event()
        clock.on_sleep = self._changed.set
        self.stream = GrowwStream(
            StreamOptions(server.url),
            self.tokens,
            now=clock.now,
            in_session=lambda _: self.open,
            on_order_update=self._order,
            on_change=self._change,
            sleep=clock.sleep,
            chance=lambda: 0.0,
        )

    @property
    def state(self) -> StreamState:
        return self.stream.health().state

    async def until(self, true: Callable[[], object]) -> None:
        """Wait for something the stream does."""
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._changed.clear()
                await self._changed.wait()

    async def reaches(self, state: StreamState) -> None:
        await self.until(lambda: self.state is state)

    async def server_until(self, true: Callable[[], object]) -> None:
        await asyncio.to_thread(self.server.until, true)

    async def connect(self) -> None:
        self.stream.watch(KEYS)
        self.stream.start()
        await self.reaches(StreamState.CONNECTED)

    async def go_live(self, price: float = 100.0) -> None:
        await self.connect()
        self.publish(price)
        await self.reaches(StreamState.LIVE)

    def publish(self, price: float | None, key: StreamKey = TCS, volume: float = 10.0) -> None:
        self.server.publish_price(
            key.exchange, key.token, LivePrice(self.clock.now(), price, volume)
        )

    def _order(self, groww_order_id: str) -> None:
        self.orders.append(groww_order_id)
        self._changed.set()

    def _change(self) -> None:
        if not self.states or self.states[-1] is not self.state:
            self.states.append(self.state)
        if self.state is not StreamState.LIVE:
            self.stale |= self.stream.newest().keys()
        quote = self.stream.newest().get("TCS")
        if quote is not None and (not self.prices or self.prices[-1] != quote.price):
            self.prices.append(quote.price)
        self._changed.set()


@asynccontextmanager
async def feed_world() -> AsyncIterator[FeedWorld]:
    """All of it, and an end of all of it."""
    clock = StepClock()
    with FeedServer(clock.now) as server:
        world = FeedWorld(server, clock)
        try:
            yield world
        finally:
            await world.stream.stop()
