"""`hftray.ports.Ledger` that works while PostgreSQL is away: a local journal in front of it.

`append` folds the events into a mirror of their run, which refuses illegal ones, and returns when
they are in the journal on this machine's disk. A task moves them on to the database, in order and
exactly once. `run_state` is answered from the mirror. A mirror is loaded from the database, once
that has all that was journaled, or else from the journal's own base and the rows after it.

When the journal cannot be written, events go straight to the database and the journal's base is
not trusted any more until it has been written anew; when neither works, LedgerUnavailable.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from time import time_ns
from typing import Any, TypeVar

from hftray.core.errors import LedgerUnavailable
from hftray.core.ledger import (
    LedgerEvent,
    LedgerHealth,
    RunInfo,
    RunState,
    ScanningSet,
    SessionStarted,
    TradeRecord,
)
from hftray.core.ledger_fold import RunMirror, require_term, run_of
from hftray.core.position import Position
from hftray.ports import Ledger
from hftray.storage.event_codec import entry_of, roster_of, roster_text, run_of_text, run_text
from hftray.storage.group_commit import JournalFailed
from hftray.storage.journal_keeper import JournalKeeper
from hftray.storage.outage import Database

ROSTER_PATIENCE = 2.0  # seconds a scan may wait for the strategies before it uses the known ones
FINISH_PATIENCE = 2.0  # seconds to leave a complete database behind
ROSTER = "roster"

Owned = TypeVar("Owned", TradeRecord, Position)


class JournaledLedger:
    """A journal in `directory` before the ledger `remote`, which the caller owns.

    From `max_events` waiting events on `append` reports an impairment, and goes on. StaleEpoch
    from every call once another process has opened the same journal.
    """

    def __init__(self, remote: Ledger, directory: Path, *, max_events: int) -> None:
        self._database = Database(remote)
        self._lock = asyncio.Lock()  # appends are folded and queued one after the other
        self._keeper = JournalKeeper(self._database, directory, self._lock)
        self._remote = remote
        self._max_events = max_events
        self._term = 0

    # Runs: they begin and end in the database

    async def open_run(
        self, mode: str, source: str, user_id: str, initial_capital: Decimal
    ) -> RunInfo:
        """The user's unfinished run, or a new one. NotFound; LedgerUnavailable without database."""
        await self._ready()
        await self._keeper.drain()
        run = await self._database.ask(
            self._remote.open_run(mode, source, user_id, initial_capital)
        )
        self._keeper.learn(_current(mode, source), run_text(run))
        await self._read_roster()
        async with self._lock:
            await self._keeper.mirror(run.run_id)
        return run

    async def current_run(self, mode: str, source: str) -> RunInfo | None:
        """The run of this mode and source that was opened last; None before the first."""
        await self._ready()
        known = self._keeper.known.get(_current(mode, source))
        if known is not None and self._database.away:
            return run_of_text(known)
        try:
            await self._keeper.drain()
            run = await self._database.ask(self._remote.current_run(mode, source))
        except LedgerUnavailable:
            if known is None:
                raise
            return run_of_text(known)
        if run is not None:
            self._keeper.learn(_current(mode, source), run_text(run))
        return run

    async def finish_run(self, run_id: int, time: datetime) -> None:
        """End the run once the database has all of it. NotFound, LedgerUnavailable."""
        await self._ready()
        await self._keeper.drain()
        await self._database.ask(self._remote.finish_run(run_id, time))

    async def set_scanning(self, run_id: int, scanning: bool) -> None:
        """Remember whether the engine is meant to scan. NotFound."""
        await self.append([ScanningSet(run_id, scanning, datetime.now(UTC))])
        await self.drained(FINISH_PATIENCE)

    # Events

    async def open_term(self) -> int:
        """A new term for the one writer of orders, on disk when it is given."""
        async with self._lock:
            await self._keeper.sound()
            # Milliseconds since 1970: it grows even when the journal had to be made anew.
            term = max(self._newest_term(), time_ns() // 1_000_000 - 1) + 1
            self._term = term
            kept = self._keeper.submit(lambda journal: journal.set_term(term))
        with suppress(JournalFailed):  # then it holds as long as this process
            await kept
        return term

    async def append(self, events: Sequence[LedgerEvent], term: int | None = None) -> LedgerHealth:
        """Record all events or none; those recorded before are skipped.

        NotFound for an unknown run or order, IllegalTransition, StaleEpoch; LedgerUnavailable
        when neither the journal nor the database takes them.
        """
        while True:
            async with self._lock:
                await self._keeper.sound()
                self._term = require_term(term, self._newest_term())
                if not events:
                    return self._health()
                if self._keeper.broken:
                    await self._write_through(events)
                    return self._health()
                journaled = await self._write(events)
            with suppress(JournalFailed):
                await journaled
                return self._health()

    async def run_state(self, run_id: int) -> RunState:
        """What recovery needs. NotFound; LedgerUnavailable when nobody here knows for certain."""
        while True:
            async with self._lock:
                await self._keeper.sound()
                state = (await self._keeper.mirror(run_id)).state()
                everything = None if self._keeper.broken else self._keeper.submit(_nothing)
            if everything is None:
                return self._of_known_strategies(state)
            with suppress(JournalFailed):
                await everything  # nothing is told that is not on disk
                return self._of_known_strategies(state)

    async def roster(self, known_version: int) -> tuple[int, list[dict[str, Any]]] | None:
        """Version and rows of all strategies; None when the version is the known one."""
        await self._ready()
        if not (self._database.away and ROSTER in self._keeper.known):
            try:
                await self._read_roster()
            except LedgerUnavailable:
                if ROSTER not in self._keeper.known:
                    raise
        roster = roster_of(self._keeper.known[ROSTER])
        return None if roster[0] == known_version else roster

    async def drained(self, timeout: float) -> bool:
        """Wait until the database has everything; False when it takes longer than that."""
        try:
            async with asyncio.timeout(timeout):
                await self._ready()
                await self._keeper.drain()
        except (TimeoutError, LedgerUnavailable):
            return False
        return True

    async def close(self) -> None:
        """Move to the database what it takes in a short time, and release the files."""
        await self.drained(FINISH_PATIENCE)
        await self._keeper.close()

    async def _ready(self) -> None:
        async with self._lock:
            await self._keeper.sound()

    def _newest_term(self) -> int:
        return max(self._term, self._keeper.term)

    async def _fold(
        self, events: Sequence[LedgerEvent]
    ) -> tuple[dict[int, RunMirror], dict[str, LedgerEvent]]:
        drafts: dict[int, RunMirror] = {}
        fresh: dict[str, LedgerEvent] = {}
        for event in events:
            event_id, run_id = event.event_id, run_of(event)
            if event_id in self._keeper.event_ids or event_id in fresh:
                continue
            if run_id not in drafts:
                drafts[run_id] = (await self._keeper.mirror(run_id)).copy()
            drafts[run_id].apply(event)
            fresh[event_id] = event
        return drafts, fresh

    async def _write(self, events: Sequence[LedgerEvent]) -> Awaitable[None]:
        drafts, fresh = await self._fold(events)
        entries = [entry_of(event) for event in fresh.values()]
        # From here on without a pause: the mirrors and the queue must not part.
        self._keeper.mirrors.update(drafts)
        self._keeper.event_ids.update(fresh)
        new_day = any(isinstance(event, SessionStarted) for event in fresh.values())
        return self._keeper.append(entries, new_day=new_day)

    async def _write_through(self, events: Sequence[LedgerEvent]) -> None:
        await self._keeper.drain()
        drafts, fresh = await self._fold(events)
        if not fresh:
            return
        await self._keeper.flag_gap()
        # Until the database has said yes, nobody here knows whether it did.
        for run_id in drafts:
            self._keeper.mirrors.pop(run_id, None)
        await self._database.ask(self._remote.append(list(fresh.values())))
        self._keeper.mirrors.update(drafts)

    def _health(self) -> LedgerHealth:
        waiting = self._keeper.waiting
        impairments = [self._keeper.broken] if self._keeper.broken else []
        if waiting >= self._max_events:
            impairments.append(
                f"{waiting} events wait for PostgreSQL, the limit is {self._max_events}"
            )
        notes = [*self._keeper.notes, self._database.note(waiting)]
        return LedgerHealth(waiting, "; ".join(impairments), tuple(note for note in notes if note))

    async def _read_roster(self) -> None:
        known = self._keeper.known.get(ROSTER)
        version = -1 if known is None else roster_of(known)[0]

        async def within_patience() -> tuple[int, list[dict[str, Any]]] | None:
            async with asyncio.timeout(ROSTER_PATIENCE):
                return await self._remote.roster(version)

        if (fresh := await self._database.ask(within_patience())) is not None:
            self._keeper.learn(ROSTER, roster_text(fresh))

    def _of_known_strategies(self, state: RunState) -> RunState:
        """The state as the database shows it: a deleted strategy leaves no id behind."""
        if ROSTER not in self._keeper.known:
            return state
        known = {row["id"] for row in roster_of(self._keeper.known[ROSTER])[1]} | {None}
        return replace(
            state,
            trades_today=_of_strategies(state.trades_today, known),
            pending=_of_strategies(state.pending, known),
            positions=_of_strategies(state.positions, known),
        )


def _of_strategies(rows: tuple[Owned, ...], known: set[int | None]) -> tuple[Owned, ...]:
    return tuple(
        row if row.strategy_id in known else replace(row, strategy_id=None) for row in rows
    )


def _current(mode: str, source: str) -> str:
    return f"current {mode} {source}"


def _nothing(journal: object) -> None:
    """A step that waits for the steps before it."""
