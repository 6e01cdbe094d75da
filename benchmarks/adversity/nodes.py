"""Faults of whole nodes."""

import asyncio
import signal
import time
from typing import Any

import psutil
import ray

from adversity.cluster import end, raylet_pid
from adversity.fault import Fault, NotThereError, marks_of
from adversity.signals import Stopped
from adversity.system import ChaosSystem

GIVEN_UP = 20.0  # seconds after which a cluster must have noticed a frozen node
WAKING = 0.7  # seconds that a frozen node's actors act before their raylet learns that it is dead


class Nodes:
    """The worker nodes, struck one at a time, so that one is always whole."""

    def __init__(self, chaos: ChaosSystem, stopped: Stopped) -> None:
        self._chaos, self._stopped = chaos, stopped
        self._one = asyncio.Lock()

    async def remove(self, fault: Fault) -> None:
        """Another node comes, then one dies with everything on it."""
        async with self._one:
            node, family = await self._doomed(fault)
            await asyncio.sleep(fault.planned.seconds)
            self._struck(fault, node, family)
            await asyncio.to_thread(self._chaos.cluster.remove_node, node, allow_graceful=False)

    async def freeze(self, fault: Fault) -> None:
        """Another node comes, then one sleeps until it is given up; at last its actors wake."""
        async with self._one:
            node, family = await self._doomed(fault)
            # Likely one of the zombies wakes with the answer to an order in its hands.
            await self._chaos.venue.slow_answer(fault.planned.number)
            self._struck(fault, node, family)
            for process in family:
                self._stopped.send(process, signal.SIGSTOP)
            try:
                await self._given_up(node)
                await asyncio.sleep(fault.planned.seconds)
            finally:
                for process in family[1:]:  # the actors first: zombies that do not know it
                    self._stopped.send(process, signal.SIGCONT)
                await asyncio.sleep(WAKING)
                self._stopped.send(family[0], signal.SIGCONT)
            await asyncio.to_thread(psutil.wait_procs, family, 10)
            await asyncio.to_thread(self._chaos.cluster.remove_node, node, allow_graceful=False)
            await asyncio.to_thread(end, [p for p in family if p.is_running()])

    async def _doomed(self, fault: Fault) -> tuple[Any, list[psutil.Process]]:
        """A worker node on which actors of ours live, and its processes, the raylet first."""
        nodes = sorted(self._chaos.cluster.worker_nodes, key=raylet_pid)
        homes = [node for node in nodes if self._marks(self._chaos.workers_of(node))]
        if not homes:
            raise NotThereError("no worker node with actors on it")
        node = homes[fault.planned.target % len(homes)]
        await asyncio.to_thread(self._chaos.add_node)
        return node, self._chaos.workers_of(node)

    def _struck(self, fault: Fault, node: Any, family: list[psutil.Process]) -> None:
        self._chaos.remember(family)
        fault.struck(f"node {raylet_pid(node)}", *self._marks(family))

    def _marks(self, family: list[psutil.Process]) -> tuple[str, ...]:
        pids = {process.pid for process in family}
        names = [name for name, process in self._chaos.actors().items() if process.pid in pids]
        return tuple(mark for name in names for mark in marks_of(name))

    async def _given_up(self, node: Any) -> None:
        until = time.monotonic() + GIVEN_UP
        while time.monotonic() < until:
            rows = await asyncio.to_thread(ray.nodes)
            if not any(row["NodeID"] == node.node_id and row["Alive"] for row in rows):
                return
            await asyncio.sleep(0.1)
