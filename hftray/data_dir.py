"""Which system runs on a data directory: one at most, and others find it.

What is started is written to `<data-dir>/running.json`, so a second start on the same directory
finds it and `hftray down` can end it.
"""

import fcntl
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from hftray.core.errors import StopError


@dataclass(frozen=True, slots=True)
class Running:
    """Where a started system answers."""

    pid: int
    url: str
    mode: str
    dashboard: str


class DataDirLock:
    """One system a data directory; the lock goes with the process that holds it."""

    def __init__(self, data_dir: Path) -> None:
        self._dir = data_dir
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """StopError says which process holds the directory."""
        self._dir.mkdir(parents=True, exist_ok=True)
        self._file = (self._dir / "lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            there = running(self._dir)
            where = f" (pid {there.pid}, {there.url})" if there else ""
            raise StopError(
                f"hftray already runs on {self._dir}{where}; "
                "use another --data-dir, or `hftray down` first"
            ) from None

    def publish(self, state: Running) -> None:
        """Tell other processes where the system answers."""
        _state_file(self._dir).write_text(json.dumps(asdict(state)))

    def release(self) -> None:
        """Give the directory back."""
        _state_file(self._dir).unlink(missing_ok=True)
        if self._file is not None:
            self._file.close()


def running(data_dir: Path) -> Running | None:
    """The system that says it runs on this directory."""
    try:
        return Running(**json.loads(_state_file(data_dir).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None


def is_locked(data_dir: Path) -> bool:
    """Whether a process holds the directory now."""
    path = data_dir / "lock"
    if not path.exists():
        return False
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def _state_file(data_dir: Path) -> Path:
    return data_dir / "running.json"
