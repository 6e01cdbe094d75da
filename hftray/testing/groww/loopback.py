"""A Groww on 127.0.0.1 in a thread of its own, for tests and for `python -m`.

The thread has its own event loop, so synchronous clients and asynchronous tests can use it alike.
"""

import asyncio
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hftray.testing.groww.account import Account
from hftray.testing.groww.behaviour import Behaviour
from hftray.testing.groww.clock import Clock, RunningClock
from hftray.testing.groww.faults import Fault, FaultKind, Faults
from hftray.testing.groww.limits import RateLimits
from hftray.testing.groww.market import Market
from hftray.testing.groww.orders import OrderBook
from hftray.testing.groww.routes import Route
from hftray.testing.groww.server import GrowwApp
from hftray.testing.groww.session import Keys, Sessions
from hftray.testing.groww.world import World

_START_SECONDS = 20.0
_END_SECONDS = 1.0
# How often a running market looks whether orders have met their price (real seconds).
_PUMP_SECONDS = 0.02


class LoopbackGroww:
    """The server and everything behind it. Use it as a context manager, `with` or `async with`.

    `market` says what is traded at which prices, and by which clock. `more` are further calls
    below /v1. ConnectionError when the port is taken.
    """

    def __init__(
        self,
        market: Market,
        *,
        port: int = 0,
        keys: Keys | None = None,
        capital: Decimal | float = 1_000_000,
        behaviour: Behaviour | None = None,
        limits: RateLimits | None = None,
        more: tuple[Route, ...] = (),
    ) -> None:
        self.world = World.of(
            market, keys=keys, capital=capital, behaviour=behaviour, limits=limits
        )
        self._more = more
        self._wanted_port = port
        self._connections: dict[tuple[str, int], asyncio.Transport] = {}
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.port = 0
        self.world.faults.on_add(self._network_away)

    @property
    def url(self) -> str:
        """The address of the server, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        """The base address of the API, as the SDK's `domain`."""
        return f"{self.url}/v1"

    @property
    def token_url(self) -> str:
        """The token endpoint."""
        return f"{self.api}/token/api/access"

    @property
    def instruments_url(self) -> str:
        """The instrument file."""
        return f"{self.url}/instruments/instrument.csv"

    @property
    def clock(self) -> Clock:
        """The market's clock."""
        return self.world.market.clock

    @property
    def market(self) -> Market:
        """The market's prices."""
        return self.world.market

    @property
    def book(self) -> OrderBook:
        """The order book; hold `world.lock` around several calls that belong together."""
        return self.world.book

    @property
    def account(self) -> Account:
        """Positions, margins, holdings."""
        return self.world.account

    @property
    def faults(self) -> Faults:
        """The faults in force."""
        return self.world.faults

    @property
    def sessions(self) -> Sessions:
        """Keys and tokens."""
        return self.world.sessions

    @property
    def limits(self) -> RateLimits:
        """The counts of calls."""
        return self.world.limits

    @property
    def behaviour(self) -> Behaviour:
        """The switches."""
        return self.world.behaviour

    def start(self) -> Self:
        """Serve on a free port, or the one that was asked for. ConnectionError."""
        # Named by its protocol, asyncio switches Nagle's delay off: 40 ms an answer otherwise.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", self._wanted_port))
        except OSError as error:
            listener.close()
            raise ConnectionError(f"port {self._wanted_port}: {error.strerror}") from error
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            GrowwApp(self.world, self._abort, self._more),
            http=_protocol(self._connections),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            date_header=False,
            server_header=False,
        )
        server = self._server = _Server(config)
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(server, listener)),
            name=f"loopback-groww-{self.port}",
            daemon=True,
        )
        self._thread.start()
        if not server.ready.wait(_START_SECONDS):
            raise ConnectionError(f"the loopback did not start within {_START_SECONDS:.0f} s")
        return self

    def stop(self) -> None:
        """Release what is held, close every connection and end the thread."""
        if self._server is None or self._thread is None:
            return
        self.faults.clear()
        self._on_loop(self._server.told_to_end.set)
        self._thread.join()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.stop)

    async def _serve(self, server: "_Server", listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        pump = asyncio.create_task(self._pump())
        try:
            await server.serve(sockets=[listener])
        finally:
            pump.cancel()
            with suppress(asyncio.CancelledError):
                await pump
            listener.close()

    async def _pump(self) -> None:
        """Match orders while a running market passes without a request."""
        while isinstance(self.clock, RunningClock):
            self.world.settle()
            await asyncio.sleep(_PUMP_SECONDS)

    def _abort(self, client: tuple[str, int]) -> None:
        transport = self._connections.get(tuple(client))  # type: ignore[arg-type]
        if transport is not None:
            transport.abort()

    def _abort_all(self) -> None:
        for transport in list(self._connections.values()):
            transport.abort()

    def _network_away(self, fault: Fault) -> None:
        if fault.kind is FaultKind.NETWORK_AWAY:
            self._on_loop(self._abort_all)

    def _on_loop(self, action: Callable[[], Any]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)


class _Server(uvicorn.Server):
    """Says when it accepts connections, and ends when it is told to.

    Uvicorn's own loops look for that ten times a second, which a thousand tests would wait for.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self.told_to_end = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()

    async def main_loop(self) -> None:
        await self.told_to_end.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close every connection; what is still being answered notices, or is given up."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        if self.server_state.tasks:
            _, late = await asyncio.wait(self.server_state.tasks, timeout=_END_SECONDS)
            for task in late:
                task.cancel()


def _protocol(connections: dict[tuple[str, int], asyncio.Transport]) -> type[H11Protocol]:
    """A protocol that files its connection by the client's address, so that it can be closed."""

    class FiledProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            connections[tuple(transport.get_extra_info("peername"))] = transport

        def connection_lost(self, exc: Exception | None) -> None:
            connections.pop(tuple(self.transport.get_extra_info("peername")), None)
            super().connection_lost(exc)

    return FiledProtocol
