"""Groww's live feed on 127.0.0.1: a NATS server inside a websocket, with faults to switch on.

It runs in a thread of its own, so synchronous clients and asynchronous tests can use it alike. All
public methods may be called from any thread; what is published arrives in the order of the calls.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from hftray.adapters.groww.stream_quotes import StreamKey
from hftray.adapters.groww.stream_wire import depth_subject, orders_subject, price_subject
from hftray.testing.groww.feed_client import FeedClient
from hftray.testing.groww.feed_login import FeedLogins, Login
from hftray.testing.groww.feed_messages import Levels, LivePrice, OrderNews, encode_depth

_START_SECONDS = 20.0


@dataclass(slots=True)
class FeedFaults:
    """What goes wrong until it is switched off again.

    `mute`: nothing is published, connections stay. `duplicate`: every message comes twice.
    `late`: every message is followed by the one before it of its subject. `zero_prices`: the last
    price is 0 (on the wire: absent). `jump_percent`: prices are off by so much. `refuse_logins`:
    authorisation violation at the login. `away`: no websocket is accepted.
    """

    mute: bool = False
    duplicate: bool = False
    late: bool = False
    zero_prices: bool = False
    jump_percent: float = 0.0
    refuse_logins: bool = False
    away: bool = False


class FeedServer:
    """The live feed. Use it as a context manager. `now` is market time, for the tokens' ends."""

    def __init__(self, now: Callable[[], datetime], *, port: int = 0) -> None:
        self.logins = FeedLogins(now)
        self.faults = FeedFaults()
        self.port = port
        self.connections = 0  # websockets accepted so far
        self.let_in: list[Login] = []  # logins that were let in, oldest first
        self.most_subscriptions = 0  # of one connection, the highest seen
        self._clients: dict[FeedClient, web.Request] = {}
        self._last: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._failure: OSError | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The websocket's address."""
        return f"ws://127.0.0.1:{self.port}/"

    def start(self) -> Self:
        """Serve on a free port, or the one that was asked for. ConnectionError."""
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="loopback-groww-feed", daemon=True
        )
        self._thread.start()
        if not self._ready.wait(_START_SECONDS) or self._failure is not None:
            raise ConnectionError(f"the feed did not start: {self._failure or 'no answer'}")
        return self

    def stop(self) -> None:
        """Close every connection and end the thread."""
        if self._thread is not None and self._over is not None:
            self._on_loop(self._over.set)
            self._thread.join()
            self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def publish_price(self, exchange: str, token: str, price: LivePrice) -> None:
        """Tell the subscribers of a share's price."""
        if self.faults.zero_prices:
            price = replace(price, price=None)
        if self.faults.jump_percent and price.price is not None:
            price = replace(price, price=price.price * (1 + self.faults.jump_percent / 100))
        self.publish(price_subject(StreamKey(exchange, token)), price.encode())

    def publish_depth(
        self, exchange: str, token: str, time: datetime, bids: Levels, offers: Levels
    ) -> None:
        """Tell the subscribers of a share's depth."""
        subject = depth_subject(StreamKey(exchange, token))
        self.publish(subject, encode_depth(time, bids, offers))

    def publish_order(self, news: OrderNews) -> None:
        """Tell the account what happened to an order."""
        self.publish(orders_subject(self.logins.subscription_id), news.encode())

    def publish(self, subject: str, payload: bytes) -> None:
        """Send a message, or what the faults make of it, to its subscribers."""
        last, self._last[subject] = self._last.get(subject), payload
        if self.faults.mute:
            return
        messages = [payload] * (2 if self.faults.duplicate else 1)
        if self.faults.late and last is not None:
            messages.append(last)
        self._on_loop(lambda: self._send(subject, messages))

    def drop(self) -> None:
        """Cut every connection without a word."""
        self._on_loop(self._abort)

    def end_all(self, error: str = "Authorization Violation") -> None:
        """Say an error to every client and close."""
        self._on_loop(lambda: self._each(lambda client: client.end(error)))

    def expire(self) -> None:
        """Close the connections whose token has ended or was taken back, as NATS does."""
        self._on_loop(lambda: self._each(FeedClient.expire))

    def ping(self) -> None:
        """Ask every client for a sign of life (`pongs`)."""
        self._on_loop(lambda: self._each(FeedClient.ping))

    @property
    def pongs(self) -> int:
        """Signs of life of the clients that are connected."""
        return sum(client.pongs for client in list(self._clients))

    def subscribers(self, subject: str) -> int:
        """How many subscriptions to a subject there are, over all clients."""
        with self._changed:
            return sum(
                held == subject
                for client in self._clients
                for held in client.subscriptions.values()
            )

    @property
    def clients(self) -> int:
        """How many connections there are."""
        return len(self._clients)

    def until(self, true: Callable[[], Any], timeout: float = 30.0) -> None:
        """Wait for something to become true of the server. TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(true, timeout):
                raise TimeoutError(f"the feed did not get there in {timeout:.0f} s")

    def is_away(self) -> bool:
        """Whether the network is away, so that connections are cut at once."""
        return False

    async def until_stopped(self, over: asyncio.Event) -> None:
        """What is done on the server's loop until `over` is set."""
        await over.wait()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_get("/", self._accept)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self._ready.set()
            await self.until_stopped(self._over)
        except OSError as error:
            self._failure = error
            self._ready.set()
        finally:
            self._abort()
            await runner.cleanup()

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        if self.faults.away or self.is_away():
            if self.is_away() and request.transport is not None:
                request.transport.abort()
            raise web.HTTPServiceUnavailable
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = FeedClient(
            socket,
            self.logins,
            refuse=lambda: self.faults.refuse_logins,
            changed=self._changed,
            let_in=self.let_in.append,
        )
        with self._changed:
            self.connections += 1
            self._clients[client] = request
            self._changed.notify_all()
        try:
            await client.run()
        finally:
            with self._changed:
                del self._clients[client]
                self.most_subscriptions = max(self.most_subscriptions, client.most)
                self._changed.notify_all()
        return socket

    def _send(self, subject: str, messages: list[bytes]) -> None:
        for client in self._clients:
            for message in messages:
                client.publish(subject, message)

    def _each(self, action: Callable[[FeedClient], None]) -> None:
        for client in list(self._clients):
            action(client)

    def _abort(self) -> None:
        for request in self._clients.values():
            if request.transport is not None:
                request.transport.abort()

    def _on_loop(self, action: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)
