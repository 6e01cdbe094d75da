"""Seconds from `hftray up` to the API's answer, the first scan and the first trade.

    python benchmarks/startup.py [--runs 3]

Each run has a new data directory, so PostgreSQL is created and the schema built as on the first
day; `--again` starts a second time on the same one.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from hftray.ray_start import free_port

PATIENCE = 300.0


def until(began: float, reached: object) -> float:
    while time.perf_counter() - began < PATIENCE:
        try:
            if reached():  # type: ignore[operator]
                return time.perf_counter() - began
        except httpx.HTTPError:
            pass
        time.sleep(0.05)
    raise TimeoutError("the system did not come up")


def run(data_dir: Path) -> tuple[float, float, float, float]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    began = time.perf_counter()
    arguments = ["up", "--mode", "simulation", "--data-dir", str(data_dir), "--port", str(port)]
    process = subprocess.Popen(
        [sys.executable, "-m", "hftray.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    answers = until(began, lambda: httpx.get(f"{url}/health").status_code == 200)
    status = f"{url}/api/engine/status"
    scanned = until(began, lambda: httpx.get(status).json().get("scans", 0) > 0)
    traded = until(began, lambda: len(httpx.get(f"{url}/api/trades").json()) > 0)
    stopping = time.perf_counter()
    process.send_signal(signal.SIGINT)
    process.wait(PATIENCE)
    return answers, scanned, traded, time.perf_counter() - stopping


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--again", action="store_true", help="start on a directory used before")
    chosen = parser.parse_args()
    found = []
    for _ in range(chosen.runs):
        with tempfile.TemporaryDirectory(
            prefix="hftray-bench-", ignore_cleanup_errors=True
        ) as data:
            if chosen.again:
                run(Path(data))
            found.append(run(Path(data)))
    names = ("API answers", "first scan", "first trade", "Ctrl-C to end")
    for name, values in zip(names, zip(*found, strict=True), strict=True):
        print(f"{name:<16} {statistics.median(values):6.1f} s (median of {len(values)}; "
              f"{min(values):.1f} to {max(values):.1f})")  # fmt: skip


if __name__ == "__main__":
    main()
