"""Backtests on the cluster, as an API replica asks for them: jobs, each on any worker."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from hftray.actors.jobs import Job, JobShell
from hftray.actors.ray_calls import BACKTESTS, CALL_TIMEOUT, Named, shared, stream_task


class BacktestsHandle(Named):
    """The jobs of `actors.jobs`, kept by an actor that begins to live when it is first asked.

    `steps` is a generator function, run on any worker: it yields floats, the share that is done,
    and at last the result.
    """

    def __init__(self, steps: Callable[..., Iterator[Any]]) -> None:
        super().__init__(BACKTESTS)
        self._steps = steps

    async def run(self, *arguments: Any, patience: float) -> Job:
        """Start a job and wait for it so long. RetryError when there are too many."""
        self._begin()
        waiting = patience + CALL_TIMEOUT
        return await self.ask("run", arguments, patience, patience=waiting)

    async def look(self, job_id: str) -> Job:
        """How far a job is. NotFound."""
        self._begin()
        return await self.ask("look", job_id)

    async def cancel(self, job_id: str) -> None:
        """End a job and forget it. NotFound."""
        self._begin()
        await self.ask("cancel", job_id)

    def _begin(self) -> None:
        if self._handle is None:
            self._handle = shared(self.name, JobShell, partial(stream_task, self._steps))
