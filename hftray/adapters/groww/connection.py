"""The one connection to Groww's REST API: session, rate governor, timeouts, errors by reaction.

A call waits for its turn at the governor, goes out with a good token, and comes back as a payload
or as an error that says what the caller may do (`replies` has the table). Three things are
repeated here, within the caller's patience: a call answered 401 once with a new token, a call
answered 429 when its category's pause is over, and a question whose connection broke once. Orders
whose connection broke are never repeated: `UnknownOutcome`.
"""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import uuid4

import httpx

from hftray import __version__
from hftray.adapters.groww.errors import AccessDenied
from hftray.adapters.groww.governor import Category, Governor, Permit, Urgency
from hftray.adapters.groww.options import GrowwOptions
from hftray.adapters.groww.replies import read_reply
from hftray.adapters.groww.session import Credentials, Session
from hftray.core.errors import BrokerUnavailable, RejectError, UnknownOutcome
from hftray.observe import mask

__all__ = ["Category", "Credentials", "GrowwConnection", "ReadOnlyConnection", "Urgency"]

TOKEN_PATH = "/token/api/access"
STREAM_TOKEN_PATH = "/api/apex/v1/socket/token/create/"

# Seconds a caller waits for its turn unless it says otherwise. The price of an entry is soon stale.
_PATIENCE = {Urgency.EXIT: 30.0, Urgency.ENTRY: 5.0, Urgency.LOOK_UP: 30.0, Urgency.DATA: 30.0}
_SENT_NOTHING = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)
_CONNECTIONS = httpx.Limits(max_connections=40, max_keepalive_connections=10)
_PATH = re.compile(r"(/[A-Za-z0-9_.~-]+)+/?")
_ORDER_ROOTS = {"order", "order-advance"}
# What paper trading may ask, by the first parts of a path. The margin of a planned order is not
# among it: that is a POST.
_READABLE = {
    ("live-data",), ("historical",), ("user",), ("margins", "detail", "user"), ("positions",),
    ("holdings",),
}  # fmt: skip
_CHECK_KEYS = (
    "check the API key and its secret, that the key is approved for today "
    "(groww.in/trade-api/api-keys), the subscription, this machine's clock, and groww.base_url"
)
_READ_ONLY_POSTS = {TOKEN_PATH, STREAM_TOKEN_PATH}


class _Connection:
    """What both kinds of connection share."""

    def __init__(
        self,
        options: GrowwOptions,
        credentials: Callable[[], Awaitable[Credentials]],
        *,
        governor: Governor,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._governor = governor
        self._clock = clock
        self._wall = wall
        self._seconds = options.timeout_seconds
        self._base_path = httpx.URL(options.base_url).path.rstrip("/")
        self._session = Session(credentials, self._mint, clock=clock, wall=wall)
        self._skew: timedelta | None = None
        self._http = httpx.AsyncClient(
            base_url=options.base_url,
            transport=transport,
            limits=_CONNECTIONS,
            # Half the time for connecting, so that a dead address is known as "nothing was sent".
            timeout=httpx.Timeout(options.timeout_seconds, connect=options.timeout_seconds / 2),
            headers={
                "Accept": "application/json",
                "X-API-VERSION": "1.0",
                "User-Agent": f"hftray/{__version__}",
            },
            event_hooks={"request": [self._before_sending]},
        )

    @property
    def token_expiry(self) -> datetime | None:
        """When the present access token ends; None without one, or where Groww did not say."""
        return self._session.expiry

    @property
    def clock_skew(self) -> timedelta | None:
        """How far Groww's clock is ahead of ours by its last answer, to about half a second."""
        return self._skew

    async def log_in(self) -> None:
        """Make sure that there is a token. AccessDenied, BrokerUnavailable, ConfigError."""
        await self._session.token()

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        category: Category,
        urgency: Urgency = Urgency.DATA,
        patience: float | None = None,
    ) -> Any:
        """The payload of an answer to a question.

        `path` is relative to the base URL, `patience` the seconds to wait for a turn.
        BrokerUnavailable for whatever may be repeated, NotFound, GrowwRefused, AccessDenied.
        """
        return await self._call("GET", path, params, None, category, urgency, patience)

    async def stream_token(self, socket_key: str) -> Any:
        """A login for the live feed: the payload for a public nkey. BrokerUnavailable, and so on.

        A login nobody has heard of harms none, so no outcome is unknown.
        """
        try:
            return await self._call(
                "POST",
                STREAM_TOKEN_PATH,
                None,
                {"socketKey": socket_key},
                Category.NON_TRADING,
                Urgency.LOOK_UP,
                None,
            )
        except UnknownOutcome as error:
            raise BrokerUnavailable(str(error)) from None

    async def close(self) -> None:
        """Close the sockets; waiting calls are told BrokerUnavailable."""
        await self._governor.close()
        await self._http.aclose()

    def _require(self, method: str, path: str) -> None:
        if not _PATH.fullmatch(path) or ".." in path:
            raise ValueError(f"{path!r} is not a path below Groww's base URL")

    async def _before_sending(self, request: httpx.Request) -> None:
        # The last stop before the network, also for what some other code built.
        self._require(request.method, request.url.path.removeprefix(self._base_path))

    async def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Any,
        category: Category,
        urgency: Urgency,
        patience: float | None,
    ) -> Any:
        self._require(method, path)
        if method == "POST" and _root(path) in _ORDER_ROOTS:
            category = Category.ORDERS  # the exchange's limit, whatever the caller thinks
        what = f"{method} {path}"
        deadline = self._clock() + (_PATIENCE[urgency] if patience is None else patience)
        may_replace = may_repeat = True
        while True:
            token = await self._session.token()
            async with self._governor.permit(category, urgency, self._left(deadline)) as permit:
                try:
                    response = await self._send(method, path, params, body, token, what)
                except BrokerUnavailable as error:
                    if method == "POST" or not may_repeat or isinstance(error, _TimedOut):
                        raise
                    may_repeat = False
                    continue
                _tell(permit, response)
            if response.status_code == 401 and may_replace:
                may_replace = False
                await self._session.replace(token)
                continue
            if response.status_code == 429 and self._clock() < deadline:
                continue
            if response.status_code != 401:
                self._session.accepted(token)
            return read_reply(response, what)

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock())

    async def _send(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: Any,
        bearer: str,
        what: str,
    ) -> httpx.Response:
        """One request. BrokerUnavailable: nothing was sent; UnknownOutcome: it may be taken.

        The causes are not chained: they carry the request and with it the token.
        """
        headers = {"Authorization": f"Bearer {bearer}", "x-request-id": str(uuid4())}
        lost = UnknownOutcome if method == "POST" else BrokerUnavailable
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
            raise (UnknownOutcome(message) if method == "POST" else _TimedOut(message)) from None
        except httpx.RequestError as error:
            raise lost(f"{what}: the connection broke: {_named(error)}") from None
        self._measure_skew(response, sent_at)
        return response

    async def _mint(self, api_key: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """A token request. BrokerUnavailable: try later; AccessDenied: the operator must act."""
        what = f"POST {TOKEN_PATH}"
        patience = _PATIENCE[Urgency.EXIT]
        try:
            async with self._governor.permit(
                Category.AUTHENTICATION, Urgency.EXIT, patience
            ) as permit:
                response = await self._send("POST", TOKEN_PATH, None, body, api_key, what)
                _tell(permit, response)
            if response.status_code == 401:
                raise AccessDenied(f"{what} was answered 401; {_CHECK_KEYS}")
            fields = read_reply(response, what)
        except UnknownOutcome as error:
            raise BrokerUnavailable(str(error)) from None  # a token nobody has heard of harms none
        except RejectError as error:
            raise AccessDenied(f"{error}; {_CHECK_KEYS}") from None
        if not isinstance(fields, Mapping):
            raise BrokerUnavailable(f"{what} was answered with something that is not an object")
        return fields

    def _measure_skew(self, response: httpx.Response, sent_at: datetime) -> None:
        try:
            theirs = parsedate_to_datetime(response.headers["Date"])
        except (KeyError, ValueError):
            return
        # The header drops the fraction of its second, half a second on average.
        ours = sent_at + (self._wall() - sent_at) / 2
        self._skew = theirs + timedelta(seconds=0.5) - ours


class ReadOnlyConnection(_Connection):
    """For paper trading: asks for prices, candles and the account; it cannot place anything.

    What is not known to be a question is refused before anything leaves, and once more at the
    last stop before the network.
    """

    def _require(self, method: str, path: str) -> None:
        super()._require(method, path)
        parts = tuple(path.strip("/").split("/"))
        readable = any(parts[: len(known)] == known for known in _READABLE)
        if (method == "GET" and readable) or (method == "POST" and path in _READ_ONLY_POSTS):
            return
        raise AccessDenied(f"{method} {path} was not sent: this connection can only read")


class GrowwConnection(_Connection):
    """For live trading: questions and orders."""

    async def post(
        self,
        path: str,
        body: Any,
        *,
        params: Mapping[str, str] | None = None,
        category: Category,
        urgency: Urgency,
        patience: float | None = None,
    ) -> Any:
        """The payload of the answer to an order, or to whatever else is posted.

        BrokerUnavailable: certainly not taken. UnknownOutcome: it may be. GrowwRefused,
        DuplicateReference, NotFound, AccessDenied: certainly not done.
        """
        return await self._call("POST", path, params, body, category, urgency, patience)


class _TimedOut(BrokerUnavailable):
    """A question that was not answered in time; not worth a second wait of the same length."""


def _root(path: str) -> str:
    return path.split("/", 2)[1]


def _named(error: Exception) -> str:
    text = mask(str(error))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _tell(permit: Permit, response: httpx.Response) -> None:
    if response.status_code == 429:
        permit.throttled(_retry_after(response))
    else:
        permit.accepted()


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait by the header, which holds a number of them or a date."""
    value = response.headers.get("Retry-After", "")
    try:
        if value.strip().isdecimal():
            return float(value)
        until = parsedate_to_datetime(value)
        since = parsedate_to_datetime(response.headers["Date"])
        return max(0.0, (until - since).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None
