"""What is seen of a run while it runs."""

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Protocol

from rich.progress import Progress

from adversity.report import Outcome
from adversity.watch import Watch


class Running(Protocol):
    """What the line tells of."""

    doing: str
    watch: Watch
    outcome: Outcome


class ProgressLine:
    """One line that moves while the run does."""

    def __init__(self, progress: Progress, seconds: float) -> None:
        self._progress = progress
        self._task = progress.add_task("chaos", total=seconds)

    async def follow(self, run: Running) -> None:
        """Show how far it is, twice a second."""
        began = time.monotonic()
        while True:
            status, outcome = run.watch.status, run.outcome
            text = (
                f"{run.doing} · {len(outcome.injected)} faults · {run.watch.day} · "
                f"{status.get('trades_today', 0)} trades today · "
                f"{outcome.audits} audits, {len(outcome.violations)} violations"
            )
            self._progress.update(self._task, completed=time.monotonic() - began, description=text)
            await asyncio.sleep(0.5)


@contextlib.contextmanager
def quiet_ray() -> Iterator[None]:
    """Ray prints a page about every process that dies; here hundreds do.

    A console that writes to the former sys.stdout is still heard.
    """
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile("w") as swallowed, contextlib.redirect_stdout(swallowed):
        os.dup2(swallowed.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
