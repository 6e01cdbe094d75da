"""The simulated exchange as a venue: its faults are files that the broker's process takes."""

import asyncio
import time
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from adversity.broker import faulty_broker
from adversity.fault import Fault
from adversity.record import Book, read_book
from adversity.schedule import SIMULATED
from adversity.venue import BUSY
from hftray.layers import load
from hftray.ray_start import free_port
from hftray.settings import Settings
from hftray.testing.faulty_broker import TIMED, order_fault
from hftray.testing.faulty_broker import Fault as Kind

TOKEN_LIFE = 30.0  # seconds an exchange fault waits for a call that it can strike
REPLY = 2000  # milliseconds that the exchange takes to answer an order sent just before a freeze


class SimulatedVenue:
    """The exchange of mode `simulation` behind a connection that can be told to fail.

    `tokens` is a directory that exists.
    """

    deck = SIMULATED

    def __init__(self, tokens: Path) -> None:
        self._tokens = tokens
        self._day = ""
        self.build_broker = partial(faulty_broker, tokens)

    def settings(self, data_dir: Path, symbols: tuple[str, ...], seed: int) -> Settings:
        """Settings of a busy simulation."""
        flags = BUSY | {
            "mode": "simulation",
            "session.no_entry_minutes": 60,
            "session.square_off_minutes": 45,
            "engine.reconcile_interval": 5,
            "simulation.speed": 600,
            "simulation.ticks_per_candle": 3,
            "simulation.reject_rate": 0.02,
            "simulation.partial_fill_rate": 0.2,
            "simulation.seed": seed,
            "storage.data_dir": data_dir,
            "symbols": list(symbols),
            "server.port": free_port(),
        }
        return load(flags=flags, environment={}).settings

    def read_book(self, data_dir: Path) -> Book:
        """The book in the data directory."""
        return read_book(data_dir)

    def day_is_over(self, now: datetime) -> bool:
        """Whether another day has begun."""
        day = now.date().isoformat()
        before, self._day = self._day, day
        return bool(before) and day > before

    def must_be_flat(self, now: datetime) -> bool:
        """A day turns by itself, and the next one may hold positions already."""
        return False

    async def calm(self) -> None:
        """The market keeps its pace."""

    async def still(self) -> None:
        """The market is part of the engine, so it stands."""

    async def go_on(self) -> None:
        """The market goes on with the engine."""

    async def to_square_off(self) -> bool:
        """The market cannot be moved."""
        return False

    async def strike(self, fault: Fault) -> None:
        """Leave a token and wait until a call took it."""
        planned = fault.planned
        kind = Kind(planned.kind.partition(" ")[2])
        lasts = planned.seconds if kind in TIMED else 0.0
        token = order_fault(self._tokens, kind, planned.number, int(lasts * 1000))
        until = time.monotonic() + TOKEN_LIFE
        while token.exists():
            if time.monotonic() > until:
                token.unlink(missing_ok=True)
                if not (token.parent / "done" / token.name).exists():
                    fault.skipped = "no call came that it could strike"
                    return
            await asyncio.sleep(0.05)
        fault.struck("exchange", "broker.", "BrokerUnavailable", "UnknownOutcome")
        await asyncio.sleep(lasts)

    async def slow_answer(self, number: int) -> None:
        """A token for a late answer, taken back when no order came."""
        token = order_fault(self._tokens, Kind.LATE_REPLY, number, REPLY)
        until = time.monotonic() + REPLY / 1000
        while token.exists() and time.monotonic() < until:
            await asyncio.sleep(0.01)
        token.unlink(missing_ok=True)

    def limits(self) -> dict[str, Any]:
        """Nobody counts calls."""
        return {}
