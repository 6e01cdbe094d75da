"""What the REST API reads and writes of the database, as one Protocol.

Its values are in `catalog_rows`. Lists are newest first unless a method says otherwise. Reads that
serve many runs take `run_id`; None means every run.
"""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from hftray.catalog_rows import (
    GrowwCredentials,
    ManualTrade,
    NewUser,
    PositionRow,
    StrategyChanges,
    StrategyRow,
    TradeFilter,
    TradeRow,
    UserChanges,
    UserRow,
)
from hftray.core.events import Signal
from hftray.core.ledger import EquityMarked, RiskStateChanged, RunInfo, SessionStarted, TradeRecord


class CatalogPort(Protocol):
    """Users, strategies and the record, for people. LedgerUnavailable when the database is away.

    Unknown ids raise NotFound; a second user id, email or strategy name raises Conflict.
    """

    async def list_strategies(self) -> list[StrategyRow]:
        """All strategies, by id."""
        ...

    async def get_strategy(self, strategy_id: int) -> StrategyRow:
        """One strategy. NotFound."""
        ...

    async def create_strategy(
        self,
        *,
        name: str,
        description: str,
        kind: str,
        is_active: bool,
        parameters: dict[str, Any],
    ) -> StrategyRow:
        """Add a strategy; the engine takes it up with its next scan. Conflict."""
        ...

    async def update_strategy(self, strategy_id: int, changes: StrategyChanges) -> StrategyRow:
        """Set what `changes` holds (`parameters` is replaced whole). NotFound, Conflict."""
        ...

    async def delete_strategy(self, strategy_id: int) -> None:
        """Remove a strategy; its trades stay and keep its name. NotFound."""
        ...

    async def get_user(self, user_id: str) -> UserRow:
        """One user. NotFound."""
        ...

    async def create_user(self, user: NewUser) -> UserRow:
        """Add a user. Conflict."""
        ...

    async def update_user(self, user_id: str, changes: UserChanges) -> UserRow:
        """Set what `changes` holds. NotFound, Conflict."""
        ...

    async def groww_credentials(self, user_id: str) -> GrowwCredentials | None:
        """The user's keys, None unless both are set. NotFound; StopError on a wrong secret key."""
        ...

    async def list_trades(
        self, wanted: TradeFilter, *, limit: int = 100, offset: int = 0
    ) -> list[TradeRow]:
        """Trades by time, newest first."""
        ...

    async def session_trades(self, run_id: int, day: date) -> list[TradeRecord]:
        """Every executed order of a run's trading day, oldest first, and confirmations of them."""
        ...

    async def get_trade(self, trade_id: int) -> TradeRow:
        """One trade. NotFound."""
        ...

    async def record_manual_trade(self, trade: ManualTrade) -> TradeRow:
        """Record a trade made elsewhere (leg MANUAL). NotFound for its user or strategy."""
        ...

    async def list_positions(
        self,
        *,
        run_id: int | None = None,
        symbol: str | None = None,
        is_open: bool | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[PositionRow]:
        """Positions by entry time, newest first."""
        ...

    async def list_signals(
        self,
        *,
        run_id: int | None = None,
        symbol: str | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[Signal]:
        """Closed candles' votes by candle time (`start` inclusive, `end` exclusive)."""
        ...

    async def list_equity(
        self,
        run_id: int,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 5_000,
    ) -> list[EquityMarked]:
        """The newest `limit` points of the equity curve, oldest first."""
        ...

    async def closed_pnls(self, run_id: int) -> list[Decimal]:
        """Net P&L of every closed position of a run, oldest first (Kelly, metrics)."""
        ...

    async def list_sessions(
        self, *, run_id: int | None = None, limit: int = 100, offset: int = 0
    ) -> list[SessionStarted]:
        """Trading days."""
        ...

    async def list_risk_events(
        self, *, run_id: int | None = None, limit: int = 100, offset: int = 0
    ) -> list[RiskStateChanged]:
        """Changes of the risk state as recorded: an operator's clock and the market's differ."""
        ...

    async def list_runs(self, *, limit: int = 100, offset: int = 0) -> list[RunInfo]:
        """Runs, newest first."""
        ...
