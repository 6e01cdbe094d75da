"""One scan: poll the feed, let the exchange match, fan out to the symbols, record, mark risk.

The scanner knows no Ray: it speaks to ports, so tests run whole days through it in one process.
A broker that is slow to tell what it filled is not waited for any longer than a symbol that is
busy (`actors.crew`), so that it delays nobody's stop.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from functools import partial

from hftray.actors.crew import Crew, SymbolPort
from hftray.actors.outbox import Outbox
from hftray.actors.risk_desk import RiskDesk
from hftray.core.errors import RetryError, UnknownOutcome
from hftray.core.events import Signal
from hftray.core.feed_guard import clock_fault
from hftray.core.orders import OrderReport
from hftray.core.risk_view import RiskState, RiskView
from hftray.observe import logger
from hftray.ports import Broker, Feed, MarketBatch

log = logger("engine")

MATCHING = 0.5  # seconds a scan waits to hear what the exchange filled


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
        self.crew = Crew(symbols, feed, history=history, timeout=timeout)
        self.view: RiskView | None = None
        self.impairment = ""  # why nothing should be opened
        self.kill = ""  # why to close everything, before risk has it on record
        self.locks: dict[str, str] = {}  # symbol -> why nothing should be opened in it
        self._broker, self._risk = broker, risk
        self._clock_fault = partial(clock_fault, tolerance_seconds=tolerance)
        self._pause = pause
        self._marked: tuple[str, dict[str, str]] | None = None  # doubts that risk knows of
        self._unplayed: MarketBatch | None = None
        self._now: datetime | None = None
        self._day: date | None = None
        self._matching: asyncio.Task[list[OrderReport]] | None = None

    def rejoined(self) -> None:
        """The feed was started anew: market time may be another, and so may the ledger."""
        self.crew.begin_anew()
        self._unplayed = self._now = self._marked = None

    async def scan(self) -> ScanOutcome:
        """Advance the market one step. RetryError when the feed, broker or risk is away."""
        batch = self._unplayed or await self._next_batch()
        # A closed candle comes once: a scan that fails before the symbols have it is repeated,
        # or where the market goes on meanwhile, its candles come with the next batch.
        self._unplayed = batch if batch.waits else None
        self.crew.untold = dict(batch.candles) if batch.live else {}
        if batch.open:
            await self._open_day(batch)
        if self._marked != (self.impairment, self.locks):
            await self._mark(batch)  # before anything could be opened against it
        self.crew.missed(batch.missed)
        batch, trouble = self._without_future(batch)
        trouble |= {"feed": batch.fault} if batch.fault else {}
        trouble |= await self._match(batch)
        fresh, of_symbols = await self.crew.take(batch, self._flatten())
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
        held = sum(report.position is not None for report in self.crew.reports.values())
        self.outbox.add_equity(self.view, self._day, now, held)

    async def _next_batch(self) -> MarketBatch:
        batch = await self.feed.poll()
        before, self._now = self._now, batch.now  # one scan is lost, not all until it was before
        if fault := self._clock_fault(before, batch.now, ()):
            log.error("market clock jumped", reason=fault)
            raise RetryError(fault)
        if not batch.open:
            return batch
        late = {name: one for name, one in self.crew.untold.items() if name not in batch.candles}
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
        pnl = {name: report.open_pnl for name, report in self.crew.reports.items()}
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
            if batch.waits:
                raise  # fills come before decisions, and the candle comes again
            self.crew.look_up_orders()
            return {"broker": str(error)}

    async def _matched(self, batch: MarketBatch, patience: float) -> bool:
        """Wait for the exchange's answer, as long as others may wait for it."""
        task = self._matching
        assert task is not None
        done, _ = await asyncio.wait({task}, timeout=None if batch.waits else patience)
        if not done:
            return False
        self._matching = None
        self.crew.owe(task.result())
        return True

    async def _open_day(self, batch: MarketBatch) -> None:
        days = {session.day for session in batch.sessions.values()}
        today = max(days, default=self._day)
        if today is not None and today != self._day:
            self.view = await self._risk.open_day(today, batch.now)
            self._day = today

    def _flatten(self) -> str | None:
        """Why everything is to be closed."""
        if self.kill or self.view is None or self.view.state is not RiskState.HALTED:
            return self.kill or None
        return self.view.reason or "halted"
