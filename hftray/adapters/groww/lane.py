"""The queue of one category of calls, with the windows its calls are counted in."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from math import inf

from hftray.adapters.groww.limits import Category, Limit, Urgency
from hftray.core.errors import BrokerUnavailable
from hftray.observe import logger

log = logger("groww.governor")

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


class Lane:
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
        """Wait for a place in every window. BrokerUnavailable after `patience` seconds."""
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
        """The call that took a place has ended."""
        now = self.clock()
        for window in self._windows:
            window.end(now)
        self._move()

    def pause(self, begun: float, retry_after: float | None) -> None:
        """A call that began then was told to slow down, for `retry_after` seconds if it said so."""
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
        """A call that began then was not told to slow down."""
        if begun >= self._paused_at:
            self._pauses = 0

    async def close(self) -> None:
        """Stop the timer and tell those who wait."""
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
