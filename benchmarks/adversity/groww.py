"""Groww on loopback as a venue, in a process of its own that nobody strikes.

Its clock runs fast in the afternoon, slowly around a comparison, and is moved over the hours in
which nothing is traded. Its limits are the documented ones, in real seconds.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from adversity.fault import Fault, NotThereError
from adversity.groww_book import book_of
from adversity.groww_faults import DECK, body_of
from adversity.record import Book
from adversity.venue import BUSY
from hftray.layers import load
from hftray.ray_start import free_port
from hftray.settings import Settings

BEGIN = datetime.fromisoformat("2026-09-16T13:40:00+05:30")  # a Wednesday; shares close at 15:15
SQUARE_OFF = BEGIN.replace(hour=14, minute=45).timetz()
TURN = BEGIN.replace(hour=14, minute=50).timetz()
# Market seconds a second: what a run has unless told otherwise, and around comparisons.
FAST, SLOW, STANDING = 30.0, 5.0, 0.0
CAPITAL = 20_000_000
PARTS = 0.2  # of orders fill in two
STRIKES_WITHIN = 30.0  # seconds a fault waits for a call that it can strike
REPLY = 2.0  # seconds that an order sent just before a freeze is answered after
JUMP = 1.2  # percent


class GrowwVenue:
    """A loopback that serves already.

    `ready` is the line it printed, `pace` the market seconds a second outside comparisons.
    """

    deck = DECK
    build_broker = None

    def __init__(self, ready: dict[str, str], pace: float) -> None:
        self._ready, self._pace = ready, pace
        self._client = httpx.Client(base_url=f"{ready['url']}/_test", timeout=20)
        self._symbols: tuple[str, ...] = ()

    def settings(self, data_dir: Path, symbols: tuple[str, ...], seed: int) -> Settings:
        """Settings of a system that trades live here."""
        self._symbols = symbols
        url = self._ready["url"]
        flags = BUSY | {
            "mode": "live",
            "risk.max_trades_per_symbol_day": 40,
            # A day is twenty times as slow as a simulated one, so positions are shorter.
            "exits.stop_loss_atr": 0.25,
            "exits.take_profit_atr": 0.3,
            # And guards that move often, so that moves meet faults too.
            "exits.trailing_stop_percent": 0.03,
            "groww.guard_step_percent": 0,
            "session.no_entry_minutes": 35,
            "session.square_off_minutes": 30,
            "signals.entry_patience": 6,
            "engine.scan_interval": 0.5,
            "engine.closed_interval": 0.5,
            "engine.reconcile_interval": 10,
            "groww.base_url": self._ready["api"],
            "groww.instruments_url": f"{url}/instruments/instrument.csv",
            "groww.clock_url": f"{url}/_test/clock",
            "groww.stream": "off",
            # Market seconds, of which thirty pass in one.
            "groww.candle_patience": 120,
            # Real seconds. A request is under way for four at most, so ten without a trace are
            # certainty here as sixty are with Groww.
            "groww.timeout_seconds": 2.5,
            "groww.lookup_patience": 10,
            "storage.data_dir": data_dir,
            "symbols": list(symbols),
            "server.port": free_port(),
        }
        keys = {
            "GROWW_API_KEY": self._ready["api_key"],
            "GROWW_API_SECRET": self._ready["api_secret"],
        }
        return load(flags=flags, environment=keys).settings

    def read_book(self, data_dir: Path) -> Book:
        """The truth, whatever faults hide."""
        return book_of(self._get("/book")["orders"])

    # The clock

    def day_is_over(self, now: datetime) -> bool:
        """Whether everything should have been closed some minutes ago."""
        return now.timetz() >= TURN

    def must_be_flat(self, now: datetime) -> bool:
        """Positions go at the square-off, well before the broker's own."""
        return now.timetz() >= SQUARE_OFF

    async def calm(self) -> None:
        """A minute of waiting is five of the market, so the broker's own square-off stays away."""
        await self._post("/clock", {"speed": SLOW})

    async def still(self) -> None:
        """Orders rest, prices stand."""
        await self._post("/clock", {"speed": STANDING})

    async def go_on(self) -> None:
        """On at full speed, in the next afternoon when this one is over."""
        now = self._now()
        if self.day_is_over(now):
            midnight = now.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            await self._post("/clock", {"to": midnight.isoformat()})
            opens = datetime.fromisoformat(self._get("/clock")["next_tick"])
            begin = opens.replace(hour=BEGIN.hour, minute=BEGIN.minute, second=0)
            await self._post("/clock", {"to": begin.isoformat()})
        await self._post("/clock", {"speed": self._pace})

    async def to_square_off(self) -> bool:
        """To the square-off of the day, unless that is over."""
        now = self._now()
        if self.must_be_flat(now):
            return False
        moment = datetime.combine(now.date(), SQUARE_OFF)
        await self._post("/clock", {"to": moment.isoformat()})
        await self.calm()
        return True

    def _now(self) -> datetime:
        return datetime.fromisoformat(self._get("/clock")["now"])

    # Faults

    async def strike(self, fault: Fault) -> None:
        """Carry one fault out; it is over when it no longer strikes."""
        at_once = {
            "token-expired": self._expire,
            "network-away": self._cut,
            "price-jump": self._jump,
        }
        action = at_once.get(fault.planned.kind.partition(" ")[2])
        if action is None:
            await self._strike_calls(fault)
            return
        number = await action(fault)
        self._struck(fault)
        await asyncio.sleep(fault.planned.seconds)
        if number:
            await self._clear(number)

    async def slow_answer(self, number: int) -> None:
        """A slow answer to the next order, taken back when none came."""
        body = {"kind": "slow", "path": "/order/create", "taken": True, "seconds": REPLY}
        there = (await self._post("/faults", body))["number"]
        await self._until_struck(there, REPLY)
        await self._clear(there)

    async def _strike_calls(self, fault: Fault) -> None:
        number = (await self._post("/faults", body_of(fault.planned)))["number"]
        try:
            if not await self._until_struck(number, STRIKES_WITHIN):
                fault.skipped = "no call came that it could strike"
                return
            self._struck(fault)
            await asyncio.sleep(fault.planned.seconds)
        finally:
            await self._clear(number)

    async def _until_struck(self, number: int, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            rows = (await asyncio.to_thread(self._get, "/faults"))["faults"]
            if any(row["number"] == number and row["struck"] for row in rows):
                return True
            await asyncio.sleep(0.05)
        return False

    async def _expire(self, fault: Fault) -> int:
        await self._post("/session", {"expire": True})
        return 0

    async def _cut(self, fault: Fault) -> int:
        body = {"kind": "network_away", "seconds": fault.planned.seconds}
        return int((await self._post("/faults", body))["number"])

    async def _jump(self, fault: Fault) -> int:
        target = fault.planned.target
        symbol = self._symbols[target % len(self._symbols)]
        percent = JUMP if target % 2 else -JUMP
        lasts = fault.planned.seconds * self._pace
        body = {"kind": "price_jump", "symbol": symbol, "percent": percent, "seconds": lasts}
        return int((await self._post("/faults", body))["number"])

    @staticmethod
    def _struck(fault: Fault) -> None:
        fault.struck("exchange", "broker", "Groww", "UnknownOutcome")

    async def _clear(self, number: int) -> None:
        await asyncio.to_thread(self._client.delete, "/faults", params={"number": number})

    # What it counted

    def limits(self) -> dict[str, Any]:
        """The loopback's own count: highest of each sliding window, and what it refused."""
        return dict(self._get("/limits"))

    def _get(self, path: str) -> dict[str, Any]:
        return _sound(self._client.get(path))

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return _sound(await asyncio.to_thread(self._client.post, path, json=body))


def _sound(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code != httpx.codes.OK:
        raise NotThereError(f"{answer.request.url}: {answer.text}")
    return dict(answer.json())


@contextlib.contextmanager
def loopback(symbols: tuple[str, ...], seed: int, pace: float) -> Iterator[GrowwVenue]:
    """A loopback process with generated prices, ended with the block."""
    command = [
        sys.executable, "-m", "hftray.testing.groww", "--symbols", ",".join(symbols),
        "--seed", str(seed), "--start", BEGIN.isoformat(), "--speed", str(pace),
        "--capital", str(CAPITAL), "--slippage-bps", "2",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise NotThereError(f"the loopback ended with {process.wait()}")
        venue = GrowwVenue(json.loads(line), pace)
        asyncio.run(venue._post("/clock", {"speed": STANDING}))
        asyncio.run(venue._post("/behaviour", {"partial_fill_rate": PARTS, "seed": seed}))
        yield venue
    finally:
        process.terminate()
        process.wait(10)
