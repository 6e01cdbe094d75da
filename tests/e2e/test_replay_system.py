"""Replay of real candles through the actors, to the end, and what the ledger then holds.

The votes of every closed candle are computed a second time in `reference_votes`, from the history
of each symbol and without any code of hftray.
"""

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from market_data import ABSENT, CANDLES_5M, real_candles
from parity import differences, executed_trades, round_trips
from reference_votes import votes_by_loops
from running_system import RunningSystem, command, environment

SYMBOLS = (
    "RELIANCE", "TCS", "HDFCBANK", "INFY", "ICICIBANK",
    "HINDUNILVR", "SBIN", "BHARTIARTL", "KOTAKBANK", "ITC",
)  # fmt: skip
SESSIONS, CANDLES_A_SESSION = 54, 75
# Before the first session; a symbol with years of candles votes the same on these as on all.
EARLIER = 40 * CANDLES_A_SESSION
pytestmark = [
    pytest.mark.market_data,
    pytest.mark.skipif(not CANDLES_5M.exists(), reason=ABSENT),
]


@pytest.fixture(scope="module")
def system(system_directory: Path) -> Iterator[RunningSystem]:
    arguments = ("--mode", "replay", "--data", str(CANDLES_5M), "--speed", "0")
    running = RunningSystem(system_directory, *arguments, HFTRAY_REPLAY__COMMON_SESSIONS="true")
    try:
        running.start()
        running.wait_for(
            lambda: running.get("/api/engine/status")["note"].startswith("replay ended"),
            900,
            "the replay to end",
        )
        yield running
    finally:
        running.discard()


def all_signals(system: RunningSystem, symbol: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = system.get("/api/signals", symbol=symbol, limit=500, offset=len(found))
        found += page
        if len(page) < 500:
            return found


def test_the_replay_ends_by_itself_and_says_so(system: RunningSystem) -> None:
    status = system.get("/api/engine/status")
    assert status["running"] is False
    assert status["note"].startswith("replay ended")
    assert status["degraded"] == []
    assert status["open_positions"] == 0, "an intraday position never stays overnight"


@pytest.mark.parametrize("symbol", SYMBOLS)
def test_votes_of_every_closed_candle(system: RunningSystem, symbol: str) -> None:
    signals = all_signals(system, symbol)
    assert len(signals) == SESSIONS * CANDLES_A_SESSION
    times = sorted(datetime.fromisoformat(s["candle_time"]).timestamp() for s in signals)
    whole = real_candles(symbol)
    first, last = np.searchsorted(whole.time, [times[0], times[-1]]).tolist()
    candles = whole.rows(slice(max(0, first - EARLIER), last + 1))
    expected = votes_by_loops(candles)
    row = {int(opened): i for i, opened in enumerate(candles.time)}
    different = []
    for signal in signals:
        i = row[int(datetime.fromisoformat(signal["candle_time"]).timestamp())]
        again = {name: votes[i] for name, votes in expected.items()}
        if signal["votes"] != again:
            different.append((signal["candle_time"], signal["votes"], again))
    assert different == []


def test_every_order_is_finished_and_every_entry_has_its_exit(system: RunningSystem) -> None:
    trades: list[dict[str, Any]] = []
    while page := system.get("/api/trades", limit=500, offset=len(trades)):
        trades += page
    assert len(trades) > 200
    assert {trade["status"] for trade in trades} <= {"EXECUTED", "FAILED"}
    executed = [trade for trade in trades if trade["status"] == "EXECUTED"]
    entered = {t["reference"]: t["quantity"] for t in executed if t["leg"] == "ENTRY"}
    left: dict[str, int] = {}
    for trade in executed:
        if trade["leg"] == "EXIT":
            left[trade["position"]] = left.get(trade["position"], 0) + trade["quantity"]
    assert left == entered


def test_a_backtest_of_the_same_days_makes_the_same_trades_to_the_paisa(
    system: RunningSystem,
) -> None:
    days = sorted(row["candle_time"][:10] for row in all_signals(system, SYMBOLS[0]))
    done = subprocess.run(
        command(
            "backtest", "--data", str(CANDLES_5M), "--from", days[0], "--to", days[-1], "--json",
            *(text for symbol in SYMBOLS for text in ("--symbol", symbol)),
        ),
        capture_output=True, text=True, timeout=120, env=environment(), cwd=system.directory,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    played = json.loads(done.stdout)["trades"]
    live = round_trips(executed_trades(system.url))
    print(f"compared {len(live)} round trips of {len(SYMBOLS)} symbols")
    assert len(live) > 100
    assert differences(live, played) == []
