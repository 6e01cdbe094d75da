"""The engine actor: takes commands, keeps a loop that scans, and shows the picture of it."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, Protocol

from hftray import observe
from hftray.actors import by_hand
from hftray.actors.crew import SymbolPort
from hftray.actors.loop import EngineOptions, ScanLoop
from hftray.actors.picture import Picture
from hftray.actors.risk_desk import EngineRisk
from hftray.actors.snapshot import (
    SignalLog,
    confirmed_row,
    engine_status,
    position_row,
    risk_row,
    settled_row,
)
from hftray.core.errors import (
    HftrayError,
    IllegalTransition,
    RejectError,
    RetryError,
    UnknownOutcome,
)
from hftray.core.ledger import RunInfo
from hftray.core.market import Candle
from hftray.core.rules import TradingRules
from hftray.ports import Broker, Feed, Ledger

log = observe.logger("engine")


class AccountBroker(Broker, Protocol):
    """A broker that can change to another account (handles.BrokerHandle)."""

    async def use_run(self, run: RunInfo) -> None:
        """Change to another account."""
        ...


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
        broker: AccountBroker,
        risk: EngineRisk,
        ledger: Ledger,
    ) -> None:
        observe.configure()
        self._run, self._rules, self._options = run, rules, options
        self._build_feed = build_feed
        self._symbols = symbols
        self._broker, self._risk, self._ledger = broker, risk, ledger
        self._signals = SignalLog(options.signal_log)
        self._picture = Picture(self._taken)
        self._loop = self._new_loop()
        self._between_accounts = False  # not everybody is known to work on the same run
        self._command = asyncio.Lock()

    # Commands

    async def start(
        self, user_id: str | None = None, capital: Decimal | None = None
    ) -> dict[str, Any]:
        """Begin scanning, as another user when one is named; a second start changes nothing."""
        async with self._command:
            self._loop.only_to_flatten = False  # whoever asks now wants it to go on scanning
            if user_id is not None and user_id != self._run.user_id:
                await self._change_user(user_id, capital or self._run.initial_capital)
            elif self._between_accounts or (self._loop.ended and not self.running):
                await self._open_run(self._run.user_id, capital or self._run.initial_capital)
            await self._scan_on()
            return self._status()

    async def _scan_on(self) -> None:
        if not self.running:
            await self._loop.halt()
            await self._ledger.set_scanning(self._run.run_id, True)
            self._loop.begin()
            await self._picture.renew()

    async def stop(self) -> dict[str, Any]:
        """End scanning after the present scan; positions stay in the ledger. Idempotent."""
        async with self._command:
            await self._loop.halt()
            await self._ledger.set_scanning(self._run.run_id, False)
            return self._status()

    async def kill(self, reason: str, actor: str) -> dict[str, Any]:
        """No entries, cancel working orders, flatten; scans if need be until all is flat.

        It holds from this moment, on record or not; `degraded` says while it is not.
        """
        try:
            await self._loop.kill(reason, actor)
        except (RetryError, UnknownOutcome) as error:
            log.error("kill is not on record yet", reason=str(error))
        async with self._command:  # after a stop that is under way, which leaves all as it is
            if not (self.running or self._loop.ended):
                await self._flatten()
        await self._picture.renew()
        return self._status()

    async def _flatten(self) -> None:
        with suppress(RetryError, UnknownOutcome):  # nobody knows, so scan and see
            if not await self._loop.unfinished():
                return
            await self._ledger.set_scanning(self._run.run_id, True)
        self._loop.begin()
        self._loop.only_to_flatten = True

    async def resume(self, reason: str, actor: str) -> dict[str, Any]:
        """Back to trading after a kill or a reduction; on record with the reason."""
        await self._loop.resume(reason, actor)
        await self._picture.renew()
        return self._status()

    async def settle(self, symbol: str, price: Decimal, reason: str, actor: str) -> dict[str, Any]:
        """`by_hand.settle`; what was recorded. NotFound, IllegalTransition."""
        async with self._command:
            why = f"{reason} (by {actor})"
            trade, left = await by_hand.settle(self._risk, self._broker, symbol, price, why)
            # Its actor believes that it still holds them.
            self._loop.scanner.crew.recover.add(symbol)
            self._loop.reconciler.hurry()
        await self._picture.renew()
        return settled_row(trade, left)

    async def confirm(
        self, reference: str, price: Decimal | None, reason: str, actor: str
    ) -> dict[str, Any]:
        """`by_hand.confirm`; what was recorded. NotFound, IllegalTransition."""
        async with self._command:
            why = f"{reason} (by {actor})"
            told = await by_hand.confirm(self._risk, self._broker, reference, price, why)
            self._loop.reconciler.hurry()
        await self._picture.renew()
        return confirmed_row(*told)

    async def strategies_changed(self) -> None:
        """Read the strategies again before the next scan."""
        self._loop.look_soon()

    async def rejoin(self) -> None:
        """After the process came back: go on as the ledger says the engine was told to."""
        while True:
            try:
                async with self._command:
                    state = await self._risk.run_state()
                    if state.run != self._run and not self.running:
                        self._run = state.run
                        self._loop = self._new_loop()
                    self._loop.scanner.view = await self._risk.view()
                    if state.scanning and not self.running:
                        log.info("scanning goes on", run=state.run.run_id)
                        self._loop.begin()
                    await self._picture.renew()
                return
            except (RetryError, UnknownOutcome) as error:
                log.warning("cannot rejoin yet", reason=str(error))
                await asyncio.sleep(1.0)

    # Reads

    @property
    def running(self) -> bool:
        """Whether the loop scans."""
        return self._loop.scanning

    async def candles(self, symbol: str, limit: int) -> list[Candle]:
        """The newest closed candles of any symbol the feed knows. NotFound."""
        return await self._loop.scanner.feed.history(symbol, limit)

    async def known_symbols(self) -> list[str]:
        """Every symbol the feed can serve."""
        return sorted(await self._loop.scanner.feed.instruments())

    async def snapshot(self, known: int = -1, patience: float = 10.0) -> tuple[int, dict[str, Any]]:
        """The newest picture; waits for one newer than `known`, up to `patience` seconds."""
        return await self._picture.newer(known, patience)

    # Accounts

    async def _change_user(self, user_id: str, capital: Decimal) -> None:
        was_running = self.running
        await self._loop.halt()  # first, so that nothing is opened meanwhile
        try:
            if held := await self._loop.unfinished():
                raise IllegalTransition(
                    f"positions are open in {', '.join(held)}: close them before another "
                    f"user than {self._run.user_id} trades"
                )
            await self._open_run(user_id, capital)
        except HftrayError:
            if was_running and not self._between_accounts:
                self._loop.begin()
            raise

    async def _open_run(self, user_id: str, capital: Decimal) -> None:
        """Everybody changes to the user's run, or nothing scans until that was repeated."""
        before, self._between_accounts = self._between_accounts, True
        try:
            run = await self._ledger.open_run(
                self._run.mode, self._options.source, user_id, capital
            )
        except RejectError:  # no such user: nobody has changed
            self._between_accounts = before
            raise
        await self._risk.use_run(run)
        await self._broker.use_run(run)
        await self._loop.scanner.feed.close()
        self._run, self._between_accounts = run, False
        self._loop = self._new_loop()

    def _new_loop(self) -> ScanLoop:
        return ScanLoop(
            self._run,
            self._rules,
            self._options,
            self._build_feed(),
            self._symbols,
            broker=self._broker,
            risk=self._risk,
            ledger=self._ledger,
            signals=self._signals,
            publish=self._picture.renew,
        )

    # The picture

    def _status(self) -> dict[str, Any]:
        return engine_status(self._run, self._loop, symbols=list(self._symbols))

    def _taken(self) -> dict[str, Any]:
        scanner = self._loop.scanner
        held = [r for r in scanner.crew.reports.values() if r.position is not None]
        return {
            "run_id": self._run.run_id,
            "status": self._status(),
            "signals": self._signals.newest_first(),
            "latest": dict(self._signals.latest),
            "risk": risk_row(scanner.view),
            "positions": [position_row(report, self._rules) for report in held],
        }


class EngineActor(EngineShell):
    """The shell as Ray restarts it: the constructor runs again and finds out what was going on."""

    async def __init__(self, *args: Any, **kwargs: Any) -> None:  # type: ignore[misc]  # Ray awaits it
        super().__init__(*args, **kwargs)
        self._rejoining = asyncio.create_task(self.rejoin())
