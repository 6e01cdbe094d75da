"""The API: strategies, trades and users."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from api_world import World, api_world

from hftray.core.errors import RetryError


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with api_world() as made:
        yield made


def fields(answer: Any) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [error["field"] for error in answer.json()["errors"]]


# Strategies


async def test_list_and_get(world: World) -> None:
    rows = (await world.client.get("/api/strategies")).json()
    assert [row["id"] for row in rows] == [1, 2, 3, 4]
    one = (await world.client.get("/api/strategies/4")).json()
    assert one == rows[3]
    assert one["kind"] == "bollinger"
    for missing in ("/api/strategies/5", "/api/trades/999", "/api/users/nobody"):
        assert (await world.client.get(missing)).status_code == 404


async def test_the_specifications_toggle(world: World) -> None:
    answer = await world.client.patch("/api/strategies/4", json={"is_active": False})
    assert answer.status_code == 200
    assert answer.json()["is_active"] is False
    assert (await world.catalog.get_strategy(4)).is_active is False
    assert world.desk.calls == [("strategies_changed",)]


async def test_a_stored_change_counts_when_the_engine_is_away(world: World) -> None:
    world.desk.failure = RetryError("away")
    answer = await world.client.patch("/api/strategies/4", json={"is_active": False})
    assert answer.status_code == 200
    assert (await world.catalog.get_strategy(4)).is_active is False


async def test_patch_merges_parameters(world: World) -> None:
    await world.client.patch("/api/strategies/2", json={"parameters": {"period": 21}})
    answer = await world.client.patch(
        "/api/strategies/2", json={"name": "Slow RSI", "parameters": {"weight": 0.5}}
    )
    body = answer.json()
    assert body["name"] == "Slow RSI"
    assert body["parameters"]["period"] == 21
    assert body["parameters"]["weight"] == 0.5


async def test_create_completes_parameters_and_notifies(world: World) -> None:
    body = {"name": "Fast SMA", "kind": "ma_crossover", "parameters": {"variants": ["sma"]}}
    answer = await world.client.post("/api/strategies", json=body)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"] == f"/api/strategies/{made['id']}"
    assert made["parameters"]["variants"] == ["sma"]
    assert made["parameters"]["long_period"] == 50
    assert world.desk.calls == [("strategies_changed",)]
    again = await world.client.post("/api/strategies", json=body)
    assert again.status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "x", "kind": "luck"}, "kind"),
        ({"name": "x"}, "kind"),
        ({"name": "", "kind": "rsi"}, "name"),
        ({"name": "a\x00b", "kind": "rsi"}, "name"),
        ({"name": "x", "kind": "rsi", "parameters": {"period": 0}}, "parameters.period"),
        ({"name": "x", "kind": "rsi", "parameters": {"perod": 9}}, "parameters.perod"),
        ({"name": "x", "kind": "rsi", "parameters": {"period": 10**30}}, "parameters"),
        ({"name": "x", "kind": "rsi", "parameters": {"a\x00": [{"b": "\x00"}]}}, "parameters"),
        ({"name": "x", "kind": "rsi", "parameters": []}, "parameters"),
        ({"name": "x", "kind": "rsi", "is_active": "maybe"}, "is_active"),
        ({"name": "x", "kind": "rsi", "owner": "me"}, "owner"),
    ],
)
async def test_a_bad_strategy_names_the_field(
    world: World, body: dict[str, Any], field: str
) -> None:
    assert fields(await world.client.post("/api/strategies", json=body)) == [field]
    assert world.desk.calls == []


async def test_a_bad_patch_changes_nothing(world: World) -> None:
    before = await world.catalog.get_strategy(2)
    answer = await world.client.patch("/api/strategies/2", json={"parameters": {"period": -1}})
    assert fields(answer) == ["parameters.period"]
    assert await world.catalog.get_strategy(2) == before


async def test_delete(world: World) -> None:
    answer = await world.client.delete("/api/strategies/4")
    assert answer.status_code == 204
    assert answer.content == b""
    assert world.desk.calls == [("strategies_changed",)]
    assert (await world.client.delete("/api/strategies/4")).status_code == 404


# Trades


async def test_trades_are_those_of_the_present_run_newest_first(world: World) -> None:
    trades = (await world.client.get("/api/trades")).json()
    references = [trade["reference"] for trade in trades]
    assert references == ["held", "lost-exit", "lost", "won-exit", "won"]
    assert trades[1]["pnl"] == "-200.00"
    assert trades[0]["price"] == "1402.50"
    assert trades[0]["strategy_name"] == "Moving Average Crossover"
    other = (await world.client.get("/api/trades?run_id=2")).json()
    assert [trade["reference"] for trade in other] == ["other"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("symbol=RELIANCE", 5),
        ("symbol=TCS", 0),
        ("side=SELL", 2),
        ("status=PENDING", 0),
        ("leg=EXIT", 2),
        ("strategy_id=1", 5),
        ("limit=2", 2),
        ("limit=2&offset=4", 1),
        ("from=2026-06-01T12:10:00&to=2026-06-01T12:20:00", 2),
    ],
)
async def test_trade_filters(world: World, query: str, count: int) -> None:
    assert len((await world.client.get(f"/api/trades?{query}")).json()) == count


async def test_a_filter_on_an_unknown_symbol_is_a_404(world: World) -> None:
    assert (await world.client.get("/api/trades?symbol=NOPE")).status_code == 404


@pytest.mark.parametrize(
    ("query", "field"),
    [("side=buy", "side"), ("limit=1001", "limit"), ("offset=-1", "offset"),
     ("symbol=%00", "symbol"), ("strategy_id=2147483648", "strategy_id"), ("run_id=x", "run_id")],
)  # fmt: skip
async def test_a_bad_trade_query_names_the_parameter(world: World, query: str, field: str) -> None:
    assert fields(await world.client.get(f"/api/trades?{query}")) == [field]


TRADE = {"symbol": "TCS", "side": "BUY", "quantity": 10, "price": 3500.5}


async def test_record_a_trade_by_hand(world: World) -> None:
    answer = await world.client.post("/api/trades", json=TRADE | {"strategy_id": 4})
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert made["price"] == "3500.50"
    assert (made["leg"], made["status"], made["user_id"]) == ("MANUAL", "EXECUTED", "default")
    assert (await world.client.get(answer.headers["location"])).json() == made
    assert (await world.client.get("/api/trades?symbol=TCS")).json() == [made]


async def test_a_trade_by_hand_is_on_the_exchange_of_its_symbol(world: World) -> None:
    made = [
        (await world.client.post("/api/trades", json=TRADE | {"symbol": symbol})).json()
        for symbol in ("RELIANCE", "BSE:RELIANCE")
    ]
    assert [row["exchange"] for row in made] == ["NSE", "BSE"]
    assert (await world.client.get("/api/trades?symbol=BSE:RELIANCE")).json() == [made[1]]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"side": "HOLD"}, "side"),
        ({"quantity": 0}, "quantity"),
        ({"quantity": 2**31}, "quantity"),
        ({"quantity": 1.5}, "quantity"),
        ({"price": 0}, "price"),
        ({"price": -1}, "price"),
        ({"price": "3500.505"}, "price"),
        ({"price": "Infinity"}, "price"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "timestamp"),
        ({"user_id": "a b"}, "user_id"),
        ({"pnl": "1"}, "pnl"),
    ],
)
async def test_a_bad_trade_names_the_field(
    world: World, change: dict[str, Any], field: str
) -> None:
    assert fields(await world.client.post("/api/trades", json=TRADE | change)) == [field]


@pytest.mark.parametrize("change", [{"symbol": "NOPE"}, {"strategy_id": 99}, {"user_id": "nobody"}])
async def test_a_trade_of_something_unknown_is_a_404(world: World, change: dict[str, Any]) -> None:
    before = (await world.client.get("/api/trades")).json()
    assert (await world.client.post("/api/trades", json=TRADE | change)).status_code == 404
    assert (await world.client.get("/api/trades")).json() == before


# Users

KEYS = {"groww_api_key": "key-of-asha", "groww_api_secret": "secret-of-asha"}


async def test_create_a_user_and_never_see_the_keys(world: World) -> None:
    body = {"id": "asha", "email": "asha@example.in", "initial_capital": 250000} | KEYS
    created = await world.client.post("/api/users", json=body)
    assert created.status_code == 201, created.text
    read = await world.client.get(created.headers["location"])
    changed = await world.client.patch("/api/users/asha", json=KEYS | {"first_name": "Asha"})
    for answer in (created, read, changed):
        assert answer.json()["has_groww_credentials"] is True
        assert answer.json()["initial_capital"] == "250000.00"
        assert "of-asha" not in answer.text
    stored = await world.catalog.groww_credentials("asha")
    assert stored is not None
    assert stored.api_secret == "secret-of-asha"


async def test_a_rejected_key_is_not_echoed(world: World) -> None:
    bad = {"groww_api_key": "key-of-asha" * 500, "groww_api_secret": ["secret-of-asha"]}
    answer = await world.client.patch("/api/users/default", json=bad)
    assert fields(answer) == ["groww_api_key", "groww_api_secret"]
    assert "of-asha" not in answer.text


async def test_keys_can_be_cleared(world: World) -> None:
    await world.client.patch("/api/users/default", json=KEYS)
    answer = await world.client.patch("/api/users/default", json={"groww_api_secret": None})
    assert answer.json()["has_groww_credentials"] is False


async def test_a_user_without_an_id_gets_one(world: World) -> None:
    created = (await world.client.post("/api/users", json={})).json()
    assert created["id"]
    assert created["initial_capital"] == "100000.00"
    assert (await world.client.post("/api/users", json={"id": "default"})).status_code == 409


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"initial_capital": 0}, "initial_capital"),
        ({"initial_capital": None}, "initial_capital"),
        ({"initial_capital": "lots"}, "initial_capital"),
        ({"email": "nobody"}, "email"),
        ({"first_name": "a\x00"}, "first_name"),
        ({"id": "other"}, "id"),
    ],
)
async def test_a_bad_user_patch_names_the_field(
    world: World, change: dict[str, Any], field: str
) -> None:
    assert fields(await world.client.patch("/api/users/default", json=change)) == [field]
