"""A journal's world: one database that can be switched off, one directory, many incarnations."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from ledger_world import History, Switch
from pydantic_core import to_json

from hftray.core.ledger import LedgerEvent, RunInfo, RunState
from hftray.storage.event_codec import state_text
from hftray.storage.journal import FILE, Journal
from hftray.storage.journaled_ledger import JournaledLedger
from hftray.strategies.defaults import default_strategies
from hftray.testing.memory_ledger import MemoryLedger

KEPT = ("trades", "positions", "signals", "equity", "sessions", "risk_events", "scanning")
PLAY = [0, 0, 30, 5, 6, 1, 17, 41, 6, 30, 55, 6]  # a day with entries, exits, marks, signals
LONG = 20.0  # seconds; a limit that only a fault reaches


class World:
    """One database and one directory; incarnations come and go.

    A crash is an incarnation that is left without another word; the next one opens the same files.
    """

    def __init__(
        self, directory: Path, *, max_events: int = 1_000, memory: MemoryLedger | None = None
    ) -> None:
        self.memory = memory or MemoryLedger(default_strategies())
        self.database = Switch(self.memory)
        self.directory, self.max_events = directory, max_events
        self.living: list[JournaledLedger] = []

    async def begin(self) -> RunInfo:
        self.ledger = self.incarnation()
        self.run = await self.ledger.open_run("simulation", "a test", "default", Decimal(100_000))
        self.history = History(self.run.run_id)
        self.told: list[LedgerEvent] = []
        return self.run

    def incarnation(self) -> JournaledLedger:
        ledger = JournaledLedger(self.database, self.directory, max_events=self.max_events)
        self.living.append(ledger)
        return ledger

    async def crash(self, ledger: JournaledLedger | None = None) -> None:
        dying = ledger or self.ledger
        self.living.remove(dying)
        await dying._keeper.close()  # nothing is drained, nothing is said

    async def restart(self) -> None:
        await self.crash()
        self.ledger = self.incarnation()

    async def play(self, numbers: Sequence[int] = PLAY) -> None:
        for number in numbers:
            batch = self.history.step(number)
            await self.ledger.append(batch)
            self.told += batch

    async def state(self) -> str:
        return text(await self.ledger.run_state(self.run.run_id))

    async def undisturbed(self) -> MemoryLedger:
        """The ledger as it would be if nothing had ever gone wrong."""
        other = MemoryLedger(default_strategies())
        await other.open_run("simulation", "a test", "default", Decimal(100_000))
        for event in self.told:
            await other.append([event])
        return other

    async def assert_nothing_differs(self) -> None:
        other = await self.undisturbed()
        assert await self.state() == text(await other.run_state(self.run.run_id))
        assert await self.ledger.drained(LONG)
        for name in KEPT:
            kept, wanted = getattr(self.memory.store, name), getattr(other.store, name)
            assert as_json(kept) == as_json(wanted), name

    async def close(self) -> None:
        for ledger in self.living:
            await ledger._keeper.close()

    async def journal(self, look: Callable[[Journal], object]) -> object:
        return await self.ledger._keeper.journal.look(look)

    async def fill_the_disk(self, *, full: bool = True) -> None:
        """SQLite's own limit stands for the disk's."""
        pages = await self.journal(lambda journal: journal.pragma("page_count"))
        wanted = pages if full else 1_000_000
        await self.journal(lambda journal: journal.pragma(f"max_page_count={wanted}"))

    def edit(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.directory / FILE)) as file:
            for statement in statements:
                file.execute(statement)
            file.commit()


def text(state: RunState) -> str:
    moment = state.market_time and state.market_time.timestamp()
    return state_text(state).partition('"market_time"')[0] + repr(moment)


def as_json(kept: dict[object, object] | list[object]) -> list[bytes]:
    """Moments as moments: the same in every zone."""
    values = kept.values() if isinstance(kept, dict) else kept
    return [to_json(value, inf_nan_mode="constants") for value in values]


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LONG):
        while not await true():
            await asyncio.sleep(0.005)
