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
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from itertools import count
from math import inf

from hftray.core.errors import BrokerUnavailable
from hftray.observe import logger

log = logger("groww.governor")


class Category(StrEnum):
    """Which of Groww's limits a call counts against."""

    ORDERS = "orders"
    LIVE_DATA = "live data"
    NON_TRADING = "non-trading"
    HISTORICAL = "historical"
    AUTHENTICATION = "authentication"


class Urgency(IntEnum):
    """Who goes first when calls must wait."""

    EXIT = 0
    ENTRY = 1
    LOOK_UP = 2
    DATA = 3


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `calls` in any stretch of `seconds`."""

    calls: int
    seconds: float


# Ten orders a second is the exchange's threshold for algorithms that are not registered, and
# Groww's own limit. No setting raises it.
HARD_ORDER_LIMIT = Limit(10, 1.0)
AUTHENTICATION_LIMITS = (Limit(5, 1.0), Limit(30, 60.0), Limit(150, 86_400.0))

# Seconds added to every window, for clocks that do not run quite alike.
_MARGIN = 0.02
# Of a limit over a minute or more, the part that only exits may use: entries and look-ups must
# not spend the minute in which a stop falls due.
_KEPT_FOR_EXITS = 5
_KEPT_FROM_SECONDS = 60.0
_WITH_EXITS = {Category.ORDERS, Category.LIVE_DATA, Category.NON_TRADING}
# Every so many calls the one that waits longest goes, whatever its urgency: none waits for ever.
_TURN_OF_THE_OLDEST = 10
_ALARM_SLACK = 1e-6
# Pause after a 429 without Retry-After: first, and at most (seconds). Doubles in between.
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0


class _Window:
    """The calls that count against one limit: under way, or ended less than its length ago."""

    def __init__(self, limit: Limit, kept: int) -> None:
        self.limit = limit
        self._kept = kept
        self._span = limit.seconds + _MARGIN
        self._under_way = 0
        self._ended: deque[float] = deque()

    def begin(self) -> None:
        self._under_way += 1

    def end(self, now: float) -> None:
        self._under_way -= 1
        self._ended.append(now)

    def give_back(self) -> None:
        """The call that began was never sent."""
        self._under_way -= 1

    def wait(self, now: float, *, every_place: bool) -> float:
        """Seconds until a call may begin; infinite when one under way has to end first."""
        while self._ended and self._ended[0] + self._span <= now:
            self._ended.popleft()
        allowed = self.limit.calls - (0 if every_place else self._kept)
        over = self._under_way + len(self._ended) - allowed + 1  # how many have to leave first
        if over <= 0:
            return 0.0
        if over > len(self._ended):
            return inf
        return self._ended[over - 1] + self._span - now


@dataclass(slots=True)
class _Waiter:
    number: int
    urgency: Urgency
    deadline: float
    granted: asyncio.Future[None] = field(repr=False)


class Permit:
    """A call's place in the windows while it is under way; it tells the governor how it went."""

    def __init__(self, lane: "_Lane") -> None:
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
            category: _Lane(
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


class _Lane:
    """The queue of one category. Everything happens on one event loop."""

    def __init__(
        self,
        category: Category,
        limits: Sequence[Limit],
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        chance: Callable[[], float],
    ) -> None:
        self.clock = clock
        self._category = category
        self._windows = [_Window(limit, _kept(category, limit)) for limit in limits]
        self._sleep = sleep
        self._chance = chance
        self._waiting: list[_Waiter] = []
        self._numbers = count()
        self._granted = 0
        self._paused_at = -inf
        self._paused_until = -inf
        self._pauses = 0
        self._timer: asyncio.Task[None] | None = None

    async def take(self, urgency: Urgency, patience: float) -> None:
        now = self.clock()
        granted = asyncio.get_running_loop().create_future()
        waiter = _Waiter(next(self._numbers), urgency, now + patience, granted)
        self._waiting.append(waiter)
        self._move()
        try:
            await granted
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif granted.done() and not granted.cancelled() and granted.exception() is None:
                for window in self._windows:
                    window.give_back()
            self._move()
            raise

    def leave(self) -> None:
        now = self.clock()
        for window in self._windows:
            window.end(now)
        self._move()

    def pause(self, begun: float, retry_after: float | None) -> None:
        now = self.clock()
        if begun >= self._paused_at:
            # Only a call sent after the last 429 says that the pause was too short.
            self._pauses += 1
            self._paused_at = now
        backoff = min(_FIRST_PAUSE * 2.0 ** min(self._pauses - 1, 16), _LONGEST_PAUSE)
        pause = max(backoff * (0.5 + 0.5 * self._chance()), retry_after or 0.0)
        self._paused_until = max(self._paused_until, now + pause)
        log.warning(
            "groww says too many requests; the category pauses",
            category=self._category.value,
            seconds=round(self._paused_until - now, 3),
            in_a_row=self._pauses,
        )
        self._move()

    def recover(self, begun: float) -> None:
        if begun >= self._paused_at:
            self._pauses = 0

    async def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.gather(self._timer, return_exceptions=True)
            self._timer = None
        while self._waiting:
            self._give_up(self._waiting.pop(), "the connection is being closed")

    def _move(self) -> None:
        """Grant what may go now, give up what cannot come in time, and set the next alarm."""
        now = self.clock()
        # A waiter that was cancelled a moment ago may still be listed; it takes no place.
        self._waiting = [waiter for waiter in self._waiting if not waiter.granted.done()]
        while (waiter := self._next(now)) is not None:
            self._waiting.remove(waiter)
            self._granted += 1
            for window in self._windows:
                window.begin()
            waiter.granted.set_result(None)
        alarm = inf
        soonest = now + self._wait(now, every_place=True)
        for waiter in list(self._waiting):
            hopeless = soonest != inf and soonest > waiter.deadline
            if hopeless or waiter.deadline <= now:
                self._waiting.remove(waiter)
                self._give_up(waiter, "its rate limit leaves no room in time")
            else:
                earliest = now + self._wait(now, every_place=self._has_every_place(waiter))
                alarm = min(alarm, earliest, waiter.deadline)
        self._set_alarm(alarm - now)

    def _next(self, now: float) -> _Waiter | None:
        able = [
            waiter
            for waiter in self._waiting
            if self._wait(now, every_place=self._has_every_place(waiter)) <= 0.0
        ]
        if not able:
            return None
        if self._is_turn_of_oldest():
            return min(able, key=lambda waiter: waiter.number)
        return min(able, key=lambda waiter: (waiter.urgency, waiter.number))

    def _is_turn_of_oldest(self) -> bool:
        return self._granted % _TURN_OF_THE_OLDEST == _TURN_OF_THE_OLDEST - 1

    def _has_every_place(self, waiter: _Waiter) -> bool:
        # Were the oldest held to the places that are not kept, exits without end would starve it.
        return waiter.urgency is Urgency.EXIT or self._is_turn_of_oldest()

    def _wait(self, now: float, *, every_place: bool) -> float:
        waits = [window.wait(now, every_place=every_place) for window in self._windows]
        return max(0.0, self._paused_until - now, *waits)

    def _set_alarm(self, delay: float) -> None:
        if self._timer is not None and self._timer is not asyncio.current_task():
            self._timer.cancel()
        self._timer = None
        if delay != inf:
            # A hair late, so that rounding never wakes it a hair early over and over.
            pause = max(delay, 0.0) + _ALARM_SLACK
            self._timer = asyncio.get_running_loop().create_task(self._ring(pause))

    async def _ring(self, delay: float) -> None:
        await self._sleep(delay)
        self._move()

    def _give_up(self, waiter: _Waiter, why: str) -> None:
        if not waiter.granted.done():
            waiter.granted.set_exception(
                BrokerUnavailable(f"a call to Groww ({self._category.value}) was not sent: {why}")
            )


def _kept(category: Category, limit: Limit) -> int:
    if category not in _WITH_EXITS or limit.seconds < _KEPT_FROM_SECONDS:
        return 0
    return limit.calls // _KEPT_FOR_EXITS
