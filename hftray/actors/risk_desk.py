"""What the engine asks of risk: what every scan needs, and what its commands need besides."""

from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from hftray.core.ledger import RunInfo, RunState, TradeRecord
from hftray.core.risk_view import RiskView


class RiskDesk(Protocol):
    """What a scan asks of risk."""

    async def open_day(self, day: date, now: datetime) -> RiskView:
        """A trading day begins."""
        ...

    async def mark(
        self,
        now: datetime,
        open_pnl: Mapping[str, Decimal],
        impairment: str = "",
        locks: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> RiskView:
        """Open P&L of every symbol, why nothing should be opened at all or in some symbols.

        `patience`: real seconds until the next mark, beyond what a scan takes.
        """
        ...


class EngineRisk(RiskDesk, Protocol):
    """What the engine and its loop ask of risk."""

    async def run_state(self) -> RunState:
        """The run as the ledger has it."""
        ...

    async def impair(self, reason: str) -> RiskView:
        """No entries until a mark comes without an impairment."""
        ...

    async def change_state(self, verb: str, reason: str, actor: str) -> RiskView:
        """Kill, resume or reduce."""
        ...

    async def settle_by_hand(
        self, symbol: str, quantity: int, price: Decimal, why: str
    ) -> TradeRecord:
        """Record that shares of a position left elsewhere. NotFound, IllegalTransition."""
        ...

    async def confirm_fill(
        self, reference: str, price: Decimal | None, why: str, after: str | None
    ) -> TradeRecord:
        """Record what a person says an order filled at, `after` its latest confirmation.

        NotFound, IllegalTransition.
        """
        ...

    async def view(self) -> RiskView:
        """The book as it stands."""
        ...

    async def use_run(self, run: RunInfo) -> None:
        """Change to another account."""
        ...
