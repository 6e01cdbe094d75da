"""The scanning loop: scan after scan, and between them what has to be looked at now and then.

A fault of a scan is counted and shown, and the loop goes on; after several in a row risk lets only
exits through until scans succeed again. What nobody expected ends the loop and is shown as such.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from hftray import observe
from hftray.actors.crew import SymbolPort
from hftray.actors.outbox import Outbox
from hftray.actors.reconciler import Reconciler
from hftray.actors.risk_desk import EngineRisk
from hftray.actors.scan import Scanner
from hftray.actors.snapshot import Progress, SignalLog
from hftray.core.errors import HftrayError, RejectError, RetryError, StopError, UnknownOutcome
from hftray.core.ledger import RunInfo
from hftray.core.rules import TradingRules
from hftray.ports import Broker, Feed, Ledger, MarketBatch

log = observe.logger("engine")

LOOK_INTERVAL = 1.0  # seconds between looks for changed strategies and at the ledger


def backoff(failures: int) -> float:
    """Seconds to wait after that many scans in a row failed."""
    return min(5.0, 0.1 * 2.0 ** min(failures, 10))


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the loop runs, in real seconds. `interval` lies between scans, 0 = as fast as it goes."""

    interval: float
    closed_interval: float
    scan_timeout: float
    snapshot_interval: float
    reconcile_interval: float
    signal_log: int
    failures_before_reducing: int
    equity_interval: int
    source: str

    def pause(self, batch: MarketBatch) -> float:
        """Seconds from the beginning of this batch's scan to the next."""
        return self.interval if batch.open else self.closed_interval


class ScanLoop:
    """The scans of one run. `publish` shows the newest picture to whoever watches."""

    def __init__(
        self,
        run: RunInfo,
        rules: TradingRules,
        options: EngineOptions,
        feed: Feed,
        symbols: Mapping[str, SymbolPort],
        *,
        broker: Broker,
        risk: EngineRisk,
        ledger: Ledger,
        signals: SignalLog,
        publish: Callable[[], Awaitable[None]],
    ) -> None:
        self.run = run
        self.progress = Progress()
        self.reconciler = Reconciler(risk, broker, options.reconcile_interval)
        self.scanning = False
        self.ended = False
        self.only_to_flatten = False
        self.scanner = Scanner(
            feed=feed,
            broker=broker,
            risk=risk,
            symbols=symbols,
            outbox=Outbox(ledger, run.run_id, options.equity_interval),
            history=rules.signals.candle_buffer,
            timeout=options.scan_timeout,
            tolerance=rules.feed.future_tolerance_seconds,
            pause=options.pause,
        )
        self._options = options
        self._symbols = tuple(symbols)
        self._broker, self._risk, self._ledger = broker, risk, ledger
        self._signals = signals
        self._publish = publish
        self._published = 0.0
        self._task: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._joined = False  # the feed stands where the ledger says this run had got to
        self._look_due = 0.0
        self._absent: set[str] = set()  # symbols whose position the broker did not hold
        self._kill: tuple[str, str] | None = None  # a kill that risk has not on record yet

    def begin(self) -> None:
        """Scan until `halt`."""
        self.only_to_flatten = False
        self.progress.fault = ""
        self._stopping.clear()
        self.scanning, self._joined = True, False
        self._task = asyncio.create_task(self._loop())

    async def halt(self) -> None:
        """End after the present scan, with everything written that can be."""
        if self._task is None:
            return
        self._stopping.set()
        await asyncio.wait([self._task])  # a fault that ended it is in the log and the note
        self._task = None
        if self.progress.outcome is not None:
            self.scanner.mark_equity(self.progress.outcome.batch.now)
        await self.scanner.outbox.flush()
        await self._publish()

    async def unfinished(self) -> list[str]:
        """Symbols with a position or an order under way, as the ledger has them."""
        state = await self._risk.run_state()
        held = {position.symbol for position in state.positions}
        return sorted(held | {trade.symbol for trade in state.under_way})

    def look_soon(self) -> None:
        """Read the strategies again before the next scan."""
        self._look_due = 0.0

    async def _loop(self) -> None:
        try:
            while not (self._stopping.is_set() or self.ended or await self._flattened()):
                began = time.perf_counter()
                await self._scan_once()
                await self._pause(time.perf_counter() - began)
        except StopError as error:
            self.progress.note = self.progress.fault = str(error)
            log.error("engine stopped", reason=str(error))
        except Exception as error:
            fault = f"engine stopped by a fault: {error!r}"
            self.progress.note = self.progress.fault = fault
            log.error("engine stopped by a fault", error=repr(error))
            raise
        finally:
            self.scanning = False
            await self.scanner.outbox.flush()
            await self._publish()

    async def _flattened(self) -> bool:
        """Whether a loop that was started only to close positions has done its work."""
        try:
            if not self.only_to_flatten or await self.unfinished():
                return False
            await self._ledger.set_scanning(self.run.run_id, False)
        except RetryError:
            return False  # nobody knows, so not yet
        return True

    async def _scan_once(self) -> None:
        began = time.perf_counter()
        try:
            if not self._joined:
                await self._join()
            with suppress(RetryError, UnknownOutcome):  # it is obeyed, recorded or not
                await self._record_kill()
            await self._look()
            await self._reconcile()
            outcome = await self.scanner.scan()
            if outcome.batch.ended:
                await self._finish(outcome.batch.now)
        except (RetryError, RejectError, UnknownOutcome) as error:
            await self._failed(error)
            return
        self.progress.scanned(outcome, time.perf_counter() - began)
        self._signals.add(outcome.signals)
        if self.ended:
            self.progress.note = "replay ended"
            log.info("replay ended", scans=self.progress.scans)
            return  # the end of the loop shows it, together with running: false
        if time.monotonic() >= self._published + self._options.snapshot_interval:
            await self._show()

    async def _join(self) -> None:
        """Take the market up where the ledger says this run had got to."""
        state = await self._risk.run_state()
        await self.scanner.feed.start(self._symbols, state.market_time)
        self.scanner.rejoined()
        self.reconciler.restart()
        self._look_due = 0.0
        self._joined = True

    async def _look(self) -> None:
        """Take changed strategies, and see how the ledger is doing."""
        if time.monotonic() < self._look_due:
            return
        known = self.scanner.crew.roster[0]
        try:
            changed = await self._ledger.roster(known)
        except RetryError:
            if known < 0:
                raise
            return  # the strategies stay as they were, and positions stay guarded
        if changed is not None:
            self.scanner.crew.roster = changed
        await self.scanner.outbox.flush(even_empty=True)
        self._look_due = time.monotonic() + LOOK_INTERVAL

    async def _reconcile(self) -> None:
        """Hold the ledger against the broker's book now and then; scans do not wait for it.

        Only the first comparison is waited for a little, since nothing is opened before it.
        """
        scanner, crew, first = self.scanner, self.scanner.crew, bool(self.reconciler.doubt)
        if crew.absent.keys() - self._absent:
            self.reconciler.hurry()
        self._absent = set(crew.absent)
        if self.reconciler.begin():
            crew.acted = crew.busy
        patience = self._options.scan_timeout if first else 0.0
        if await self.reconciler.finish(crew.acted | crew.busy, patience):
            crew.recover |= self.reconciler.repairable & set(self._symbols)
            crew.look_up |= self.reconciler.unseen & set(self._symbols)
            crew.holding = self.reconciler.holding
        scanner.impairment = self.reconciler.doubt
        scanner.locks = {**crew.absent, **self.reconciler.locks}

    async def kill(self, reason: str, actor: str) -> None:
        """Close everything from now on, and have risk put it on record as soon as it can."""
        self._kill, self.scanner.kill = (reason, actor), reason
        await self._record_kill()

    async def resume(self, reason: str, actor: str) -> None:
        """Back to trading; on record with the reason."""
        self.scanner.view = await self._risk.change_state("resume", reason, actor)
        self._kill, self.scanner.kill = None, ""

    async def _record_kill(self) -> None:
        if self._kill is None:
            return
        self.scanner.view = await self._risk.change_state("kill", *self._kill)
        self._kill, self.scanner.kill = None, ""

    async def _failed(self, error: HftrayError) -> None:
        progress = self.progress
        progress.failures += 1
        progress.note = str(error)
        log.warning("scan failed", failures=progress.failures, reason=str(error))
        limit = self._options.failures_before_reducing
        if progress.failures >= limit:
            with suppress(RetryError, UnknownOutcome):
                self.scanner.view = await self._risk.impair(f"{limit} scans in a row failed")
        await self._show()
        await self._wait(backoff(progress.failures))

    async def _finish(self, now: datetime) -> None:
        self.scanner.mark_equity(now)
        await self.scanner.outbox.flush()
        await self._ledger.set_scanning(self.run.run_id, False)
        await self._ledger.finish_run(self.run.run_id, now)
        self.ended = True

    async def _pause(self, spent: float) -> None:
        outcome = self.progress.outcome
        interval = self._options.pause(outcome.batch) if outcome else self._options.interval
        await self._wait(max(0.0, interval - spent))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _show(self) -> None:
        await self._publish()
        self._published = time.monotonic()
