"""Carrying out the planned faults on real processes, and writing down what was really done."""

import asyncio
import contextlib
import resource
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil

from adversity.fault import Fault, NotThereError, marks_of
from adversity.nodes import Nodes
from adversity.signals import Stopped
from adversity.system import ChaosSystem
from hftray.actors.engine_handle import EngineHandle
from hftray.core.errors import HftrayError
from hftray.storage import embedded

PATIENCE = 12.0  # seconds a fault is tried again while what it would strike is not there


class Adversary:
    """Does to the system what the schedule says."""

    def __init__(self, chaos: ChaosSystem) -> None:
        self.faults: list[Fault] = []
        self._chaos = chaos
        self._engine = EngineHandle()
        self._stopped = Stopped()
        self._nodes = Nodes(chaos, self._stopped)
        self._postgres, self._journal = asyncio.Lock(), asyncio.Lock()

    async def strike(self, fault: Fault) -> None:
        """Carry one fault out, trying again while its target is away; ends when it is over."""
        verb, _, what = fault.planned.kind.partition(" ")
        actions: dict[str, Callable[[Fault], Awaitable[None]]] = {
            "kill postgres": self._kill_postgres,
            "kill switch": self._kill_switch,
            "remove node": self._nodes.remove,
            "freeze node": self._nodes.freeze,
            "fill journal disk": self._fill_journal,
        }
        generic = {"kill": self._kill, "stop": self._stop, "exchange": self._chaos.venue.strike}
        action = actions.get(fault.planned.kind) or generic[verb]
        until = time.monotonic() + PATIENCE
        while True:
            try:
                await action(fault)
                break
            except (NotThereError, psutil.NoSuchProcess, HftrayError) as error:
                if fault.began is not None:
                    break
                if time.monotonic() > until:
                    fault.skipped = f"{what or verb}: {error}"
                    break
                await asyncio.sleep(0.25)
        fault.over = time.time()

    def wake_all(self) -> None:
        """Nobody stays stopped."""
        self._stopped.wake_all()

    # Actors

    def _pick(self, fault: Fault) -> tuple[str, psutil.Process]:
        kind = fault.planned.kind.split(" ")[1]
        actors = self._chaos.actors()
        names = sorted(n for n in actors if n == kind or n.startswith(f"{kind}:"))
        if not names:
            raise NotThereError(f"no living {kind}")
        name = names[fault.planned.target % len(names)]
        return name, actors[name]

    async def _kill(self, fault: Fault) -> None:
        name, process = self._pick(fault)
        process.kill()
        fault.struck(name, *marks_of(name))

    async def _stop(self, fault: Fault) -> None:
        name, process = self._pick(fault)
        self._stopped.send(process, signal.SIGSTOP)
        fault.struck(name, *marks_of(name))
        try:
            await asyncio.sleep(fault.planned.seconds)
        finally:
            self._stopped.send(process, signal.SIGCONT)

    # PostgreSQL

    async def _kill_postgres(self, fault: Fault) -> None:
        async with self._postgres:
            postmaster = self._chaos.postgres
            if postmaster is None:
                raise NotThereError("PostgreSQL is not up")
            family = [postmaster, *postmaster.children(recursive=True)]
            for process in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            fault.struck("postgres", "PostgreSQL", "ledger:")
            await asyncio.sleep(fault.planned.seconds)
            # Whoever comes first: the system's own supervision, when it has one, or we.
            await asyncio.to_thread(embedded.start, self._chaos.data_dir)

    # Disk and operator

    async def _fill_journal(self, fault: Fault) -> None:
        async with self._journal:
            if self._chaos.tmpfs:
                await self._fill_disk(fault, self._chaos.journal / "filler")
            else:
                await self._forbid_growth(fault)

    async def _fill_disk(self, fault: Fault, filler: Path) -> None:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(512)):
                pass
        fault.struck("journal disk", "journal", "ledger:")
        try:
            await asyncio.sleep(fault.planned.seconds)
        finally:
            filler.unlink()

    async def _forbid_growth(self, fault: Fault) -> None:
        process = self._chaos.actors().get("persistence")
        if process is None:
            raise NotThereError("no living persistence")
        before = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        fault.struck("journal disk", "journal", "ledger:")
        try:
            await asyncio.sleep(fault.planned.seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, before)

    async def _kill_switch(self, fault: Fault) -> None:
        await asyncio.wait_for(self._engine.kill("chaos drill", "chaos"), 5)
        fault.struck("risk state")
        await asyncio.sleep(fault.planned.seconds)
        for _ in range(20):
            with contextlib.suppress(HftrayError, TimeoutError):
                await asyncio.wait_for(self._engine.resume("chaos drill is over", "chaos"), 5)
                return
            await asyncio.sleep(0.5)
