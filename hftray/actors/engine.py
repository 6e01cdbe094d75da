"""The engine actor: one loop that scans the market, and the picture of it for the API."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hftray import observe
from hftray.actors.scan import Scanner, SymbolPort
from hftray.actors.snapshot import Progress, SignalLog, engine_status, position_row, risk_row
from hftray.core.errors import (
    HftrayError,
    IllegalTransition,
    RejectError,
    RetryError,
    StopError,
    UnknownOutcome,
)
from hftray.core.ledger import RunInfo
from hftray.core.market import Candle
from hftray.core.rules import TradingRules
from hftray.ports import Broker, Feed, Ledger

log = observe.logger("engine")

ROSTER_INTERVAL = 1.0  # seconds between looks for changed strategies


def backoff(failures: int) -> float:
    """Seconds to wait after that many scans in a row failed."""
    return min(5.0, 0.1 * 2.0 ** min(failures, 10))


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How the loop runs. `interval` is real seconds between scans, 0 = as fast as it goes."""

    interval: float
    closed_interval: float
    scan_timeout: float
    snapshot_interval: float
    signal_log: int
    failures_before_reducing: int
    equity_interval: int
    source: str


class EngineShell:
    """Start, stop, kill; scan in between; hand out snapshots."""

    def __init__(
        self,
        run: RunInfo,
        rules: TradingRules,
        options: EngineOptions,
        build_feed: Callable[[], Feed],
        symbols: Mapping[str, SymbolPort],
        *,
        broker: Broker,
        risk: Any,
        ledger: Ledger,
    ) -> None:
        observe.configure()
        self._run, self._rules, self._options = run, rules, options
        self._build_feed = build_feed
        self._symbols = symbols
        self._broker, self._risk, self._ledger = broker, risk, ledger
        self._signals = SignalLog(options.signal_log)
        self._progress = Progress()
        self._scanner = self._new_scanner(build_feed())
        self._loop_task: asyncio.Task[None] | None = None
        self._scanning = False
        self._only_to_flatten = False
        self._joined = False  # the feed stands where the ledger says this run had got to
        self._stopping = asyncio.Event()
        self._roster_due = 0.0
        self._ended = False
        self._version = 0
        self._snapshot: dict[str, Any] = {}
        self._snapshot_due = 0.0
        self._changed = asyncio.Condition()
        self._command = asyncio.Lock()

    # Commands

    async def start(
        self, user_id: str | None = None, capital: Decimal | None = None
    ) -> dict[str, Any]:
        """Begin scanning, as another user when one is named; a second start changes nothing."""
        async with self._command:
            self._only_to_flatten = False  # whoever asks now wants it to go on scanning
            if user_id is not None and user_id != self._run.user_id:
                await self._change_user(user_id, capital or self._run.initial_capital)
            elif self._ended and not self.running:
                await self._open_run(self._run.user_id, capital or self._run.initial_capital)
            if not self.running:
                await self._halt_loop()
                await self._ledger.set_scanning(self._run.run_id, True)
                self._begin()
                await self._publish()
            return self._status()

    async def stop(self) -> dict[str, Any]:
        """End scanning after the present scan; positions stay in the ledger. Idempotent."""
        async with self._command:
            await self._halt_loop()
            await self._ledger.set_scanning(self._run.run_id, False)
            return self._status()

    async def kill(self, reason: str, actor: str) -> dict[str, Any]:
        """No entries, cancel working orders, flatten; scans if need be until all is flat."""
        view = await self._risk.change_state("kill", reason, actor)
        self._scanner.view = view
        await self._publish()
        if not (self.running or self._ended) and await self._unfinished():
            status = await self.start()
            self._only_to_flatten = True
            return status
        return self._status()

    async def resume(self, reason: str, actor: str) -> dict[str, Any]:
        """Back to trading after a kill or a reduction; on record with the reason."""
        view = await self._risk.change_state("resume", reason, actor)
        self._scanner.view = view
        await self._publish()
        return self._status()

    async def strategies_changed(self) -> None:
        """Read the strategies again before the next scan."""
        self._roster_due = 0.0

    async def rejoin(self) -> None:
        """After the process came back: go on as the ledger says the engine was told to."""
        while True:
            try:
                async with self._command:
                    state = await self._risk.run_state()
                    if state.scanning and not self.running:
                        log.info("scanning goes on", run=state.run.run_id)
                        if state.run != self._run:
                            self._run = state.run
                            self._scanner = self._new_scanner(self._build_feed())
                        self._begin()
                return
            except RetryError as error:
                log.warning("cannot rejoin yet", reason=str(error))
                await asyncio.sleep(1.0)

    def _begin(self) -> None:
        self._only_to_flatten = False
        self._progress.fault = ""
        self._stopping.clear()
        self._scanning, self._joined = True, False
        self._loop_task = asyncio.create_task(self._loop())

    # Reads

    @property
    def running(self) -> bool:
        """Whether the loop scans."""
        return self._scanning

    async def candles(self, symbol: str, limit: int) -> list[Candle]:
        """The newest closed candles of any symbol the feed knows. NotFound."""
        return await self._scanner.feed.history(symbol, limit)

    async def known_symbols(self) -> list[str]:
        """Every symbol the feed can serve."""
        return sorted(await self._scanner.feed.instruments())

    async def snapshot(self, known: int = -1, patience: float = 10.0) -> tuple[int, dict[str, Any]]:
        """The newest picture; waits for one newer than `known`, up to `patience` seconds."""
        if self._version == 0:
            await self._publish()
        async with self._changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: self._version > known), patience
                )
            return self._version, self._snapshot

    # The loop

    async def _loop(self) -> None:
        try:
            while not (self._stopping.is_set() or self._ended or await self._flattened()):
                began = time.perf_counter()
                await self._scan_once()
                await self._pause(time.perf_counter() - began)
        except StopError as error:
            self._progress.note = self._progress.fault = str(error)
            log.error("engine stopped", reason=str(error))
        except Exception as error:
            fault = f"engine stopped by a fault: {error!r}"
            self._progress.note = self._progress.fault = fault
            log.error("engine stopped by a fault", error=repr(error))
            raise
        finally:
            self._scanning = False
            await self._scanner.flush()
            await self._publish()

    async def _prepare(self) -> None:
        """Join the market where the ledger says this run had got to."""
        state = await self._risk.run_state()
        await self._scanner.feed.start(list(self._symbols), state.market_time)
        self._scanner.recover_all = True
        self._roster_due = 0.0
        self._joined = True

    async def _flattened(self) -> bool:
        """Whether a loop that was started only to close positions has done its work."""
        try:
            if not self._only_to_flatten or await self._unfinished():
                return False
            await self._ledger.set_scanning(self._run.run_id, False)
        except RetryError:
            return False  # nobody knows, so not yet
        return True

    async def _scan_once(self) -> None:
        began = time.perf_counter()
        try:
            if not self._joined:
                await self._prepare()
            await self._refresh_roster()
            outcome = await self._scanner.scan()
            if outcome.batch.ended:
                await self._finish(outcome.batch.now)
        except (RetryError, RejectError, UnknownOutcome) as error:
            await self._failed(error)
            return
        self._progress.scanned(outcome, time.perf_counter() - began)
        self._signals.add(outcome.signals)
        if self._ended:
            self._progress.note = "replay ended"
            log.info("replay ended", scans=self._progress.scans)
            return  # the end of the loop shows it, together with running: false
        if time.monotonic() >= self._snapshot_due:
            await self._publish()

    async def _failed(self, error: HftrayError) -> None:
        progress = self._progress
        progress.failures += 1
        progress.note = str(error)
        log.warning("scan failed", failures=progress.failures, reason=str(error))
        limit = self._options.failures_before_reducing
        if progress.failures >= limit:
            with suppress(RetryError, UnknownOutcome):
                reason = f"{limit} scans in a row failed"
                await self._risk.change_state("reduce", reason, "engine")
        await self._publish()
        await self._wait(backoff(progress.failures))

    async def _finish(self, now: datetime) -> None:
        self._scanner.mark_equity_now(now)
        await self._scanner.flush()
        await self._ledger.finish_run(self._run.run_id, now)
        self._ended = True

    async def _pause(self, spent: float) -> None:
        outcome = self._progress.outcome
        closed = outcome is not None and not outcome.batch.open
        interval = self._options.closed_interval if closed else self._options.interval
        await self._wait(max(0.0, interval - spent))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    async def _refresh_roster(self) -> None:
        if time.monotonic() < self._roster_due:
            return
        known = self._scanner.roster[0]
        try:
            changed = await self._ledger.roster(known)
        except RetryError:
            if known < 0:
                raise
            return  # the strategies stay as they were, and positions stay guarded
        if changed is not None:
            self._scanner.roster = changed
        self._roster_due = time.monotonic() + ROSTER_INTERVAL

    async def _halt_loop(self) -> None:
        if self._loop_task is None:
            return
        self._stopping.set()
        await asyncio.wait([self._loop_task])  # a fault that ended it is in the log and the note
        self._loop_task = None
        if self._progress.outcome is not None:
            self._scanner.mark_equity_now(self._progress.outcome.batch.now)
        await self._scanner.flush()
        await self._publish()

    # Accounts

    async def _change_user(self, user_id: str, capital: Decimal) -> None:
        was_running = self.running
        await self._halt_loop()  # first, so that nothing is opened meanwhile
        try:
            if held := await self._unfinished():
                raise IllegalTransition(
                    f"positions are open in {', '.join(held)}: close them before another "
                    f"user than {self._run.user_id} trades"
                )
            await self._open_run(user_id, capital)
        except HftrayError:
            if was_running:
                self._begin()
            raise

    async def _unfinished(self) -> list[str]:
        """Symbols with a position or an order under way, as the ledger has them."""
        state = await self._risk.run_state()
        return sorted({row.symbol for row in (*state.positions, *state.pending)})

    async def _open_run(self, user_id: str, capital: Decimal) -> None:
        self._run = await self._ledger.open_run(
            self._run.mode, self._options.source, user_id, capital
        )
        await self._risk.use_run(self._run)
        await self._scanner.feed.close()
        self._scanner = self._new_scanner(self._build_feed())
        self._progress, self._ended = Progress(), False

    def _new_scanner(self, feed: Feed) -> Scanner:
        options = self._options
        return Scanner(
            feed=feed,
            broker=self._broker,
            risk=self._risk,
            ledger=self._ledger,
            symbols=self._symbols,
            run_id=self._run.run_id,
            history=self._rules.signals.candle_buffer,
            equity_interval=options.equity_interval,
            timeout=options.scan_timeout,
        )

    # The picture

    def _market_time(self) -> datetime:
        outcome = self._progress.outcome
        return outcome.batch.now if outcome else datetime.now(UTC)

    def _status(self) -> dict[str, Any]:
        return engine_status(
            self._run,
            running=self.running,
            symbols=list(self._symbols),
            progress=self._progress,
            scanner=self._scanner,
        )

    async def _publish(self) -> None:
        held = [r for r in self._scanner.reports.values() if r.position is not None]
        async with self._changed:
            self._version += 1
            self._snapshot = {
                "run_id": self._run.run_id,
                "status": self._status(),
                "signals": self._signals.newest_first(),
                "latest": dict(self._signals.latest),
                "risk": risk_row(self._scanner.view),
                "positions": [position_row(report, self._rules) for report in held],
            }
            self._changed.notify_all()
        self._snapshot_due = time.monotonic() + self._options.snapshot_interval


class EngineActor(EngineShell):
    """The shell as Ray restarts it: the constructor runs again and finds out what was going on."""

    async def __init__(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[misc]  # Ray awaits it
        super().__init__(*args, **kwargs)
        self._rejoining = asyncio.create_task(self.rejoin())
