"""`hftray.ports_catalog.CatalogPort` in memory, over the store of a `MemoryLedger`."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, TypeVar

from hftray.catalog_rows import (
    MANUAL_RUN,
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
from hftray.core.errors import Conflict, NotFound
from hftray.core.events import Signal
from hftray.core.ledger import EquityMarked, RiskStateChanged, RunInfo, SessionStarted, TradeRecord
from hftray.core.orders import TradeStatus
from hftray.testing.memory_ledger import MemoryLedger

Item = TypeVar("Item")


class MemoryCatalog:
    """The catalogue beside a memory ledger; what one writes the other reads."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._store = ledger.store

    async def list_strategies(self) -> list[StrategyRow]:
        """All strategies, by id."""
        return sorted(self._store.strategies.values(), key=lambda row: row.id)

    async def get_strategy(self, strategy_id: int) -> StrategyRow:
        """One strategy."""
        if strategy_id not in self._store.strategies:
            raise NotFound(f"there is no strategy {strategy_id}")
        return self._store.strategies[strategy_id]

    async def create_strategy(
        self,
        *,
        name: str,
        description: str,
        kind: str,
        is_active: bool,
        parameters: dict[str, Any],
    ) -> StrategyRow:
        """Add a strategy."""
        self._require_free_name(name)
        return self._store.add_strategy(
            {
                "name": name,
                "description": description,
                "kind": kind,
                "is_active": is_active,
                "parameters": parameters,
            }
        )

    async def update_strategy(self, strategy_id: int, changes: StrategyChanges) -> StrategyRow:
        """Set what `changes` holds."""
        row = await self.get_strategy(strategy_id)
        if not changes:
            return row
        if changes.get("name", row.name) != row.name:
            self._require_free_name(changes["name"])
        self._store.strategies[strategy_id] = replace(row, **changes)
        self._store.roster_version += 1
        return self._store.strategies[strategy_id]

    async def delete_strategy(self, strategy_id: int) -> None:
        """Remove a strategy; its trades stay."""
        await self.get_strategy(strategy_id)
        store = self._store
        del store.strategies[strategy_id]
        store.roster_version += 1
        for key, row in store.trades.items():
            if row.trade.strategy_id == strategy_id:
                store.trades[key] = replace(row, trade=replace(row.trade, strategy_id=None))
        for key, held in store.positions.items():
            if held.position.strategy_id == strategy_id:
                orphan = replace(held.position, strategy_id=None)
                store.positions[key] = replace(held, position=orphan)

    async def get_user(self, user_id: str) -> UserRow:
        """One user."""
        if user_id not in self._store.users:
            raise NotFound(f"there is no user {user_id!r}")
        return self._store.users[user_id]

    async def create_user(self, user: NewUser) -> UserRow:
        """Add a user."""
        if user.id in self._store.users:
            raise Conflict(f"a user with the id {user.id!r} exists")
        self._require_free_email(user.email)
        row = UserRow(
            user.id,
            user.email,
            user.first_name,
            user.last_name,
            user.initial_capital,
            False,
            datetime.now(UTC),
        )
        return self._keep(row, user.groww_api_key or "", user.groww_api_secret or "")

    async def update_user(self, user_id: str, changes: UserChanges) -> UserRow:
        """Set what `changes` holds."""
        row = await self.get_user(user_id)
        plain: dict[str, Any] = dict(changes)
        if plain.get("email", row.email) != row.email:
            self._require_free_email(plain["email"])
        keys = self._store.groww_keys.get(user_id, GrowwCredentials("", ""))
        api_key = plain.pop("groww_api_key", keys.api_key) or ""
        api_secret = plain.pop("groww_api_secret", keys.api_secret) or ""
        return self._keep(replace(row, **plain), api_key, api_secret)

    async def groww_credentials(self, user_id: str) -> GrowwCredentials | None:
        """The user's keys, None unless both are set."""
        row = await self.get_user(user_id)
        return self._store.groww_keys[user_id] if row.has_groww_credentials else None

    async def list_trades(
        self, wanted: TradeFilter, *, limit: int = 100, offset: int = 0
    ) -> list[TradeRow]:
        """Trades by time, newest first."""
        found = [row for row in self._store.trades.values() if _matches(row, wanted)]
        return _page(found, lambda row: (row.trade.timestamp, row.id), limit, offset)

    async def session_trades(self, run_id: int, day: date) -> list[TradeRecord]:
        """Every executed row of a run's trading day, oldest first."""
        found = [
            row
            for row in self._store.trades.values()
            if (row.trade.run_id, row.trade.session_day) == (run_id, day)
            and run_id != MANUAL_RUN
            and row.trade.status is TradeStatus.EXECUTED
        ]
        return [row.trade for row in sorted(found, key=lambda row: (row.trade.timestamp, row.id))]

    async def get_trade(self, trade_id: int) -> TradeRow:
        """One trade."""
        for row in self._store.trades.values():
            if row.id == trade_id:
                return row
        raise NotFound(f"there is no trade {trade_id}")

    async def record_manual_trade(self, trade: ManualTrade) -> TradeRow:
        """Record a trade made elsewhere."""
        await self.get_user(trade.user_id)
        if trade.strategy_id is not None:
            await self.get_strategy(trade.strategy_id)
        return self._store.add_trade(trade.record(f"manual-{len(self._store.trades)}"))

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
        found = [
            row
            for row in self._store.positions.values()
            if run_id in (None, row.run_id)
            and symbol in (None, row.position.symbol)
            and is_open in (None, row.closed_at is None)
        ]
        return _page(found, lambda r: (r.position.entry_time, r.position.reference), limit, offset)

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
        """Closed candles' votes by candle time, newest first."""
        found = [
            (run, signal)
            for (run, name, time), signal in self._store.signals.items()
            if run_id in (None, run) and symbol in (None, name) and _within(time, start, end)
        ]
        found.sort(key=lambda item: item[1].symbol, reverse=True)
        newest = _page(found, lambda item: item[1].candle_time, limit, offset)
        return [signal for _, signal in newest]

    async def list_equity(
        self,
        run_id: int,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 5_000,
    ) -> list[EquityMarked]:
        """The newest `limit` points of the equity curve, oldest first."""
        points = (p for p in self._store.equity.values() if p.run_id == run_id)
        found = [point for point in points if _within(point.time, start, end)]
        return _page(found, lambda point: point.time, limit, 0)[::-1]

    async def closed_pnls(self, run_id: int) -> list[Decimal]:
        """Net P&L of every closed position of a run, oldest first."""
        closed = [
            (row.closed_at, row.position.reference, row.pnl)
            for row in self._store.positions.values()
            if row.run_id == run_id and row.closed_at is not None
        ]
        return [pnl for *_, pnl in sorted(closed)]

    async def list_sessions(
        self, *, run_id: int | None = None, limit: int = 100, offset: int = 0
    ) -> list[SessionStarted]:
        """Trading days, newest first."""
        found = [event for event in self._store.sessions if run_id in (None, event.run_id)]
        return _page(found, lambda event: event.session_day, limit, offset)

    async def list_risk_events(
        self, *, run_id: int | None = None, limit: int = 100, offset: int = 0
    ) -> list[RiskStateChanged]:
        """Changes of the risk state as they were recorded, newest first."""
        found = [event for event in self._store.risk_events if run_id in (None, event.run_id)]
        return found[::-1][offset : offset + limit]

    async def list_runs(self, *, limit: int = 100, offset: int = 0) -> list[RunInfo]:
        """Runs, newest first."""
        return _page(self._store.runs.values(), lambda run: run.run_id, limit, offset)

    def _require_free_name(self, name: str) -> None:
        if any(row.name == name for row in self._store.strategies.values()):
            raise Conflict(f"a strategy named {name!r} exists")

    def _require_free_email(self, email: str | None) -> None:
        if email is not None and any(row.email == email for row in self._store.users.values()):
            raise Conflict(f"a user with the email {email!r} exists")

    def _keep(self, row: UserRow, api_key: str, api_secret: str) -> UserRow:
        row = replace(row, has_groww_credentials=bool(api_key and api_secret))
        self._store.users[row.id] = row
        self._store.groww_keys[row.id] = GrowwCredentials(api_key, api_secret)
        return row


def _page(found: Iterable[Item], key: Callable[[Item], Any], limit: int, offset: int) -> list[Item]:
    """Newest first; of equal keys the one recorded last (or sorted last before) comes first."""
    return sorted(found, key=key)[::-1][offset : offset + limit]


def _within(time: datetime, start: datetime | None, end: datetime | None) -> bool:
    return (start is None or time >= start) and (end is None or time < end)


def _matches(row: TradeRow, wanted: TradeFilter) -> bool:
    trade = row.trade
    return (wanted.run_id in (None, trade.run_id) or trade.run_id == MANUAL_RUN) and all(
        (
            wanted.symbol in (None, trade.symbol),
            wanted.side in (None, trade.side),
            wanted.status in (None, trade.status),
            wanted.leg in (None, trade.leg),
            wanted.strategy_id in (None, trade.strategy_id),
            _within(trade.timestamp, wanted.start, wanted.end),
        )
    )
