"""The risk actor: the one place that grants capital, and the ledger row before every order.

The book is pure (`core.risk.RiskBook`); this shell makes its answers durable. When a write fails
the book may know more than the ledger, so it is thrown away and read back from the ledger before
the next answer.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from hftray import observe
from hftray.core.ledger import (
    LedgerEvent,
    OrderIntended,
    OrderSettled,
    RiskStateChanged,
    RunInfo,
    RunState,
)
from hftray.core.orders import Approval, Denial, OrderIntent, OrderReport
from hftray.core.position import Position
from hftray.core.risk import RiskBook
from hftray.core.risk_view import RiskView
from hftray.ports import Ledger

log = observe.logger("risk")


class RiskShell:
    """A RiskBook whose every grant and settlement is durable before it is answered."""

    def __init__(
        self, run: RunInfo, build_book: Callable[[RunInfo, int], RiskBook], ledger: Ledger
    ) -> None:
        observe.configure()
        self._run = run
        self._build_book = build_book
        self._ledger = ledger
        self._book: RiskBook | None = None
        self._joined = False
        self._lock = asyncio.Lock()

    async def use_run(self, run: RunInfo) -> None:
        """Change to another account; the next call reads it from the ledger."""
        async with self._lock:
            self._run, self._book, self._joined = run, None, True

    async def run_state(self) -> RunState:
        """The run as the ledger has it now."""
        async with self._lock:
            await self._ready()
            return await self._ledger.run_state(self._run.run_id)

    async def register(self, symbol: str) -> tuple[int, RunState]:
        """A new epoch for the symbol, and the part of the ledger that concerns it."""
        async with self._lock:
            book = await self._ready()
            state = await self._ledger.run_state(self._run.run_id)
            own = replace(
                state,
                trades_today=(),
                pending=tuple(t for t in state.pending if t.symbol == symbol),
                positions=tuple(p for p in state.positions if p.symbol == symbol),
            )
            return book.register(symbol), own

    async def open_day(self, day: date, now: datetime) -> RiskView:
        """A trading day begins: daily counters start again."""
        async with self._lock:
            book = await self._ready()
            await self._write(*book.open_day(day, now))
            return book.view()

    async def reserve(self, intent: OrderIntent, epoch: int) -> Approval | Denial:
        """Approve with an order that is durable, or deny with a reason."""
        async with self._lock:
            book = await self._ready()
            answer = book.reserve(intent, epoch)
            if isinstance(answer, Approval):
                await self._write(OrderIntended(book.trade_record(answer)))
            return answer

    async def settle(
        self, report: OrderReport, epoch: int, after: Position | None, closed: Position | None
    ) -> Decimal | None:
        """Record a finished order and what it left; net P&L when it closed something."""
        async with self._lock:
            book = await self._ready()
            trade = book.settle(report, epoch, after, closed)
            await self._write(OrderSettled(trade, after, closed))
            log.info(
                "settled",
                symbol=trade.symbol,
                reference=trade.reference,
                status=trade.status,
                side=trade.side,
                quantity=trade.quantity,
                price=trade.price,
                reason=trade.reason,
                pnl=trade.pnl,
            )
            return trade.pnl

    async def mark(self, now: datetime, open_pnl: Mapping[str, Decimal]) -> RiskView:
        """Take the open P&L of every symbol; the daily loss limit is checked here."""
        async with self._lock:
            book = await self._ready()
            await self._record(book.mark(open_pnl, now))
            return book.view()

    async def change_state(self, verb: str, reason: str, actor: str) -> RiskView:
        """Kill, resume or reduce, on record with who and why, at the time on people's clocks."""
        async with self._lock:
            book = await self._ready()
            change = {"kill": book.kill, "resume": book.resume, "reduce": book.reduce}[verb]
            await self._record(change(reason, datetime.now(UTC), actor))
            return book.view()

    async def view(self) -> RiskView:
        """The book as it stands."""
        async with self._lock:
            return (await self._ready()).view()

    async def _record(self, change: RiskStateChanged | None) -> None:
        if change is not None:
            log.warning(
                "risk state changed", state=change.state, reason=change.reason, by=change.actor
            )
            await self._write(change)

    async def _ready(self) -> RiskBook:
        if not self._joined:
            # After a restart the constructor's run may be history: another user may trade now.
            current = await self._ledger.current_run(self._run.mode, self._run.source)
            self._run, self._joined = current or self._run, True
        if self._book is None:
            # Milliseconds since 1970 grow with every start, so no epoch is ever given twice.
            book = self._build_book(self._run, time.time_ns() // 1_000_000)
            book.recover(await self._ledger.run_state(self._run.run_id))
            self._book = book
        return self._book

    async def _write(self, *events: LedgerEvent) -> None:
        if not events:
            return
        # Until the write is known to be done, what the ledger has is what counts.
        book, self._book = self._book, None
        await self._ledger.append(events)
        self._book = book
