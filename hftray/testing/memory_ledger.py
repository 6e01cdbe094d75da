"""`hftray.ports.Ledger` in memory: the rules of the PostgreSQL one, for tests without a server."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hftray.catalog_rows import GrowwCredentials, PositionRow, StrategyRow, TradeRow, UserRow
from hftray.core.errors import Conflict, NotFound
from hftray.core.events import Signal
from hftray.core.ledger import (
    EquityMarked,
    LedgerEvent,
    LedgerHealth,
    OrderIntended,
    OrderSettled,
    PositionMarked,
    RiskStateChanged,
    RunInfo,
    RunState,
    ScanningSet,
    SessionStarted,
    SignalRecorded,
    TradeRecord,
)
from hftray.core.ledger_fold import require_owner, require_term
from hftray.core.orders import TradeStatus, require_trade_step


@dataclass(slots=True)
class MemoryStore:
    """What the tables hold; `MemoryCatalog` reads and writes the same store."""

    users: dict[str, UserRow] = field(default_factory=dict)
    groww_keys: dict[str, GrowwCredentials] = field(default_factory=dict)
    strategies: dict[int, StrategyRow] = field(default_factory=dict)
    strategy_ids: int = 0
    term: int = 0
    owner: str = ""
    roster_version: int = 1
    runs: dict[int, RunInfo] = field(default_factory=dict)
    finished: dict[int, datetime] = field(default_factory=dict)
    opened: list[int] = field(default_factory=list)
    scanning: dict[int, bool] = field(default_factory=dict)
    applied: set[str] = field(default_factory=set)
    trades: dict[str, TradeRow] = field(default_factory=dict)
    positions: dict[str, PositionRow] = field(default_factory=dict)
    signals: dict[tuple[int, str, datetime], Signal] = field(default_factory=dict)
    equity: dict[tuple[int, datetime], EquityMarked] = field(default_factory=dict)
    sessions: list[SessionStarted] = field(default_factory=list)
    risk_events: list[RiskStateChanged] = field(default_factory=list)

    def add_strategy(self, row: Mapping[str, Any]) -> StrategyRow:
        """A new row under the next id, which is never used again."""
        self.strategy_ids += 1
        added = StrategyRow(id=self.strategy_ids, created_at=datetime.now(UTC), **row)
        self.strategies[added.id] = added
        self.roster_version += 1
        return added

    def add_trade(self, trade: TradeRecord) -> TradeRow:
        """A new row; a strategy that does not exist is left out."""
        strategy = self.strategies.get(trade.strategy_id or 0)
        if strategy is None:
            trade = replace(trade, strategy_id=None)
        row = TradeRow(len(self.trades) + 1, trade, strategy.name if strategy else None)
        self.trades[trade.reference] = row
        return row


class MemoryLedger:
    """A ledger that lives as long as the object."""

    def __init__(
        self, strategies: Sequence[Mapping[str, Any]] = (), *, user_id: str = "default"
    ) -> None:
        self.store = MemoryStore()
        self.store.users[user_id] = UserRow(
            user_id, None, "Default", None, Decimal(100_000), False, datetime.now(UTC)
        )
        for row in strategies:
            self.store.add_strategy(row)

    async def open_run(
        self, mode: str, source: str, user_id: str, initial_capital: Decimal
    ) -> RunInfo:
        """The user's unfinished run of this mode and source as it was begun, or a new one."""
        account = (mode, source, user_id)
        for run in self.store.runs.values():
            same = (run.mode, run.source, run.user_id) == account
            if same and run.run_id not in self.store.finished:
                self.store.opened.append(run.run_id)
                return run
        if user_id not in self.store.users:
            raise NotFound(f"there is no user {user_id!r}")
        run = RunInfo(len(self.store.runs) + 1, mode, source, user_id, initial_capital)
        self.store.runs[run.run_id] = run
        self.store.opened.append(run.run_id)
        return run

    async def current_run(self, mode: str, source: str) -> RunInfo | None:
        """The run of this mode and source that was opened last; None before the first."""
        opened = (self.store.runs[run_id] for run_id in reversed(self.store.opened))
        return next((run for run in opened if (run.mode, run.source) == (mode, source)), None)

    async def finish_run(self, run_id: int, time: datetime) -> None:
        """End the run; finishing twice keeps the first time."""
        self._run(run_id)
        self.store.finished.setdefault(run_id, time)

    async def set_scanning(self, run_id: int, scanning: bool) -> None:
        """Remember whether the engine is meant to scan. NotFound."""
        await self.append([ScanningSet(run_id, scanning, datetime.now(UTC))])

    async def open_term(self) -> int:
        """A new term: older ones are refused from now on."""
        self.store.term += 1
        return self.store.term

    async def owner(self) -> str:
        """Which journal's events are taken; empty before the first."""
        return self.store.owner

    async def take_over(self, owner: str, before: str) -> None:
        """Take events of this journal only, after those of `before`; Conflict when not so now."""
        if self.store.owner != before:
            raise Conflict("another hftray has just begun to write this database; try again")
        self.store.owner = owner

    async def append(
        self, events: Sequence[LedgerEvent], term: int | None = None, *, owner: str = ""
    ) -> LedgerHealth:
        """Record all events or none; those recorded before are skipped. StaleEpoch."""
        require_owner(owner, self.store.owner)
        self.store.term = require_term(term, self.store.term)
        draft = MemoryStore(
            **{name: copy.copy(getattr(self.store, name)) for name in MemoryStore.__slots__}
        )
        for event in events:
            if event.event_id not in draft.applied:
                draft.applied.add(event.event_id)
                self._apply(draft, event)
        for name in MemoryStore.__slots__:  # the catalogue holds the store itself
            setattr(self.store, name, getattr(draft, name))
        return LedgerHealth()

    async def run_state(self, run_id: int) -> RunState:
        """What a restarted process needs. NotFound."""
        store, run = self.store, self._run(run_id)
        trades = [row.trade for row in store.trades.values() if row.trade.run_id == run_id]
        sessions = [event for event in store.sessions if event.run_id == run_id]
        today = max(sessions, key=lambda event: event.session_day, default=None)
        risk = next((e for e in reversed(store.risk_events) if e.run_id == run_id), None)
        held = [row for row in store.positions.values() if row.run_id == run_id]
        settled = (t.pnl for t in trades if t.status is TradeStatus.EXECUTED and t.pnl is not None)
        return RunState(
            run=run,
            scanning=store.scanning.get(run_id, False),
            session_day=today.session_day if today else None,
            opening_capital=today.opening_capital if today else None,
            realised_total=sum(settled, Decimal(0)),
            trades_today=tuple(t for t in trades if today and t.session_day == today.session_day),
            pending=tuple(t for t in trades if t.status is TradeStatus.PENDING),
            positions=tuple(
                sorted(
                    (row.position for row in held if row.closed_at is None),
                    key=lambda position: (position.entry_time, position.reference),
                )
            ),
            risk_state=risk.state if risk else "ACTIVE",
            risk_reason=risk.reason if risk else "",
            risk_since=risk.time if risk else None,
            risk_sequence=risk.sequence if risk else 0,
            market_time=max(
                [s.timestamp for (run, *_), s in store.signals.items() if run == run_id]
                + [time for run, time in store.equity if run == run_id],
                default=None,
            ),
        )

    async def roster(self, known_version: int) -> tuple[int, list[dict[str, Any]]] | None:
        """Version and rows of all strategies; None when the version is the known one."""
        if self.store.roster_version == known_version:
            return None
        columns = ("id", "name", "kind", "is_active", "parameters")
        rows = sorted(self.store.strategies.values(), key=lambda row: row.id)
        return self.store.roster_version, [{c: getattr(row, c) for c in columns} for row in rows]

    def _run(self, run_id: int) -> RunInfo:
        if run_id not in self.store.runs:
            raise NotFound(f"there is no run {run_id}")
        return self.store.runs[run_id]

    def _apply(self, store: MemoryStore, event: LedgerEvent) -> None:
        match event:
            case OrderIntended(trade):
                self._run(trade.run_id)
                store.add_trade(trade)
            case OrderSettled():
                _settle(store, event)
            case PositionMarked(_, reference, best_price):
                if reference in store.positions:
                    row = store.positions[reference]
                    improved = row.position.improved_by(best_price)
                    store.positions[reference] = replace(row, position=improved)
            case SignalRecorded(run_id, signal):
                self._run(run_id)
                store.signals.setdefault((run_id, signal.symbol, signal.candle_time), signal)
            case EquityMarked():
                self._run(event.run_id)
                store.equity.setdefault((event.run_id, event.time), event)
            case SessionStarted():
                self._run(event.run_id)
                store.sessions.append(event)
            case RiskStateChanged():
                self._run(event.run_id)
                store.risk_events.append(event)
            case ScanningSet(run_id, scanning):
                self._run(run_id)
                store.scanning[run_id] = scanning


def _settle(store: MemoryStore, event: OrderSettled) -> None:
    trade = event.trade
    row = store.trades.get(trade.reference)
    if row is None:
        raise NotFound(f"order {trade.reference} was never recorded, so it cannot be settled")
    require_trade_step(row.trade.status, trade.status)
    settled = replace(trade, strategy_id=row.trade.strategy_id)
    store.trades[trade.reference] = replace(row, trade=settled)
    _write_position(store, event)


def _write_position(store: MemoryStore, event: OrderSettled) -> None:
    position = event.position or event.closed
    if position is None:
        return
    trade, before = event.trade, store.positions.get(position.reference)
    if position.strategy_id not in store.strategies:
        position = replace(position, strategy_id=None)
    if event.position is None and position.reference in store.trades:
        # The last exit may have closed only a rest: what is over shows all that was entered.
        entered = store.trades[position.reference].trade.quantity
        position = replace(position, quantity=entered)
    if before is not None:
        position = position.improved_by(before.position.best_price)
    exit_price = before.exit_price if before else None
    exit_reason = before.exit_reason if before else None
    if event.closed is not None:
        exit_price, exit_reason = trade.price, trade.reason
    store.positions[position.reference] = PositionRow(
        run_id=trade.run_id,
        position=position,
        closed_at=trade.timestamp if event.position is None else None,
        exit_price=exit_price,
        exit_reason=exit_reason,
        pnl=(before.pnl if before else Decimal(0)) + (trade.pnl or Decimal(0)),
    )
