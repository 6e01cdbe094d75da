"""The risk actor: the one place that grants capital, and the ledger row before every order.

The book is pure (`core.risk.RiskBook`); this shell makes its answers durable. When a write fails
the book may know more than the ledger, so it is thrown away and read back from the ledger before
the next answer, under a new term: a write whose answer was lost may still be under way, and must
not come after that. The ledger refuses writes of an older term than the newest. Whoever is refused
has been superseded, or a late request of a dead risk actor looks like it: it watches no more, and
should anybody still call it, it opens a term and reads the ledger again, as after a restart.

A kill or a reduction holds from the moment it is ordered, on record or not: every book read since
is told of it, and every write brings it along until the ledger has it. A resume has to be on
record to count.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from hftray import observe
from hftray.actors.heartbeat import Heartbeat, watch
from hftray.core.errors import HftrayError, NotFound, RetryError, StaleEpoch
from hftray.core.ledger import (
    LedgerEvent,
    OrderIntended,
    OrderSettled,
    RiskStateChanged,
    RunInfo,
    RunState,
    TradeRecord,
)
from hftray.core.orders import Approval, Denial, OrderIntent, OrderReport
from hftray.core.position import Position
from hftray.core.risk import RiskBook
from hftray.core.risk_view import RiskState, RiskView
from hftray.ports import Ledger

log = observe.logger("risk")

# What the engine holds against entries is not on record, so a new risk actor waits to be told.
UNMARKED = "no scan since risk was started"
EPOCHS_A_TERM = 1_000_000
ORDERS = {"kill": RiskState.HALTED, "reduce": RiskState.REDUCING}


class RiskShell:
    """A RiskBook whose every grant and settlement is durable before it is answered.

    Without a mark for `heartbeat_timeout` real seconds, while the run is meant to be scanning,
    only exits are let through until marks come again. `clock` counts seconds.
    """

    def __init__(
        self,
        run: RunInfo,
        build_book: Callable[[RunInfo, int], RiskBook],
        ledger: Ledger,
        *,
        heartbeat_timeout: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        observe.configure()
        self._run = run
        self._build_book = build_book
        self._ledger = ledger
        self._book: RiskBook | None = None
        self._joined = False
        self._term: int | None = None  # of the present book
        self._superseded = False
        self._lock = asyncio.Lock()
        # Why nothing should be opened: as told from outside, and as the ledger said last.
        self._told, self._ledger_trouble = UNMARKED, ""
        self._locks: dict[str, str] = {}
        self._ordered: RiskStateChanged | None = None  # a kill or a reduction not on record yet
        self._marks = Heartbeat(heartbeat_timeout, clock)
        self._expecting = True  # the run was meant to be scanning when last looked at
        self._watch: asyncio.Task[None] | None = None

    async def use_run(self, run: RunInfo) -> None:
        """Change to another account; the next call reads it from the ledger."""
        async with self._lock:
            self._run, self._book, self._joined = run, None, True
            self._told, self._locks = UNMARKED, {}
            self._marks.beat()  # the feed of the other account has to start first

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
                trades_today=tuple(t for t in state.trades_today if t.symbol == symbol),
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

    async def settle_by_hand(
        self, symbol: str, quantity: int, price: Decimal, why: str
    ) -> TradeRecord:
        """Record that shares of the symbol's position left elsewhere; its exit's row.

        No order is sent. Row and position go to disk as one, and whoever acts on the symbol has to
        read the ledger again before it does. NotFound, IllegalTransition.
        """
        async with self._lock:
            book = await self._ready()
            state = await self._ledger.run_state(self._run.run_id)
            held = next((p for p in state.positions if p.symbol == symbol), None)
            if held is None:
                raise NotFound(f"there is no open position in {symbol}")
            intended, settled = book.settle_by_hand(held, quantity, price, why, datetime.now(UTC))
            await self._write(intended, settled)
            trade = settled.trade
            log.warning(
                "settled by hand",
                symbol=symbol,
                reference=trade.reference,
                quantity=trade.quantity,
                price=trade.price,
                reason=trade.reason,
                pnl=trade.pnl,
            )
            return trade

    async def mark(
        self,
        now: datetime,
        open_pnl: Mapping[str, Decimal],
        impairment: str = "",
        locks: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> RiskView:
        """Take the open P&L of every symbol, and what stands against entries at present.

        The daily loss limit is checked here. `patience`: real seconds until the next mark, beyond
        what a scan takes.
        """
        try:
            async with self._lock:
                self._told = impairment
                self._locks = self._locks if locks is None else dict(locks)
                book = await self._asked_ledger()
                change = book.mark(open_pnl, now, impairment=self._impairment, locks=self._locks)
                await self._record(change)
                return book.view()
        finally:
            self._heard(patience)

    async def impair(self, reason: str) -> RiskView:
        """Only exits until a mark comes without an impairment: scans fail one after the other."""
        async with self._lock:
            self._told = reason
            book = await self._ready()
            await self._record(book.impair(self._impairment, datetime.now(UTC), "engine"))
            return book.view()

    async def check_heartbeat(self) -> None:
        """Only exits when no mark has come for too long although the run is meant to scan.

        What was ordered and is not on record is written again.
        """
        if self._expecting and not self._marks.overdue and self._ordered is None:
            return
        async with self._lock:
            if self._superseded:
                raise StaleEpoch("another risk actor watches")
            book = await self._asked_ledger()
            state = await self._ledger.run_state(self._run.run_id)
            self._expecting = state.scanning
            if not state.scanning:
                self._marks.beat()
            elif self._marks.overdue:  # still: a mark may have held the lock
                self._told = f"no scan for {self._marks.silence:.0f} s"
                change = book.impair(self._impairment, datetime.now(UTC), "dead-man")
                await self._record(change)

    async def change_state(self, verb: str, reason: str, actor: str) -> RiskView:
        """Kill, resume or reduce, on record with who and why, at the time on people's clocks.

        A kill or a reduction holds also when this fails, and is written again until it is on
        record; a resume that fails has to be asked for again.
        """
        async with self._lock:
            now = datetime.now(UTC)
            if verb == "resume":
                return await self._resume(reason, now, actor)
            self._order(RiskStateChanged(self._run.run_id, ORDERS[verb], reason, actor, now))
            book = await self._ready()
            await self._write()
            return book.view()

    async def view(self) -> RiskView:
        """The book as it stands."""
        async with self._lock:
            return (await self._ready()).view()

    def _order(self, order: RiskStateChanged) -> None:
        self._keep_watch()
        if self._book is not None:
            self._ordered = _given(self._book, order) or self._ordered
        elif self._ordered is None or self._ordered.state != RiskState.HALTED:
            self._ordered = order  # for the next book, once that is read

    async def _resume(self, reason: str, now: datetime, actor: str) -> RiskView:
        book = await self._ready()
        try:
            await self._record(book.resume(reason, now, actor))
        except HftrayError:
            if self._ordered is not None:
                # The resume may have come through, so what it was to end is ordered anew after it.
                self._ordered = replace(self._ordered, time=datetime.now(UTC))
            raise
        return book.view()

    async def _record(self, change: RiskStateChanged | None) -> None:
        if change is not None:
            await self._write(change)

    @property
    def _impairment(self) -> str:
        return "; ".join(filter(None, (self._told, self._ledger_trouble)))

    def _heard(self, patience: float) -> None:
        self._marks.beat(patience)
        self._expecting = True
        self._keep_watch()

    def _keep_watch(self) -> None:
        if self._watch is None or self._watch.done():
            self._watch = watch(self, self._marks.timeout)

    async def _ready(self) -> RiskBook:
        self._superseded = False
        if self._book is None:
            self._book = await self._read_book()
        self._book.bar(self._impairment, self._locks)
        return self._book

    async def _read_book(self) -> RiskBook:
        # Before anything is read: nothing older may be written after that.
        self._term = await self._ledger.open_term()
        if not self._joined:
            # After a restart the constructor's run may be history: another user may trade now.
            current = await self._ledger.current_run(self._run.mode, self._run.source)
            self._run, self._joined = current or self._run, True
        # Terms only grow and every book has its own, so no epoch is ever given twice.
        book = self._build_book(self._run, self._term * EPOCHS_A_TERM)
        book.recover(await self._ledger.run_state(self._run.run_id))
        if self._ordered is not None:  # unless the ledger had it all the same
            self._ordered = _given(book, self._ordered)
        return book

    async def _write(self, *events: LedgerEvent) -> None:
        if self._ordered is not None:
            events = (self._ordered, *events)
        if not events:
            return
        # Until the write is known to be done, what the ledger has is what counts. It may still be
        # done when no answer comes, so the next book is read under a new term.
        book, self._book = self._book, None
        await self._append(*events)
        self._book, self._ordered = book, None
        for event in events:
            if isinstance(event, RiskStateChanged):
                log.warning(
                    "risk state changed", state=event.state, reason=event.reason, by=event.actor
                )

    async def _asked_ledger(self) -> RiskBook:
        """The book, after another try at what keeps entries away: nothing else would try it."""
        await self._ready()
        with suppress(RetryError):
            if self._ordered is not None:
                await self._write()
            elif self._ledger_trouble:
                await self._append()
        return await self._ready()

    async def _append(self, *events: LedgerEvent) -> None:
        try:
            health = await self._ledger.append(events, self._term)
        except StaleEpoch as error:
            log.error("superseded by another risk actor", reason=str(error))
            self._book, self._superseded = None, True
            raise
        self._ledger_trouble = health.impairment


def _given(book: RiskBook, order: RiskStateChanged) -> RiskStateChanged | None:
    """What an order changes in a book, to be recorded; None when it stands so already."""
    give = book.kill if order.state == RiskState.HALTED else book.reduce
    return give(order.reason, order.time, order.actor)
