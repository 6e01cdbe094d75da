"""The broker actor: the one process that talks to the exchange, for the account that trades now."""

from collections.abc import Callable
from typing import Any

from hftray import observe
from hftray.core.errors import BrokerUnavailable, RetryError
from hftray.core.ledger import RunInfo
from hftray.core.orders import BrokerPosition, Order, OrderReport
from hftray.ports import Broker, Ledger, MarketBatch


class BrokerShell:
    """A Broker adapter behind an actor; built inside the process that uses it, for one run."""

    def __init__(self, build: Callable[[RunInfo], Broker], run: RunInfo, ledger: Ledger) -> None:
        observe.configure()
        self._build = build
        self._run = run
        self._ledger = ledger
        self._adapter: Broker | None = None

    async def use_run(self, run: RunInfo) -> None:
        """Change to another account."""
        if self._adapter is not None:
            await self._adapter.close()
        self._run, self._adapter = run, self._build(run)

    async def place(self, order: Order) -> OrderReport:
        """Send the order once; a known reference returns the order that exists."""
        try:
            broker = await self._broker()
        except RetryError as error:
            raise BrokerUnavailable(str(error)) from error
        return await broker.place(order)

    async def cancel(self, reference: str) -> OrderReport:
        """Withdraw what is not filled."""
        return await (await self._broker()).cancel(reference)

    async def report(self, reference: str) -> OrderReport | None:
        """Look an order up."""
        return await (await self._broker()).report(reference)

    async def resolve(self, reference: str, symbol: str) -> OrderReport | None:
        """What became of an order of unknown outcome, once that is certain."""
        return await (await self._broker()).resolve(reference, symbol)

    async def reports(self) -> list[OrderReport]:
        """Every order of the book."""
        return await (await self._broker()).reports()

    async def positions(self) -> list[BrokerPosition]:
        """What the broker holds for us."""
        return await (await self._broker()).positions()

    async def on_market(self, batch: MarketBatch) -> list[OrderReport]:
        """Reports that changed with this step of the market."""
        return await (await self._broker()).on_market(batch)

    async def close(self) -> None:
        """Release files and connections."""
        if self._adapter is not None:
            await self._adapter.close()

    async def status(self) -> dict[str, Any]:
        """Whether the process answers."""
        return {"broker": type(self._adapter).__name__, "run_id": self._run.run_id}

    async def _broker(self) -> Broker:
        if self._adapter is None:
            # After a restart the constructor's run may be history: another user may trade now,
            # and in another account's book no order of this one would be found.
            current = await self._ledger.current_run(self._run.mode, self._run.source)
            if self._adapter is None:  # not even by another call meanwhile
                self._run = current or self._run
                self._adapter = self._build(self._run)
        return self._adapter
