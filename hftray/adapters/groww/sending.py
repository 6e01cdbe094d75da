"""One request to Groww: time limits, what a broken connection means, the server's clock."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from uuid import uuid4

import httpx

from hftray import __version__
from hftray.core.errors import BrokerUnavailable, UnknownOutcome
from hftray.observe import mask

_SENT_NOTHING = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_CONNECTIONS = httpx.Limits(max_connections=40, max_keepalive_connections=10)


class TimedOut(BrokerUnavailable):
    """A question that was not answered in time; not worth a second wait of the same length."""


class Sender:
    """The pooled connections. `require(method, path)` raises for what must not leave."""

    def __init__(
        self,
        base_url: str,
        seconds: float,
        require: Callable[[str, str], None],
        *,
        wall: Callable[[], datetime],
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._seconds = seconds
        self._wall = wall
        self._require = require
        self._base_path = httpx.URL(base_url).path.rstrip("/")
        self.skew: timedelta | None = None
        before_sending: Callable[[httpx.Request], Awaitable[None]] = self._before_sending
        self._http = httpx.AsyncClient(
            base_url=base_url,
            verify=_trusted(),
            transport=transport,
            limits=_CONNECTIONS,
            # Half the time for connecting, so that a dead address is known as "nothing was sent".
            timeout=httpx.Timeout(seconds, connect=seconds / 2),
            headers={
                "Accept": "application/json",
                "X-API-VERSION": "1.0",
                "User-Agent": f"hftray/{__version__}",
            },
            event_hooks={"request": [before_sending]},
        )

    async def send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Any,
        bearer: str,
    ) -> httpx.Response:
        """The answer to a request, whatever it is.

        BrokerUnavailable: nothing was sent, or a question was lost. UnknownOutcome: a POST may
        have been taken. The causes are not chained: they carry the request and with it the token.
        """
        what = f"{method} {path}"
        headers = {"Authorization": f"Bearer {bearer}", "x-request-id": str(uuid4())}
        sent_at = self._wall()
        try:
            async with asyncio.timeout(self._seconds):
                response = await self._http.request(
                    method, path, params=params, json=body, headers=headers
                )
        except _SENT_NOTHING as error:
            raise BrokerUnavailable(f"{what} was not sent: {_named(error)}") from None
        except (TimeoutError, httpx.TimeoutException):
            message = f"{what} was not answered within {self._seconds:g} seconds"
            raise (UnknownOutcome(message) if method == "POST" else TimedOut(message)) from None
        except httpx.RequestError as error:
            message = f"{what}: the connection broke: {_named(error)}"
            lost = UnknownOutcome if method == "POST" else BrokerUnavailable
            raise lost(message) from None
        self._measure_skew(response, sent_at)
        return response

    async def close(self) -> None:
        """Close the sockets."""
        await self._http.aclose()

    async def _before_sending(self, request: httpx.Request) -> None:
        # The last stop before the network, also for what some other code built.
        self._require(request.method, request.url.path.removeprefix(self._base_path))

    def _measure_skew(self, response: httpx.Response, sent_at: datetime) -> None:
        try:
            theirs = parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError):
            return
        # The header drops the fraction of its second, half a second on average.
        ours = sent_at + (self._wall() - sent_at) / 2
        self.skew = theirs + timedelta(seconds=0.5) - ours


@cache
def _trusted() -> ssl.SSLContext:
    """The machine's certificates, read once in a process: it takes as long as many requests."""
    return httpx.create_ssl_context()


def retry_after(response: httpx.Response) -> float | None:
    """The seconds a 429 asks to wait, given as a number of them or as a date; None without."""
    value = response.headers.get("Retry-After", "")
    try:
        if value.strip().isdecimal():
            return float(value)
        until = parsedate_to_datetime(value)
        since = parsedate_to_datetime(response.headers["Date"])
        return max(0.0, (until - since).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


def _named(error: Exception) -> str:
    text = mask(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
