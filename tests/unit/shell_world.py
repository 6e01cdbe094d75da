"""The actors' shells as plain objects: memory ledger, simulated exchange, faults on demand."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from engine_world import DAY, SYMBOL, D, Script, at, quiet_history, session
from risk_world import CHARGES

from hftray.actors.messages import Step, StepReport
from hftray.actors.risk import RiskShell
from hftray.actors.symbol import SymbolShell
from hftray.adapters.simulated_exchange import SimulatedExchange
from hftray.core.errors import HftrayError, LedgerUnavailable
from hftray.core.ledger import LedgerEvent, LedgerHealth, RunInfo
from hftray.core.market import Candle, Instrument, Tick
from hftray.core.orders import Leg, TradeStatus
from hftray.core.risk import RiskBook
from hftray.core.rules import TradingRules
from hftray.ports import MarketBatch
from hftray.strategies.defaults import default_strategies
from hftray.testing.memory_ledger import MemoryLedger

ROSTER = (7, [])  # one version of no voters: the tests' script votes instead


class Faulty:
    """Another port, whose methods fail when told: before they act, or after (the answer is lost).

    `fail("place", UnknownOutcome, after=True)` fails the next call of `place` once.
    """

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self._faults: dict[str, list[tuple[type[Exception], bool]]] = {}
        self.calls: list[str] = []

    def fail(
        self, method: str, error: type[Exception], *, after: bool = False, times: int = 1
    ) -> None:
        self._faults.setdefault(method, []).extend([(error, after)] * times)

    def heal(self) -> None:
        self._faults.clear()

    def __getattr__(self, method: str) -> object:
        plain = getattr(self._inner, method)

        async def call(*args: object, **named: object) -> object:
            self.calls.append(method)
            waiting = self._faults.get(method)
            error, after = waiting.pop(0) if waiting else (None, False)
            if error is not None and not after:
                raise error(f"{method}: nothing happened")
            answer = await plain(*args, **named)
            if error is not None:
                raise error(f"{method}: the answer is lost")
            return answer

        return call


class FaultyLedger(MemoryLedger):
    """A ledger that is away for `away` appends, after `lost` that are written all the same."""

    away = 0
    lost = 0
    error: type[HftrayError] = LedgerUnavailable
    health = LedgerHealth()

    async def append(self, events: Sequence[LedgerEvent], term: int | None = None) -> LedgerHealth:
        if self.lost:
            self.lost -= 1
            await super().append(events, term)
            raise self.error("the answer is lost")
        if self.away:
            self.away -= 1
            raise self.error("away")
        await super().append(events, term)
        return self.health


@dataclass
class World:
    """One account with its symbols; `play` brings a candle, `trade` a tick, to one of them."""

    rules: TradingRules = field(default_factory=TradingRules)
    symbols: tuple[str, ...] = (SYMBOL,)
    slippage_bps: float = 0.0

    def __post_init__(self) -> None:
        self.instruments = {name: Instrument(name, tick_size=D("0.05")) for name in self.symbols}
        self.ledger = FaultyLedger(default_strategies())
        self.exchange = SimulatedExchange(
            ":memory:", self.instruments, slippage_bps=self.slippage_bps
        )
        self.broker = Faulty(self.exchange)
        self.played: list[Candle] = []
        self.troubles: list[str] = []  # of all steps
        self.lost_reports = False  # the exchange's news never arrive
        self.seconds = 0.0  # what the shells' clock shows; a minute a step

    async def open(self, day: date = DAY) -> "World":
        self.run = await self.ledger.open_run("simulation", "a test", "default", D(100_000))
        self.desk = RiskShell(self.run, self.build_book, self.ledger)
        self.risk = Faulty(self.desk)
        await self.desk.open_day(day, at(0, day))
        await self.desk.mark(at(0, day), {})
        return self

    async def restart_risk(self) -> None:
        """As after a restart and one scan: the book comes from the ledger."""
        await self.desk.use_run(self.run)
        await self.desk.mark(at(0), {})

    def build_book(self, run: RunInfo, epoch_floor: int) -> RiskBook:
        return RiskBook(
            run=run,
            limits=self.rules.risk,
            exits=self.rules.exits,
            charges=CHARGES,
            instruments=self.instruments,
            epoch_floor=epoch_floor,
        )

    def shell(self, symbol: str = SYMBOL) -> SymbolShell:
        return SymbolShell(
            self.instruments[symbol],
            self.rules,
            self.risk,  # type: ignore[arg-type]
            self.broker,  # type: ignore[arg-type]
            clock=lambda: self.seconds,
        )

    async def begin(self, script: Script, symbol: str = SYMBOL) -> SymbolShell:
        """A shell that is warm and votes by the script."""
        shell = self.shell(symbol)
        await shell.step(
            Step(at(0), session(), history=quiet_history(), roster=ROSTER)  # nothing traded yet
        )
        shell._engine.electorate = script
        return shell

    async def play(self, shell: SymbolShell, candle: Candle, **changes: object) -> StepReport:
        """A closed candle: the exchange first, then the symbol."""
        now = candle.time + timedelta(minutes=5)
        day = candle.time.date()
        return await self._step(shell, Step(now, session(day), candle=candle), **changes)

    async def trade(self, shell: SymbolShell, tick: Tick, **changes: object) -> StepReport:
        hours = session(tick.time.date())
        return await self._step(shell, Step(tick.time, hours, tick=tick), **changes)

    async def _step(self, shell: SymbolShell, step: Step, **changes: object) -> StepReport:
        hours = {} if step.session is None else {shell.symbol: step.session}
        batch = MarketBatch(
            now=step.now,
            open=bool(hours),
            sessions=hours,
            ticks={} if step.tick is None else {shell.symbol: step.tick},
            candles={} if step.candle is None else {shell.symbol: step.candle},
        )
        self.seconds += 60
        news = await self.exchange.on_market(batch)
        reports = () if self.lost_reports else tuple(news)
        step = replace(step, reports=reports, **changes)  # type: ignore[arg-type]
        earlier = [*quiet_history(), *self.played]
        if step.candle is not None:
            self.played.append(step.candle)
        report = await shell.step(step)
        self.troubles += filter(None, [report.trouble])
        if report.unready:  # as a scan does; the roster is the one it has
            report = await shell.step(replace(step, history=earlier))
            self.troubles += filter(None, [report.trouble])
        while report.wants_turn:  # its turn: no other symbol is there
            report = await shell.step(Step(step.now, proceed=True))
            self.troubles += filter(None, [report.trouble])
        return report

    # What is true afterwards

    def rows(self, leg: Leg | None = None) -> list[tuple[Leg, TradeStatus, int]]:
        trades = (row.trade for row in self.ledger.store.trades.values())
        return [(t.leg, t.status, t.quantity) for t in trades if leg in (None, t.leg)]

    async def agree(self, shell: SymbolShell) -> None:
        """Exchange, ledger, risk book and symbol tell the same story."""
        orders = {report.reference: report for report in await self.exchange.reports()}
        trades = {ref: row.trade for ref, row in self.ledger.store.trades.items()}
        assert set(orders) <= set(trades)  # no order without its row
        for reference, trade in trades.items():
            placed = orders.get(reference)
            if trade.status is TradeStatus.PENDING:
                assert placed is not None
                assert not placed.status.terminal
            else:
                filled = placed.filled_quantity if placed else 0
                assert trade.quantity == filled
                assert trade.status is (TradeStatus.EXECUTED if filled else TradeStatus.FAILED)
        state = await self.ledger.run_state(self.run.run_id)
        position = (await shell.state())["position"]
        held = [p.quantity for p in state.positions]
        assert held == ([position.quantity] if position else [])
        bought = sum(t.quantity for t in trades.values() if t.leg is Leg.ENTRY)
        sold = sum(t.quantity for t in trades.values() if t.leg is Leg.EXIT)
        assert bought - sold == sum(held)
        view = await self.desk.view()
        assert view.open_positions == len(state.positions)
        assert view.working_orders == len(state.pending)
        assert view.realised_pnl == state.realised_total
