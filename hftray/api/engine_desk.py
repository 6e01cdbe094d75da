"""The engine as an API replica sees it: a snapshot kept fresh in the background, and commands."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, cast

from hftray.actors.backtests_handle import BacktestsHandle
from hftray.actors.engine_handle import EngineHandle
from hftray.actors.jobs import Job
from hftray.api.desk import EngineSnapshot
from hftray.backtest.order import BacktestOrder
from hftray.core.errors import RetryError
from hftray.core.market import Candle
from hftray.ports_catalog import CatalogPort

EMPTY: EngineSnapshot = {
    "run_id": None,
    "status": {},
    "signals": [],
    "latest": {},
    "risk": {},
    "positions": [],
}


class EngineDesk:
    """api.desk.Desk over the engine actor."""

    def __init__(
        self,
        symbols: Sequence[str],
        catalog: CatalogPort,
        backtest: Callable[[BacktestOrder], Iterator[Any]],
    ) -> None:
        self._engine = EngineHandle()
        self._symbols = tuple(symbols)
        self._catalog = catalog
        self._backtests = BacktestsHandle(backtest)
        self._version = -1
        self._snapshot = EMPTY
        self._follower: asyncio.Task[None] | None = None

    async def follow(self) -> None:
        """Wait for the first snapshot, then keep it fresh for as long as the replica lives."""
        await self._refresh(patience=5.0)
        self._follower = asyncio.create_task(self._keep_fresh())

    async def _refresh(self, patience: float) -> None:
        self._version, picture = await self._engine.snapshot(self._version, patience)
        if picture:
            self._snapshot = cast(EngineSnapshot, picture)

    async def _keep_fresh(self) -> None:
        while True:
            try:
                await self._refresh(patience=10.0)
            except RetryError as error:
                self._version = -1  # a restarted engine counts anew
                self._mark_lost(str(error))
                await asyncio.sleep(0.5)

    def _mark_lost(self, reason: str) -> None:
        status = dict(self._snapshot["status"])
        if status:
            status["degraded"] = [f"engine not reachable: {reason}"]
            self._snapshot = {**self._snapshot, "status": status}

    def snapshot(self) -> EngineSnapshot:
        """The newest picture held here."""
        return self._snapshot

    def symbols(self) -> Sequence[str]:
        """The symbols the engine trades."""
        return self._symbols

    async def start(self, user_id: str) -> dict[str, Any]:
        """Scan for this user."""
        user = await self._catalog.get_user(user_id)
        return await self._seen(await self._engine.start(user_id, user.initial_capital))

    async def stop(self) -> dict[str, Any]:
        """Stop scanning."""
        return await self._seen(await self._engine.stop())

    async def kill(self, reason: str, actor: str) -> dict[str, Any]:
        """No entries, cancel, flatten."""
        return await self._seen(await self._engine.kill(reason, actor))

    async def resume(self, reason: str, actor: str) -> dict[str, Any]:
        """Back to trading."""
        return await self._seen(await self._engine.resume(reason, actor))

    async def settle(self, symbol: str, price: Decimal, reason: str, actor: str) -> dict[str, Any]:
        """Record that the broker does not hold a position any more."""
        return await self._seen(await self._engine.settle(symbol, price, reason, actor))

    async def confirm(
        self, reference: str, price: Decimal | None, reason: str, actor: str
    ) -> dict[str, Any]:
        """Record what an order filled at that the broker does not tell."""
        return await self._seen(await self._engine.confirm(reference, price, reason, actor))

    async def _seen(self, status: dict[str, Any]) -> dict[str, Any]:
        """Take the picture that the command made, so that the next read shows its effect."""
        version, picture = await self._engine.snapshot(-1, 0.0)
        if version > self._version:
            self._version, self._snapshot = version, cast(EngineSnapshot, picture)
        return status

    async def candles(self, symbol: str, limit: int) -> list[Candle]:
        """The newest closed candles."""
        return await self._engine.candles(symbol, limit)

    async def strategies_changed(self) -> None:
        """Reload the strategies before the next scan."""
        await self._engine.strategies_changed()

    async def backtest(self, order: BacktestOrder, patience: float) -> Job:
        """Play the order on a worker of the cluster."""
        return await self._backtests.run(order, patience=patience)

    async def backtest_job(self, job_id: str) -> Job:
        """How far a backtest is."""
        return await self._backtests.look(job_id)

    async def cancel_backtest(self, job_id: str) -> None:
        """End a backtest and forget it."""
        await self._backtests.cancel(job_id)
