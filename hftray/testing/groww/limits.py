"""The documented rate limits, counted in sliding windows, and the highest count of each.

Every call counts when it arrives, a refused one too, so hammering keeps a client refused. The
highest count a window ever held is kept: a client under test is judged by it.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Category(StrEnum):
    """The kinds of calls that share a limit."""

    ORDERS = "orders"
    LIVE_DATA = "live_data"
    NON_TRADING = "non_trading"
    AUTHENTICATION = "authentication"
    HISTORICAL = "historical"
    UNLIMITED = "unlimited"


@dataclass(frozen=True, slots=True)
class Window:
    """At most `limit` calls in any `seconds` seconds."""

    seconds: float
    limit: int


_SECOND, _MINUTE, _DAY = 1.0, 60.0, 86_400.0

# Groww's documentation, captures of July 2026; the authentication row by two projects that read
# the page in September and October 2026.
DOCUMENTED: dict[Category, tuple[Window, ...]] = {
    Category.ORDERS: (Window(_SECOND, 10), Window(_MINUTE, 250)),
    Category.LIVE_DATA: (Window(_SECOND, 10), Window(_MINUTE, 300)),
    Category.NON_TRADING: (Window(_SECOND, 20), Window(_MINUTE, 500)),
    Category.AUTHENTICATION: (Window(_SECOND, 5), Window(_MINUTE, 30), Window(_DAY, 150)),
    # In no row of the table: held to the strictest data row until a real account shows otherwise.
    Category.HISTORICAL: (Window(_SECOND, 10), Window(_MINUTE, 300)),
    Category.UNLIMITED: (Window(_SECOND, 1_000_000),),
}


class RateLimits:
    """Counts calls by category. Windows are in real seconds of `clock`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.windows = dict(DOCUMENTED)
        self._clock = clock
        self._arrivals: dict[Category, deque[float]] = {each: deque() for each in Category}
        self._highest: dict[tuple[Category, float], int] = {}
        self.refused: dict[Category, int] = dict.fromkeys(Category, 0)

    def allow(self, category: Category) -> bool:
        """Count one call; whether it is inside every window of its category."""
        now = self._clock()
        arrivals = self._arrivals[category]
        arrivals.append(now)
        windows = self.windows[category]
        longest = max(window.seconds for window in windows)
        while arrivals[0] <= now - longest:
            arrivals.popleft()
        allowed = True
        for window in windows:
            count = self._count(arrivals, now - window.seconds)
            key = (category, window.seconds)
            self._highest[key] = max(count, self._highest.get(key, 0))
            allowed = allowed and count <= window.limit
        self.refused[category] += not allowed
        return allowed

    def highest(self, category: Category, seconds: float = _SECOND) -> int:
        """The most calls that any sliding window of that length held."""
        return self._highest.get((category, seconds), 0)

    def report(self) -> dict[str, Any]:
        """For every category: each window's limit and highest count, and the refused calls."""
        return {
            category: {
                "windows": [
                    {
                        "seconds": window.seconds,
                        "limit": window.limit,
                        "highest": self.highest(category, window.seconds),
                    }
                    for window in windows
                ],
                "refused": self.refused[category],
            }
            for category, windows in self.windows.items()
        }

    def reset(self) -> None:
        """Forget every count."""
        for arrivals in self._arrivals.values():
            arrivals.clear()
        self._highest.clear()
        self.refused = dict.fromkeys(Category, 0)

    @staticmethod
    def _count(arrivals: deque[float], after: float) -> int:
        count = 0
        for moment in reversed(arrivals):
            if moment <= after:
                break
            count += 1
        return count
