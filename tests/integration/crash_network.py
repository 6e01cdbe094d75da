"""Processes that speak by messages: which one arrives when, or never, the test decides.

Every call is two messages, the request and the answer. Both wait in `Network.flying` until they
are delivered, so each await of a shell on another process is a point before the call takes effect
and a point after it. A killed process is never delivered to again: nothing of it runs on, not even
a `finally`, as after SIGKILL. One that was only taken for dead keeps its unfinished calls: deliver
to it, and the zombie goes on where it stood.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from hftray.core.errors import HftrayError, RetryError


@dataclass(eq=False)
class Process:
    """One incarnation of an actor."""

    name: str
    shell: Any = None
    alive: bool = True
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @property
    def idle(self) -> bool:
        return all(task.done() for task in self.tasks)


@dataclass(eq=False)
class Call:
    """A call under way: its request until it is served, then its answer."""

    caller: Process
    target: Process
    method: str
    args: tuple[Any, ...]
    lost: type[HftrayError]
    heard: asyncio.Future[Any]
    served: bool = False
    value: Any = None
    error: HftrayError | None = None

    @property
    def point(self) -> str:
        """Where the caller stands."""
        stage = "after" if self.served else "before"
        return f"{self.caller.name} {stage} {self.target.name}.{self.method}"

    def fail(self, why: str, error: type[HftrayError] | None = None) -> None:
        """Tell the caller, if it still waits, that there will be no answer."""
        if not self.heard.done():
            self.heard.set_exception(
                (error or self.lost)(f"{self.target.name}.{self.method} {why}")
            )


class Network:
    """All messages: `flying` is under way, oldest first; `held` is late."""

    def __init__(self, on_served: Callable[[Call], None]) -> None:
        self.loop = asyncio.new_event_loop()
        self.flying: list[Call] = []
        self.held: list[Call] = []
        self.faults: list[Exception] = []  # errors that no process may raise
        self._on_served = on_served
        self._serving: list[Call] = []

    def port(self, kind: type, caller: Process, target: Callable[[], Process]) -> Any:
        """One of `actors.handles` over this network: it says what a lost call means."""
        handle = kind()

        async def ask(
            method: str,
            *args: Any,
            lost: type[HftrayError] = RetryError,
            patience: float = 0.0,
        ) -> Any:
            call = Call(caller, target(), method, args, lost, self.loop.create_future())
            self.flying.append(call)
            return await call.heard

        handle.ask = ask
        return handle

    def start(self, process: Process, work: Coroutine[Any, Any, Any]) -> None:
        """A process begins something, and goes on until it waits for a message."""
        process.tasks = [task for task in process.tasks if not task.done()]
        process.tasks.append(self.loop.create_task(self._watched(work)))
        self.spin()

    def spin(self) -> None:
        """Every process goes on until it waits for a message."""
        while True:
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()
            if not self.loop._ready:  # type: ignore[attr-defined]
                return

    def deliver(self, call: Call) -> None:
        """The message arrives, if there is still somebody to take it."""
        if not call.served and call.target.alive:
            self.start(call.target, self._serve(call))
            return
        if not call.served:
            call.fail("has no process")
        elif call.caller.alive and not call.heard.done():
            if call.error is None:
                call.heard.set_result(call.value)
            else:
                call.heard.set_exception(call.error)
        self.spin()

    def kill(self, process: Process) -> None:
        """End a process; who waits for an answer of it learns that it died."""
        process.alive = False
        asked = [c for c in (*self.flying, *self.held) if c.target is process and not c.served]
        for call in asked + [c for c in self._serving if c.target is process]:
            if call.caller.alive:
                call.fail("died")
        self.flying = [call for call in self.flying if call not in asked]
        self.held = [call for call in self.held if call not in asked]
        self.spin()

    def give_up(self) -> None:
        """Who waits for a message that is late waits no longer; the message stays under way."""
        for call in [*self.held, *self._serving]:
            if call.caller.alive:
                call.fail("gave no answer in time")
        self.spin()

    def close(self) -> None:
        """Forget whatever is unfinished."""
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.spin()
        self.loop.close()

    async def _serve(self, call: Call) -> None:
        self._serving.append(call)
        try:
            call.value = await getattr(call.target.shell, call.method)(*call.args)
        except HftrayError as error:
            call.error = error
        finally:
            self._serving.remove(call)
        call.served = True
        self.flying.append(call)
        self._on_served(call)

    async def _watched(self, work: Coroutine[Any, Any, Any]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - whatever it is, the audit shows it
            self.faults.append(error)
