"""The broker actor: the one process that talks to the exchange."""

from collections.abc import Callable
from typing import Any

from hftray import observe
from hftray.core.orders import Order, OrderReport
from hftray.ports import Broker, MarketBatch


class BrokerShell:
    """A Broker adapter behind an actor; built inside the process that uses it."""

    def __init__(self, build: Callable[[], Broker]) -> None:
        observe.configure()
        self._broker = build()

    async def place(self, order: Order) -> OrderReport:
        """Send the order once; a known reference returns the order that exists."""
        return await self._broker.place(order)

    async def cancel(self, reference: str) -> OrderReport:
        """Withdraw what is not filled."""
        return await self._broker.cancel(reference)

    async def report(self, reference: str) -> OrderReport | None:
        """Look an order up."""
        return await self._broker.report(reference)

    async def reports(self) -> list[OrderReport]:
        """Every order of the book."""
        return await self._broker.reports()

    async def on_market(self, batch: MarketBatch) -> list[OrderReport]:
        """Reports that changed with this step of the market."""
        return await self._broker.on_market(batch)

    async def close(self) -> None:
        """Release files and connections."""
        await self._broker.close()

    async def status(self) -> dict[str, Any]:
        """Whether the process answers."""
        return {"broker": type(self._broker).__name__}
