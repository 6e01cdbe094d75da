"""The ASGI application of the loopback: one request from its arrival to its answer.

A request is journaled, may be struck by faults, counts against its rate limit, needs a living
token and then reaches its handler, all under the world's lock.
"""

import json
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hftray.testing.groww import api_data
from hftray.testing.groww.control import control
from hftray.testing.groww.faults import Fault, FaultKind
from hftray.testing.groww.limits import Category
from hftray.testing.groww.routes import ROUTES, Route
from hftray.testing.groww.wire import Answer, Call, GrowwFailure, failure, gateway
from hftray.testing.groww.world import JournalEntry, World

_VERSION = "/v1"
_CONTROL = "/_test"
_TOKEN = "/token/api/access"
_INSTRUMENTS = "/instruments/instrument.csv"
_CHANGELOG = "/changelog"
_PAGE = "<html><head><title>{0}</title></head><body><h1>{0} Bad Gateway</h1></body></html>"

Abort = Callable[[tuple[str, int]], None]


class GrowwApp:
    """The REST API, the instrument file and the paths below /_test.

    `abort` closes the connection of a client address without an answer. `more` are further calls
    below /v1 that need a token (the live feed adds its own).
    """

    def __init__(self, world: World, abort: Abort, more: tuple[Route, ...] = ()) -> None:
        self._world = world
        self._abort = abort
        self._routes = (*ROUTES, *more)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            raise ValueError(f"{scope['type']}: only HTTP is answered here")
        request = Request(scope, receive)
        path = scope["path"]
        body = await request.body()
        if path.startswith(_CONTROL):
            call = _call(request, path.removeprefix(_CONTROL), {}, _parsed(body))
            with self._world.lock:
                answer: Answer | None = control(self._world, call)
        else:
            answer = await self._arrived(request, path, body)
        if answer is None:
            self._abort(scope["client"])
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        await self._response(answer)(scope, receive, send)

    async def _arrived(self, request: Request, path: str, body: bytes) -> Answer | None:
        world = self._world
        if world.faults.network_away():
            return None
        below = path.removeprefix(_VERSION)
        entry = JournalEntry(
            number=len(world.journal) + 1,
            method=request.method,
            path=path,
            query=request.url.query,
            body=_parsed(body) if below != _TOKEN else "(not kept)",
            market_time=world.market.clock.now(),
        )
        world.journal.append(entry)
        struck = world.faults.at_request(below)
        answer = await self._answered(request, below, _parsed(body), struck)
        entry.outcome = ", ".join(fault.kind for fault in struck) or "answered"
        entry.status = None if answer is None else answer.status
        return None if world.faults.network_away() else answer

    async def _answered(
        self, request: Request, path: str, body: Any, struck: list[Fault]
    ) -> Answer | None:
        """The handler's answer, changed by the faults that strike; None closes the connection."""
        if any(fault.kind is FaultKind.DROP_REQUEST for fault in struck):
            return None
        slow = [fault for fault in struck if fault.kind is FaultKind.SLOW]
        instead = [fault for fault in struck if fault.kind in _INSTEAD]
        for fault in slow:
            if not fault.taken:
                await self._world.faults.hold(fault)
        answer = None
        if all(fault.taken for fault in instead):
            answer = self._handled(request, path, body)
        for fault in slow:
            if fault.taken:
                await self._world.faults.hold(fault)
        if any(fault.kind is FaultKind.DROP_REPLY for fault in struck):
            return None
        return _INSTEAD[instead[0].kind](instead[0]) if instead else answer

    def _handled(self, request: Request, path: str, body: Any) -> Answer:
        world = self._world
        style = world.behaviour.gateway_body
        authorization = request.headers.get("authorization", "")
        with world.lock:
            if path == _INSTRUMENTS:
                return api_data.instruments(world, _call(request, path, {}, None))
            if path == _CHANGELOG:
                return Answer(body={})
            if path == _TOKEN and request.method == "POST":
                if not world.limits.allow(Category.AUTHENTICATION):
                    return gateway(429, "Too many requests", style)
                return world.sessions.token_call(authorization, body, style)
            route, parameters = self._route(request.method, path)
            if route is None:
                return gateway(404, f"{request.method} {path} does not exist", style)
            if not world.limits.allow(route.category):
                return gateway(429, "Too many requests", style)
            if not world.sessions.valid(authorization):
                return gateway(401, "Unauthorized", style)
            if route.data and not world.sessions.subscription:
                return failure("GA005", "no subscription to market data", 403)
            try:
                world.settle()
                return route.handler(world, _call(request, path, parameters, body))
            except GrowwFailure as error:
                return failure(error.code, error.message)

    def _route(self, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        for route in self._routes:
            parameters = route.match(path) if route.method == method else None
            if parameters is not None:
                return route, parameters
        return None, {}

    def _response(self, answer: Answer) -> Response:
        now = time.time() + self._world.faults.skew()
        headers = {"date": formatdate(now, usegmt=True), **answer.headers}
        if answer.text is not None:
            return Response(answer.text, answer.status, headers, answer.media_type)
        text = json.dumps(answer.body, separators=(",", ":"))
        return Response(text, answer.status, headers, "application/json")


def _html(fault: Fault) -> Answer:
    status = fault.status if fault.status != 500 else 502
    return Answer(status, text=_PAGE.format(status), media_type="text/html")


def _status(fault: Fault) -> Answer:
    return Answer(fault.status, {"message": "the loopback was told to answer this"})


def _error(fault: Fault) -> Answer:
    return failure(fault.code, "the loopback was told to answer this")


_INSTEAD: dict[FaultKind, Callable[[Fault], Answer]] = {
    FaultKind.HTML: _html,
    FaultKind.HTTP_STATUS: _status,
    FaultKind.ERROR: _error,
}


def _call(request: Request, path: str, parameters: dict[str, str], body: Any) -> Call:
    query = parse_qs(request.url.query, keep_blank_values=True)
    return Call(request.method, path, parameters, query, body)


def _parsed(body: bytes) -> Any:
    """The JSON value of a body; the text itself when it is none, None when it is empty."""
    try:
        return json.loads(body) if body else None
    except ValueError:
        return body.decode(errors="replace")
