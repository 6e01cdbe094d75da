"""The API: engine, risk, positions and market data."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from api_world import NOON, D, World, api_world

from hftray.core.errors import IllegalTransition
from hftray.core.ledger import RiskStateChanged


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with api_world() as made:
        yield made


async def get(world: World, path: str, status: int = 200) -> Any:
    answer = await world.client.get(path)
    assert answer.status_code == status, answer.text
    return answer.json()


async def test_root_tells_state_and_docs(world: World) -> None:
    assert await get(world, "/") == {
        "name": "hftray",
        "version": "1.2.3",
        "status": "running",
        "engine": "running",
        "mode": "simulation",
        "docs": "/docs",
    }
    assert await get(world, "/health") == {"status": "ok", "version": "1.2.3"}


async def test_status_shows_money_as_strings_and_times_in_ist(world: World) -> None:
    status = await get(world, "/api/engine/status")
    assert status["capital"] == "100412.35"
    assert status["equity"] == "100390.10"
    assert status["last_scan_at"] == "2026-06-01T12:00:00+05:30"
    assert status["session"]["next_change"] == "2026-06-01T15:00:00+05:30"
    decided = (
        "running mode session scans last_scan_at scan_ms symbols initial_capital capital equity "
        "realised_pnl open_pnl open_positions trades_today risk_state degraded"
    )
    assert set(decided.split()) <= set(status)


async def test_an_engine_that_has_not_reported_is_a_503(world: World) -> None:
    world.desk.picture = {**world.desk.picture, "status": {}}
    problem = await get(world, "/api/engine/status", 503)
    assert problem["title"] == "Service Unavailable"


async def test_signals_default_to_50_and_end_at_500(world: World) -> None:
    newest = await get(world, "/api/engine/signals")
    assert len(newest) == 50
    assert newest[0]["timestamp"] > newest[1]["timestamp"]
    assert newest[0]["votes"] == {"ma_crossover:sma": 1, "rsi": 0}
    assert len(await get(world, "/api/engine/signals?limit=500")) == 500
    for bad in ("0", "501", "x", "99999999999999999999"):
        problem = await get(world, f"/api/engine/signals?limit={bad}", 422)
        assert problem["errors"][0]["field"] == "limit"


async def test_latest_signal_of_a_symbol(world: World) -> None:
    latest = await get(world, "/api/engine/signals/RELIANCE")
    assert latest["signal"] == "BUY"
    assert latest["price"] == 1412.5
    quiet = await get(world, "/api/engine/signals/TCS", 404)
    assert quiet["detail"] == "no signal for TCS yet"
    unknown = await get(world, "/api/engine/signals/NOPE", 404)
    assert unknown["detail"] == "unknown symbol NOPE"


async def test_metrics_come_from_closed_positions_and_equity(world: World) -> None:
    metrics = await get(world, "/api/engine/metrics")
    assert metrics["trades"] == 2
    assert metrics["win_rate"] == 0.5
    assert metrics["profit_factor"] == 3.0
    assert metrics["net_pnl"] == "400.00"
    assert metrics["max_drawdown"] == "200.00"
    assert metrics["expectancy"] == "200.00"


async def test_metrics_before_the_first_run_are_empty(world: World) -> None:
    world.desk.picture = {**world.desk.picture, "run_id": None}
    metrics = await get(world, "/api/engine/metrics")
    assert metrics["trades"] == 0
    assert metrics["win_rate"] is None


@pytest.mark.parametrize("query", ["?user_id=default", ""])
async def test_start_scans_for_the_user(world: World, query: str) -> None:
    answer = await world.client.post(f"/api/engine/start{query}")
    assert answer.status_code == 200
    assert answer.json()["running"] is True
    assert world.desk.calls == [("start", "default")]


async def test_start_for_an_unknown_user_is_a_404(world: World) -> None:
    answer = await world.client.post("/api/engine/start?user_id=nobody")
    assert answer.status_code == 404
    assert world.desk.calls == []


async def test_stop_twice_gives_the_same_state(world: World) -> None:
    first = await world.client.post("/api/engine/stop")
    second = await world.client.post("/api/engine/stop")
    assert first.status_code == second.status_code == 200
    assert first.json() == second.json()
    assert first.json()["running"] is False


async def test_a_position_is_settled_with_price_and_reason(world: World) -> None:
    path = "/api/positions/M%26M/settle"
    made = await world.client.post(path, json={"price": "950.50", "reason": " sold in the app "})
    assert (made.status_code, made.json()["price"], made.json()["left"]) == (200, "950.50", 0)
    assert world.desk.calls == [("settle", "M&M", D("950.50"), "sold in the app", "api")]
    for body in ({"price": "950.50"}, {"price": "0", "reason": "x"}, {"reason": "x"}):
        assert (await world.client.post(path, json=body)).status_code == 422
    body = {"price": "1", "reason": "x"}
    assert (await world.client.post("/api/positions/NO/settle", json=body)).status_code == 404
    world.desk.failure = IllegalTransition("the broker holds all 20 shares of M&M")
    refused = await world.client.post(path, json=body)
    assert (refused.status_code, refused.json()["detail"]) == (409, str(world.desk.failure))


async def test_kill_and_resume_say_why(world: World) -> None:
    killed = await world.client.post("/api/engine/kill")
    assert killed.json()["risk_state"] == "HALTED"
    resumed = await world.client.post("/api/engine/resume", json={"reason": "all clear"})
    assert resumed.json()["risk_state"] == "ACTIVE"
    assert world.desk.calls == [
        ("kill", "requested through the API", "api"),
        ("resume", "all clear", "api"),
    ]
    odd = await world.client.post("/api/engine/kill", json={"why": "typo"})
    assert odd.status_code == 422
    assert odd.json()["errors"][0]["field"] == "why"


async def test_risk_and_its_state_before_the_first_scan(world: World) -> None:
    assert (await get(world, "/api/risk"))["capital"] == "100412.35"
    world.desk.picture["risk"] = {}
    fresh = await get(world, "/api/risk")
    assert fresh["state"] == "ACTIVE"
    assert fresh["capital"] is None


async def test_risk_says_since_when_and_what_is_locked(world: World) -> None:
    world.desk.picture["risk"] |= {
        "state": "REDUCING",
        "reason": "impaired: no scan for 31 s",
        "since": NOON,
        "locks": {"TCS": "the broker holds 5 shares more"},
    }
    risk = await get(world, "/api/risk")
    assert (risk["state"], risk["reason"]) == ("REDUCING", "impaired: no scan for 31 s")
    assert risk["since"] == "2026-06-01T12:00:00+05:30"
    assert risk["locks"] == {"TCS": "the broker holds 5 shares more"}


async def test_changes_of_the_risk_state_are_listed_newest_first(world: World) -> None:
    # An operator's clock is not the market's: what was recorded last is the newest.
    later, earlier = NOON + timedelta(hours=1), NOON
    told = [
        RiskStateChanged(1, "REDUCING", "daily loss: 5000.00", "risk", later),
        RiskStateChanged(1, "HALTED", "a look at it first", "api", earlier),
        RiskStateChanged(2, "HALTED", "another run", "api", earlier),
    ]
    await world.ledger.append(told)
    events = await get(world, "/api/risk/events")
    assert events[0] == {
        "state": "HALTED",
        "reason": "a look at it first",
        "actor": "api",
        "time": "2026-06-01T12:00:00+05:30",
    }
    assert [event["state"] for event in events] == ["HALTED", "REDUCING"]
    assert await get(world, "/api/risk/events?limit=1&offset=1") == events[1:]
    assert len(await get(world, "/api/risk/events?run_id=2")) == 1
    world.desk.picture = {**world.desk.picture, "run_id": None}
    assert await get(world, "/api/risk/events") == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (None, "body"),
        ({}, "reason"),
        ({"reason": ""}, "reason"),
        ({"reason": " \t\n"}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ({"reason": 7}, "reason"),
        ({"reason": "checked", "actor": "me"}, "actor"),
    ],
)
async def test_resuming_needs_a_reason(world: World, body: Any, field: str) -> None:
    answer = await world.client.post("/api/engine/resume", json=body)
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert world.desk.calls == []


async def test_kelly_of_one_win_of_600_and_one_loss_of_200(world: World) -> None:
    kelly = await get(world, "/api/risk/kelly")
    # p = 1/2, b = 3: f = 1/2 - 1/2 / 3 = 1/3
    assert kelly["fraction"] == pytest.approx(1 / 3)
    assert kelly["half_fraction"] == pytest.approx(1 / 6)
    assert kelly["average_loss"] == "200.00"
    assert (await get(world, "/api/risk/kelly?run_id=2"))["trades"] == 0


async def test_positions_open_closed_and_all(world: World) -> None:
    (held,) = await get(world, "/api/positions")
    assert held["reference"] == "held"
    assert held["last_price"] == "1401.25"
    assert held["open_pnl"] == "-22.25"
    assert held["entry_price"] == "1402.50"
    assert held["closed_at"] is None
    closed = await get(world, "/api/positions?status=closed")
    assert sorted(p["pnl"] for p in closed) == ["-200.00", "600.00"]
    assert all(p["last_price"] is None for p in closed)
    assert len(await get(world, "/api/positions?status=all")) == 3
    assert len(await get(world, "/api/positions?status=all&limit=1&offset=1")) == 1
    assert (await get(world, "/api/positions?status=both", 422))["errors"][0]["field"] == "status"
    await get(world, "/api/positions?symbol=NOPE", 404)
    assert await get(world, "/api/positions?symbol=TCS") == []


async def test_equity_of_a_run_and_of_a_stretch(world: World) -> None:
    points = await get(world, "/api/equity")
    assert [p["equity"] for p in points] == ["100000.00", "100600.00", "100400.00"]
    tail = await get(world, "/api/equity?from=2026-06-01T12:05:00%2B05:30")
    assert len(tail) == 2


async def test_recorded_signals_by_symbol_and_time(world: World) -> None:
    path = "/api/signals?symbol=RELIANCE"
    assert len(await get(world, path)) == 3
    # Candle times are 12:00, 12:05, 12:10; `from` is included, `to` is not.
    stretch = await get(world, f"{path}&from=2026-06-01T12:05:00&to=2026-06-01T12:10:00")
    assert [s["candle_time"] for s in stretch] == ["2026-06-01T12:05:00+05:30"]
    # curl does not encode the plus sign of an offset
    assert len(await get(world, f"{path}&from=2026-06-01T12:05:00+05:30")) == 2
    assert len(await get(world, f"{path}&limit=1&offset=2")) == 1
    for bad in ("yesterday", "0001-01-01T00:00:00%2B05:30", "9999-12-31T23:59:59-12:00"):
        problem = await get(world, f"{path}&from={bad}", 422)
        assert problem["errors"][0]["field"] == "from"


async def test_symbols(world: World) -> None:
    assert await get(world, "/api/symbols") == ["RELIANCE", "TCS", "M&M", "BSE:RELIANCE"]


async def test_market_gives_100_candles(world: World) -> None:
    market = await get(world, "/api/market/RELIANCE")
    assert len(market["candles"]) == 100
    assert set(market["candles"][0]) == {"time", "open", "high", "low", "close", "volume"}
    assert market["indicators"] == {}
    assert (await get(world, "/api/market/M%26M?limit=3"))["symbol"] == "M&M"
    await get(world, "/api/market/NOPE", 404)


async def test_a_symbol_of_bse_in_a_path(world: World) -> None:
    for name in ("BSE:RELIANCE", "BSE%3ARELIANCE"):
        assert (await get(world, f"/api/market/{name}?limit=3"))["symbol"] == "BSE:RELIANCE"
        unheard = await get(world, f"/api/engine/signals/{name}", 404)
        assert "BSE:RELIANCE" in unheard["detail"]


async def test_market_indicators_are_warm_and_as_long_as_the_candles(world: World) -> None:
    market = await get(world, "/api/market/TCS?limit=10&indicators=rsi,macd&patterns=true")
    assert set(market["indicators"]) == {"rsi", "macd", "macd_signal", "macd_histogram"}
    for line in market["indicators"].values():
        assert len(line) == 10
        assert None not in line
    shown = {candle["time"] for candle in market["candles"]}
    assert {hit["time"] for hit in market["patterns"]} <= shown
    assert "CDLDOJI" in {hit["name"] for hit in market["patterns"]}
    problem = await get(world, "/api/market/TCS?indicators=rsi,magic", 422)
    assert problem["errors"][0]["field"] == "indicators"
    assert "magic" in problem["errors"][0]["message"]


async def test_a_fill_is_confirmed_with_its_price_or_without_a_share(world: World) -> None:
    path = "/api/orders/20260601E0H3K9QZ7M2A/confirm"
    order = path.split("/")[3]
    made = await world.client.post(path, json={"price": "1400.50", "reason": " read in the app "})
    told = made.json()
    assert (made.status_code, told["order"], told["price"]) == (200, order, "1400.50")
    assert (told["booked_price"], told["pnl"]) == ("1400.00", "-10.01")
    none = await world.client.post(path, json={"reason": "nothing traded"})
    assert (none.status_code, none.json()["price"]) == (200, None)
    assert world.desk.calls == [
        ("confirm", order, D("1400.50"), "read in the app", "api"),
        ("confirm", order, None, "nothing traded", "api"),
    ]
    for body in ({"price": "1400.50"}, {"price": "0", "reason": "x"}, {"reason": " "}):
        assert (await world.client.post(path, json=body)).status_code == 422
    odd = await world.client.post("/api/orders/a-b/confirm", json={"reason": "x"})
    assert odd.status_code == 422
    world.desk.failure = IllegalTransition("the fill is not in doubt")
    refused = await world.client.post(path, json={"reason": "x"})
    assert (refused.status_code, refused.json()["detail"]) == (409, "the fill is not in doubt")
