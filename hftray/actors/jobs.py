"""Work that may take longer than a request: started, watched and cancelled by id.

One actor keeps the jobs, so that every API replica finds them; the work itself is done elsewhere.
Jobs live in memory: they are gone when the actor's process is.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from hftray.core.errors import HftrayError, NotFound, RetryError
from hftray.observe import logger

log = logger("jobs")

Work = Callable[..., AsyncGenerator[Any, None]]
"""Yields floats, the share that is done (0 to 1), and at the end the result, a mapping."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job at a moment. `error` is for people."""

    id: str
    state: Literal["queued", "running", "done", "failed"]
    progress: float
    result: dict[str, Any] | None = None
    error: str | None = None


class JobShell:
    """Runs `work(*arguments)` for every job, `at_once` of them at a time.

    At most `waiting` unfinished jobs are taken, and the newest `kept` finished ones remembered.
    """

    def __init__(self, work: Work, *, at_once: int = 2, waiting: int = 16, kept: int = 20) -> None:
        self._work = work
        self._turns = asyncio.Semaphore(at_once)
        self._waiting = waiting
        self._kept = kept
        self._jobs: dict[str, asyncio.Task[dict[str, Any]]] = {}  # oldest first
        self._progress: dict[str, float] = {}  # of those that have begun

    async def run(self, arguments: tuple[Any, ...], patience: float) -> Job:
        """Start a job, and wait for it for some seconds.

        A job that finishes in that time is not remembered, and one that fails on purpose raises its
        HftrayError. RetryError when too many are unfinished.
        """
        unfinished = sum(not task.done() for task in self._jobs.values())
        if unfinished >= self._waiting:
            raise RetryError(f"{unfinished} jobs are unfinished already")
        job_id = secrets.token_hex(8)
        task = asyncio.create_task(self._do(job_id, arguments))
        task.add_done_callback(partial(_report_fault, job_id))
        self._jobs[job_id] = task
        self._forget_old()
        await asyncio.wait({task}, timeout=patience)
        job = self._view(job_id)
        if task.done():
            self._drop(job_id)
            if isinstance(error := task.exception(), HftrayError):
                raise error
        return job

    async def look(self, job_id: str) -> Job:
        """How far the job is. NotFound."""
        self._require(job_id)
        return self._view(job_id)

    async def cancel(self, job_id: str) -> None:
        """End the job if it runs, and forget it. NotFound."""
        self._require(job_id)
        task = self._jobs[job_id]
        self._drop(job_id)
        task.cancel()
        await asyncio.wait({task})

    async def _do(self, job_id: str, arguments: tuple[Any, ...]) -> dict[str, Any]:
        async with self._turns, aclosing(self._work(*arguments)) as steps:
            self._progress[job_id] = 0.0
            async for step in steps:
                if not isinstance(step, float):
                    result: dict[str, Any] = step
                    return result
                self._progress[job_id] = step
        raise RuntimeError("the work ended without a result")

    def _view(self, job_id: str) -> Job:
        task = self._jobs[job_id]
        if not task.done():
            begun = job_id in self._progress
            state: Literal["running", "queued"] = "running" if begun else "queued"
            return Job(job_id, state, self._progress.get(job_id, 0.0))
        error = task.exception()
        if error is None:
            return Job(job_id, "done", 1.0, task.result())
        progress = self._progress.get(job_id, 0.0)
        if isinstance(error, HftrayError):
            return Job(job_id, "failed", progress, error=str(error))
        return Job(job_id, "failed", progress, error="a fault of the system; its log says more")

    def _require(self, job_id: str) -> None:
        if job_id not in self._jobs:
            raise NotFound(f"no backtest {job_id}, or no longer")

    def _forget_old(self) -> None:
        finished = [job_id for job_id, task in self._jobs.items() if task.done()]
        for job_id in finished[: max(0, len(finished) - self._kept)]:
            self._drop(job_id)

    def _drop(self, job_id: str) -> None:
        del self._jobs[job_id]
        self._progress.pop(job_id, None)


def _report_fault(job_id: str, task: asyncio.Task[Any]) -> None:
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, HftrayError):
        log.error("job failed", job=job_id, error=str(error))
