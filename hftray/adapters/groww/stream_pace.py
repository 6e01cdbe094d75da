"""How often the live feed may be connected to: growing pauses, and a ceiling for every hour.

Groww answers an account that reconnects too often with a lock-out of 35 to 40 minutes, so a feed
that fails again and again is left alone for longer and longer.
"""

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

from hftray.adapters.groww.stream_state import StreamOptions

_HOUR = timedelta(hours=1)


class ConnectPace:
    """Counts attempts and says how long to wait before the next one. `chance` is in [0, 1)."""

    def __init__(self, options: StreamOptions, chance: Callable[[], float]) -> None:
        self._options = options
        self._chance = chance
        self._attempts: deque[datetime] = deque()
        self.failures = 0

    def attempt(self, now: datetime) -> None:
        """A connection is begun."""
        self._attempts.append(now)

    def ended(self, lasted: timedelta, heard: bool) -> None:
        """The connection is over; one that brought prices for long enough clears the record."""
        settled = heard and lasted >= timedelta(seconds=self._options.settled_after)
        self.failures = 1 if settled else self.failures + 1

    def pause(self, hopeless: bool = False) -> float:
        """Seconds to leave the feed alone; the longest pause when only the operator can help."""
        longest = self._options.longest_pause
        if not hopeless:
            # Past ten doublings any pause is the longest one; 2.0**1100 would be an error.
            doubled = self._options.first_pause * 2.0 ** min(max(self.failures - 1, 0), 10)
            longest = min(longest, doubled)
        return longest * (1.0 - self._chance() / 2)

    def until_allowed(self, now: datetime) -> float:
        """Seconds until another attempt keeps every sliding hour below its ceiling."""
        while self._attempts and now - self._attempts[0] >= _HOUR:
            self._attempts.popleft()
        if len(self._attempts) < self._options.connects_an_hour:
            return 0.0
        return (self._attempts[0] + _HOUR - now).total_seconds()
