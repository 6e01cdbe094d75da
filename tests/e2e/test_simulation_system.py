"""The real thing in simulation: Ray, PostgreSQL, Serve, HTTP, and a trader at the keyboard."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from playwright.sync_api import sync_playwright
from running_system import RunningSystem, command, environment

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

CHROMIUM = shutil.which("chromium")
SYMBOLS = "RELIANCE,TCS,ITC,SBIN,BSE:INFY"
STRATEGIES_PAGE = Path(__file__).parents[2] / "docs" / "strategies.md"


@pytest.fixture(scope="module")
def system(system_directory: Path) -> Iterator[RunningSystem]:
    own = system_directory / "donchian.py"
    page = STRATEGIES_PAGE.read_text(encoding="utf-8")
    own.write_text(page.split("```python\n")[1].split("```")[0], encoding="utf-8")
    running = RunningSystem(
        system_directory,
        "--symbols", SYMBOLS, "--speed", "1500", "--seed", "42", "--strategy-file", str(own),
    )  # fmt: skip
    try:
        running.start()
        yield running
    finally:
        running.discard()


@pytest.fixture(scope="module")
def own_strategy(system: RunningSystem) -> str:
    """The kind of the documentation's own example, which has a row from here on."""
    row = {"name": "Breakout", "kind": "donchian", "parameters": {"period": 10}}
    system.post("/api/strategies", row)
    return row["kind"]


def test_trades_appear_by_themselves(system: RunningSystem) -> None:
    trades = system.wait_for(
        lambda: [t for t in system.get("/api/trades") if t["status"] == "EXECUTED"],
        120,
        "a trade that the engine decided by itself",
    )
    assert all(Decimal(trade["price"]) > 0 and trade["quantity"] > 0 for trade in trades)
    assert {trade["leg"] for trade in trades} <= {"ENTRY", "EXIT"}
    assert "SIMULATION" in system.output()


def test_every_read_answers(system: RunningSystem) -> None:
    status = system.get("/api/engine/status")
    assert status["running"]
    assert status["scans"] > 0
    assert status["mode"] == "simulation"
    assert status["symbols"] == SYMBOLS.split(",")
    assert system.get("/")["docs"] == "/docs"
    assert system.get("/health")["status"] == "ok"
    signals = system.get("/api/engine/signals", limit=7)
    assert len(signals) == 7
    assert len(signals[0]["votes"]) == 8
    assert system.get("/api/engine/signals/TCS")["symbol"] == "TCS"
    assert system.get("/api/engine/metrics")["trades"] >= 0
    assert len(system.get("/api/strategies")) == 7
    assert system.get("/api/strategies/1")["kind"] == "ma_crossover"
    first = system.get("/api/trades", limit=1)[0]
    assert system.get(f"/api/trades/{first['id']}") == first
    same = system.get("/api/trades", symbol=first["symbol"])
    assert {trade["symbol"] for trade in same} == {first["symbol"]}
    assert system.get("/api/symbols") == SYMBOLS.split(",")
    market = system.get("/api/market/TCS", limit=100, indicators="rsi,macd", patterns="true")
    assert len(market["candles"]) == 100
    assert set(market["indicators"]) >= {"rsi", "macd", "macd_signal"}
    assert all(signal["final"] for signal in system.get("/api/signals", symbol="ITC"))
    assert system.get("/api/risk")["initial_capital"] == "100000.00"
    assert system.get("/api/risk/kelly")["trades"] >= 0
    assert isinstance(system.get("/api/positions", status="all"), list)
    assert system.get("/api/users/default")["id"] == "default"
    assert "swagger" in system.client.get("/docs").text.lower()


def test_a_symbol_on_bse_is_traded_there(system: RunningSystem) -> None:
    assert system.get("/api/market/BSE:INFY")["symbol"] == "BSE:INFY"
    assert system.get("/api/engine/signals/BSE:INFY")["symbol"] == "BSE:INFY"
    [*_, first] = system.wait_for(
        lambda: system.get("/api/trades", symbol="BSE:INFY"), 180, "a trade on BSE"
    )
    assert (first["exchange"], first["leg"]) == ("BSE", "ENTRY")


def test_symbol_actors_carry_neither_pandas_nor_sqlalchemy(system: RunningSystem) -> None:
    lean = [p for p in system.processes() if "SymbolShell" in "".join(p.cmdline()[:1])]
    assert len(lean) == len(SYMBOLS.split(","))
    for process in lean:
        libraries = {Path(mapped.path).parts for mapped in process.memory_maps()}
        heavy = {part for parts in libraries for part in parts} & {"pandas", "sqlalchemy"}
        assert not heavy


@pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium is not installed")
def test_the_documentation_page_works_without_the_internet(system: RunningSystem) -> None:
    asked: list[str] = []
    faults: list[str] = []
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"{system.url}/docs")
        page.wait_for_selector(".opblock")
        shown = page.locator(".opblock-summary-path").all_inner_texts()
        browser.close()
    paths = {text.replace("\u200b", "") for text in shown}
    assert {"/api/engine/status", "/api/strategies/{strategy_id}", "/api/backtest"} <= paths
    assert all(url.startswith((system.url, "data:")) for url in asked), asked
    assert faults == []


def test_unknown_things_are_404_and_bad_bodies_name_the_field(system: RunningSystem) -> None:
    for path in ("/api/trades/999999", "/api/strategies/999999", "/api/users/nobody",
                 "/api/market/NOSUCH", "/api/engine/signals/NOSUCH"):  # fmt: skip
        assert system.client.get(path).status_code == 404, path
    trade = {"symbol": "TCS", "side": "HOLD", "quantity": 0, "price": -1}
    answer = system.client.post("/api/trades", json=trade)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert {error["field"] for error in answer.json()["errors"]} >= {"side", "quantity", "price"}


def test_users_trades_and_strategies_are_written(system: RunningSystem) -> None:
    user = system.post("/api/users", {"id": "asha", "email": "asha@example.com"})
    assert user["has_groww_credentials"] is False
    keys = {"groww_api_key": "key-1", "groww_api_secret": "secret-1", "initial_capital": 250000}
    changed = system.client.patch("/api/users/asha", json=keys)
    assert changed.status_code == 200
    assert changed.json()["has_groww_credentials"] is True
    assert "secret-1" not in changed.text
    row = {"symbol": "TCS", "side": "BUY", "quantity": 3, "price": "3500.05", "strategy_id": 2}
    recorded = system.post("/api/trades", row)
    assert recorded["leg"] == "MANUAL"
    custom = {"name": "Fast RSI", "kind": "rsi", "parameters": {"period": 7, "weight": 0.4}}
    made = system.post("/api/strategies", custom)
    assert system.get(f"/api/strategies/{made['id']}")["parameters"]["period"] == 7
    assert system.client.delete(f"/api/strategies/{made['id']}").status_code in (200, 204)


def test_a_strategy_switched_off_no_longer_votes(system: RunningSystem) -> None:
    answer = system.client.patch("/api/strategies/4", json={"is_active": False})
    assert answer.status_code == 200
    kind = answer.json()["kind"]
    system.wait_for(
        lambda: kind not in system.get("/api/engine/signals/ITC")["votes"],
        30,
        f"{kind} to stop voting",
    )
    assert len(system.get("/api/engine/signals/ITC")["votes"]) == 7
    system.client.patch("/api/strategies/4", json={"is_active": True})
    system.wait_for(
        lambda: kind in system.get("/api/engine/signals/ITC")["votes"], 30, f"{kind} to vote again"
    )


def test_stop_and_start_keep_open_positions(system: RunningSystem) -> None:
    def held() -> list[dict[str, object]]:
        return system.get("/api/positions", status="open")

    system.wait_for(held, 240, "an open position")
    stopped = system.post("/api/engine/stop")
    assert stopped["running"] is False
    assert system.post("/api/engine/stop")["running"] is False
    scans = system.get("/api/engine/status")["scans"]
    before = {p["reference"]: (p["quantity"], p["stop_loss"], p["take_profit"]) for p in held()}
    assert system.get("/api/engine/status")["scans"] == scans, "a stopped engine must not scan"
    assert system.post("/api/engine/start")["running"] is True
    assert system.post("/api/engine/start")["running"] is True
    known = {p["reference"] for p in system.get("/api/positions", status="all", limit=500)}
    assert set(before) <= known
    system.wait_for(
        lambda: system.get("/api/engine/status")["scans"] > scans, 60, "scanning to go on"
    )


def backtested(system: RunningSystem, body: dict[str, object]) -> Any:
    """The answer, which comes as a job's result where the machine is busy."""
    answer = system.client.post("/api/backtest", json=body)
    if answer.status_code == 200:
        return answer.json()
    assert answer.status_code == 202, answer.text[:500]
    url = answer.json()["status_url"]
    return system.wait_for(lambda: system.get(url)["result"], 120, "the backtest to end")


def test_backtest_runs_the_specifications_example(system: RunningSystem) -> None:
    body = {
        "symbol": "RELIANCE",
        "strategy": "ma_crossover",
        "start_date": "2024-01-01",
        "end_date": "2024-12-31",
        "initial_capital": 100000,
    }
    result = backtested(system, body)
    assert result["candles"] > 15_000
    assert result["metrics"]["trades"] == len(result["trades"]) > 0
    net = sum(Decimal(trade["pnl"]) for trade in result["trades"])
    assert Decimal(result["final_capital"]) == Decimal(100_000) + net


def test_a_strategy_file_of_ones_own_votes_on_every_symbol_and_in_backtests(
    system: RunningSystem, own_strategy: str
) -> None:
    (row,) = [row for row in system.get("/api/strategies") if row["kind"] == own_strategy]
    assert (row["is_active"], row["parameters"]) == (True, {"period": 10, "weight": 0.9})
    voted: set[int] = set()

    def breakout_seen() -> bool:
        signals = system.get("/api/engine/signals", limit=500)
        voted.update(s["votes"][own_strategy] for s in signals if own_strategy in s["votes"])
        return bool(voted - {0})

    system.wait_for(breakout_seen, 60, "a breakout")
    assert voted <= {-1, 0, 1}
    for symbol in SYMBOLS.split(","):
        assert len(system.get(f"/api/engine/signals/{symbol}")["votes"]) == 9
    body = {"symbol": "TCS", "strategy": own_strategy,
            "start_date": "2024-01-01", "end_date": "2024-03-31"}  # fmt: skip
    trades = backtested(system, body)["trades"]
    assert {tuple(trade["votes"]) for trade in trades} == {(own_strategy,)}


def test_a_second_start_on_the_same_directory_says_so(system: RunningSystem) -> None:
    done = subprocess.run(
        command("up", "--data-dir", str(system.data_dir), "--port", str(system.port + 1)),
        capture_output=True, text=True, timeout=60, env=environment(), cwd=system.directory,
    )  # fmt: skip
    assert done.returncode == 1
    assert "already runs on" in done.stdout


def test_a_taken_port_is_named_before_anything_starts(
    system: RunningSystem, tmp_path: Path
) -> None:
    done = subprocess.run(
        command("up", "--data-dir", str(tmp_path / "other"), "--port", str(system.port)),
        capture_output=True, text=True, timeout=60, env=environment(), cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert str(system.port) in done.stdout
    assert not (tmp_path / "other" / "postgres").exists()


def test_status_command_shows_the_running_system(system: RunningSystem) -> None:
    done = subprocess.run(
        command("status", "--data-dir", str(system.data_dir)),
        capture_output=True, text=True, timeout=60, env=environment(), cwd=system.directory,
    )  # fmt: skip
    assert done.returncode == 0
    assert "simulation" in done.stdout


def test_kill_flattens_and_forbids_entries_until_resumed(system: RunningSystem) -> None:
    system.post("/api/engine/kill", {"reason": "drill"})
    system.wait_for(
        lambda: not system.get("/api/positions", status="open"), 60, "all positions to close"
    )
    risk = system.get("/api/risk")
    assert (risk["state"], risk["reason"]) == ("HALTED", "drill")
    assert system.post("/api/engine/resume", {"reason": "drill is over"})["risk_state"] == "ACTIVE"


@pytest.mark.parametrize(
    "kind", ["SymbolShell", "BrokerShell", "RiskShell", "PersistenceShell", "EngineActor"]
)
def test_a_killed_actor_comes_back_and_the_scanning_goes_on(
    system: RunningSystem, own_strategy: str, kind: str
) -> None:
    before = system.get("/api/engine/status")

    def scanned_well_since() -> bool:
        status = system.get("/api/engine/status")
        # The engine counts its scans anew when it is the one that was killed.
        anew = 5 < status["scans"] < before["scans"]
        on = anew if kind == "EngineActor" else status["scans"] > before["scans"] + 5
        return on and status["running"] and not status["degraded"]

    victim = next(p for p in system.processes() if f"ray::{kind}" in "".join(p.cmdline()[:1]))
    victim.kill()
    victim.wait(10)
    system.wait_for(scanned_well_since, 90, f"scans without {kind}'s old process")
    assert system.get("/api/engine/status")["run_id"] == before["run_id"]
    for symbol in SYMBOLS.split(","):
        assert own_strategy in system.get(f"/api/engine/signals/{symbol}")["votes"]
    system.post("/api/engine/stop")
    trades = [t for t in system.get("/api/trades", limit=500) if t["leg"] != "MANUAL"]
    assert len(trades) < 500
    executed = [trade for trade in trades if trade["status"] == "EXECUTED"]
    entered = {trade["reference"] for trade in executed if trade["leg"] == "ENTRY"}
    left = [trade["position"] for trade in executed if trade["leg"] == "EXIT"]
    working = {trade["position"] for trade in trades if trade["status"] == "PENDING"}
    assert len(left) == len(set(left)), "no position was closed twice"
    held = {position["reference"] for position in system.get("/api/positions", status="open")}
    assert held == entered - set(left)
    assert working <= held | {None}
    system.post("/api/engine/start")


def test_a_killed_api_replica_is_replaced(system: RunningSystem) -> None:
    replica = next(p for p in system.processes() if "ServeReplica" in "".join(p.cmdline()[:1]))
    replica.kill()
    replica.wait(10)

    def answers() -> bool:
        try:
            return system.client.get("/api/engine/status").status_code == 200
        except httpx.TransportError:
            return False

    system.wait_for(answers, 90, "the API to answer again")


def test_trading_goes_on_without_postgresql_and_nothing_is_missing_afterwards(
    system: RunningSystem,
) -> None:
    before = system.get("/api/engine/status")
    postmaster = system.processes()[-1]
    victims = [postmaster, *postmaster.children(recursive=True)]
    for process in victims:
        process.kill()
    psutil.wait_procs(victims, timeout=10)

    def caught_up() -> bool:
        status = system.get("/api/engine/status")
        on = status["running"] and status["scans"] > before["scans"] + 5
        read = system.client.get("/api/trades").status_code == 200
        return on and read and not status["degraded"]

    system.wait_for(caught_up, 90, "scanning with a PostgreSQL that was started again")
    system.post("/api/engine/stop")
    # Only of this outage: the candle in which a symbol's actor was killed has no vote on record.
    since = before["session"]["market_time"]
    candles = [row["candle_time"] for row in system.get("/api/signals", symbol="TCS", limit=500)]
    moments = map(datetime.fromisoformat, filter(lambda moment: moment >= since, candles))
    steps = [later - earlier for later, earlier in pairwise(moments)]
    assert steps
    assert set(steps) <= {timedelta(minutes=5)} | {step for step in steps if step.days}
    system.post("/api/engine/start")


def test_restart_goes_on_where_it_was_and_ctrl_c_leaves_nothing(system: RunningSystem) -> None:
    system.post("/api/engine/stop")
    before = system.get("/api/engine/status")
    trades = {trade["reference"] for trade in system.get("/api/trades", limit=500)}
    assert system.stop() == []
    system.start()
    after = system.wait_for(
        lambda: (s := system.get("/api/engine/status"))["session"]["market_time"] and s,
        60,
        "the first scan",
    )
    assert after["run_id"] == before["run_id"]
    assert after["session"]["market_time"] > before["session"]["market_time"]
    assert {trade["reference"] for trade in system.get("/api/trades", limit=500)} >= trades
    done = subprocess.run(
        command("down", "--data-dir", str(system.data_dir)),
        capture_output=True, text=True, timeout=120, env=environment(), cwd=system.directory,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
