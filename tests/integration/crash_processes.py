"""The processes of the crash tests, and what may become of them and of their messages.

Real shells on a `crash_network`; each is built as its actor's constructor does. A `Fate` is what a
test may do to a message instead of delivering it.
"""

import itertools
import logging
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import replace
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, Self
from unittest import mock

from crash_broker import NastyBroker
from crash_network import Call, Network, Process
from engine_world import D, Script
from risk_world import CHARGES

from hftray.actors import handles
from hftray.actors import risk as risk_module
from hftray.actors.messages import Step
from hftray.actors.risk import RiskShell
from hftray.actors.symbol import SymbolShell
from hftray.core.errors import BrokerUnavailable
from hftray.core.ledger import RunInfo, RunState, TradeRecord
from hftray.core.market import Instrument
from hftray.core.orders import Denial
from hftray.core.risk import RiskBook
from hftray.core.rules import RiskLimits, SignalRules, TradingRules
from hftray.testing.memory_ledger import MemoryLedger

SYMBOLS = ("INFY", "TCS")
# Small enough that capital and counts of trades are limits that are reached.
RULES = TradingRules(
    risk=RiskLimits(
        max_symbol_exposure_percent=D(60), max_trades_per_symbol_day=4, max_trades_per_day=6
    ),
    signals=SignalRules(candle_minutes=1, candle_buffer=60),
)
MOST_MESSAGES = 400  # of one burst; more is an endless loop


class Fate(StrEnum):
    """What may happen to a message instead of arriving; "late" means that it still arrives."""

    KILL_SYMBOL = "the symbol is killed"
    KILL_SYMBOL_LATE = "the symbol is killed, its message is late"
    KILL_RISK = "risk is killed"
    KILL_RISK_LATE = "risk is killed, its message is late"
    FREEZE_SYMBOL = "the symbol is replaced, goes on when the late message arrives"
    FREEZE_RISK = "risk is replaced, goes on when the late message arrives"
    LOSE = "the message is lost, the caller is told so"
    LATE = "the caller waits no longer, the message is late"
    SLOW = "the message is late"
    REFUSE = "there is no connection"
    TWICE = "a request to the broker arrives, and once more late"


class ScriptedShell(SymbolShell):
    """A symbol whose voters say what the script says."""

    script: Script

    def _refresh(self, step: Step) -> None:
        super()._refresh(step)
        self._engine.electorate = self.script


class Processes:
    """Two symbol shells, the risk shell, the ledger, and a broker whose book is the truth."""

    def __init__(self, *, guard: bool = False, **broker: bool) -> None:
        self.rules = replace(RULES, exits=replace(RULES.exits, guard=guard))
        self.instruments = {name: Instrument(name, tick_size=D("0.05")) for name in SYMBOLS}
        self.network = Network(self._on_served)
        self.broker = NastyBroker(**broker)
        self.store = MemoryLedger()
        self.trail: list[str] = []  # every await point that a message stood at
        self.fates: Counter[str] = Counter()  # what really happened there
        self.seconds = 0.0  # of the clock that symbols look at
        self.scripts = {name: Script({}) for name in SYMBOLS}
        self.recover: set[str] = set()
        self.look_up: set[str] = set()
        self.epochs: dict[tuple[str, Process], Process] = {}  # symbol, risk: who registered last
        self.writer: Process | None = None  # who opened the newest term
        self.breaches: list[str] = []
        # Milliseconds since 1970 grow between two starts, but not always between two lines here.
        ticks = itertools.count(1_000_000_000, 1_000_000_000)
        clock = SimpleNamespace(time_ns=ticks.__next__)
        self._patches = (
            mock.patch.object(risk_module, "time", clock),
            mock.patch.object(risk_module, "watch"),  # it waits for seconds that never pass here
        )
        for patch in self._patches:
            patch.start()
        logging.disable(logging.CRITICAL)  # what is provoked here is not worth a line each
        self.ledger_process = Process("ledger", self.store)
        self.broker_process = Process("broker", self.broker)
        self.engine = Process("engine")
        self.run: RunInfo = self._now(self.store.open_run("simulation", "t", "default", D(100_000)))
        self._now(self.store.set_scanning(self.run.run_id, True))
        self.dead: list[Process] = []  # kept: unlike theirs, our memory is not cleaned up by death
        self.ghosts: list[Process] = []
        self.risk = self._new_risk()
        self.symbols = {name: self._new_symbol(name) for name in SYMBOLS}
        self.acting = SYMBOLS[0]

    def close(self) -> None:
        self.network.close()
        for patch in self._patches:
            patch.stop()
        logging.disable(logging.NOTSET)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    @staticmethod
    def _now(work: Coroutine[Any, Any, Any]) -> Any:
        """The result of a port in memory, which waits for nobody."""
        try:
            work.send(None)
        except StopIteration as end:
            return end.value
        raise AssertionError("it waits")

    # Processes

    def _new_risk(self) -> Process:
        made = Process("risk")
        ledger = self.network.port(handles.LedgerHandle, made, lambda: self.ledger_process)
        made.shell = RiskShell(self.run, self._build_book, ledger, heartbeat_timeout=1e7)
        return made

    def build_book(self) -> RiskBook:
        """A book as the ledger has it now."""
        book = self._build_book(self.run, 0)
        book.recover(self.state)
        return book

    def _build_book(self, run: RunInfo, epoch_floor: int) -> RiskBook:
        return RiskBook(
            run=run,
            limits=self.rules.risk,
            exits=self.rules.exits,
            charges=CHARGES,
            instruments=self.instruments,
            epoch_floor=epoch_floor,
        )

    def _new_symbol(self, name: str) -> Process:
        made = Process(name)
        risk = self.network.port(handles.RiskHandle, made, lambda: self.risk)
        broker = self.network.port(handles.BrokerHandle, made, lambda: self.broker_process)
        share = self.instruments[name]
        made.shell = ScriptedShell(share, self.rules, risk, broker, clock=lambda: self.seconds)
        made.shell.script = self.scripts[name]
        return made

    def replace_symbol(self, name: str, *, kill: bool) -> Process:
        """A new incarnation; the old one, returned, is dead or a zombie."""
        old, self.symbols[name] = self.symbols[name], self._new_symbol(name)
        self.recover.add(name)
        return self._retire(old, kill=kill)

    def replace_risk(self, *, kill: bool) -> Process:
        old, self.risk = self.risk, self._new_risk()
        return self._retire(old, kill=kill)

    def _retire(self, old: Process, *, kill: bool) -> Process:
        (self.dead if kill else self.ghosts).append(old)
        if kill:
            self.network.kill(old)
        return old

    # The ledger

    @property
    def state(self) -> RunState:
        """The run as the ledger has it."""
        return self._now(self.store.run_state(self.run.run_id))

    def trade_rows(self) -> list[TradeRecord]:
        """All rows of the ledger."""
        return [row.trade for row in self.store.store.trades.values()]

    # Messages

    def deliver_all(self, plan: Mapping[int, Fate] | None = None) -> None:
        """Everything arrives in order, but for the messages (by number) that meet a fate."""
        network = self.network
        for number in range(MOST_MESSAGES):
            if not network.flying:
                return
            call = network.flying.pop(0)
            self.trail.append(call.point)
            fate = (plan or {}).get(number)
            if fate is None:
                network.deliver(call)
            else:
                self.fates[f"{fate.name} {call.point}"] += 1
                self._meet(call, fate)
        raise AssertionError("messages without end")

    def arrive(self, number: int) -> None:
        """A late message arrives."""
        self.network.deliver(self.network.held.pop(number % len(self.network.held)))

    def _meet(self, call: Call, fate: Fate) -> None:
        network = self.network
        match fate:
            case Fate.KILL_SYMBOL | Fate.FREEZE_SYMBOL | Fate.KILL_SYMBOL_LATE:
                symbol = call.caller.name if call.caller.name in SYMBOLS else self.acting
                old = self.replace_symbol(symbol, kill=fate is not Fate.FREEZE_SYMBOL)
                self._orphan(call, old, late=fate is not Fate.KILL_SYMBOL)
            case Fate.KILL_RISK | Fate.FREEZE_RISK | Fate.KILL_RISK_LATE:
                old = self.replace_risk(kill=fate is not Fate.FREEZE_RISK)
                self._orphan(call, old, late=fate is not Fate.KILL_RISK)
            case Fate.TWICE if call.target is self.broker_process and not call.served:
                network.held.append(replace(call))
                network.deliver(call)
            case Fate.SLOW | Fate.TWICE:
                network.held.append(call)
            case Fate.LATE:
                network.held.append(call)
                call.fail("gave no answer in time")
                network.spin()
            case Fate.REFUSE if call.target is self.broker_process and not call.served:
                call.fail("is not reached", BrokerUnavailable)
                network.spin()
            case Fate.LOSE | Fate.REFUSE:
                call.fail("is lost")
                network.spin()

    def _orphan(self, call: Call, old: Process, *, late: bool) -> None:
        """What becomes of a message when a process is gone that may have to do with it."""
        if old not in (call.caller, call.target):
            self.network.deliver(call)
        elif not old.alive and old is call.target and not (call.served and late):
            call.fail("died")
            self.network.spin()
        elif late:
            self.network.held.append(call)

    def _on_served(self, call: Call) -> None:
        """See that only the newest incarnation was granted anything."""
        if call.error is not None:
            return
        match call.target.name, call.method:
            case "risk", "register":
                self.epochs[call.args[0], call.target] = call.caller
            case "risk", "reserve" | "settle" if not isinstance(call.value, Denial):
                if self.epochs.get((call.args[0].symbol, call.target)) is not call.caller:
                    self.breaches.append(f"{call.point}: a stale symbol was served")
            case "ledger", "open_term":
                self.writer = call.caller
            case "ledger", "append" if call.args[0] and call.caller is not self.writer:
                self.breaches.append(f"{call.point}: a stale risk wrote")
            case "ledger", "append" if call.args[0] and call.args[1] is None:
                self.breaches.append(f"{call.point}: risk wrote without a term")
