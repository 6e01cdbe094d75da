"""Groww as a function: a transport for httpx that answers from a script and keeps what it saw."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from virtual_time import now

from hftray.adapters.groww.connection import Credentials, GrowwConnection
from hftray.adapters.groww.governor import Governor
from hftray.adapters.groww.options import GrowwOptions

START = datetime(2026, 11, 26, 4, 0, tzinfo=UTC)
KEY, SECRET, TOTP = "key-5f1d7c0a", "secret-90b2aa41", "JBSWY3DPEHPK3PXP"
OPTIONS = GrowwOptions(
    "https://groww.test/v1", "https://assets.test/instrument.csv", "wss://stream.test"
)
Answer = Callable[[httpx.Request], Any]


def wall() -> datetime:
    """The time of day on the virtual clock."""
    return START + timedelta(seconds=now())


async def both_secrets() -> Credentials:
    return Credentials(KEY, SECRET)


def ok(payload: Any) -> httpx.Response:
    return httpx.Response(200, json={"status": "SUCCESS", "payload": payload})


def failure(status: int, code: str, message: str = "no") -> httpx.Response:
    error = {"code": code, "message": message, "metadata": None}
    return httpx.Response(status, json={"status": "FAILURE", "error": error})


class FakeGroww(httpx.AsyncBaseTransport):
    """Mints tokens `token-1`, `token-2`, ... and answers other requests with `answer`.

    A request with any other token than the last is answered 401.
    """

    def __init__(self, answer: Answer, *, life: timedelta | None = timedelta(hours=18)) -> None:
        self.answer = answer
        self.life = life
        self.mint: Answer | None = None
        self.valid: str | None = None
        self.minted: list[httpx.Request] = []
        self.seen: list[httpx.Request] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await request.aread()
        if request.url.path == "/v1/token/api/access":
            self.minted.append(request)
            return await _given(self.mint or self.new_token, request)
        self.seen.append(request)
        if request.headers["Authorization"] != f"Bearer {self.valid}":
            return failure(401, "GA005", "token")
        return await _given(self.answer, request)

    def new_token(self, _request: httpx.Request) -> httpx.Response:
        self.valid = f"token-{len(self.minted)}"
        fields = {"token": self.valid, "tokenRefId": "r", "sessionName": "s", "isActive": True}
        if self.life is not None:
            fields["expiry"] = (wall() + self.life).isoformat()
        return httpx.Response(200, json=fields)

    def bodies(self) -> list[Any]:
        return [json.loads(request.content) for request in self.seen if request.content]


async def _given(answer: Answer, request: httpx.Request) -> httpx.Response:
    given = answer(request)
    if isinstance(given, Awaitable):
        given = await given
    if isinstance(given, Exception):
        raise given
    return given


def connected(
    transport: httpx.AsyncBaseTransport,
    credentials: Callable[[], Awaitable[Credentials]] = both_secrets,
    kind: type = GrowwConnection,
    options: GrowwOptions = OPTIONS,
    **more: Any,
) -> Any:
    governor = Governor(options.limits(), clock=now, chance=lambda: 0.0)
    return kind(
        options, credentials, governor=governor, transport=transport, clock=now, wall=wall, **more
    )


async def after(seconds: float, response: Any) -> Any:
    await asyncio.sleep(seconds)
    if isinstance(response, Exception):
        raise response
    return response
