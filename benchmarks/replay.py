"""Scans a second of a replay through the actors, as fast as it goes, to the end of the data.

    python benchmarks/replay.py FOLDER [--symbols A,B] [--common]

Starts the whole system with `hftray up --mode replay --speed 0` on a new data directory and waits
until the engine says that the replay ended. Time counts from the first scan.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from hftray.launch import free_port


def watched(url: str, process: subprocess.Popen[bytes]) -> tuple[dict[str, Any], float, int]:
    """The last status, the seconds since the first scan, and how many scans that first look saw."""
    began, before = 0.0, 0
    while process.poll() is None:
        try:
            answer = httpx.get(f"{url}/api/engine/status", timeout=10)
            status = answer.json() if answer.status_code == 200 else {}
        except httpx.HTTPError:
            status = {}
        if not began and status.get("scans"):
            began, before = time.perf_counter(), status["scans"]
        if status.get("session", {}).get("ended"):
            return status, time.perf_counter() - began, before
        time.sleep(0.2)
    raise SystemExit("the system ended before the replay did")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--symbols", help="comma-separated; default: every file of the folder")
    parser.add_argument("--common", action="store_true", help="only days that all symbols have")
    chosen = parser.parse_args()
    files = {path.name.split(".")[0] for path in chosen.folder.iterdir()}
    symbols = chosen.symbols or ",".join(sorted(files))
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hftray-bench-", ignore_cleanup_errors=True) as data:
        arguments = ["up", "--mode", "replay", "--data", str(chosen.folder), "--speed", "0"]
        arguments += ["--symbols", symbols, "--data-dir", data, "--port", str(port)]
        common = str(chosen.common).lower()
        process = subprocess.Popen(
            [sys.executable, "-m", "hftray.cli", *arguments],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"HFTRAY_REPLAY__COMMON_SESSIONS": common},
        )
        try:
            status, seconds, before = watched(f"http://127.0.0.1:{port}", process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)
    scans = status["scans"] - before
    print(f"symbols   {len(status['symbols'])}")
    print(f"scans     {scans} in {seconds:.0f} s: {scans / seconds:.1f} a second")
    print(f"capital   {status['initial_capital']} -> {status['capital']}")
    print(f"degraded  {status['degraded']}")


if __name__ == "__main__":
    main()
