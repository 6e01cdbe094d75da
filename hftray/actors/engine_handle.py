"""The engine actor from outside: what the API replicas, the command line and starts ask of it.

A command whose answer is lost may have been obeyed: UnknownOutcome. A lost read is a RetryError.
"""

from decimal import Decimal
from typing import Any

from hftray.actors.ray_calls import ENGINE, START_TIMEOUT, Named
from hftray.core.errors import UnknownOutcome
from hftray.core.market import Candle


class EngineHandle(Named):
    """The engine actor, as the API replicas and the command line see it."""

    def __init__(self) -> None:
        super().__init__(ENGINE)

    async def start(
        self, user_id: str | None = None, capital: Decimal | None = None
    ) -> dict[str, Any]:
        """Begin scanning."""
        return await self.ask(
            "start", user_id, capital, lost=UnknownOutcome, patience=START_TIMEOUT
        )

    async def stop(self) -> dict[str, Any]:
        """End scanning."""
        return await self.ask("stop", lost=UnknownOutcome)

    async def kill(self, reason: str, actor: str) -> dict[str, Any]:
        """No entries, cancel, flatten."""
        return await self.ask("kill", reason, actor, lost=UnknownOutcome)

    async def resume(self, reason: str, actor: str) -> dict[str, Any]:
        """Back to trading."""
        return await self.ask("resume", reason, actor, lost=UnknownOutcome)

    async def settle(self, symbol: str, price: Decimal, reason: str, actor: str) -> dict[str, Any]:
        """Record that the broker does not hold a position any more."""
        return await self.ask("settle", symbol, price, reason, actor, lost=UnknownOutcome)

    async def confirm(
        self, reference: str, price: Decimal | None, reason: str, actor: str
    ) -> dict[str, Any]:
        """Record what an order filled at that the broker does not tell."""
        return await self.ask("confirm", reference, price, reason, actor, lost=UnknownOutcome)

    async def strategies_changed(self) -> None:
        """Read the strategies again."""
        await self.ask("strategies_changed")

    async def candles(self, symbol: str, limit: int) -> list[Candle]:
        """The newest closed candles of a symbol."""
        return await self.ask("candles", symbol, limit)

    async def known_symbols(self) -> list[str]:
        """Every symbol the feed can serve."""
        return await self.ask("known_symbols")

    async def snapshot(self, known: int = -1, patience: float = 10.0) -> tuple[int, dict[str, Any]]:
        """The newest picture of the engine."""
        return await self.ask("snapshot", known, patience)
