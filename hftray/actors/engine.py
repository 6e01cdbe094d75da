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
from hftray.core.errors import HftrayError, IllegalTransition, RetryError, StopError, UnknownOutcome
from hftray.core.ledger import RunInfo
from hftray.core.market import Candle
from hftray.core.rules import TradingRules
from hftray.ports import Broker, Feed, Ledger

log = observe.logger("engine")

ROSTER_INTERVAL = 1.0  # seconds between looks for changed strategies


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
        return self._status() if self._ended else await self.start()

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
        self._stopping.clear()
        self._scanning = True
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
            await self._prepare()
            while not self._stopping.is_set() and not self._ended:
                began = time.perf_counter()
                await self._scan_once()
                await self._pause(time.perf_counter() - began)
        except StopError as error:
            self._progress.note = str(error)
            log.error("engine stopped", reason=str(error))
        except Exception as error:
            self._progress.note = f"engine stopped by a fault: {error!r}"
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

    async def _scan_once(self) -> None:
        began = time.perf_counter()
        try:
            await self._refresh_roster()
            outcome = await self._scanner.scan()
        except (RetryError, UnknownOutcome) as error:
            await self._failed(error)
            return
        self._progress.scanned(outcome, time.perf_counter() - began)
        self._signals.add(outcome.signals)
        if outcome.batch.ended:
            await self._finish(outcome.batch.now)
        if time.monotonic() >= self._snapshot_due:
            await self._publish()

    async def _failed(self, error: HftrayError) -> None:
        progress = self._progress
        progress.failures += 1
        progress.note = str(error)
        log.warning("scan failed", failures=progress.failures, reason=str(error))
        if progress.failures == self._options.failures_before_reducing:
            with suppress(RetryError, UnknownOutcome):
                reason = f"{progress.failures} scans in a row failed"
                await self._risk.change_state("reduce", reason, "engine")
        await self._publish()
        await asyncio.sleep(min(5.0, 0.1 * 2**progress.failures))

    async def _finish(self, now: datetime) -> None:
        self._ended = True
        self._progress.note = "replay ended"
        self._scanner.mark_equity_now(now)
        await self._scanner.flush()
        await self._ledger.finish_run(self._run.run_id, now)
        log.info("replay ended", scans=self._progress.scans)

    async def _pause(self, spent: float) -> None:
        outcome = self._progress.outcome
        closed = outcome is not None and not outcome.batch.open
        interval = self._options.closed_interval if closed else self._options.interval
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), max(0.0, interval - spent))

    async def _refresh_roster(self) -> None:
        if time.monotonic() < self._roster_due:
            return
        changed = await self._ledger.roster(self._scanner.roster[0])
        if changed is not None:
            self._scanner.roster = changed
        self._roster_due = time.monotonic() + ROSTER_INTERVAL

    async def _halt_loop(self) -> None:
        if self._loop_task is None:
            return
        self._stopping.set()
        await asyncio.wait([self._loop_task])  # a fault that ended it is in the log and the note
        self._loop_task = None
        self._scanner.mark_equity_now(self._market_time())
        await self._scanner.flush()
        await self._publish()

    # Accounts

    async def _change_user(self, user_id: str, capital: Decimal) -> None:
        held = sorted(held.symbol for held in (await self._risk.run_state()).positions)
        if held:
            raise IllegalTransition(
                f"positions are open in {', '.join(held)}: close them before another "
                f"user than {self._run.user_id} trades"
            )
        await self._halt_loop()
        await self._open_run(user_id, capital)

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
