"""One run: the adversary at work, the comparisons between, the end."""

import asyncio
import contextlib
import time
from datetime import date

from adversity.audit import audit
from adversity.breaches import Limits
from adversity.console import ProgressLine
from adversity.facts import Violation
from adversity.fault import Fault
from adversity.faults import Adversary
from adversity.record import Book, Ledger, read_ledger
from adversity.report import Outcome
from adversity.schedule import Planned
from adversity.system import ChaosSystem
from adversity.watch import Watch
from hftray.actors.engine_handle import EngineHandle
from hftray.actors.handles import LedgerHandle
from hftray.core.errors import HftrayError

HEALING = 60.0  # seconds that everything may take to be well again
CALM = 2.0  # seconds without a complaint that count as well again


class Run:
    """One run: the adversary, the watch, the audits between them."""

    def __init__(self, chaos: ChaosSystem, planned: list[Planned], outcome: Outcome) -> None:
        self._chaos, self._planned, self.outcome = chaos, planned, outcome
        self._venue = chaos.venue
        self._adversary = Adversary(chaos)
        self._adversary.faults = outcome.faults
        self.watch = Watch(chaos, outcome.faults)
        self._engine, self._ledger = EngineHandle(), LedgerHandle()
        self._striking: set[asyncio.Task[None]] = set()
        self.doing = ""

    async def drive(self, progress: "ProgressLine") -> None:
        """Strike as planned; audit at each day's turn and at the end."""
        watching = asyncio.create_task(self.watch.follow())
        showing = asyncio.create_task(progress.follow(self))
        try:
            await self._venue.go_on()
            await self._whole_schedule()
            await self._checkpoint(last=True)
            if await self._venue.to_square_off():
                await self._stubbornly(self._engine.start)
                await self._checkpoint(last=True)
        finally:
            self._adversary.wake_all()
            for task in (watching, showing, *self._striking):
                task.cancel()
            self.outcome.scans, self.outcome.days = self.watch.scans, len(self.watch.days)
            self.outcome.resumed_by_hand = self.watch.resumed
            self.outcome.limits = self._venue.limits()

    async def _whole_schedule(self) -> None:
        clock, before = 0.0, time.monotonic()
        left = list(self._planned)
        while clock < self.outcome.seconds:
            self.doing = "chaos"
            now = time.monotonic()
            clock, before = clock + now - before, now
            while left and left[0].at <= clock:
                self._strike(left.pop(0))
            now_there = self.watch.market_time
            if now_there and self._venue.day_is_over(now_there):
                await self._checkpoint()
                before = time.monotonic()
            await asyncio.sleep(0.05)

    def _strike(self, planned: Planned) -> None:
        fault = Fault(planned)
        self.outcome.faults.append(fault)
        task = asyncio.create_task(self._adversary.strike(fault))
        self._striking.add(task)
        task.add_done_callback(self._striking.discard)

    async def _checkpoint(self, *, last: bool = False) -> None:
        """No faults, everything well, engine stopped, record complete: compare.

        What differs gets a second look after some more scans: only what stays counts.
        """
        await self._venue.calm()
        if self._striking:
            self.doing = "waiting for the faults under way to end"
            await asyncio.wait(self._striking, timeout=HEALING)
        found = await self._compare()
        if found:
            await self._venue.calm()
            await self._stubbornly(self._engine.start)
            found = await self._compare()
        self.outcome.add(found)
        self.outcome.audits += 1
        if not last:
            await self._venue.go_on()
            await self._stubbornly(self._engine.start)

    async def _compare(self) -> list[Violation]:
        await self._healed()
        await self._flat()
        self.doing = "comparing"
        await self._stubbornly(self._engine.stop)
        await self._venue.still()
        await self._drained()
        book, ledger = await self._settled()
        await self.watch.look()
        self.outcome.orders, self.outcome.fills = len(book.orders), len(book.fills)
        risk = self._chaos.settings.risk
        limits = Limits(
            per_symbol_day=risk.max_trades_per_symbol_day,
            per_day=risk.max_trades_per_day,
            exposure_percent=risk.max_symbol_exposure_percent,
            leverage=risk.leverage,
            band_percent=risk.entry_band_percent,
        )
        day = self.watch.day
        return audit(
            book,
            ledger,
            limits,
            held=self.watch.positions,
            today=date.fromisoformat(day) if day else None,
        )

    async def _healed(self) -> None:
        """Wait until scans find nothing to complain of for a while."""
        self.doing = "healing"
        until, calm = time.monotonic() + HEALING, time.monotonic()
        asked = time.time()
        while time.monotonic() - calm < CALM:
            if not self.watch.healthy(asked):
                calm = time.monotonic()
            if time.monotonic() > until:
                self.outcome.never_healed = str(
                    self.watch.status.get("degraded") or self.watch.status
                )
                return
            await asyncio.sleep(0.1)

    async def _flat(self) -> None:
        """Wait until no position is left, where none should be."""
        until = time.monotonic() + HEALING
        while (now := self.watch.market_time) is None or self._venue.must_be_flat(now):
            self.doing = "waiting for the last positions to go"
            if not self.watch.positions:
                return
            if time.monotonic() > until:
                self.outcome.never_healed = f"still held: {', '.join(self.watch.positions)}"
                return
            await asyncio.sleep(0.1)

    async def _drained(self) -> None:
        """Wait until the journal, where there is one, has brought everything to PostgreSQL."""
        until = time.monotonic() + HEALING
        while time.monotonic() < until:
            with contextlib.suppress(HftrayError, TimeoutError):
                health = await asyncio.wait_for(self._ledger.append([]), 5)
                if not getattr(health, "waiting", 0):
                    return
            await asyncio.sleep(0.2)
        self.outcome.never_healed = "ledger events still wait for PostgreSQL"

    async def _settled(self) -> tuple[Book, Ledger]:
        """Both records, once two looks a second apart agree."""
        before: tuple[Book, Ledger] | None = None
        for _ in range(20):
            records = (
                self._venue.read_book(self._chaos.data_dir),
                await read_ledger(self._chaos.postgres_socket),
            )
            if records == before:
                break
            before = records
            await asyncio.sleep(1.0)
        return records

    async def _stubbornly(self, call: object) -> None:
        """Ask the engine until it answers."""
        for _ in range(30):
            with contextlib.suppress(HftrayError, TimeoutError):
                await asyncio.wait_for(call(), 10)  # type: ignore[operator]
                return
            await asyncio.sleep(0.5)
        self.outcome.never_healed = "the engine does not answer"
