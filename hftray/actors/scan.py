"""One scan: poll the feed, let the exchange match, fan out to the symbols, record, mark risk.

The scanner knows no Ray: it speaks to ports, so tests run whole days through it in one process.
A symbol that is still busy with an order when the next scan comes is not waited for beyond
`timeout`: it gets the newest tick when it is free, older ones are conflated and counted. A broker
that is slow to tell what it filled is not waited for any longer either, so that it delays nobody's
stop.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any, Protocol

from hftray.actors.messages import Step, StepReport
from hftray.actors.outbox import Outbox
from hftray.core.errors import RejectError, RetryError, UnknownOutcome
from hftray.core.events import Signal
from hftray.core.feed_guard import clock_fault
from hftray.core.market import Candle
from hftray.core.orders import OrderReport
from hftray.core.position import Phase
from hftray.core.risk_view import RiskState, RiskView
from hftray.observe import logger
from hftray.ports import Broker, Feed, MarketBatch

log = logger("engine")


MATCHING = 0.5  # seconds a scan waits to hear what the exchange filled


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
        symbols: Mapping[str, SymbolPort],
        outbox: Outbox,
        history: int,
        timeout: float,
        tolerance: float,
        pause: Callable[[MarketBatch], float],
    ) -> None:
        self.feed = feed
        self.outbox = outbox
        self.reports: dict[str, StepReport] = {}
        self.view: RiskView | None = None
        self.conflated = 0
        self.roster: tuple[int, list[dict[str, Any]]] = (-1, [])
        self.impairment = ""  # why nothing should be opened
        self.kill = ""  # why to close everything, before risk has it on record
        self.locks: dict[str, str] = {}  # symbol -> why nothing should be opened in it
        self.recover: set[str] = set()  # symbols to read the ledger again
        self.look_up: set[str] = set()  # symbols to ask the broker about their order
        self.acted: set[str] = set()  # symbols that had to do with an order since it was cleared
        self._broker, self._risk = broker, risk
        self._symbols = symbols
        self._history = history
        self._timeout = timeout
        self._clock_fault = partial(clock_fault, tolerance_seconds=tolerance)
        self._pause = pause
        self._marked: tuple[str, dict[str, str]] | None = None  # doubts that risk knows of
        self._unplayed: MarketBatch | None = None
        self._untold: dict[str, Candle] = {}  # a live market's, that their symbols do not have yet
        self._now: datetime | None = None
        self._day: date | None = None
        self._matching: asyncio.Task[list[OrderReport]] | None = None
        self._busy: dict[str, asyncio.Task[StepReport]] = {}
        self._owed: dict[str, list[OrderReport]] = {}

    def rejoined(self) -> None:
        """The feed was started anew: market time may be another, and so may the ledger."""
        self.recover = set(self._symbols)
        self._unplayed = self._now = self._marked = None
        self._untold = {}

    @property
    def busy(self) -> set[str]:
        """Symbols that have not finished the newest step they were given, or wait for news."""
        return {name for name, task in self._busy.items() if not task.done()} | set(self._owed)

    async def scan(self) -> ScanOutcome:
        """Advance the market one step. RetryError when the feed, broker or risk is away."""
        batch = self._unplayed or await self._next_batch()
        # A closed candle comes once: a scan that fails before the symbols have it is repeated,
        # or where the market goes on meanwhile, its candles come with the next batch.
        self._unplayed = batch if _waits(batch) else None
        self._untold = dict(batch.candles) if batch.live else {}
        if batch.open:
            await self._open_day(batch)
        if self._marked != (self.impairment, self.locks):
            await self._mark(batch)  # before anything could be opened against it
        self.recover |= batch.missed & self._symbols.keys()
        batch, trouble = self._without_future(batch)
        trouble |= {"feed": batch.fault} if batch.fault else {}
        trouble |= await self._match(batch)
        fresh, of_symbols = await self._fan_out(batch)
        self._unplayed = None
        signals = [signal for report in fresh for signal in report.signals]
        self.outbox.add_signals(signals)
        self.outbox.add_best_prices(fresh, batch.now)
        view, _ = await asyncio.gather(self._mark(batch), self.outbox.flush())
        self.view = view
        if batch.open and self.outbox.equity_due(batch.now):
            self.mark_equity(batch.now)
        return ScanOutcome(batch, view, signals, trouble | of_symbols)

    def mark_equity(self, now: datetime) -> None:
        """A point of the equity curve for the next flush."""
        if self.view is None or self._day is None:
            return
        held = sum(report.position is not None for report in self.reports.values())
        self.outbox.add_equity(self.view, self._day, now, held)

    async def _next_batch(self) -> MarketBatch:
        batch = await self.feed.poll()
        before, self._now = self._now, batch.now  # one scan is lost, not all until it was before
        if fault := self._clock_fault(before, batch.now, ()):
            log.error("market clock jumped", reason=fault)
            raise RetryError(fault)
        if not batch.open:
            return batch
        late = {name: one for name, one in self._untold.items() if name not in batch.candles}
        ticks = {name: tick for name, tick in batch.ticks.items() if name not in late}
        return replace(batch, ticks=ticks, candles={**late, **batch.candles}) if late else batch

    def _without_future(self, batch: MarketBatch) -> tuple[MarketBatch, dict[str, str]]:
        """The batch without ticks from ahead of its clock, and what was wrong with those."""
        faults = {
            name: fault
            for name, tick in batch.ticks.items()
            if (fault := self._clock_fault(None, batch.now, (tick,)))
        }
        if not faults:
            return batch, faults
        log.error("ticks dropped", faults=faults)
        ticks = {name: tick for name, tick in batch.ticks.items() if name not in faults}
        return replace(batch, ticks=ticks), faults

    async def _mark(self, batch: MarketBatch) -> RiskView:
        pnl = {name: report.open_pnl for name, report in self.reports.items()}
        impairment = self.kill or self.impairment or self.outbox.health.impairment
        told, patience = (self.impairment, self.locks), self._pause(batch)
        view = await self._risk.mark(batch.now, pnl, impairment, self.locks, patience)
        self._marked = told
        return view

    async def _match(self, batch: MarketBatch) -> dict[str, str]:
        """Show the batch to the exchange and take its news; what kept them away, if anything."""
        try:
            # Whoever was not waited for the last time is not waited for again.
            if self._matching is not None and not await self._matched(batch, 0.0):
                return {"broker": "busy"}
            self._matching = asyncio.create_task(self._broker.on_market(batch))
            return {} if await self._matched(batch, MATCHING) else {"broker": "busy"}
        except (RetryError, UnknownOutcome) as error:
            if _waits(batch):
                raise  # fills come before decisions, and the candle comes again
            self.look_up |= self._waiting_for_fills()
            return {"broker": str(error)}

    async def _matched(self, batch: MarketBatch, patience: float) -> bool:
        """Wait for the exchange's answer, as long as others may wait for it."""
        task = self._matching
        assert task is not None
        done, _ = await asyncio.wait({task}, timeout=None if _waits(batch) else patience)
        if not done:
            return False
        self._matching = None
        for report in task.result():
            self._owed.setdefault(report.symbol, []).append(report)
        return True

    def _waiting_for_fills(self) -> set[str]:
        """Symbols with an order under way: news of it may just have been lost."""
        waiting = (Phase.ENTERING, Phase.EXITING)
        return {
            name for name, report in self.reports.items() if report.phase in waiting or report.guard
        }

    async def _open_day(self, batch: MarketBatch) -> None:
        days = {session.day for session in batch.sessions.values()}
        today = max(days, default=self._day)
        if today is not None and today != self._day:
            self.view = await self._risk.open_day(today, batch.now)
            self._day = today

    async def _fan_out(self, batch: MarketBatch) -> tuple[list[StepReport], dict[str, str]]:
        # A closed candle is a decision that must not be skipped, so it is always waited for.
        patience = None if _waits(batch) else self._timeout
        awaited = [task for name, task in self._busy.items() if name in batch.candles]
        if awaited:
            await asyncio.wait(awaited, timeout=patience)
        busy = {name for name, task in self._busy.items() if not task.done()}
        self.conflated += len(busy & batch.ticks.keys())
        begun = {
            name: asyncio.create_task(self._step(name, self._news(name, batch)))
            for name in self._symbols
            if name not in busy and self._concerned(name, batch)
        }
        self._untold = {name: one for name, one in self._untold.items() if name not in begun}
        self.recover -= begun.keys()
        self.look_up -= begun.keys()
        if begun:
            await asyncio.wait(begun.values(), timeout=patience)
            begun |= await self._enter(begun, batch.now, patience)
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
                self.recover.add(name)  # what it made of the step is unknown here
                continue
            fresh.append(report)
            if why := self._troubles(report):
                trouble[name] = why
            before, self.reports[name] = self.reports.get(name), report
            if report.traded or before is None or _orders_of(before) != _orders_of(report):
                self.acted.add(name)
        return fresh, trouble

    async def _enter(
        self, steps: Mapping[str, asyncio.Task[StepReport]], now: datetime, patience: float | None
    ) -> dict[str, asyncio.Task[StepReport]]:
        """Let entries go ahead once all exits have: to risk one by one, in the symbols' order.

        So what risk has left for whom does not depend on which process was quicker. The broker is
        asked by all at once.
        """
        begun: dict[str, asyncio.Task[StepReport]] = {}
        before = asyncio.Event()
        before.set()
        for name, task in steps.items():
            if not task.done() or task.exception() or not task.result().wants_turn:
                continue
            after = asyncio.Event()
            begun[name] = asyncio.create_task(self._turns(name, now, before, after, patience))
            before = after
        if begun:
            await asyncio.wait(begun.values(), timeout=patience)
        return begun

    async def _turns(
        self,
        name: str,
        now: datetime,
        before: asyncio.Event,
        after: asyncio.Event,
        patience: float | None,
    ) -> StepReport:
        symbol, turn = self._symbols[name], Step(now, proceed=True)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(before.wait(), patience)
            report = await symbol.step(turn)
        finally:
            after.set()
        return await symbol.step(turn) if report.wants_turn else report

    def _concerned(self, name: str, batch: MarketBatch) -> bool:
        """Whether a step could change anything: not for a flat symbol without a candle of its own
        among the candles of others, which in a long replay spares most of the calls.
        """
        wanted = batch.candles.keys() | self._owed.keys() | self.recover | self.look_up
        if not _waits(batch) or name in wanted:
            return True
        known = self.reports.get(name)
        return known is not None and (known.position is not None or known.phase != Phase.FLAT)

    def _troubles(self, report: StepReport) -> str:
        """What was not as it should be with this step; news about the data goes to the log."""
        known = self.reports.get(report.symbol)
        before = known.rejected if known else {}
        new = {why: n for why, n in report.rejected.items() if n > before.get(why, 0)}
        if new:
            log.warning("data rejected", symbol=report.symbol, counts=new)
        if bool(report.feed_fault) != bool(known and known.feed_fault):
            log.warning("feed", symbol=report.symbol, fault=report.feed_fault or "over")
        rejected = f"data rejected: {'; '.join(new)}" if new else ""
        return report.trouble or report.feed_fault or rejected

    async def _step(self, name: str, step: Step) -> StepReport:
        symbol = self._symbols[name]
        report = await symbol.step(step)
        if not report.unready:
            return report
        full = replace(step, roster=self.roster)
        try:
            forming = None if step.candle else await self.feed.forming(name, step.now)
            newest = step.candle or forming
            until = newest.time if newest else step.now
            history = await self.feed.history(name, self._history, until)
        except (RetryError, RejectError, UnknownOutcome) as error:
            # Nobody votes without it, but a position has to get out all the same.
            log.warning("no history", symbol=name, reason=str(error))
            return await symbol.step(replace(full, blind=f"no history: {error}"))
        return await symbol.step(replace(full, history=history, forming=forming))

    def _news(self, name: str, batch: MarketBatch) -> Step:
        known = self.reports.get(name)
        stale = known is not None and known.roster_version != self.roster[0]
        halted = self.view is not None and self.view.state is RiskState.HALTED
        told = self.kill or (self.view.reason or "halted" if halted and self.view else None)
        return Step(
            now=batch.now,
            session=batch.sessions.get(name),
            reports=tuple(self._owed.pop(name, ())),
            tick=batch.ticks.get(name),
            candle=batch.candles.get(name),
            awaiting=name in batch.awaiting,
            roster=self.roster if stale else None,
            flatten=told,
            recover=name in self.recover,
            look_up=name in self.look_up,
        )


def _waits(batch: MarketBatch) -> bool:
    """Whether market time stands still until this batch is taken: a replay's candles come once."""
    return bool(batch.candles) and not batch.live


def _orders_of(report: StepReport) -> tuple[str, str]:
    """What differs when an order came or went since another report."""
    return report.phase, "" if report.guard is None else report.guard.reference
