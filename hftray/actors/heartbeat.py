"""How long nothing was heard of something that should come again and again, in real seconds."""

import asyncio
import weakref
from collections.abc import Callable
from typing import Protocol

from hftray import observe
from hftray.core.errors import HftrayError, StaleEpoch

log = observe.logger("heartbeat")

LOOKS = 10  # within one timeout


class Heartbeat:
    """When the last beat came, and whether the next one is overdue. `clock` counts seconds."""

    def __init__(self, timeout: float, clock: Callable[[], float]) -> None:
        self.timeout = timeout
        self._clock = clock
        self._heard, self._patience = clock(), 0.0

    def beat(self, patience: float = 0.0) -> None:
        """Heard now; the next beat may take `patience` seconds longer than the timeout."""
        self._heard, self._patience = self._clock(), patience

    @property
    def silence(self) -> float:
        """Seconds since the last beat."""
        return self._clock() - self._heard

    @property
    def overdue(self) -> bool:
        """Whether the next beat should have come."""
        return self.silence >= self.timeout + self._patience


class Listener(Protocol):
    """Who has to act when a heartbeat stays away."""

    async def check_heartbeat(self) -> None:
        """Act if the heartbeat is overdue."""
        ...


def watch(listener: Listener, timeout: float) -> asyncio.Task[None]:
    """Let the listener check at intervals for as long as anybody else holds it."""
    return asyncio.create_task(_look(weakref.ref(listener), timeout / LOOKS))


async def _look(listener: "weakref.ref[Listener]", interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        held = listener()
        if held is None:
            return
        try:
            await held.check_heartbeat()
        except StaleEpoch:
            return  # somebody else watches now
        except HftrayError as error:
            log.warning("cannot check the heartbeat", reason=str(error))
        del held  # not while asleep
