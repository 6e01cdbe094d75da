"""What each answer of Groww becomes, what is repeated, and what paper trading may not send."""

import logging
import pickle
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from groww_world import (
    KEY,
    OPTIONS,
    SECRET,
    FakeGroww,
    after,
    connected,
    failure,
    ok,
)
from virtual_time import now, run

from hftray.adapters.groww.connection import Category, GrowwConnection, ReadOnlyConnection, Urgency
from hftray.adapters.groww.errors import (
    AccessDenied,
    DuplicateReference,
    GrowwRefused,
    UnreadableReply,
)
from hftray.core.errors import BrokerUnavailable, HftrayError, NotFound, UnknownOutcome

HTML = httpx.Response(200, text="<html>maintenance</html>")


async def place(connection: Any) -> Any:
    return await connection.post(
        "/order/create", {"quantity": 1}, category=Category.ORDERS, urgency=Urgency.ENTRY
    )


async def look_up(connection: Any) -> Any:
    return await connection.get("/order/list", {"segment": "CASH"}, category=Category.NON_TRADING)


def outcome(answer: Callable[[httpx.Request], Any], call: Callable[[Any], Any]) -> Any:
    """The error of one call and how many requests it took."""
    groww = FakeGroww(answer)

    async def scene() -> HftrayError:
        connection = connected(groww)
        with pytest.raises(HftrayError) as caught:
            await call(connection)
        await connection.close()
        return caught.value

    return run(scene()), len(groww.seen)


@pytest.mark.parametrize(
    ("answer", "question", "order"),
    [
        (failure(400, "GA001"), GrowwRefused, GrowwRefused),
        (failure(200, "GA001"), GrowwRefused, GrowwRefused),
        (failure(200, "GA006"), GrowwRefused, GrowwRefused),
        (failure(422, "GA999"), GrowwRefused, GrowwRefused),
        (failure(400, "GA007"), DuplicateReference, DuplicateReference),
        (failure(404, "GA004"), NotFound, NotFound),
        (failure(200, "GA004"), NotFound, NotFound),
        (httpx.Response(404, json={}), NotFound, NotFound),
        (failure(403, "GA005"), AccessDenied, AccessDenied),
        (failure(200, "GA005"), AccessDenied, AccessDenied),
        (httpx.Response(403, text="<html>"), AccessDenied, AccessDenied),
        (failure(500, "GA000"), BrokerUnavailable, UnknownOutcome),
        (failure(200, "GA000"), BrokerUnavailable, UnknownOutcome),
        (failure(400, "GA003"), BrokerUnavailable, UnknownOutcome),
        (failure(404, "GA003"), BrokerUnavailable, UnknownOutcome),
        (failure(500, "GA001"), BrokerUnavailable, UnknownOutcome),
        (failure(200, "GA002"), BrokerUnavailable, UnknownOutcome),
        (failure(408, "GA001"), BrokerUnavailable, UnknownOutcome),
        (httpx.Response(502, text="<html>bad gateway</html>"), BrokerUnavailable, UnknownOutcome),
        (httpx.Response(504), BrokerUnavailable, UnknownOutcome),
        (httpx.Response(302, headers={"Location": "/x"}), UnreadableReply, UnknownOutcome),
        (httpx.Response(404, text="<html>no such page</html>"), UnreadableReply, UnknownOutcome),
        (HTML, UnreadableReply, UnknownOutcome),
        (httpx.Response(200), UnreadableReply, UnknownOutcome),
        (httpx.Response(200, json=[]), UnreadableReply, UnknownOutcome),
        (httpx.Response(200, json={"status": "SUCCESS"}), UnreadableReply, UnknownOutcome),
        (ok(None), UnreadableReply, UnknownOutcome),
        (
            httpx.Response(200, json={"status": "FAILURE", "error": None}),
            BrokerUnavailable,
            UnknownOutcome,
        ),
        (httpx.ReadTimeout("slow"), BrokerUnavailable, UnknownOutcome),
        (httpx.WriteTimeout("slow"), BrokerUnavailable, UnknownOutcome),
        (httpx.ReadError("reset"), BrokerUnavailable, UnknownOutcome),
        (httpx.WriteError("reset"), BrokerUnavailable, UnknownOutcome),
        (httpx.RemoteProtocolError("no answer"), BrokerUnavailable, UnknownOutcome),
        (httpx.DecodingError("gzip"), BrokerUnavailable, UnknownOutcome),
        (httpx.ConnectError("refused"), BrokerUnavailable, BrokerUnavailable),
        (httpx.ConnectTimeout("dead"), BrokerUnavailable, BrokerUnavailable),
        (httpx.PoolTimeout("busy"), BrokerUnavailable, BrokerUnavailable),
    ],
)
def test_an_answer_says_what_may_be_done(
    answer: Any, question: type[HftrayError], order: type[HftrayError]
) -> None:
    asked, _ = outcome(lambda _: answer, look_up)
    assert type(asked).__mro__[1] is question or type(asked) is question
    placed, requests = outcome(lambda _: answer, place)
    assert type(placed) is order
    assert requests == 1  # an order is sent once, however it went


def test_a_refusal_carries_code_and_status_and_survives_a_process_boundary() -> None:
    error, _ = outcome(lambda _: failure(400, "GA007", "reference in use"), place)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.code, again.status) == (DuplicateReference, "GA007", 400)
    assert "POST /order/create was answered 400 GA007 (reference in use)" in str(again)


def test_a_payload_is_handed_on_and_a_bare_body_too() -> None:
    answers = iter([ok({"order_list": []}), httpx.Response(200, json={"ltp": 1})])

    async def scene() -> list[Any]:
        connection = connected(FakeGroww(lambda _: next(answers)))
        return [await look_up(connection), await look_up(connection)]

    assert run(scene()) == [{"order_list": []}, {"ltp": 1}]


def test_requests_look_as_documented() -> None:
    groww = FakeGroww(lambda _: ok({}))

    async def scene() -> None:
        connection = connected(groww)
        await look_up(connection)
        await place(connection)

    run(scene())
    asked, placed = groww.seen
    assert str(asked.url) == "https://groww.test/v1/order/list?segment=CASH"
    assert asked.headers["Authorization"] == "Bearer token-1"
    assert asked.headers["X-API-VERSION"] == "1.0"
    assert placed.headers["Content-Type"] == "application/json"
    assert groww.bodies() == [{"quantity": 1}]


def test_a_broken_connection_is_tried_once_more_for_a_question_only() -> None:
    answers = iter([httpx.RemoteProtocolError("stale"), ok({})])
    groww = FakeGroww(lambda _: next(answers))

    async def scene() -> None:
        await look_up(connected(groww))

    run(scene())
    assert len(groww.seen) == 2


def test_the_whole_call_has_a_time_limit() -> None:
    """Also when the answer trickles, so that no single read takes too long."""

    async def scene() -> float:
        connection = connected(FakeGroww(lambda _: after(3600, ok({}))))
        began = now()
        with pytest.raises(UnknownOutcome, match="10 seconds"):
            await place(connection)
        return now() - began

    assert run(scene()) == pytest.approx(10, abs=0.1)


def test_a_429_is_not_taken_and_is_repeated_after_the_pause() -> None:
    answers = iter([httpx.Response(429, headers={"Retry-After": "2"}, text="slow down"), ok({})])
    groww = FakeGroww(lambda _: next(answers))

    async def scene() -> float:
        await place(connected(groww))
        return now()

    assert run(scene()) == pytest.approx(2, abs=0.01)
    assert len(groww.seen) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"Retry-After": "60"},
        {"Retry-After": "Thu, 26 Nov 2026 04:01:00 GMT", "Date": "Thu, 26 Nov 2026 04:00:00 GMT"},
    ],
)
def test_a_429_beyond_the_patience_is_told_at_once(headers: dict[str, str]) -> None:
    error, requests = outcome(lambda _: httpx.Response(429, headers=headers), place)
    assert isinstance(error, BrokerUnavailable)
    assert requests == 1


def test_429s_without_end_are_unavailability() -> None:
    error, requests = outcome(lambda _: httpx.Response(429), place)
    assert isinstance(error, BrokerUnavailable)
    assert 2 <= requests <= 6


def test_posts_to_order_paths_count_as_orders_whatever_the_caller_says() -> None:
    moments: list[float] = []
    groww = FakeGroww(lambda _: moments.append(now()) or ok({}))

    async def scene() -> None:
        connection = connected(groww, options=replace(OPTIONS, historical_per_second=10_000))
        for _ in range(25):
            await connection.post(
                "/order/cancel", {}, category=Category.HISTORICAL, urgency=Urgency.EXIT
            )

    run(scene())
    assert all(later - earlier > 1 for earlier, later in zip(moments, moments[10:], strict=False))


def test_clock_skew_is_measured_from_the_date_header() -> None:
    dated = httpx.Response(
        200,
        json={"status": "SUCCESS", "payload": {}},
        headers={"Date": "Thu, 26 Nov 2026 04:00:30 GMT"},
    )

    async def scene() -> float:
        connection = connected(FakeGroww(lambda _: dated))
        await look_up(connection)
        return connection.clock_skew.total_seconds()

    assert run(scene()) == pytest.approx(30.5, abs=0.01)


ORDER_PATHS = [
    "/order/create", "/order/modify", "/order/cancel", "/order/list", "/order/status/GMK1",
    "/order-advance/create", "/order-advance/list", "/order",
]  # fmt: skip


@pytest.mark.parametrize("path", ORDER_PATHS)
def test_a_connection_for_paper_sends_nothing_to_order_paths(path: str) -> None:
    groww = FakeGroww(lambda _: ok({}))

    async def scene() -> None:
        connection = connected(groww, kind=ReadOnlyConnection)
        with pytest.raises(AccessDenied, match="only read"):
            await connection.get(path, category=Category.NON_TRADING)
        # Code that goes round the connection's own methods is stopped before the network.
        with pytest.raises(AccessDenied, match="only read"):
            await connection._sender._http.request("POST", path, json={})
        with pytest.raises(AccessDenied, match="only read"):
            await connection._sender._http.request("POST", f"/live-data/..{path}", json={})

    run(scene())
    assert groww.seen == []
    assert groww.minted == []


def test_a_connection_for_paper_reads_and_logs_in_to_the_stream() -> None:
    assert not hasattr(ReadOnlyConnection, "post")
    assert not issubclass(ReadOnlyConnection, GrowwConnection)
    groww = FakeGroww(lambda request: ok({"path": request.url.path}))

    async def scene() -> None:
        connection = connected(groww, kind=ReadOnlyConnection)
        for path in ("/live-data/ltp", "/historical/candles", "/user/detail", "/positions/user"):
            await connection.get(path, category=Category.LIVE_DATA)
        await connection.get("/margins/detail/user", category=Category.NON_TRADING)
        await connection.stream_token("UPUBLIC")

    run(scene())
    assert groww.bodies() == [{"socketKey": "UPUBLIC"}]
    assert groww.seen[-1].url.path == "/v1/api/apex/v1/socket/token/create/"


@pytest.mark.parametrize("path", ["order/list", "/a//b", "/a/../order", "/a?b=c", "/a%2Fb", ""])
def test_a_path_is_a_plain_path(path: str) -> None:
    async def scene() -> None:
        with pytest.raises(ValueError, match="not a path"):
            await connected(FakeGroww(lambda _: ok({}))).get(path, category=Category.LIVE_DATA)

    run(scene())


def test_no_secret_is_told_to_anyone(caplog: pytest.LogCaptureFixture) -> None:
    """Not in logs (of httpx either), errors, their causes, or reprs."""
    caplog.set_level(logging.DEBUG)
    answers: list[Any] = [
        ok({}),
        failure(400, "GA001", "token-1 is bad"),
        failure(403, "GA005", "Bearer token-1"),
        httpx.Response(500, text="token-1"),
        httpx.ReadTimeout("token-1"),
        httpx.ConnectError("Authorization=token-1"),
    ]
    told: list[str] = []

    async def scene() -> None:
        for answer in answers:
            connection = connected(FakeGroww(lambda _, answer=answer: answer))
            try:
                await place(connection)
            except HftrayError as error:
                told.append(repr(error.__cause__) + repr(vars(error.__cause__ or error)))
                told.extend([str(error), repr(error), repr(vars(error))])
            told.extend([repr(connection), repr(connection._session), repr(vars(connection))])
            told.append(repr(vars(connection._session)) + repr(vars(connection._sender)))
            await connection.close()

    run(scene())
    everything = "\n".join(
        told + [record.getMessage() + repr(vars(record)) for record in caplog.records]
    )
    assert "was answered 403" in everything
    for secret in (KEY, SECRET, "token-1"):
        assert secret not in everything
