"""The risk actor: the one place that grants capital, and the ledger row before every order.

The book is pure (`core.risk.RiskBook`); `DurableBook` keeps it and the ledger together. Whoever was
superseded by another risk actor watches no more.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

from hftray import observe
from hftray.actors.durable_book import DurableBook
from hftray.actors.heartbeat import Heartbeat, watch
from hftray.core.errors import NotFound, StaleEpoch
from hftray.core.ledger import (
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
        self._durable = DurableBook(run, build_book, ledger)
        self._lock = asyncio.Lock()
        self._told = UNMARKED  # why nothing should be opened, as told from outside
        self._locks: dict[str, str] = {}
        self._marks = Heartbeat(heartbeat_timeout, clock)
        self._expecting = True  # the run was meant to be scanning when last looked at
        self._watch: asyncio.Task[None] | None = None

    async def use_run(self, run: RunInfo) -> None:
        """Change to another account; the next call reads it from the ledger."""
        async with self._lock:
            self._durable.use_run(run)
            self._told, self._locks = UNMARKED, {}
            self._marks.beat()  # the feed of the other account has to start first

    async def run_state(self) -> RunState:
        """The run as the ledger has it now."""
        async with self._lock:
            await self._ready()
            return await self._durable.state()

    async def register(self, symbol: str) -> tuple[int, RunState]:
        """A new epoch for the symbol, and the part of the ledger that concerns it."""
        async with self._lock:
            book = await self._ready()
            state = await self._durable.state()
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
            await self._durable.write(*book.open_day(day, now))
            return book.view()

    async def reserve(self, intent: OrderIntent, epoch: int) -> Approval | Denial:
        """Approve with an order that is durable, or deny with a reason."""
        async with self._lock:
            book = await self._ready()
            answer = book.reserve(intent, epoch)
            if isinstance(answer, Approval):
                await self._durable.write(OrderIntended(book.trade_record(answer)))
            return answer

    async def settle(
        self, report: OrderReport, epoch: int, after: Position | None, closed: Position | None
    ) -> Decimal | None:
        """Record a finished order and what it left; net P&L when it closed something."""
        async with self._lock:
            book = await self._ready()
            trade = book.settle(report, epoch, after, closed)
            await self._durable.write(OrderSettled(trade, after, closed))
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
            state = await self._durable.state()
            held = next((p for p in state.positions if p.symbol == symbol), None)
            if held is None:
                raise NotFound(f"there is no open position in {symbol}")
            events = book.settle_by_hand(held, quantity, price, why, datetime.now(UTC))
            return await self._write_by_hand("settled by hand", *events)

    async def confirm_fill(
        self, reference: str, price: Decimal | None, why: str, after: str | None = None
    ) -> TradeRecord:
        """Record what a person says an order of the day filled at; the confirmation's row.

        `after` is the reference of the latest confirmation before it. NotFound, IllegalTransition.
        """
        async with self._lock:
            book = await self._ready()
            events = book.confirm_fill(reference, price, why, datetime.now(UTC), after)
            return await self._write_by_hand("fill confirmed by hand", *events)

    async def _write_by_hand(
        self, what: str, intended: OrderIntended, settled: OrderSettled
    ) -> TradeRecord:
        await self._durable.write(intended, settled)
        trade = settled.trade
        log.warning(
            what,
            symbol=trade.symbol,
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
                book = await self._retried()
                change = book.mark(open_pnl, now, impairment=self._impairment, locks=self._locks)
                await self._durable.record(change)
                return book.view()
        finally:
            self._heard(patience)

    async def impair(self, reason: str) -> RiskView:
        """Only exits until a mark comes without an impairment: scans fail one after the other."""
        async with self._lock:
            self._told = reason
            book = await self._ready()
            await self._durable.record(book.impair(self._impairment, datetime.now(UTC), "engine"))
            return book.view()

    async def check_heartbeat(self) -> None:
        """Only exits when no mark has come for too long although the run is meant to scan.

        What was ordered and is not on record is written again.
        """
        if self._expecting and not self._marks.overdue and not self._durable.owes_order:
            return
        async with self._lock:
            if self._durable.superseded:
                raise StaleEpoch("another risk actor watches")
            book = await self._retried()
            state = await self._durable.state()
            self._expecting = state.scanning
            if not state.scanning:
                self._marks.beat()
            elif self._marks.overdue:  # still: a mark may have held the lock
                self._told = f"no scan for {self._marks.silence:.0f} s"
                change = book.impair(self._impairment, datetime.now(UTC), "dead-man")
                await self._durable.record(change)

    async def change_state(self, verb: str, reason: str, actor: str) -> RiskView:
        """Kill, resume or reduce, on record with who and why, at the time on people's clocks.

        A kill or a reduction holds also when this fails, and is written again until it is on
        record; a resume that fails has to be asked for again.
        """
        async with self._lock:
            now = datetime.now(UTC)
            if verb == "resume":
                book = await self._ready()
                await self._durable.resume(book, reason, now, actor)
                return book.view()
            self._keep_watch()
            run_id = self._durable.run.run_id
            self._durable.order(RiskStateChanged(run_id, ORDERS[verb], reason, actor, now))
            book = await self._ready()
            await self._durable.write()
            return book.view()

    async def view(self) -> RiskView:
        """The book as it stands."""
        async with self._lock:
            return (await self._ready()).view()

    @property
    def _impairment(self) -> str:
        return "; ".join(filter(None, (self._told, self._durable.trouble)))

    def _heard(self, patience: float) -> None:
        self._marks.beat(patience)
        self._expecting = True
        self._keep_watch()

    def _keep_watch(self) -> None:
        if self._watch is None or self._watch.done():
            self._watch = watch(self, self._marks.timeout)

    async def _ready(self) -> RiskBook:
        return self._barred(await self._durable.read())

    async def _retried(self) -> RiskBook:
        return self._barred(await self._durable.retry())

    def _barred(self, book: RiskBook) -> RiskBook:
        book.bar(self._impairment, self._locks)
        return book
