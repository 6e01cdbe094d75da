"""Unique memory of a symbol actor beside a bare Ray actor that imports numpy, in one run.

    python benchmarks/memory.py

Unique set size: what the process alone occupies and would give back. The symbol actor has its
375 candles and has voted on a hundred market steps.
"""

import asyncio
import os
import statistics

import psutil
import ray
from system import started

from hftray.actors import ray_calls
from hftray.actors.engine_handle import EngineHandle


class Bare:
    """An actor that only has numpy."""

    def __init__(self) -> None:
        import numpy  # noqa: F401

    async def pid(self) -> int:
        return os.getpid()


def unique_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_full_info().uss) / 2**20


async def scan_a_while() -> None:
    engine = EngineHandle()
    await engine.start()
    version = -1
    while True:
        version, picture = await engine.snapshot(version, 5.0)
        if picture["status"]["scans"] >= 100:
            break
    await engine.stop()


def main() -> None:
    with started() as (plan, _):
        asyncio.run(scan_a_while())
        from ray.util.state import list_actors

        pids = {
            actor.name: actor.pid
            for actor in list_actors(ray.get_runtime_context().gcs_address, limit=1000)
            if actor.state == "ALIVE" and actor.name
        }
        bare = [ray.remote(num_cpus=0)(Bare).remote() for _ in range(3)]
        floor = statistics.median(unique_mb(ray.get(actor.pid.remote())) for actor in bare)
        symbols = [unique_mb(pids[ray_calls.symbol_actor(s)]) for s in plan.instruments]
        print(f"bare actor with numpy        {floor:7.1f} MB unique (median of {len(bare)})")
        print(f"symbol actor                 {statistics.median(symbols):7.1f} MB unique "
              f"(median of {len(symbols)})")  # fmt: skip
        print(f"more than bare               {statistics.median(symbols) - floor:7.1f} MB")
        for name in (ray_calls.ENGINE, ray_calls.RISK, ray_calls.PERSISTENCE, ray_calls.BROKER):
            print(f"{name:<28} {unique_mb(pids[name]):7.1f} MB unique")


if __name__ == "__main__":
    main()
