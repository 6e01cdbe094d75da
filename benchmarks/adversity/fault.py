"""One fault: what was planned, what really happened, and when trading worked again."""

import time
from dataclasses import dataclass

from adversity.schedule import Planned


class NotThereError(Exception):
    """What the fault would strike does not exist at the moment."""


@dataclass(slots=True)
class Fault:
    """A planned fault and what came of it; times are seconds since 1970."""

    planned: Planned
    began: float | None = None
    over: float | None = None
    target: str = ""
    marks: tuple[str, ...] = ()
    """Words of a status line by which the system says that this part is in trouble."""
    skipped: str = ""
    recovered: float | None = None

    def struck(self, target: str, *marks: str) -> None:
        """It happens now."""
        self.began, self.target, self.marks = time.time(), target, marks


def marks_of(name: str) -> tuple[str, ...]:
    """How the status names an actor in trouble; the engine and the API are not named by it."""
    if name.startswith("symbol:"):
        return (f"{name.removeprefix('symbol:')}:",)
    return (f"{name}.",) if name in ("risk", "persistence", "broker") else ()
