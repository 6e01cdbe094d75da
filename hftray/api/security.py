"""Who may call.

With a token, every call but /health and the documentation carries it. Without one the server
listens on loopback only, and then the danger is the operator's own browser: a foreign page may
post to localhost, or point its own name at 127.0.0.1. Hence the checks of Host and Origin.
"""

import hmac
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hftray.api.headers import in_docs
from hftray.api.problems import problem

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = frozenset({"/health", "/openapi.json"})
BODY_LIMIT = 64 * 1024
"""Bytes of the largest request body; the largest sensible one has a few hundred."""


def is_open(path: str) -> bool:
    """Whether the path needs no token."""
    return path in OPEN_PATHS or in_docs(path)


class Gate:
    """Refuses calls that may not be made, before any route sees them."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self.app = app
        self._expected = None if token is None else token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on, or answer 401 or 403."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if self._expected is not None and not self._bears_token(headers):
            response = problem(
                scope["path"],
                401,
                "this call needs the header Authorization: Bearer <token>",
                headers={"WWW-Authenticate": 'Bearer realm="hftray"'},
            )
            await response(scope, receive, send)
        elif self._expected is None and (reason := _foreign(scope["method"], headers)):
            await problem(scope["path"], 403, reason)(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    def _bears_token(self, headers: Headers) -> bool:
        assert self._expected is not None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        matches = hmac.compare_digest(given.strip().encode("latin-1"), self._expected)
        return scheme.lower() == "bearer" and matches


def _foreign(method: str, headers: Headers) -> str | None:
    """Why a call without a token looks as if another site made it, or None."""
    host = headers.get("host", "")
    if _hostname(f"//{host}") not in LOOPBACK:
        return "without HFTRAY_API_TOKEN the server answers to localhost only"
    origin = headers.get("origin")
    if method not in SAFE_METHODS and origin is not None and _netloc(origin) != host.lower():
        return "a page of another site may not do this"
    return None


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # a malformed IPv6 address
        return None


def _netloc(url: str) -> str | None:
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return None


class BodyLimit:
    """Stops reading a request body that is larger than any call needs."""

    def __init__(self, app: ASGIApp, limit: int = BODY_LIMIT) -> None:
        self.app = app
        self.limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on; its body ends in 413 when it grows past the limit."""
        taken = 0

        async def receive_counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self.limit:
                raise HTTPException(413, f"the body may have {self.limit} bytes at most")
            return message

        await self.app(scope, receive_counted if scope["type"] == "http" else receive, send)
