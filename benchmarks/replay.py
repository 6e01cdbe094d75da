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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from hftray.ray_start import free_port


class Replay:
    """A system that replays a folder; `url` is its API's."""

    def __init__(self, url: str, process: subprocess.Popen[bytes]) -> None:
        self.url = url
        self._process = process

    def watched(
        self, seen: Callable[[dict[str, Any]], None] = lambda status: None
    ) -> tuple[dict[str, Any], float, int]:
        """The last status, the seconds since the first scan, and the scans that first look saw."""
        began, before = 0.0, 0
        with httpx.Client(timeout=10) as client:
            while self._process.poll() is None:
                status = self._status(client)
                if not began and status.get("scans"):
                    began, before = time.perf_counter(), status["scans"]
                if status.get("session", {}).get("ended"):
                    return status, time.perf_counter() - began, before
                if status:
                    seen(status)
                time.sleep(0.2)
        raise SystemExit("the system ended before the replay did")

    def _status(self, client: httpx.Client) -> dict[str, Any]:
        """Empty while nothing answers."""
        try:
            answer = client.get(f"{self.url}/api/engine/status")
            return answer.json() if answer.status_code == 200 else {}
        except httpx.HTTPError:
            return {}


@contextmanager
def replaying(folder: Path, symbols: Sequence[str], **settings: str) -> Iterator[Replay]:
    """`hftray up` on a new data directory; `settings` are those of the section `replay`."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="hftray-bench-", ignore_cleanup_errors=True) as data:
        arguments = ["up", "--mode", "replay", "--data", str(folder), "--speed", "0"]
        arguments += ["--symbols", ",".join(symbols), "--data-dir", data, "--port", str(port)]
        extra = {f"HFTRAY_REPLAY__{name.upper()}": value for name, value in settings.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "hftray.cli", *arguments],
            stdout=subprocess.DEVNULL,
            env=os.environ | extra,
        )
        try:
            yield Replay(f"http://127.0.0.1:{port}", process)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(120)


def symbols_of(folder: Path, chosen: str | None) -> list[str]:
    """Those that were named, else one for each file."""
    files = {path.name.split(".")[0] for path in folder.iterdir()}
    return chosen.split(",") if chosen else sorted(files)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--symbols", help="comma-separated; default: every file of the folder")
    parser.add_argument("--common", action="store_true", help="only days that all symbols have")
    chosen = parser.parse_args()
    symbols = symbols_of(chosen.folder, chosen.symbols)
    common = str(chosen.common).lower()
    with replaying(chosen.folder, symbols, common_sessions=common) as replay:
        status, seconds, before = replay.watched()
    scans = status["scans"] - before
    print(f"symbols   {len(status['symbols'])}")
    print(f"scans     {scans} in {seconds:.0f} s: {scans / seconds:.1f} a second")
    print(f"capital   {status['initial_capital']} -> {status['capital']}")
    print(f"degraded  {status['degraded']}")


if __name__ == "__main__":
    main()
