"""`python -m hftray.testing.groww`: the loopback Groww in another process."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from datetime import date, datetime

import httpx
import pytest
from loopback_world import place

from hftray.core.candles import Candles
from hftray.core.session import IST
from hftray.testing.groww import Keys, RunningClock, totp
from hftray.testing.groww.generated import generated_candles
from hftray.testing.groww.loopback import LoopbackGroww
from hftray.testing.groww.market import Market

MODULE = [sys.executable, "-m", "hftray.testing.groww"]
CANDLES = """timestamp,open,high,low,close,volume
2026-11-20T15:05:00+05:30,1000,1000,1000,1000,100
2026-11-20T15:10:00+05:30,1000,1000,1000,1000,100
2026-11-23T09:15:00+05:30,1000,1010,990,1005,100
"""


@pytest.fixture
def process(tmp_path):
    """A stepped loopback on a candle file, and what it printed."""
    (tmp_path / "RELIANCE.csv").write_text(CANDLES)
    command = [*MODULE, "--candles", str(tmp_path), "--stepped", "--start", "2026-11-23T09:15:00"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running, json.loads(running.stdout.readline())
        finally:
            running.terminate()


def test_it_serves_candle_files_and_is_driven_over_http(process):
    running, ready = process
    with httpx.Client(base_url=ready["url"], timeout=30) as client:
        clock = client.post("/_test/clock", json={"next_tick": True}).json()
        assert clock == {
            "now": "2026-11-23T09:16:15+05:30",
            "next_tick": "2026-11-23T09:17:30+05:30",
        }
        refused = client.post("/_test/clock", json={"speed": 2})
        assert (refused.status_code, "stepped" in refused.text) == (400, True)
        token = client.post(
            "/v1/token/api/access",
            json={"key_type": "totp", "totp": totp(ready["totp_secret"], time.time())},
            headers={"authorization": f"Bearer {ready['api_key']}"},
        ).json()["token"]
        query = {"segment": "CASH", "exchange_symbols": "NSE_RELIANCE"}
        headers = {"authorization": f"Bearer {token}"}
        answer = client.get("/v1/live-data/ltp", params=query, headers=headers)
        assert answer.json()["payload"] == {"NSE_RELIANCE": 990.0}
    running.terminate()
    assert running.wait(20) == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--candles", "/nowhere"], "no such file"),
        ([], "--symbols and --start"),
        (["--symbols", "RELIANCE", "--start", "soon"], "Invalid isoformat"),
    ],
)
def test_it_says_what_it_cannot_use(arguments, reason):
    done = subprocess.run([*MODULE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert reason in done.stderr


async def test_a_running_clock_fills_orders_of_a_generated_market_without_a_request():
    candles = await generated_candles(["RELIANCE"], date(2026, 11, 20), date(2026, 11, 23), seed=4)
    assert isinstance(candles["RELIANCE"], Candles)
    assert len(candles["RELIANCE"]) == 2 * 72
    start = datetime(2026, 11, 23, 9, 15, 1, tzinfo=IST)
    async with LoopbackGroww(Market(candles, RunningClock(start, 500.0)), keys=Keys()) as groww:
        filled = threading.Event()
        groww.world.on_order_update(lambda own: filled.set() if own.filled == 10 else None)
        place(groww.world)
        assert await asyncio.to_thread(filled.wait, 20)
