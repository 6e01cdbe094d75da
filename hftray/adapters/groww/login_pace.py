"""How often we log in, remembered across restarts: Groww allows 150 logins in 24 hours.

A process that crashes at its start over and over, or two that end each other's session, would use
the day's logins up within minutes and then have none while positions are open. After a few in an
hour they are spread so that they last for a trading day. The file holds nothing but times.
"""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from hftray.observe import logger

log = logger("groww.session")

_HOUR, _DAY = 3600.0, 86_400.0
_FREE_AN_HOUR = 10
_SPACING = 240.0  # seconds: ten and one each four minutes are 110 in a trading day
_A_DAY = 145  # of 150: some are left for a person with another program


class LoginPace:
    """The times of the last day's logins. `path` None keeps them in memory only."""

    def __init__(self, path: Path | None, wall: Callable[[], datetime]) -> None:
        self._path = path
        self._wall = wall
        self._times: list[float] = [] if path is None else _read(path)

    def wait(self) -> float:
        """Seconds until the next login may be tried; zero when it may now."""
        now = self._wall().timestamp()
        # A moment ahead of the clock comes from a clock that was set back; it would block for days.
        self._times = [time for time in self._times if now - _DAY < time <= now]
        waits = [0.0]
        if sum(time > now - _HOUR for time in self._times) >= _FREE_AN_HOUR:
            waits.append(self._times[-1] + _SPACING - now)
        if len(self._times) >= _A_DAY:
            waits.append(self._times[-_A_DAY] + _DAY - now)
        return max(waits)

    def count(self) -> None:
        """A login is being tried now."""
        self._times.append(self._wall().timestamp())
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part = self._path.with_suffix(".part")
            part.write_text(json.dumps(self._times))
            part.replace(self._path)
        except OSError as error:
            log.warning("the times of logins could not be kept", reason=str(error))


def _read(path: Path) -> list[float]:
    try:
        times = json.loads(path.read_text())
        return sorted(float(time) for time in times)
    except FileNotFoundError:
        return []
    except (OSError, TypeError, ValueError) as error:
        log.warning("the times of earlier logins cannot be read", reason=str(error))
        return []
