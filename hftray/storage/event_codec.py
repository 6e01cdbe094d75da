"""Ledger events and run states as JSON text and back, for the local journal.

Nothing is pickled: a file of yesterday's build, or one that somebody else wrote, is data only.
"""

from dataclasses import dataclass
from typing import Any, get_args

from pydantic import TypeAdapter
from pydantic_core import to_json

from hftray.core.errors import DataError
from hftray.core.ledger import LedgerEvent, RunInfo, RunState

_EVENTS: dict[str, TypeAdapter[Any]] = {
    kind.__name__: TypeAdapter(kind) for kind in get_args(LedgerEvent)
}
_RUN_STATE = TypeAdapter(RunState)
_RUN = TypeAdapter(RunInfo)
_ROSTER = TypeAdapter(tuple[int, list[dict[str, Any]]])

Roster = tuple[int, list[dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One event as the journal holds it."""

    event_id: str
    kind: str
    payload: str


def entry_of(event: LedgerEvent) -> Entry:
    """An event for the journal."""
    return Entry(event.event_id, type(event).__name__, _text(event))


def event_of(entry: Entry) -> LedgerEvent:
    """The event of a journal row. DataError when this build cannot read it."""
    try:
        event: LedgerEvent = _EVENTS[entry.kind].validate_json(entry.payload)
    except (KeyError, ValueError) as error:
        raise DataError(f"journal event {entry.event_id} is unreadable: {error}") from error
    return event


def state_text(state: RunState) -> str:
    """A run's state for the journal."""
    return _text(state)


def state_of(text: str) -> RunState:
    """The state behind its text. DataError."""
    try:
        return _RUN_STATE.validate_json(text)
    except ValueError as error:
        raise DataError(f"the journal's base is unreadable: {error}") from error


def run_text(run: RunInfo) -> str:
    """A run for the journal."""
    return _text(run)


def run_of_text(text: str) -> RunInfo:
    """The run behind its text."""
    return _RUN.validate_json(text)


def roster_text(roster: Roster) -> str:
    """The strategies for the journal."""
    return _text(roster)


def roster_of(text: str) -> Roster:
    """The strategies behind their text."""
    return _ROSTER.validate_json(text)


def _text(value: object) -> str:
    # NaN and infinity stay what they are: JSON's null would not be read back as a number.
    return to_json(value, inf_nan_mode="constants").decode()
