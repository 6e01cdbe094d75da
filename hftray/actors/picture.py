"""The newest picture of something that changes, numbered, for whoever waits for the next one."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class Picture:
    """What `take` showed last. Its first number is 1."""

    def __init__(self, take: Callable[[], dict[str, Any]]) -> None:
        self.shown: dict[str, Any] = {}
        self._take = take
        self._version = 0
        self._changed = asyncio.Condition()

    async def renew(self) -> None:
        """Take a new one and wake who waits for it."""
        async with self._changed:
            self._version += 1
            self.shown = self._take()
            self._changed.notify_all()

    async def newer(self, known: int, patience: float) -> tuple[int, dict[str, Any]]:
        """Number and picture; waits for one after `known`, up to `patience` seconds."""
        if self._version == 0:
            await self.renew()
        async with self._changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: self._version > known), patience
                )
            return self._version, self.shown
