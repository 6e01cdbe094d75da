"""The one connection to Groww's REST API: session, rate governor, timeouts, errors by reaction.

A call waits for its turn at the governor, goes out with a good token, and comes back as a payload
or as an error that says what the caller may do (`replies` has the table). Three things are
repeated here, within the caller's patience: a call answered 401 once with a new token, a call
answered 429 when its category's pause is over, and a question whose connection broke once. Orders
whose connection broke are never repeated: `UnknownOutcome`.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from hftray.adapters.groww.errors import AccessDenied
from hftray.adapters.groww.governor import Category, Governor, Permit, Urgency
from hftray.adapters.groww.login_pace import LoginPace
from hftray.adapters.groww.options import GrowwOptions
from hftray.adapters.groww.replies import read_reply
from hftray.adapters.groww.sending import Sender, TimedOut, retry_after
from hftray.adapters.groww.session import Credentials, Session
from hftray.core.errors import BrokerUnavailable, RejectError, UnknownOutcome

__all__ = ["Category", "Credentials", "GrowwConnection", "ReadOnlyConnection", "Urgency"]

TOKEN_PATH = "/token/api/access"
STREAM_TOKEN_PATH = "/api/apex/v1/socket/token/create/"

# Seconds a caller waits for its turn unless it says otherwise. The price of an entry is soon stale.
_PATIENCE = {Urgency.EXIT: 30.0, Urgency.ENTRY: 5.0, Urgency.LOOK_UP: 30.0, Urgency.DATA: 30.0}
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
    """What both kinds of connection share.

    `credentials` are asked for at each login, `login_log` is where its times (nothing else) are
    remembered across restarts. `clock` gives seconds for pauses, `wall` the time of day.
    """

    def __init__(
        self,
        options: GrowwOptions,
        credentials: Callable[[], Awaitable[Credentials]],
        *,
        governor: Governor,
        transport: httpx.AsyncBaseTransport | None = None,
        login_log: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._governor = governor
        self._clock = clock
        pace = LoginPace(login_log, wall)
        self._session = Session(credentials, self._mint, clock=clock, wall=wall, pace=pace)
        self._sender = Sender(
            options.base_url,
            options.timeout_seconds,
            self._require,
            wall=wall,
            transport=transport,
        )

    @property
    def token_expiry(self) -> datetime | None:
        """When the present access token ends; None without one, or where Groww did not say."""
        return self._session.expiry

    @property
    def clock_skew(self) -> timedelta | None:
        """How far Groww's clock is ahead of ours by its last answer, to about half a second."""
        return self._sender.skew

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
        await self._session.close()
        await self._governor.close()
        await self._sender.close()

    def _require(self, method: str, path: str) -> None:
        if not _PATH.fullmatch(path) or ".." in path:
            raise ValueError(f"{path!r} is not a path below Groww's base URL")

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
                    response = await self._sender.send(method, path, params, body, token)
                except BrokerUnavailable as error:
                    if method == "POST" or not may_repeat or isinstance(error, TimedOut):
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
            if response.status_code < 500 and response.status_code not in (401, 403, 429):
                self._session.accepted(token)
            return read_reply(response, what)

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self._clock())

    async def _mint(self, api_key: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """A token request. BrokerUnavailable: try later; AccessDenied: the operator must act."""
        what = f"POST {TOKEN_PATH}"
        patience = _PATIENCE[Urgency.EXIT]
        try:
            async with self._governor.permit(
                Category.AUTHENTICATION, Urgency.EXIT, patience
            ) as permit:
                response = await self._sender.send("POST", TOKEN_PATH, None, body, api_key)
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


def _root(path: str) -> str:
    return path.split("/", 2)[1]


def _tell(permit: Permit, response: httpx.Response) -> None:
    if response.status_code == 429:
        permit.throttled(retry_after(response))
    else:
        permit.accepted()
