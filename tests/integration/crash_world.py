"""One account whose processes die: the market that moves it, and the engine that scans it.

The engine's part (steps, marks and comparisons) is played here by the rules of `actors.scan` and
`actors.loop`, without their clocks.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from crash_network import Process
from crash_processes import SYMBOLS, Processes
from engine_world import DAY, HOLD, D, at, quiet_history, session

from hftray.actors import handles
from hftray.actors.messages import Step, StepReport
from hftray.core.errors import HftrayError
from hftray.core.events import Decision
from hftray.core.market import Candle
from hftray.core.orders import OrderReport
from hftray.core.reconcile import Difference, compare, to_look_up, to_recover

STILL = D(0)
ROSTER = (7, [])  # one version of no voters: a script votes


class Mail(StrEnum):
    """What becomes of the broker's reports on their way to a symbol."""

    ALL = "all"
    NONE = "none yet"
    LOST = "lost"
    TWICE = "each twice"
    BACKWARDS = "newest first"
    OLD = "everything ever told, newest first"


class World(Processes):
    """The processes in a market; `begin_step` is a minute of it for one symbol."""

    def __init__(self, *, guard: bool = False, **broker: bool) -> None:
        super().__init__(guard=guard, **broker)
        self.minute = 0
        self.prices = dict.fromkeys(SYMBOLS, D(1000))
        self.candles = {name: _history(name) for name in SYMBOLS}
        self.reports: dict[str, StepReport] = {}
        self.halted = ""
        self.day_open = False
        self._desk = self.network.port(handles.RiskHandle, self.engine, lambda: self.risk)

    @property
    def now(self) -> datetime:
        return at(self.minute)

    def begin_step(
        self,
        symbol: str,
        *,
        move: Decimal = STILL,
        parts: Sequence[int] = (),
        decision: Decision = HOLD,
        mail: Mail = Mail.ALL,
        reported: bool = True,
    ) -> None:
        """A minute passes: the price moves, the broker trades, the symbol is told of its candle.

        `move` is in per mille. A symbol that is busy misses the candle.
        """
        opened = self.now
        self.minute += 1
        self.seconds += 60.0
        self.acting = symbol
        candle = self._candle(symbol, opened, move)
        self.scripts[symbol].decisions[opened] = decision
        self.broker.trade(symbol, self.prices[symbol], parts, self.now)
        self.network.start(self.engine, self._mark())
        process = self.symbols[symbol]
        if process.idle:
            step = Step(
                self.now,
                session(DAY),
                self._collect(symbol, mail),
                candle=candle,
                flatten=self.halted or None,
                recover=symbol in self.recover,
                look_up=symbol in self.look_up,
            )
            self.recover.discard(symbol)
            self.look_up.discard(symbol)
            self.network.start(process, self._step(process, step))
        self.candles[symbol].append(candle)

    def haunt(self, number: int, decision: Decision) -> None:
        """A zombie symbol is given a step, as by an engine that does not know of its end."""
        ghosts = [ghost for ghost in self.ghosts if ghost.name in SYMBOLS and ghost.idle]
        if not ghosts:
            return
        ghost = ghosts[number % len(ghosts)]
        opened = self.now
        self.scripts[ghost.name].decisions[opened] = decision
        self.minute += 1
        candle = self._candle(ghost.name, opened, D(0))
        self.network.start(
            ghost, self._step(ghost, Step(self.now, session(DAY), candle=candle), heard=False)
        )

    def compare(self) -> list[Difference]:
        """What the engine's comparison of ledger and broker finds now."""
        busy = [name for name, process in self.symbols.items() if not process.idle]
        orders = self._now(self.broker.reports())
        return compare(self.state, orders, self._now(self.broker.positions()), skip=busy)

    def reconcile(self) -> None:
        found = self.compare()
        self.recover |= to_recover(found)
        self.look_up |= to_look_up(found)

    def operate(self, verb: str) -> None:
        """An operator kills or resumes."""
        self.halted = "halted" if verb == "kill" else ""
        self.network.start(self.engine, self._operate(verb))

    def _candle(self, symbol: str, opened: datetime, move: Decimal) -> Candle:
        before = self.prices[symbol]
        price = self.prices[symbol] = (before * (1000 + move) / 1000).quantize(D("0.1"))
        high, low = float(max(before, price)) + 3, float(min(before, price)) - 3
        return Candle(symbol, opened, float(before), high, low, float(price), 100.0)

    def _collect(self, symbol: str, mail: Mail) -> tuple[OrderReport, ...]:
        news = self.broker.news.get(symbol, [])
        told = tuple(news)
        if mail is Mail.NONE:
            return ()
        news.clear()
        match mail:
            case Mail.LOST:
                return ()
            case Mail.TWICE:
                return tuple(report for report in told for _ in range(2))
            case Mail.BACKWARDS:
                return told[::-1]
            case Mail.OLD:
                return tuple(self.broker.told.get(symbol, ())[::-1])
        return told

    async def _step(self, process: Process, step: Step, *, heard: bool = True) -> None:
        report = await process.shell.step(step)
        if report.unready:
            history = [c for c in self.candles[process.name] if c.time < step.candle.time]
            report = await process.shell.step(replace(step, history=history, roster=ROSTER))
        while report.wants_turn:
            report = await process.shell.step(Step(step.now, proceed=True))
        if heard and self.symbols[process.name] is process:
            self.reports[process.name] = report

    async def _mark(self) -> None:
        pnl = {name: report.open_pnl for name, report in self.reports.items()}
        try:
            if not self.day_open:
                await self._desk.open_day(DAY, at(0))
                self.day_open = True
            await self._desk.mark(self.now, pnl)
        except HftrayError:
            return  # the next scan tries again

    async def _operate(self, verb: str) -> None:
        try:
            await self._desk.change_state(verb, "a test", "anita")
        except HftrayError:
            return


def _history(symbol: str) -> list[Candle]:
    return [replace(candle, symbol=symbol) for candle in quiet_history(spread=10.0)]
