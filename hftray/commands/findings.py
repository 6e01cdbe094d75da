"""What `hftray doctor` finds: one line a thing, with what to do where it is not fine."""

from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a thing stands; only FAILING makes the exit code 1."""

    FINE = "fine"
    WARNING = "warning"
    FAILING = "failing"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `remedy` says what to do and is empty when it is fine."""

    subject: str
    health: Health
    detail: str
    remedy: str = ""


def fine(subject: str, detail: str) -> Finding:
    """Nothing to do."""
    return Finding(subject, Health.FINE, detail)


def warning(subject: str, detail: str, remedy: str) -> Finding:
    """It works, but a person should look."""
    return Finding(subject, Health.WARNING, detail, remedy)


def failing(subject: str, detail: str, remedy: str) -> Finding:
    """hftray cannot trade like this."""
    return Finding(subject, Health.FAILING, detail, remedy)
