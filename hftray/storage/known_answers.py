"""Answers of the database that the journal remembers for when it is away: runs and strategies."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from hftray.core.ledger import RunInfo, RunState, TradeRecord
from hftray.core.position import Position
from hftray.storage.event_codec import (
    Roster,
    roster_of,
    roster_text,
    run_of_text,
    run_text,
)
from hftray.storage.group_commit import Step
from hftray.storage.journal import Journal

ROSTER = "roster"

Owned = TypeVar("Owned", TradeRecord, Position)


class KnownAnswers:
    """What is known, and is written to the journal with `submit` when it changes."""

    def __init__(self, submit: Callable[[Step], object]) -> None:
        self._submit = submit
        self._texts: dict[str, str] = {}

    def load(self, texts: dict[str, str]) -> None:
        """Begin with what the journal has."""
        self._texts = texts

    def write_again(self) -> None:
        """Write everything, to a journal that may have lost it."""
        for key, text in self._texts.items():
            self._submit(partial(Journal.learn, key=key, value=text))

    @property
    def roster(self) -> Roster | None:
        """Version and rows of all strategies."""
        return roster_of(self._texts[ROSTER]) if ROSTER in self._texts else None

    def learn_roster(self, roster: Roster) -> None:
        """The strategies changed."""
        self._learn(ROSTER, roster_text(roster))

    def current_run(self, mode: str, source: str) -> RunInfo | None:
        """The run of this mode and source that was opened last."""
        text = self._texts.get(f"current {mode} {source}")
        return None if text is None else run_of_text(text)

    def learn_run(self, run: RunInfo) -> None:
        """This run was opened last."""
        self._learn(f"current {run.mode} {run.source}", run_text(run))

    def shown(self, state: RunState) -> RunState:
        """The state as the database shows it: a deleted strategy leaves no id behind."""
        if (roster := self.roster) is None:
            return state
        known = {row["id"] for row in roster[1]} | {None}
        return replace(
            state,
            trades_today=_of_strategies(state.trades_today, known),
            pending=_of_strategies(state.pending, known),
            positions=_of_strategies(state.positions, known),
        )

    def _learn(self, key: str, text: str) -> None:
        if self._texts.get(key) != text:
            self._texts[key] = text
            self._submit(lambda journal: journal.learn(key, text))


def _of_strategies(rows: tuple[Owned, ...], known: set[int | None]) -> tuple[Owned, ...]:
    return tuple(
        row if row.strategy_id in known else replace(row, strategy_id=None) for row in rows
    )
