"""`kill -9` of everything, PostgreSQL included, and `hftray up` again: the account is as it was."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from running_system import RunningSystem, environment

from hftray.core.ledger import RunState
from hftray.data_dir import running
from hftray.launch import database
from hftray.layers import load
from hftray.wiring import build_ledger, read_account, record_directory

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

LIVELY = {"HFTRAY_SIGNALS__THRESHOLD": "0.1"}
SECRETS = {
    "HFTRAY_API_TOKEN": "token-4f1d9c6be27a",
    "GROWW_API_KEY": "groww-key-83b5a0e17c2d",
    "GROWW_API_SECRET": "groww-secret-6a9e51f0d4b8",
}
MARKET = (
    "--mode",
    "simulation",
    "--symbols",
    "RELIANCE,TCS,ITC,SBIN,INFY,HDFCBANK",
    "--seed",
    "7",
    "--speed",
)
SLOWLY = "3"  # a step of the market takes 20 s: time enough to look, and to kill between two


@pytest.fixture(scope="module")
def system(system_directory: Path) -> Iterator[RunningSystem]:
    started = RunningSystem(system_directory, *MARKET, "1500", **LIVELY, **SECRETS)
    started.client.headers["Authorization"] = f"Bearer {SECRETS['HFTRAY_API_TOKEN']}"
    try:
        started.start()
        yield started
    finally:
        started.discard()


def ray_session(system: RunningSystem) -> Path:
    """Where Ray keeps the logs of this system's processes."""
    lines = (" ".join(process.cmdline()) for process in system.processes())
    found = (re.search(r"--session_dir=(\S+)", line) for line in lines)
    return Path(next(match for match in found if match).group(1))


def open_positions(system: RunningSystem) -> dict[str, dict[str, Any]]:
    return {row["reference"]: row for row in system.get("/api/positions", status="open")}


def ledger_state(system: RunningSystem, run_id: int) -> RunState:
    """What the ledger knows of the run, read the way the system reads it, without the system."""

    async def read(url: str) -> RunState:
        _, identity = await read_account(settings, url)
        ledger = build_ledger(url, record_directory(settings, identity), 100_000)
        try:
            return await ledger.run_state(run_id)
        finally:
            await ledger.close()

    settings = load(flags={"storage.data_dir": system.data_dir}, environment={}).settings
    with database(settings, print) as url:
        return asyncio.run(read(url))


def test_no_secret_is_shown_by_ray_or_written_anywhere(system: RunningSystem) -> None:
    assert system.client.get("/api/trades", headers={"Authorization": "x"}).status_code == 401
    system.wait_for(lambda: system.get("/api/engine/status")["scans"] > 5, 90, "some scans")
    there = running(system.data_dir)
    assert there is not None
    ray = [sys.executable, "-m", "ray.scripts.scripts", "list", "actors", "--detail"]
    listing = subprocess.run(
        [*ray, "--limit", "1000", "--address", f"http://{there.dashboard}"],
        capture_output=True, text=True, timeout=120, env=environment(RAY_AUTH_MODE="token"),
    )  # fmt: skip
    assert listing.stdout.count("class_name: SymbolShell") == 6, listing.stderr[-2000:]
    folders = (ray_session(system), system.data_dir)
    written = [p for folder in folders for p in folder.rglob("*") if p.is_file()]
    assert len(written) > 20
    for name, secret in SECRETS.items():
        assert secret not in listing.stdout, name
        assert secret not in system.output(), name
        told = [path for path in written if secret.encode() in path.read_bytes()]
        assert told == [], name


def test_positions_stops_peaks_and_money_survive_the_death_of_every_process(
    system: RunningSystem,
) -> None:
    system.wait_for(lambda: len(open_positions(system)) >= 2, 240, "two open positions")
    system.kill_everything()

    system.arguments = (*MARKET, SLOWLY)
    system.start()
    system.wait_for(lambda: system.get("/api/engine/status")["scans"], 90, "a scan")
    status, risk = system.get("/api/engine/status"), system.get("/api/risk")
    held = open_positions(system)
    assert not status["degraded"]
    system.kill_everything()

    state = ledger_state(system, status["run_id"])
    kept = {position.reference: asdict(position) for position in state.positions}
    assert set(kept) == set(held)
    for reference, row in held.items():
        now = kept[reference]
        assert (now["quantity"], now["best_price"]) == (row["quantity"], row["best_price"])
        for level in ("entry_price", "stop_loss", "take_profit"):
            assert now[level] == Decimal(row[level])
    assert state.realised_total == Decimal(risk["realised_pnl"])
    assert state.opening_capital == Decimal(risk["opening_capital"])
    assert (state.risk_state, state.scanning) == (risk["state"], True)
    entries = [t for t in state.trades_today if t.leg == "ENTRY" and t.status != "FAILED"]
    assert len(entries) == risk["trades_today"]

    system.start()
    system.wait_for(lambda: system.get("/api/engine/status")["scans"], 90, "a scan")
    after = system.get("/api/engine/status")
    assert after["run_id"] == status["run_id"]
    assert after["session"]["market_time"] >= status["session"]["market_time"]
    known = {row["reference"]: row for row in system.get("/api/positions", status="all", limit=500)}
    for reference, row in held.items():
        assert known[reference]["stop_loss"] == row["stop_loss"]
        better = known[reference]["best_price"] - row["best_price"]
        assert better * (1 if row["side"] == "BUY" else -1) >= 0


def test_a_kill_switch_that_was_pulled_stays_pulled(system: RunningSystem) -> None:
    system.post("/api/engine/kill", {"reason": "I do not like this market"})
    system.kill_everything()  # before anything could be flattened
    system.arguments = (*MARKET, "1500")
    system.start()
    system.wait_for(lambda: not open_positions(system), 90, "all positions to close")
    risk = system.get("/api/risk")
    assert (risk["state"], risk["reason"]) == ("HALTED", "I do not like this market")
    assert system.get("/api/risk/events")[0]["state"] == "HALTED"
    entries = [t for t in system.get("/api/trades", limit=500) if t["leg"] == "ENTRY"]
    scans = system.get("/api/engine/status")["scans"]
    system.wait_for(
        lambda: system.get("/api/engine/status")["scans"] > scans + 100, 90, "a hundred scans"
    )
    later = [t for t in system.get("/api/trades", limit=500) if t["leg"] == "ENTRY"]
    assert len(later) == len(entries)
