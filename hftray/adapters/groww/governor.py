"""One rate governor for an account: never over a limit, the urgent first.

Groww counts requests as they arrive, we see only when they leave and when their answers come. A
call therefore holds its place in every window from its start until the window's length after its
answer: it arrived somewhere in between, so whatever the network does to single requests, no
sliding window at the server ever holds more than its limit.

A leaky bucket (aiolimiter) cannot promise that: after a pause it lets a whole limit through at once
and refills meanwhile, so nearly twice the limit fits into one sliding window.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from hftray.adapters.groww.lane import Lane
from hftray.adapters.groww.limits import (
    AUTHENTICATION_LIMITS,
    HARD_ORDER_LIMIT,
    Category,
    Limit,
    Urgency,
)

__all__ = ["Category", "Governor", "Limit", "Permit", "Urgency"]


class Permit:
    """A call's place in the windows while it is under way; it tells the governor how it went."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._begun = lane.clock()

    def throttled(self, retry_after: float | None) -> None:
        """The call was answered 429: nobody else asks in this category for a while."""
        self._lane.pause(self._begun, retry_after)

    def accepted(self) -> None:
        """The call was answered with something else."""
        self._lane.recover(self._begun)


class Governor:
    """Grants calls category by category; see the module's text.

    `limits` gives the windows of each category; ORDERS always has `HARD_ORDER_LIMIT` as well and
    AUTHENTICATION always Groww's limits. `clock` gives seconds, `sleep` waits that many of them,
    `chance` gives a number in [0, 1) for the jitter of pauses.
    """

    def __init__(
        self,
        limits: Mapping[Category, Sequence[Limit]],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        fixed = {
            Category.ORDERS: (HARD_ORDER_LIMIT,),
            Category.AUTHENTICATION: AUTHENTICATION_LIMITS,
        }
        self.clock = clock
        self._lanes = {
            category: Lane(
                category,
                (*limits.get(category, ()), *fixed.get(category, ())),
                clock=clock,
                sleep=sleep,
                chance=chance,
            )
            for category in Category
        }

    @contextlib.asynccontextmanager
    async def permit(
        self, category: Category, urgency: Urgency, patience: float
    ) -> AsyncIterator[Permit]:
        """Wait for the call's turn and hold its place until it has ended.

        BrokerUnavailable when the turn does not come within `patience` seconds; at once when that
        is certain beforehand.
        """
        lane = self._lanes[category]
        await lane.take(urgency, patience)
        try:
            yield Permit(lane)
        finally:
            lane.leave()

    async def close(self) -> None:
        """Stop the timers; whoever still waits is told BrokerUnavailable."""
        for lane in self._lanes.values():
            await lane.close()
