"""The broker actor: the one process that talks to the exchange, for the account that trades now.

With a real broker all traffic leaves from here, prices included: one token, one address, one count
of the calls that its limits allow.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from hftray import observe
from hftray.core.errors import BrokerUnavailable, DataError, RejectError, RetryError, StopError
from hftray.core.ledger import RunInfo
from hftray.core.market import Candle, Instrument
from hftray.core.orders import BrokerPosition, Order, OrderReport
from hftray.ports import Broker, Ledger, MarketBatch, Venue
from hftray.ports_source import MarketSource, Quote

T = TypeVar("T")


class _Stopped(RetryError):
    """What only the operator can change, told to an engine that runs.

    At the start it stops (`require_access`). Later an engine that ended itself would leave its
    positions alone, so it goes on asking, and its status says why.
    """


class BrokerShell:
    """The adapters of one run behind an actor; built inside the process that uses them."""

    def __init__(
        self, build: Callable[[RunInfo], Awaitable[Venue]], run: RunInfo, ledger: Ledger
    ) -> None:
        observe.configure()
        self._build = build
        self._run = run
        self._ledger = ledger
        self._venue: Venue | None = None
        self._building = asyncio.Lock()

    async def use_run(self, run: RunInfo) -> None:
        """Change to another account."""
        async with self._building:
            before, self._run, self._venue = self._venue, run, None
            if before is not None:
                await before.close()
            self._venue = await self._build(run)

    async def place(self, order: Order) -> OrderReport:
        """Send the order once; a known reference returns the order that exists."""
        try:
            return await self._of_broker(lambda broker: broker.place(order))
        except _Stopped as error:
            raise BrokerUnavailable(str(error)) from error

    async def cancel(self, reference: str) -> OrderReport:
        """Withdraw what is not filled."""
        return await self._of_broker(lambda broker: broker.cancel(reference))

    async def amend(
        self, reference: str, trigger: Decimal, limit_price: Decimal | None
    ) -> OrderReport:
        """Move a stop order that rests to another trigger."""
        return await self._of_broker(
            lambda broker: broker.amend(reference, trigger=trigger, limit_price=limit_price)
        )

    async def report(self, reference: str) -> OrderReport | None:
        """Look an order up."""
        return await self._of_broker(lambda broker: broker.report(reference))

    async def resolve(self, reference: str, symbol: str) -> OrderReport | None:
        """What became of an order of unknown outcome, once that is certain."""
        return await self._of_broker(lambda broker: broker.resolve(reference, symbol))

    async def reports(self) -> list[OrderReport]:
        """Every order of the book."""
        return await self._of_broker(lambda broker: broker.reports())

    async def positions(self) -> list[BrokerPosition]:
        """What the broker holds for us."""
        return await self._of_broker(lambda broker: broker.positions())

    async def on_market(self, batch: MarketBatch) -> list[OrderReport]:
        """Reports that changed with this step of the market."""
        return await self._of_broker(lambda broker: broker.on_market(batch))

    # Prices, where they come from the broker

    async def market_time(self) -> datetime:
        """The present moment by the exchange's clock."""
        return await self._of_source(lambda source: source.market_time())

    async def instruments(self) -> dict[str, Instrument]:
        """Every symbol that can be traded."""
        return await self._of_source(lambda source: source.instruments())

    async def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The newest price of each symbol."""
        return await self._of_source(lambda source: source.quotes(symbols))

    async def candles(
        self, symbol: str, first: datetime, before: datetime, minutes: int
    ) -> list[Candle]:
        """The exchange's own candles."""
        return await self._of_source(lambda source: source.candles(symbol, first, before, minutes))

    async def require_access(self) -> None:
        """StopError when the broker does not take our keys; nothing where none are needed."""
        source = (await self._venue_now()).source
        if source is not None:
            await source.require_access()

    async def close(self) -> None:
        """Release files and connections."""
        if self._venue is not None:
            await self._venue.close()

    async def status(self) -> dict[str, Any]:
        """Whether the process answers."""
        venue = self._venue
        return {
            "broker": type(venue.broker).__name__ if venue else "NoneType",
            "run_id": self._run.run_id,
        }

    async def _of_broker(self, ask: Callable[[Broker], Awaitable[T]]) -> T:
        try:
            broker = (await self._present()).broker
        except RetryError as error:
            raise BrokerUnavailable(str(error)) from error  # nothing can have been taken
        try:
            return await ask(broker)
        except DataError:
            raise  # fills that cannot be right concern their symbol, which goes no further
        except StopError as error:
            raise _Stopped(str(error)) from error

    async def _of_source(self, ask: Callable[[MarketSource], Awaitable[T]]) -> T:
        source = (await self._present()).source
        if source is None:
            raise StopError(f"mode {self._run.mode}: prices do not come from a broker")
        try:
            return await ask(source)
        except StopError as error:
            raise _Stopped(str(error)) from error

    async def _present(self) -> Venue:
        try:
            return await self._venue_now()
        except (StopError, RejectError) as error:  # also a user who is not there any more
            raise _Stopped(str(error)) from error

    async def _venue_now(self) -> Venue:
        async with self._building:
            if self._venue is None:
                # After a restart the constructor's run may be history: another user may trade now,
                # and in another account's book no order of this one would be found.
                current = await self._ledger.current_run(self._run.mode, self._run.source)
                self._run = current or self._run
                self._venue = await self._build(self._run)
            return self._venue
