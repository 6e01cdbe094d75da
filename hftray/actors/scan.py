"""One scan: poll the feed, let the exchange match, fan out to the symbols, record, mark risk.

The scanner knows no Ray: it speaks to ports, so tests run whole days through it in one process.
A symbol that is still busy with an order when the next scan comes is not waited for beyond
`timeout`: it gets the newest tick when it is free, older ones are conflated and counted.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Protocol

from hftray.actors.messages import Step, StepReport
from hftray.core.errors import RejectError, RetryError, UnknownOutcome
from hftray.core.events import Signal
from hftray.core.ledger import EquityMarked, LedgerEvent, PositionMarked, SignalRecorded
from hftray.core.orders import OrderReport
from hftray.core.position import Phase
from hftray.core.risk_view import RiskState, RiskView
from hftray.observe import logger
from hftray.ports import Broker, Feed, Ledger, MarketBatch

log = logger("engine")

OUTBOX_LIMIT = 20_000  # ledger events kept while the database is away


class SymbolPort(Protocol):
    """A symbol actor or a plain shell."""

    async def step(self, step: Step) -> StepReport:
        """One scan's news."""
        ...


class RiskDesk(Protocol):
    """What a scan asks of risk."""

    async def open_day(self, day: date, now: datetime) -> RiskView:
        """A trading day begins."""
        ...

    async def mark(self, now: datetime, open_pnl: Mapping[str, Decimal]) -> RiskView:
        """Open P&L of every symbol."""
        ...


@dataclass(slots=True)
class ScanOutcome:
    """What a scan saw and did."""

    batch: MarketBatch
    view: RiskView
    signals: list[Signal] = field(default_factory=list)
    trouble: dict[str, str] = field(default_factory=dict)


class Scanner:
    """The pipeline of a scan, and what it remembers from one scan to the next."""

    def __init__(
        self,
        *,
        feed: Feed,
        broker: Broker,
        risk: RiskDesk,
        ledger: Ledger,
        symbols: Mapping[str, SymbolPort],
        run_id: int,
        history: int,
        equity_interval: int,
        timeout: float,
    ) -> None:
        self.feed = feed
        self.reports: dict[str, StepReport] = {}
        self.view: RiskView | None = None
        self.conflated = 0
        self.dropped = 0
        self.roster: tuple[int, list[dict[str, Any]]] = (-1, [])
        self.recover_all = False
        self._broker, self._risk, self._ledger = broker, risk, ledger
        self._symbols = symbols
        self._run_id = run_id
        self._history = history
        self._equity_interval = equity_interval
        self._timeout = timeout
        self._unplayed: MarketBatch | None = None
        self._day: date | None = None
        self._equity_at: datetime | None = None
        self._outbox: list[LedgerEvent] = []
        self._busy: dict[str, asyncio.Task[StepReport]] = {}
        self._owed: dict[str, list[OrderReport]] = {}
        self._best: dict[str, float] = {}

    async def scan(self) -> ScanOutcome:
        """Advance the market one step. RetryError when the feed, broker or risk is away."""
        batch = self._unplayed or await self.feed.poll()
        # A closed candle comes once: a scan that fails before the symbols have it is repeated.
        self._unplayed = batch if batch.candles else None
        if batch.open:
            await self._open_day(batch)
        for report in await self._broker.on_market(batch):
            self._owed.setdefault(report.symbol, []).append(report)
        fresh, trouble = await self._fan_out(batch)
        self._unplayed = None
        self.recover_all = False
        signals = [signal for report in fresh for signal in report.signals]
        self._outbox += [SignalRecorded(self._run_id, s) for s in signals if s.final]
        self._outbox += self._marks(fresh, batch.now)
        pnl = {name: report.open_pnl for name, report in self.reports.items()}
        view, _ = await asyncio.gather(self._risk.mark(batch.now, pnl), self.flush())
        self.view = view
        self._mark_equity(batch)
        return ScanOutcome(batch, view, signals, trouble)

    async def flush(self) -> None:
        """Write what is waiting for the ledger; it stays waiting while the ledger is away."""
        waiting = self._outbox
        if not waiting:
            return
        self._outbox = []
        try:
            await self._ledger.append(waiting)
        except RetryError as error:
            waiting += self._outbox
            self._outbox = waiting[-OUTBOX_LIMIT:]
            self.dropped += len(waiting) - len(self._outbox)
            log.warning("ledger away", waiting=len(self._outbox), reason=str(error))
        except RejectError as error:
            # Written again it would be refused again, and hold up everything behind it.
            self.dropped += len(waiting)
            log.error("ledger refused events", dropped=len(waiting), reason=str(error))

    @property
    def waiting(self) -> int:
        """Ledger events not written yet."""
        return len(self._outbox)

    async def _open_day(self, batch: MarketBatch) -> None:
        days = {session.day for session in batch.sessions.values()}
        today = max(days, default=self._day)
        if today is not None and today != self._day:
            self.view = await self._risk.open_day(today, batch.now)
            self._day = today

    async def _fan_out(self, batch: MarketBatch) -> tuple[list[StepReport], dict[str, str]]:
        # A closed candle is a decision that must not be skipped, so it is always waited for.
        patience = None if batch.candles else self._timeout
        awaited = [task for name, task in self._busy.items() if name in batch.candles]
        if awaited:
            await asyncio.wait(awaited)
        busy = {name for name, task in self._busy.items() if not task.done()}
        self.conflated += len(busy & batch.ticks.keys())
        begun = {
            name: asyncio.create_task(self._step(name, self._news(name, batch)))
            for name in self._symbols
            if name not in busy and self._concerned(name, batch)
        }
        if begun:
            await asyncio.wait(begun.values(), timeout=patience)
        steps = [*self._busy.items(), *begun.items()]
        self._busy = {name: task for name, task in steps if not task.done()}
        fresh, trouble = [], dict.fromkeys(self._busy, "busy")
        for name, task in steps:
            if not task.done():
                continue
            try:
                report = task.result()
            except (RetryError, RejectError, UnknownOutcome) as error:
                trouble[name] = str(error)
                continue
            fresh.append(report)
            rejected = self._new_rejections(report)
            self.reports[name] = report
            if report.trouble or rejected:
                trouble[name] = report.trouble or rejected
        return fresh, trouble

    def _concerned(self, name: str, batch: MarketBatch) -> bool:
        """Whether a step could change anything: not for a flat symbol without a candle of its own
        among the candles of others, which in a long replay spares most of the calls.
        """
        if self.recover_all or not batch.candles or name in batch.candles or name in self._owed:
            return True
        known = self.reports.get(name)
        return known is not None and (known.position is not None or known.phase != Phase.FLAT)

    def _new_rejections(self, report: StepReport) -> str:
        """What this scan's data was rejected for, if any was; logged with the counts so far."""
        known = self.reports.get(report.symbol)
        before = known.rejected if known else {}
        new = {why: n for why, n in report.rejected.items() if n > before.get(why, 0)}
        if new:
            log.warning("data rejected", symbol=report.symbol, counts=new)
        return f"data rejected: {'; '.join(new)}" if new else ""

    async def _step(self, name: str, step: Step) -> StepReport:
        symbol = self._symbols[name]
        report = await symbol.step(step)
        if not report.unready:
            return report
        forming = None if step.candle else await self.feed.forming(name, step.now)
        newest = step.candle or forming
        history = await self.feed.history(name, self._history, newest.time if newest else step.now)
        full = replace(step, history=history, forming=forming, roster=self.roster)
        return await symbol.step(full)

    def _news(self, name: str, batch: MarketBatch) -> Step:
        known = self.reports.get(name)
        stale = known is not None and known.roster_version != self.roster[0]
        halted = self.view is not None and self.view.state is RiskState.HALTED
        return Step(
            now=batch.now,
            session=batch.sessions.get(name),
            reports=tuple(self._owed.pop(name, ())),
            tick=batch.ticks.get(name),
            candle=batch.candles.get(name),
            roster=self.roster if stale else None,
            flatten=(self.view.reason or "halted") if halted and self.view else None,
            recover=self.recover_all,
        )

    def _marks(self, fresh: list[StepReport], now: datetime) -> list[LedgerEvent]:
        marks: list[LedgerEvent] = []
        for report in fresh:
            held = report.position
            if held is None:
                self._best.pop(report.symbol, None)
            elif self._best.get(report.symbol) != held.best_price:
                self._best[report.symbol] = held.best_price
                marks.append(PositionMarked(self._run_id, held.reference, held.best_price, now))
        return marks

    def _mark_equity(self, batch: MarketBatch) -> None:
        last = self._equity_at
        due = last is None or (batch.now - last).total_seconds() >= self._equity_interval
        if due and batch.open and self._day is not None:
            self.mark_equity_now(batch.now)

    def mark_equity_now(self, now: datetime) -> None:
        """Put a point of the equity curve into the outbox."""
        if self.view is None or self._day is None:
            return
        self._equity_at = now
        self._outbox.append(
            EquityMarked(
                run_id=self._run_id,
                time=now,
                session_day=self._day,
                capital=self.view.capital,
                equity=self.view.equity,
                realised_pnl=self.view.realised_pnl,
                open_pnl=self.view.open_pnl,
                open_positions=sum(r.position is not None for r in self.reports.values()),
            )
        )
