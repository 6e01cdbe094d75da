"""Backtests over the API: what may be asked, answers at once, jobs that take longer."""

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import pytest
from api_world import World, api_world

from hftray.actors.jobs import Job
from hftray.backtest.order import BadOrder
from hftray.core.errors import DataError, NotFound, RetryError

SPEC = {
    "symbol": "RELIANCE",
    "strategy": "ma_crossover",
    "start_date": "2024-01-01",
    "end_date": "2024-12-31",
    "initial_capital": 100000,
}
VOTERS = "ma_crossover:sma ma_crossover:ema rsi macd bollinger vwap supertrend stochastic_rsi"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with api_world() as made:
        yield made


async def ask(world: World, changes: dict[str, Any], **options: Any) -> httpx.Response:
    body = {key: value for key, value in (SPEC | changes).items() if value is not ...}
    return await world.client.post("/api/backtest", json=body, **options)


def ordered(world: World) -> Any:
    return world.desk.calls[-1][1]


async def test_the_specifications_body_is_taken_and_answered_at_once(world: World) -> None:
    answer = await ask(world, {})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["final_capital"] == "100100.00"
    assert (told["symbol"], told["symbols"], told["strategy"]) == (
        "RELIANCE", ["RELIANCE"], "ma_crossover",
    )  # fmt: skip
    assert told["voters"] == ["ma_crossover:sma", "ma_crossover:ema"]
    order = ordered(world)
    assert (order.start_date, order.end_date) == (date(2024, 1, 1), date(2024, 12, 31))
    assert order.initial_capital == Decimal(100000)
    assert order.charges
    assert (order.slippage_bps, order.interval) == (None, None)


@pytest.mark.parametrize("strategy", ["ensemble", *VOTERS.split()])
async def test_the_ensemble_and_every_voter_are_known(world: World, strategy: str) -> None:
    answer = await ask(world, {"strategy": strategy})
    assert answer.status_code == 200
    voters = answer.json()["voters"]
    # The fake catalogue's four active rows make five voters.
    assert len(voters) == 5 if strategy == "ensemble" else voters == [strategy]


async def test_several_symbols_and_voters_with_parameters_of_their_own(world: World) -> None:
    answer = await ask(
        world,
        {"symbol": ..., "symbols": ["TCS", "M&M"], "strategy": ["rsi", "ma_crossover:ema"],
         "parameters": {"rsi": {"period": 10}}, "charges": False, "slippage_bps": 0,
         "interval": 15},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["symbol"], told["symbols"]) == (None, ["TCS", "M&M"])
    assert told["voters"] == ["rsi", "ma_crossover:ema"]
    assert told["parameters"] == {"rsi": {"period": 10}}
    assert (told["interval"], told["slippage_bps"], told["charges"]) == (15, 0.0, False)
    assert ordered(world).roster[0]["parameters"]["period"] == 10


async def test_a_figure_that_cannot_be_told_is_null_with_a_reason(world: World) -> None:
    told = (await ask(world, {})).json()
    missing = {name for name, figure in told["metrics"].items() if figure is None}
    assert {"win_rate", "sharpe", "exposure_percent"} <= missing
    assert set(told["undefined"]) == missing
    assert all(told["undefined"].values())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"end_date": "2023-12-31"}, "end_date"),
        ({"end_date": "2045-12-31"}, "end_date"),
        ({"start_date": "soon"}, "start_date"),
        ({"start_date": "0001-01-01"}, "start_date"),
        ({"initial_capital": 0}, "initial_capital"),
        ({"initial_capital": "NaN"}, "initial_capital"),
        ({"initial_capital": 1e300}, "initial_capital"),
        ({"leverage": 5}, "leverage"),
        ({"symbol": ...}, "symbol"),
        ({"symbols": ["RELIANCE"]}, "symbols"),
        ({"strategy": []}, "strategy"),
        ({"strategy": 5}, "strategy"),
        ({"strategy": ["ensemble", "rsi"]}, "strategy"),
        ({"parameters": {"luck": {}}}, "parameters.luck"),
        ({"parameters": {"rsi": {"period": 10}}}, "parameters.rsi"),
        ({"strategy": "rsi", "parameters": {"rsi": {"perod": 10}}}, "parameters.rsi.perod"),
        ({"strategy": "rsi", "parameters": {"rsi": {"period": "x"}}}, "parameters.rsi.period"),
        ({"parameters": {"ma_crossover": {"short_period": 60}}},
         "parameters.ma_crossover.long_period"),
        ({"charges": "yes"}, "charges"),
        ({"slippage_bps": -1}, "slippage_bps"),
        ({"slippage_bps": True}, "slippage_bps"),
        ({"interval": 7}, "interval"),
    ],
)  # fmt: skip
async def test_the_bad_field_is_named(world: World, change: dict[str, Any], field: str) -> None:
    answer = await ask(world, change)
    assert answer.status_code == 422, answer.text
    assert [e["field"] for e in answer.json()["errors"]] == [field]
    assert world.desk.calls == []


async def test_an_unknown_strategy_is_a_404_that_names_the_known_ones(world: World) -> None:
    answer = await ask(world, {"strategy": "luck"})
    assert answer.status_code == 404
    assert "ma_crossover:ema" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("failure", "status", "told"),
    [
        (NotFound("no candles of TCS: the data covers 2024"), 404, "the data covers 2024"),
        (BadOrder("interval", "allowed are 5, 10"), 422, "interval"),
        (DataError("TCS.csv, line 7: high is below low"), 409, "line 7"),
        (RetryError("16 jobs are unfinished already"), 503, "try again"),
    ],
)
async def test_what_shows_only_while_playing_is_answered_by_its_kind(
    world: World, failure: Exception, status: int, told: str
) -> None:
    world.desk.failure = failure
    answer = await ask(world, {})
    assert answer.status_code == status
    assert told in answer.json()["detail"]


@pytest.mark.parametrize(
    "options",
    [{"params": {"wait": 0}}, {"headers": {"Prefer": "respond-async"}}],
    ids=["wait", "prefer"],
)
async def test_a_long_run_is_a_job_to_ask_for_again(world: World, options: dict[str, Any]) -> None:
    answer = await ask(world, {}, **options)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert answer.headers["Location"] == told["status_url"] == f"/api/backtests/{told['id']}"
    again = (await world.client.get(told["status_url"])).json()
    assert (again["state"], again["progress"], again["result"]) == ("running", 0.25, None)

    result = (await ask(world, {})).json()
    order = ordered(world)
    done = await world.desk.backtest(order, 1.0)
    world.desk.jobs[told["id"]] = Job(told["id"], "done", 1.0, done.result)
    finished = (await world.client.get(told["status_url"])).json()
    assert (finished["state"], finished["progress"]) == ("done", 1.0)
    assert finished["result"] == result

    gone = await world.client.delete(told["status_url"])
    assert (gone.status_code, gone.content) == (204, b"")
    for verb in ("GET", "DELETE"):
        assert (await world.client.request(verb, told["status_url"])).status_code == 404


async def test_a_job_that_failed_says_why(world: World) -> None:
    job_id = "0" * 16
    world.desk.jobs[job_id] = Job(job_id, "failed", 0.5, error="no candles of TCS")
    told = (await world.client.get(f"/api/backtests/{job_id}")).json()
    assert (told["state"], told["error"], told["result"]) == ("failed", "no candles of TCS", None)


@pytest.mark.parametrize(("wait", "status"), [(-1, 422), (31, 422), ("NaN", 422), (30, 200)])
async def test_nobody_waits_for_ever(world: World, wait: Any, status: int) -> None:
    assert (await ask(world, {}, params={"wait": wait})).status_code == status
