"""The persistence actor: the one writer of the ledger."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from hftray import observe
from hftray.core.ledger import LedgerEvent, LedgerHealth, RunInfo, RunState
from hftray.ports import Ledger


class PersistenceShell:
    """A Ledger adapter behind an actor; built inside the process that owns its connections."""

    def __init__(self, build: Callable[[], Ledger]) -> None:
        observe.configure()
        self._ledger = build()

    async def open_run(
        self, mode: str, source: str, user_id: str, initial_capital: Decimal
    ) -> RunInfo:
        """The unfinished run of this mode and source, or a new one."""
        return await self._ledger.open_run(mode, source, user_id, initial_capital)

    async def current_run(self, mode: str, source: str) -> RunInfo | None:
        """The run of this mode and source that was opened last."""
        return await self._ledger.current_run(mode, source)

    async def finish_run(self, run_id: int, time: datetime) -> None:
        """The run's data is at its end."""
        await self._ledger.finish_run(run_id, time)

    async def set_scanning(self, run_id: int, scanning: bool) -> None:
        """Remember whether the engine is meant to scan."""
        await self._ledger.set_scanning(run_id, scanning)

    async def open_term(self) -> int:
        """A new term for the one writer of orders."""
        return await self._ledger.open_term()

    async def append(self, events: Sequence[LedgerEvent], term: int | None = None) -> LedgerHealth:
        """Record all events in one transaction, each once."""
        return await self._ledger.append(events, term)

    async def run_state(self, run_id: int) -> RunState:
        """What recovery needs."""
        return await self._ledger.run_state(run_id)

    async def roster(self, known_version: int) -> tuple[int, list[dict[str, Any]]] | None:
        """The strategies, when they changed."""
        return await self._ledger.roster(known_version)
