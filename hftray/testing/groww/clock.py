"""The market's clocks: one that stands until it is told to move, one that runs at a speed.

Times are timezone-aware; what a clock gives is in India's zone.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from hftray.core.market import require_aware
from hftray.core.session import IST


class Clock(Protocol):
    """Market time for the whole loopback."""

    def now(self) -> datetime:
        """The market's present moment, IST."""
        ...

    def to(self, moment: datetime) -> None:
        """Jump forward to a moment. ValueError when it is in the past."""
        ...

    def on_jump(self, callback: Callable[[], object]) -> None:
        """Be called, in the thread of the jump, after each one."""
        ...


class SteppedClock:
    """Stands still between calls of `to` and `step`."""

    def __init__(self, start: datetime) -> None:
        self._now = require_aware(start, "the clock's start").astimezone(IST)
        self._callbacks: list[Callable[[], object]] = []

    def now(self) -> datetime:
        """The moment it stands at, IST."""
        return self._now

    def to(self, moment: datetime) -> None:
        """Jump forward to a moment. ValueError when it is in the past."""
        self._now = _later(moment, self._now)
        for callback in self._callbacks:
            callback()

    def step(self, seconds: float) -> None:
        """Jump forward by market seconds."""
        self.to(self._now + timedelta(seconds=seconds))

    def on_jump(self, callback: Callable[[], object]) -> None:
        """Be called, in the thread of the jump, after each one."""
        self._callbacks.append(callback)


class RunningClock:
    """Runs `speed` market seconds a second, measured on the machine's monotonic clock."""

    def __init__(
        self,
        start: datetime,
        speed: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < speed < float("inf"):
            raise ValueError(f"speed {speed} is not a positive number")
        self._monotonic = monotonic
        self._callbacks: list[Callable[[], object]] = []
        # One value, so that another thread never reads half of a jump.
        begin = require_aware(start, "the clock's start").astimezone(IST)
        self._anchor = (begin, monotonic(), speed)

    @property
    def speed(self) -> float:
        """Market seconds a second."""
        return self._anchor[2]

    def now(self) -> datetime:
        """The present market moment, IST."""
        start, since, speed = self._anchor
        return start + timedelta(seconds=(self._monotonic() - since) * speed)

    def to(self, moment: datetime) -> None:
        """Jump forward to a moment and run on from there. ValueError when it is in the past."""
        self._anchor = (_later(moment, self.now()), self._monotonic(), self.speed)
        for callback in self._callbacks:
            callback()

    def run_at(self, speed: float) -> None:
        """Run on from the present moment at another speed; 0 stands still. ValueError."""
        if not 0 <= speed < float("inf"):
            raise ValueError(f"speed {speed} is not a number from 0 on")
        self._anchor = (self.now(), self._monotonic(), speed)

    def on_jump(self, callback: Callable[[], object]) -> None:
        """Be called, in the thread of the jump, after each one."""
        self._callbacks.append(callback)


def _later(moment: datetime, now: datetime) -> datetime:
    if require_aware(moment, "the clock's moment") < now:
        raise ValueError(f"{moment.isoformat()} is before the market's now, {now.isoformat()}")
    return moment.astimezone(IST)
