"""What the API asks of the running engine, as one Protocol.

Reads come from `snapshot`, which the implementation holds in its own process; commands and
candles may cost a hop. An unknown symbol raises NotFound, an engine that cannot be reached now a
RetryError, an impossible request (no keys for live, no data for those dates) a StopError.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Protocol, TypedDict

from hftray.actors.jobs import Job
from hftray.backtest.order import BacktestOrder
from hftray.core.market import Candle


class EngineSnapshot(TypedDict):
    """The engine as of its last scan; money is Decimal, times are aware datetimes.

    `run_id` names the run that reads of the ledger default to (None before the first one).
    `status`, `signals`, `latest`, `risk` and `positions` have the fields of the schemas
    EngineStatus, SignalView, RiskView and OpenPosition (`schemas_engine`).
    """

    run_id: int | None
    status: dict[str, Any]
    signals: list[dict[str, Any]]  # newest first, at most 500
    latest: dict[str, dict[str, Any]]  # the newest signal of each symbol
    risk: dict[str, Any]
    positions: list[dict[str, Any]]  # open ones, marked to the last price


class Desk(Protocol):
    """The running engine as the API sees it."""

    def snapshot(self) -> EngineSnapshot:
        """The newest snapshot this process holds; never blocks."""
        ...

    def symbols(self) -> Sequence[str]:
        """The symbols the engine trades."""
        ...

    async def start(self, user_id: str) -> dict[str, Any]:
        """Scan for this user; the status. Starting a running engine changes nothing."""
        ...

    async def stop(self) -> dict[str, Any]:
        """Stop scanning, keep positions; the status. Stopping a stopped engine changes nothing."""
        ...

    async def kill(self, reason: str, actor: str) -> dict[str, Any]:
        """No entries, cancel working orders, close every position; the status."""
        ...

    async def resume(self, reason: str, actor: str) -> dict[str, Any]:
        """Allow entries again after a kill or a reduction; the status."""
        ...

    async def settle(self, symbol: str, price: Decimal, reason: str, actor: str) -> dict[str, Any]:
        """Record that the broker does not hold a position any more; a SettledView.

        NotFound, IllegalTransition.
        """
        ...

    async def confirm(
        self, reference: str, price: Decimal | None, reason: str, actor: str
    ) -> dict[str, Any]:
        """Record what an order filled at that the broker does not tell; a ConfirmedView.

        NotFound, IllegalTransition.
        """
        ...

    async def candles(self, symbol: str, limit: int) -> list[Candle]:
        """The newest candles, oldest first. NotFound."""
        ...

    async def strategies_changed(self) -> None:
        """The strategies table changed: reload it before the next scan."""
        ...

    async def backtest(self, order: BacktestOrder, patience: float) -> Job:
        """Play the order, waiting some seconds for it: a job done, or one still under way.

        The result has the fields of BacktestResult. A job that failed meanwhile raises: BadOrder,
        NotFound, DataError, or RetryError when too many are unfinished.
        """
        ...

    async def backtest_job(self, job_id: str) -> Job:
        """How far a backtest is. NotFound."""
        ...

    async def cancel_backtest(self, job_id: str) -> None:
        """End a backtest if it runs, and forget it. NotFound."""
        ...
