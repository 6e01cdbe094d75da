"""The API: how often a caller may change something, and what a request may hold."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from api_world import World, api_world
from hypothesis import given
from hypothesis import strategies as st
from test_api_edges import JSON, check_problem

from hftray.api.limits import Allowance
from hftray.core.errors import ConfigError, NotFound, OrderRejected, UnknownOutcome

TOKEN = "a-long-token"
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    # The default of `Allowance`: how the application makes one.
    monkeypatch.setitem(Allowance.__init__.__kwdefaults__, "clock", made)
    return made


@pytest.fixture
async def limited(clock: Clock) -> AsyncIterator[World]:
    """Eight changes a minute, two at once: one every 7.5 seconds."""
    async with api_world(mutations_per_minute=8) as made:
        yield made


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with api_world() as made:
        yield made


# The bucket


def test_a_burst_then_one_every_interval() -> None:
    clock = Clock()
    allowance = Allowance(per_minute=60, burst=3, clock=clock)
    assert [allowance.wait("a") for _ in range(3)] == [0, 0, 0]
    assert allowance.wait("a") == pytest.approx(1)
    clock.now += 0.25
    assert allowance.wait("a") == pytest.approx(0.75)
    clock.now += 0.75
    assert allowance.wait("a") == 0
    assert allowance.wait("a") > 0
    assert allowance.wait("b") == 0


def test_a_refused_call_costs_nothing_and_rest_fills_only_the_bucket() -> None:
    clock = Clock()
    allowance = Allowance(per_minute=60, burst=2, clock=clock)
    for _ in range(50):
        allowance.wait("a")
    clock.now += 3600
    assert [allowance.wait("a") == 0 for _ in range(3)] == [True, True, False]


@given(
    per_minute=st.integers(1, 100_000),
    burst=st.integers(1, 100),
    steps=st.lists(st.floats(0, 30), max_size=60),
)
def test_never_more_than_the_rate_and_always_after_the_wait(
    per_minute: int, burst: int, steps: list[float]
) -> None:
    clock = Clock()
    allowance = Allowance(per_minute=per_minute, burst=burst, clock=clock)
    began = clock.now
    for passed, step in enumerate(steps, start=1):
        clock.now += step
        wait = allowance.wait("a")
        if wait:
            clock.now += wait
            assert allowance.wait("a") == 0
        assert passed <= burst + (clock.now - began) * per_minute / 60 + 1e-3


# At the API


async def test_too_many_changes_are_a_429_that_says_when(limited: World, clock: Clock) -> None:
    for _ in range(2):
        assert (await limited.client.post("/api/users", json={})).status_code == 201
    refused = await limited.client.post("/api/users", json={})
    check_problem(refused, 429)
    assert refused.headers["retry-after"] == "8"
    assert refused.headers["x-content-type-options"] == "nosniff"
    assert refused.headers["cache-control"] == "no-store"
    clock.now += 8
    assert (await limited.client.post("/api/users", json={})).status_code == 201


async def test_every_method_that_changes_counts_and_reading_does_not(limited: World) -> None:
    await limited.client.patch("/api/strategies/4", json={"is_active": False})
    await limited.client.delete("/api/strategies/4")
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        check_problem(await limited.client.request(method, "/api/strategies/3"), 429)
    for _ in range(20):
        assert (await limited.client.get("/api/strategies")).status_code == 200


@pytest.mark.parametrize("path", ["/api/engine/kill", "/api/engine/stop"])
async def test_what_ends_risk_is_never_refused(limited: World, path: str) -> None:
    while (await limited.client.post("/api/users", json={})).status_code != 429:
        pass
    for _ in range(50):
        assert (await limited.client.post(path)).status_code == 200
    check_problem(await limited.client.post("/api/engine/resume"), 429)


async def test_who_lacks_the_token_uses_up_nobody_s_allowance(clock: Clock) -> None:
    async with api_world(token=TOKEN, mutations_per_minute=8) as world:
        for _ in range(20):
            check_problem(await world.client.post("/api/users", json={}), 401)
        answer = await world.client.post("/api/users", json={}, headers=BEARER)
        assert answer.status_code == 201


async def test_without_a_limit_nothing_is_refused(world: World) -> None:
    for _ in range(300):
        assert (await world.client.post("/api/engine/start")).status_code == 200


async def test_the_document_says_where_a_429_can_come(limited: World, world: World) -> None:
    for paths, limit in ((limited.app.openapi()["paths"], True), (world.app.openapi()["paths"], 0)):
        for path, operations in paths.items():
            for verb, operation in operations.items():
                counts = verb != "get" and path not in ("/api/engine/kill", "/api/engine/stop")
                assert ("429" in operation["responses"]) == (bool(limit) and counts), (verb, path)
                if "429" in operation["responses"]:
                    header = operation["responses"]["429"]["headers"]["Retry-After"]
                    assert header["schema"] == {"type": "integer", "minimum": 1}


# What a request may hold


def parameters(value: str) -> bytes:
    return b'{"name": "x", "kind": "rsi", "parameters": {"period": %s}}' % value.encode()


@pytest.mark.parametrize(
    "value",
    [
        "1e400", "-1e400", "NaN", "Infinity", "1" * 5000, "[" * 90 + "]" * 90,
        "[" * 900 + "]" * 900, "[" * 20_000 + "]" * 20_000, json.dumps("x" * 101),
        json.dumps(["x"] * 200), json.dumps({str(n): n for n in range(100)}), '"\\ud800"',
        '"\\u0000"',
    ],
)  # fmt: skip
async def test_parameters_out_of_bounds(world: World, value: str) -> None:
    answer = await world.client.post("/api/strategies", content=parameters(value), headers=JSON)
    check_problem(answer, 422)
    assert len(answer.content) < 5_000


@pytest.mark.parametrize("text", ["a\x00b", "\x00", '"\\ud800"', '"\\udfff\\ud800"'])
@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/api/strategies", {"name": "x", "kind": "rsi"}, "name"),
        ("/api/strategies", {"name": "x", "kind": "rsi"}, "description"),
        ("/api/strategies", {"name": "x", "kind": "rsi"}, "kind"),
        ("/api/trades", {"symbol": "TCS", "side": "BUY", "quantity": 1, "price": 1}, "symbol"),
        ("/api/trades", {"symbol": "TCS", "side": "BUY", "quantity": 1, "price": 1}, "user_id"),
        ("/api/users", {}, "id"),
        ("/api/users", {}, "email"),
        ("/api/users", {}, "first_name"),
        ("/api/users", {}, "last_name"),
        ("/api/users", {}, "groww_api_key"),
        ("/api/engine/kill", {}, "reason"),
        ("/api/engine/resume", {}, "reason"),
        ("/api/backtest", {"start_date": "2024-01-01", "end_date": "2024-01-02"}, "symbol"),
    ],
)
async def test_text_that_postgresql_cannot_store_is_a_422(
    world: World, path: str, body: dict[str, Any], field: str, text: str
) -> None:
    raw = text if text.startswith('"') else json.dumps(text)
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in body.items()]
    content = "{" + ", ".join([*members, f"{json.dumps(field)}: {raw}"]) + "}"
    answer = await world.client.post(path, content=content, headers=JSON)
    assert field in [error["field"] for error in check_problem(answer, 422)["errors"]]


@pytest.mark.parametrize(
    "path",
    [
        f"/api/trades/{'9' * 5000}", "/api/trades/2147483648", "/api/trades/0",
        "/api/strategies/-1", "/api/trades?run_id=2147483648",
        "/api/trades?offset=9223372036854775808",
        "/api/trades?limit=1001", "/api/equity?limit=5001", "/api/engine/signals?limit=501",
        "/api/market/TCS?limit=1001", f"/api/market/TCS?indicators={'rsi,' * 60}",
        f"/api/market/{'X' * 33}", f"/api/trades?symbol={'X' * 33}", "/api/trades?symbol=a%00b",
        "/api/trades?from=0001-01-01T00:00:00%2B23:59", "/api/trades?to=9999-12-31T23:59:59-23:59",
        "/api/trades?from=1e400", "/api/users/a~b", f"/api/users/{'a' * 65}",
    ],
)  # fmt: skip
async def test_numbers_texts_and_times_out_of_bounds(world: World, path: str) -> None:
    check_problem(await world.client.get(path), 422)


@pytest.mark.parametrize(
    ("price", "stored"),
    [(0.57, "0.57"), (57 * 0.01, "0.57"), ("1412.5", "1412.50"), (10**12, "1000000000000.00")],
)
async def test_prices_that_are_paise(world: World, price: Any, stored: str) -> None:
    body = {"symbol": "TCS", "side": "BUY", "quantity": 10.0, "price": price}
    answer = await world.client.post("/api/trades", json=body)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["price"], answer.json()["quantity"]) == (stored, 10)


@pytest.mark.parametrize(
    "price", [1412.503, 0.001, 1e13, "1e3", " 1", "+1", "1_000", "0.00", "1.234", "٣", True, [1]]
)
async def test_prices_that_are_not(world: World, price: Any) -> None:
    body = {"symbol": "TCS", "side": "BUY", "quantity": 10, "price": price}
    check_problem(await world.client.post("/api/trades", json=body), 422)


async def test_an_answer_names_a_bounded_number_of_wrong_fields(world: World) -> None:
    answer = await world.client.post("/api/users", json={f"f{n}": n for n in range(4000)})
    assert len(check_problem(answer, 422)["errors"]) == 50


# What no answer shows

FAULTS: list[Callable[[str], Exception]] = [RuntimeError, KeyError, OSError, AssertionError]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("path", ["/api/engine/status", "/api/trades", "/api/positions", "/"])
async def test_a_route_that_raises_tells_nothing_of_it(
    world: World, path: str, fault: Callable[[str], Exception]
) -> None:
    world.desk.failure = fault("postgresql://u:hunter2@db and hftray/source.py")
    answer: httpx.Response = await world.client.get(path)
    check_problem(answer, 500)
    for word in ("hunter2", "postgresql", "source", "Traceback", 'File "', fault.__name__):
        assert word not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src")


@pytest.mark.parametrize("error", [ConfigError, OrderRejected, UnknownOutcome, NotFound])
async def test_a_reason_that_is_told_holds_no_secret(world: World, error: type[Exception]) -> None:
    world.desk.failure = error("postgresql://u:hunter2@db refuses us; api_secret='hunter2'")
    answer = await world.client.post("/api/engine/start")
    assert answer.status_code in (404, 409, 504)
    assert "refuses us" in answer.json()["detail"]
    assert "hunter2" not in answer.text
