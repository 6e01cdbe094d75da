"""`hftray up` as a user starts it: a process of its own, watched through HTTP and its output."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil

import hftray
from hftray.ray_start import free_port

START_PATIENCE = 240.0  # seconds; a loaded machine with two cores needs most of a minute
STOP_PATIENCE = 90.0


def command(*arguments: str) -> list[str]:
    """The hftray command line of the interpreter that runs the tests."""
    return [sys.executable, "-m", "hftray.cli", *arguments]


def environment(**extra: str) -> dict[str, str]:
    """This environment with the tested package importable from any directory."""
    home = str(Path(hftray.__file__).parents[1])
    known = {name: value for name, value in os.environ.items() if not name.startswith("HFTRAY_")}
    return known | {"PYTHONPATH": home, "COLUMNS": "200", **extra}


class RunningSystem:
    """One started system; `stop` sends Ctrl-C and expects an orderly end."""

    def __init__(self, directory: Path, *arguments: str, **extra: str) -> None:
        self.directory = directory
        self.data_dir = directory / "data"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = directory / "up.log"
        self.arguments = arguments
        self.extra = extra
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def start(self) -> None:
        """Start and wait until it says that it runs."""
        arguments = ["up", "--data-dir", str(self.data_dir), "--port", str(self.port)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command(*arguments, *self.arguments),
                cwd=self.directory,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment(**self.extra),
            )
        marker, printed = "Ctrl-C stops everything.", len(self.output())
        self.wait_for(
            lambda: marker in self.output()[printed:], START_PATIENCE, "the system to start"
        )

    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    def wait_for(
        self, reached: Callable[[], Any], patience: float, what: str, every: float = 0.2
    ) -> Any:
        """Poll until `reached` returns something true; the system must stay alive meanwhile."""
        until = time.monotonic() + patience
        while time.monotonic() < until:
            found = reached()
            if found:
                return found
            assert self._process is not None
            assert self._process.poll() is None, f"the system ended:\n{self.output()[-3000:]}"
            time.sleep(every)
        raise AssertionError(f"waited {patience:.0f} s for {what}:\n{self.output()[-3000:]}")

    def get(self, path: str, **parameters: Any) -> Any:
        """The JSON of a GET that must succeed."""
        answer = self.client.get(path, params=parameters)
        assert answer.status_code == 200, f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def post(self, path: str, body: Any = None, **parameters: Any) -> Any:
        """The JSON of a POST that must succeed."""
        answer = self.client.post(path, json=body, params=parameters)
        assert answer.status_code in (200, 201), f"{path}: {answer.status_code} {answer.text[:500]}"
        return answer.json()

    def processes(self) -> list[psutil.Process]:
        """Everything it started, PostgreSQL (which is nobody's child) included."""
        assert self._process is not None
        found = psutil.Process(self._process.pid).children(recursive=True)
        postgres = self.data_dir / "postgres" / "postmaster.pid"
        if postgres.exists():
            found.append(psutil.Process(int(postgres.read_text().splitlines()[0])))
        return found

    def stop(self) -> list[str]:
        """Ctrl-C; names of processes that are still alive afterwards."""
        assert self._process is not None
        started = self.processes()
        self._process.send_signal(signal.SIGINT)
        assert self._process.wait(STOP_PATIENCE) == 0, self.output()[-3000:]
        _, alive = psutil.wait_procs(started, timeout=15)
        return [process.name() for process in alive if process.status() != psutil.STATUS_ZOMBIE]

    def kill_everything(self) -> None:
        """SIGKILL for the whole process tree and all of PostgreSQL, at once."""
        assert self._process is not None
        victims = [psutil.Process(self._process.pid), *self.processes()]
        victims += victims[-1].children(recursive=True)  # of PostgreSQL
        for process in victims:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(10)
        psutil.wait_procs(victims, timeout=10)

    def discard(self) -> None:
        """End it whatever its state is, after a test that failed."""
        self.client.close()
        if self._process is not None and self._process.poll() is None:
            started = self.processes()
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
            for process in psutil.wait_procs(started, timeout=10)[1]:
                process.kill()
