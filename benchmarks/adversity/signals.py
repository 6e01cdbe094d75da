"""Stopping and waking processes without forgetting one."""

import contextlib
import signal

import psutil


class Stopped:
    """The processes that sleep because we stopped them."""

    def __init__(self) -> None:
        self._processes: set[psutil.Process] = set()

    def send(self, process: psutil.Process, number: signal.Signals) -> None:
        """SIGSTOP or SIGCONT; nothing when the process is gone."""
        change = self._processes.add if number is signal.SIGSTOP else self._processes.discard
        change(process)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)

    def wake_all(self) -> None:
        """Nobody stays stopped."""
        for process in list(self._processes):
            self.send(process, signal.SIGCONT)
