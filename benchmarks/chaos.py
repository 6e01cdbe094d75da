"""Kills, freezes and cheats the running system, and asks whether the ledger still equals the book.

    python benchmarks/chaos.py --minutes 5 --seed 7 [--symbols 20] [--json FILE] [--keep]

A simulated market on a fast clock trades on a Ray cluster of three nodes of this machine while an
adversary works through a schedule that is a function of the seed. After each simulated day, and
at the end, the exchange's own book is compared with PostgreSQL. The exit code is 1 when anything
was lost, doubled, orphaned or beyond a limit, or when too little happened to prove anything.
"""

import argparse
import asyncio
import contextlib
import sys
import time
from datetime import date
from pathlib import Path

from adversity.audit import audit
from adversity.breaches import Limits
from adversity.console import ProgressLine, quiet_ray
from adversity.facts import Violation
from adversity.fault import Fault
from adversity.faults import Adversary
from adversity.record import Book, Ledger, read_book, read_ledger
from adversity.report import Outcome
from adversity.schedule import Planned, digest, schedule
from adversity.system import ChaosSystem, running
from adversity.watch import Watch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hftray.actors.handles import EngineHandle, LedgerHandle
from hftray.core.errors import HftrayError

GAP = 1.5  # seconds between faults, on average
HEALING = 60.0  # seconds that everything may take to be well again
CALM = 2.0  # seconds without a complaint that count as well again
# Only a minute of faults proves nothing about five: the targets grow with the time.
FAULTS_A_MINUTE, ORDERS_A_MINUTE = 20, 100  # orders: of twenty symbols


class Run:
    """One run: the adversary, the watch, the audits between them."""

    def __init__(self, chaos: ChaosSystem, planned: list[Planned], outcome: Outcome) -> None:
        self._chaos, self._planned, self.outcome = chaos, planned, outcome
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
            await self._whole_schedule()
            await self._checkpoint(last=True)
        finally:
            self._adversary.wake_all()
            for task in (watching, showing, *self._striking):
                task.cancel()
            self.outcome.scans, self.outcome.days = self.watch.scans, len(self.watch.days)
            self.outcome.resumed_by_hand = self.watch.resumed

    async def _whole_schedule(self) -> None:
        clock, before, day = 0.0, time.monotonic(), ""
        left = list(self._planned)
        while clock < self.outcome.seconds:
            self.doing = "chaos"
            now = time.monotonic()
            clock, before = clock + now - before, now
            while left and left[0].at <= clock:
                self._strike(left.pop(0))
            day = day or self.watch.day
            if self.watch.day > day:
                day = self.watch.day
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
        if self._striking:
            self.doing = "waiting for the faults under way to end"
            await asyncio.wait(self._striking, timeout=HEALING)
        found = await self._compare()
        if found:
            await self._stubbornly(self._engine.start)
            found = await self._compare()
        self.outcome.add(found)
        self.outcome.audits += 1
        if not last:
            await self._stubbornly(self._engine.start)

    async def _compare(self) -> list[Violation]:
        await self._healed()
        self.doing = "comparing"
        await self._stubbornly(self._engine.stop)
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
                read_book(self._chaos.data_dir),
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--gap", type=float, default=GAP, help="seconds between faults")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--keep", action="store_true", help="keep the files of a good run")
    chosen = parser.parse_args()
    console = Console(file=sys.stdout)
    seconds = chosen.minutes * 60
    planned = schedule(chosen.seed, seconds, chosen.gap)
    console.print(f"schedule {digest(planned)}: {len(planned)} faults in {seconds:.0f} s")
    outcome = Outcome(chosen.seed, digest(planned), seconds, chosen.symbols)
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
    with (
        quiet_ray(),
        running(
            symbols=chosen.symbols,
            seed=chosen.seed,
            keep=lambda: chosen.keep or bool(outcome.violations),
            say=lambda text: console.print(f"  {text}", style="dim"),
        ) as chaos,
        Progress(
            *columns, console=console, redirect_stdout=False, redirect_stderr=False
        ) as progress,
    ):
        asyncio.run(Run(chaos, planned, outcome).drive(ProgressLine(progress, seconds)))
    shortfalls = outcome.shortfalls(
        faults=int(chosen.minutes * FAULTS_A_MINUTE),
        orders=int(chosen.minutes * ORDERS_A_MINUTE * chosen.symbols / 20),
        every_kind=True,
    )
    outcome.show(console)
    if chosen.json:
        outcome.write(chosen.json, shortfalls)
    console.print("FAILED: " + "; ".join(shortfalls) if shortfalls else "[green]all well[/green]")
    return 1 if shortfalls else 0


if __name__ == "__main__":
    raise SystemExit(main())
