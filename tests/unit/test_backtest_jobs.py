"""Jobs: started, watched, cancelled, bounded."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from hftray.actors.jobs import JobShell
from hftray.core.errors import NotFound, RetryError

LONG = 5.0  # seconds that no test waits


class Worker:
    """Work that goes on when it is told to, and knows whether it was ended early."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []

    async def __call__(self, name: str, outcome: Any = None) -> AsyncGenerator[Any, None]:
        gate = self.gates.setdefault(name, asyncio.Event())
        self.begun.append(name)
        try:
            yield 0.0
            yield 0.5
            await gate.wait()
            if isinstance(outcome, Exception):
                raise outcome
            yield {"of": name}
        finally:
            self.ended.append(name)

    def release(self, name: str) -> None:
        self.gates.setdefault(name, asyncio.Event()).set()


async def settle() -> None:
    """Let every task do what it can without waiting for a clock."""
    for _ in range(20):
        await asyncio.sleep(0)


async def start(shell: JobShell, *arguments: Any) -> str:
    job = await shell.run(arguments, 0.0)
    await settle()
    return job.id


@pytest.fixture
def worker() -> Worker:
    return Worker()


async def test_a_quick_job_is_answered_at_once_and_not_remembered(worker: Worker) -> None:
    shell = JobShell(worker)
    worker.release("a")
    job = await shell.run(("a",), LONG)
    assert (job.state, job.progress, job.result) == ("done", 1.0, {"of": "a"})
    with pytest.raises(NotFound, match=job.id):
        await shell.look(job.id)


async def test_a_long_job_is_watched_until_it_is_done(worker: Worker) -> None:
    shell = JobShell(worker)
    job_id = await start(shell, "a")
    watched = await shell.look(job_id)
    assert (watched.state, watched.progress, watched.result) == ("running", 0.5, None)
    worker.release("a")
    await settle()
    for _ in range(2):  # asking does not use it up
        assert (await shell.look(job_id)).result == {"of": "a"}


async def test_a_quick_failure_is_raised_and_a_late_one_told(worker: Worker) -> None:
    shell = JobShell(worker)
    worker.release("a")
    with pytest.raises(NotFound, match="no candles"):
        await shell.run(("a", NotFound("no candles")), LONG)
    job_id = await start(shell, "b", NotFound("no candles"))
    worker.release("b")
    await settle()
    failed = await shell.look(job_id)
    assert (failed.state, failed.error) == ("failed", "no candles")


async def test_a_fault_is_not_shown_but_logged(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    shell = JobShell(worker)
    worker.release("a")
    job = await shell.run(("a", ZeroDivisionError("at /home/me")), LONG)
    assert job.state == "failed"
    assert "home" not in (job.error or "")
    assert "ZeroDivisionError" in caplog.text or "at /home/me" in caplog.text


async def test_cancelling_ends_the_work_and_frees_its_turn(worker: Worker) -> None:
    shell = JobShell(worker, at_once=1)
    first = await start(shell, "a")
    second = await start(shell, "b")
    assert worker.begun == ["a"]
    assert (await shell.look(second)).state == "queued"
    await shell.cancel(first)
    await settle()
    assert worker.ended == ["a"]
    assert worker.begun == ["a", "b"]
    assert (await shell.look(second)).state == "running"
    for call in (shell.look, shell.cancel):
        with pytest.raises(NotFound):
            await call(first)


async def test_a_queued_job_that_is_cancelled_never_begins(worker: Worker) -> None:
    shell = JobShell(worker, at_once=1)
    await start(shell, "a")
    await shell.cancel(await start(shell, "b"))
    worker.release("a")
    await settle()
    assert worker.begun == ["a"]


async def test_too_many_unfinished_jobs_are_refused(worker: Worker) -> None:
    shell = JobShell(worker, waiting=2)
    kept = [await start(shell, "a"), await start(shell, "b")]
    with pytest.raises(RetryError, match="2 jobs"):
        await shell.run(("c",), 0.0)
    worker.release("a")
    await settle()
    await start(shell, "c")
    assert (await shell.look(kept[0])).state == "done"


async def test_only_the_newest_finished_jobs_are_kept_and_none_that_runs(worker: Worker) -> None:
    shell = JobShell(worker, kept=2, at_once=9)
    running = await start(shell, "slow")
    jobs = []
    for name in "abcd":
        jobs.append(await start(shell, name))
        worker.release(name)
        await settle()
    await start(shell, "last")
    with pytest.raises(NotFound):
        await shell.look(jobs[0])
    assert [(await shell.look(job)).state for job in jobs[-2:]] == ["done", "done"]
    assert (await shell.look(running)).state == "running"
