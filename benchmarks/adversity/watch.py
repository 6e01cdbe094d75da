"""Following the engine's snapshots: when does trading work again after a fault?

A fault has recovered with the end of the first scan that began after it in which the struck part
worked again: the engine runs, and no line of `degraded` names the part. For the API that its
health answers, for PostgreSQL that it also takes a query.
"""

import asyncio
import contextlib
import time
from datetime import datetime
from typing import Any

import asyncpg
import httpx

from adversity.fault import Fault
from adversity.system import ChaosSystem
from hftray.actors.engine_handle import EngineHandle
from hftray.core.errors import HftrayError

BY_HAND = 6.0  # seconds that entries stay barred before the operator resumes


class Watch:
    """The newest snapshot, the recoveries seen in them, and the operator at the desk."""

    def __init__(self, chaos: ChaosSystem, faults: list[Fault]) -> None:
        self.status: dict[str, Any] = {}
        self.positions: dict[str, str] = {}
        self.scans = 0
        self.days: set[str] = set()
        self.resumed = 0
        self._chaos = chaos
        self._faults = faults
        self._engine = EngineHandle()
        self._version = -1
        self._counted = 0
        self._barred_since: float | None = None

    @property
    def market_time(self) -> datetime | None:
        """The market's present moment, as the last scan had it."""
        return (self.status.get("session") or {}).get("market_time")

    @property
    def day(self) -> str:
        """The market's day."""
        moment = self.market_time
        return moment.date().isoformat() if moment else ""

    @property
    def scanned_at(self) -> float:
        """When the last scan that is known of began."""
        ended = self.status.get("last_scan_at")
        return ended.timestamp() - self.status["scan_ms"] / 1000 if ended else 0.0

    async def follow(self) -> None:
        """For ever: take snapshots, note recoveries, resume what nobody else resumes."""
        while True:
            if await self.look():
                await self._note_recoveries()
                await self._operate()
            else:
                await asyncio.sleep(0.1)

    async def look(self) -> bool:
        """Take the newest snapshot; False when the engine does not answer."""
        try:
            version, picture = await asyncio.wait_for(
                self._engine.snapshot(self._version, 1.0), 4.0
            )
        except (HftrayError, TimeoutError):
            self._version = -1
            return False
        self._version = version
        self.status = picture["status"]
        self.positions = {row["symbol"]: row["reference"] for row in picture["positions"]}
        now = int(self.status["scans"])
        self.scans += now - self._counted if now >= self._counted else now
        self._counted = now
        if self.day:
            self.days.add(self.day)
        return True

    def healthy(self, since: float) -> bool:
        """Whether a scan that began after this moment found nothing to complain of."""
        good = self.status.get("running") and not self.status["degraded"]
        return bool(good) and self.scanned_at > since

    async def _note_recoveries(self) -> None:
        for fault in self._faults:
            if fault.began is None or fault.recovered is not None or fault.skipped:
                continue
            if self._works_again(fault) and await self._answers(fault):
                ended = self.status["last_scan_at"].timestamp()
                fault.recovered = max(ended, time.time() if _asked(fault) else 0.0)

    def _works_again(self, fault: Fault) -> bool:
        assert fault.began is not None
        if not self.status.get("running") or self.scanned_at <= fault.began:
            return False
        if fault.planned.kind == "kill switch" and self.status["risk_state"] != "ACTIVE":
            return False
        lines = self.status["degraded"]
        return not any(mark in line for mark in fault.marks for line in lines)

    async def _answers(self, fault: Fault) -> bool:
        if fault.target == "postgres":
            return await self._postgres_answers()
        if fault.target.startswith("api"):
            with contextlib.suppress(httpx.HTTPError):
                async with httpx.AsyncClient(timeout=0.5) as client:
                    return (await client.get(f"{self._chaos.api}/health")).status_code == 200
            return False
        return True

    async def _postgres_answers(self) -> bool:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, IndexError):
            host = self._chaos.postgres_socket
            database = await asyncpg.connect(
                host=host, user="postgres", database="postgres", timeout=0.5
            )
            await database.close(timeout=1)
            return True
        return False

    async def _operate(self) -> None:
        """The operator looks at what is barred for long and was not barred by a kill switch."""
        drilling = any(
            f.planned.kind == "kill switch" and f.began and not f.over for f in self._faults
        )
        if self.status["risk_state"] == "ACTIVE" or drilling:
            self._barred_since = None
            return
        self._barred_since = self._barred_since or time.monotonic()
        if time.monotonic() - self._barred_since > BY_HAND:
            self._barred_since = None
            with contextlib.suppress(HftrayError, TimeoutError):
                await asyncio.wait_for(self._engine.resume("looked into by hand", "chaos"), 3)
                self.resumed += 1


def _asked(fault: Fault) -> bool:
    return fault.target == "postgres" or fault.target.startswith("api")
