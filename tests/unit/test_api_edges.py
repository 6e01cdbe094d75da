"""The API: who may call, what every error looks like, the documentation."""

import json
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from api_world import World, api_world
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

from hftray.core.errors import BrokerUnavailable, ConfigError, LedgerUnavailable, UnknownOutcome

TOKEN = "a-long-token"
JSON = {"content-type": "application/json"}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with api_world() as made:
        yield made


@pytest.fixture
async def guarded() -> AsyncIterator[World]:
    async with api_world(token=TOKEN) as made:
        yield made


def check_problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert {"type", "title", "status", "detail", "instance"} <= set(body)
    assert body["status"] == status
    assert body["instance"] == answer.request.url.path
    return body


# Errors


async def test_unknown_path_and_wrong_method(world: World) -> None:
    check_problem(await world.client.get("/api/nothing"), 404)
    wrong = await world.client.put("/api/strategies/4")
    check_problem(wrong, 405)
    assert wrong.headers["allow"] == "DELETE, GET, HEAD, PATCH"


async def test_a_crash_shows_no_trace_and_keeps_the_headers(world: World) -> None:
    world.desk.failure = ZeroDivisionError("secret detail")
    answer = await world.client.post("/api/engine/stop")
    check_problem(answer, 500)
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("error", [LedgerUnavailable, BrokerUnavailable])
async def test_what_may_work_later_says_when(world: World, error: type[Exception]) -> None:
    world.desk.failure = error("postgresql://user:pass@host is away")
    answer = await world.client.post("/api/engine/stop")
    check_problem(answer, 503)
    assert int(answer.headers["retry-after"]) > 0
    assert "pass" not in answer.text


@pytest.mark.parametrize(("error", "status"), [(ConfigError, 409), (UnknownOutcome, 504)])
async def test_other_errors_of_the_engine(
    world: World, error: type[Exception], status: int
) -> None:
    world.desk.failure = error("live needs the Groww keys")
    problem = check_problem(await world.client.post("/api/engine/start"), status)
    assert "live needs the Groww keys" in problem["detail"]


@pytest.mark.parametrize(
    "content",
    [b"{", b"\xff\xfe", b"[" * 60_000, b"[]", b'"text"', b"", b'{"\\ud800": 1}', b'{"price": NaN}'],
)
async def test_a_body_that_is_no_object_is_a_422(world: World, content: bytes) -> None:
    answer = await world.client.post("/api/trades", content=content, headers=JSON)
    assert check_problem(answer, 422)["errors"]


async def test_lone_surrogates_and_huge_numbers_in_parameters(world: World) -> None:
    for value in (b'"\\ud800"', b'{"\\udfff": 1}', b"1e400", b"NaN", b"1" + b"0" * 400):
        content = b'{"name": "x", "kind": "rsi", "parameters": {"period": ' + value + b"}}"
        answer = await world.client.post("/api/strategies", content=content, headers=JSON)
        check_problem(answer, 422)


async def test_a_body_over_64_kib_is_a_413(world: World) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(70):
            yield b" " * 1024

    whole = await world.client.post("/api/trades", content=b" " * 70_000, headers=JSON)
    check_problem(whole, 413)
    pieces = await world.client.post("/api/trades", content=chunks(), headers=JSON)
    check_problem(pieces, 413)


@settings(max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(
        ["/api/trades", "/api/strategies", "/api/users", "/api/backtest", "/api/engine/kill"]
    ),
    body=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["name", "kind", "symbol", "side", "price", "quantity", "id"])
                | st.text(max_size=5),
                inner,
                max_size=5,
            )
        ),
        max_leaves=8,
    ),
)
async def test_no_body_makes_the_server_fail(world: World, path: str, body: Any) -> None:
    answer = await world.client.post(path, content=json.dumps(body), headers=JSON)
    assert answer.status_code < 500


# Who may call


async def test_health_and_docs_need_no_token(guarded: World) -> None:
    for path in ("/health", "/docs", "/openapi.json", "/docs/assets/swagger-ui.css"):
        assert (await guarded.client.get(path)).status_code == 200


@pytest.mark.parametrize(
    "header", [None, "Bearer wrong", f"Basic {TOKEN}", TOKEN, "Bearer", f"Bearer {TOKEN}x"]
)
@pytest.mark.parametrize("path", ["/", "/api/trades", "/api/nothing", "/docsx", "/health/"])
async def test_everything_else_does(guarded: World, path: str, header: str | None) -> None:
    headers = {"authorization": header} if header else {}
    answer = await guarded.client.get(path, headers=headers)
    check_problem(answer, 401)
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_the_token_opens(guarded: World) -> None:
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert (await guarded.client.get("/api/trades", headers=headers)).status_code == 200
    foreign = headers | {"host": "trading.example.in"}
    assert (await guarded.client.post("/api/engine/stop", headers=foreign)).status_code == 200


async def test_odd_characters_in_the_token_are_a_401(guarded: World) -> None:
    answer = await guarded.client.get("/api/trades", headers={"authorization": b"Bearer \xff"})
    check_problem(answer, 401)


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5000", "[::1", ""])
async def test_without_a_token_only_loopback_names_are_served(world: World, host: str) -> None:
    check_problem(await world.client.get("/api/trades", headers={"host": host}), 403)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000", "[::1]:5000"])
async def test_loopback_names(world: World, host: str) -> None:
    assert (await world.client.get("/api/trades", headers={"host": host})).status_code == 200


async def test_a_page_of_another_site_cannot_press_the_switches(world: World) -> None:
    answer = await world.client.post("/api/engine/stop", headers={"origin": "https://evil.example"})
    check_problem(answer, 403)
    assert world.desk.calls == []
    own = await world.client.post("/api/engine/stop", headers={"origin": "http://localhost:5000"})
    assert own.status_code == 200


async def test_the_token_is_shown_nowhere(guarded: World) -> None:
    for path in ("/docs", "/openapi.json", "/health"):
        assert TOKEN not in (await guarded.client.get(path)).text
    assert TOKEN not in repr(guarded.app.state.services)


# Headers, HEAD, documentation


@pytest.mark.parametrize("path", ["/health", "/api/trades", "/api/nothing", "/docs"])
async def test_security_headers(world: World, path: str) -> None:
    headers = (await world.client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src" in headers["content-security-policy"]
    assert (headers.get("cache-control") == "no-store") is path.startswith("/api")


async def test_head_is_get_without_a_body(world: World) -> None:
    got = await world.client.get("/api/symbols")
    head = await world.client.head("/api/symbols")
    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["content-length"] == got.headers["content-length"]


async def test_the_docs_page_loads_nothing_from_elsewhere(world: World) -> None:
    page = (await world.client.get("/docs")).text
    assert "//" not in re.sub(r"<!--.*?-->", "", page)
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(loaded) == 3
    for path in loaded:
        assert (await world.client.get(path)).status_code == 200
    assert '"validatorUrl": null' in page


async def test_every_error_is_declared(guarded: World) -> None:
    document = (await guarded.client.get("/openapi.json")).json()
    assert document["paths"].keys() >= {"/api/backtest", "/api/engine/kill", "/api/risk/kelly"}
    for path, verbs in document["paths"].items():
        for verb, operation in verbs.items():
            responses = operation["responses"]
            assert "500" in responses
            if path != "/health":
                assert {"401", "503"} <= responses.keys()
                assert operation["security"] == [{"HTTPBearer": []}]
            if operation.get("parameters") or operation.get("requestBody"):
                assert "422" in responses, (verb, path)
            if "requestBody" in operation:
                assert "413" in responses, (verb, path)
            for status, response in responses.items():
                if status >= "400":
                    schema = response["content"]["application/problem+json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/Problem"}
                    assert "application/json" not in response["content"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_without_a_token_the_document_asks_for_none(world: World) -> None:
    document = (await world.client.get("/openapi.json")).json()
    assert "securitySchemes" not in document["components"]


async def test_groww_keys_are_write_only_in_the_document(world: World) -> None:
    schemas = (await world.client.get("/openapi.json")).json()["components"]["schemas"]
    holders = {name for name, schema in schemas.items() if "groww_api_key" in str(schema)}
    assert holders == {"UserCreate", "UserPatch"}
