"""A started system for the benchmarks: database, Ray and actors, no scanning of its own."""

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from hftray import launch, ray_start
from hftray.core.ledger import RunInfo
from hftray.layers import load
from hftray.planning import Plan


@contextlib.contextmanager
def started(*, serve_api: bool = False, symbols: int = 10) -> Iterator[tuple[Plan, RunInfo]]:
    """Everything of `hftray up` on a directory of its own, stopped at the end."""
    with tempfile.TemporaryDirectory(prefix="hftray-bench-", ignore_cleanup_errors=True) as data:
        chosen = load(environment={}).settings.symbols[:symbols]
        flags = {
            "storage.data_dir": Path(data),
            "symbols": chosen,
            "server.port": ray_start.free_port(),
            "mode": "simulation",
        }
        system = launch.System(load(flags=flags, environment={}).settings, None, say)
        try:
            yield system.prepare(serve_api=serve_api)
        finally:
            system.stop()


def say(text: str) -> None:
    """Progress on standard error, so that the table on standard output stays clean."""
    print(f"  … {text}", file=sys.stderr)


def paired(
    ours: Callable[[], Awaitable[object]], bare: Callable[[], Awaitable[object]], rounds: int
) -> tuple[float, float, float]:
    """Median seconds of both, measured in turn, and the median of their ratio pair by pair."""

    async def measure() -> list[tuple[float, float]]:
        pairs = []
        for _ in range(rounds):
            began = time.perf_counter()
            await ours()
            between = time.perf_counter()
            await bare()
            pairs.append((between - began, time.perf_counter() - between))
        return pairs

    pairs = asyncio.run(measure())
    ratio = statistics.median(a / b for a, b in pairs)
    return (
        statistics.median(a for a, _ in pairs),
        statistics.median(b for _, b in pairs),
        ratio,
    )
