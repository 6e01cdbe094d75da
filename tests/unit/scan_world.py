"""Whole days through scanner and engine in one process: feeds, stub symbols, a stepped engine."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import ClassVar

import yaml
from risk_world import CHARGES
from shell_world import Faulty, FaultyLedger

from hftray.actors.broker import BrokerShell
from hftray.actors.engine import EngineShell
from hftray.actors.loop import EngineOptions
from hftray.actors.messages import Step, StepReport
from hftray.actors.outbox import Outbox
from hftray.actors.risk import RiskShell
from hftray.actors.scan import Scanner
from hftray.actors.symbol import SymbolShell
from hftray.adapters.calendar import KnownDays, SessionCalendar
from hftray.adapters.instruments import Listings
from hftray.adapters.simulated_exchange import SimulatedExchange
from hftray.adapters.simulated_market import SimulatedFeed
from hftray.core.events import Decision, Signal
from hftray.core.ledger import RunInfo
from hftray.core.market import Candle, Instrument
from hftray.core.orders import Order
from hftray.core.risk import RiskBook
from hftray.core.risk_view import RiskState
from hftray.core.rules import SignalRules, TradingRules
from hftray.core.session import SessionRules, TradingSession
from hftray.ports import MarketBatch, Venue
from hftray.strategies.defaults import default_strategies

CONFIG = Path(__file__).parents[2] / "config"
MONDAY = date(2026, 6, 1)
PATIENCE = 30.0  # real seconds after which a scan that never comes is a failure
FOUR = ("RELIANCE", "TCS", "INFY", "ITC")


@cache
def calendar() -> SessionCalendar:
    """Every weekday of the year is a session: quicker to make than the real one."""
    days = (date(2025, 1, 1) + timedelta(days=n) for n in range(730))
    weekdays = frozenset(day for day in days if day.weekday() < 5)
    known = KnownDays(date(2025, 1, 1), date(2026, 12, 31), weekdays)
    return SessionCalendar.from_mapping(
        yaml.safe_load((CONFIG / "sessions.yaml").read_text()), known
    )


@cache
def listings() -> Listings:
    return Listings.from_mapping(yaml.safe_load((CONFIG / "instruments.yaml").read_text()))


class _Remembered(SimulatedFeed):
    """The generated market, whose sessions are generated once for all tests: they never change."""

    _sessions: ClassVar[dict[tuple[object, ...], object]] = {}

    def _generate(self, symbol, day):
        key = (self._characters[symbol], self._ticks_per_candle, day)
        if key not in self._sessions:
            self._sessions[key] = super()._generate(symbol, day)
        return self._sessions[key]


def simulated(start: date = MONDAY, seed: int = 42, ticks: int = 5) -> SimulatedFeed:
    return _Remembered(
        listings(),
        calendar(),
        seed=seed,
        start_day=start,
        rules=SessionRules(),
        ticks_per_candle=ticks,
    )


class CandleFeed:
    """Closed candles, one moment a poll, a closing batch a day, then the end. Like a replay."""

    interval = 300.0

    def __init__(
        self,
        instruments: dict[str, Instrument],
        candles: dict[str, list[Candle]],
        sessions: dict[date, TradingSession],
        history: dict[str, list[Candle]] | None = None,
    ) -> None:
        self._instruments, self._candles, self._history = instruments, candles, history or {}
        moments: dict[datetime, dict[str, Candle]] = {}
        for name, own in candles.items():
            for candle in own:
                moments.setdefault(candle.time + timedelta(minutes=5), {})[name] = candle
        batches = [self._open(now, sessions[now.date()], own) for now, own in moments.items()]
        batches += [MarketBatch(hours.closes, open=False) for hours in sessions.values()]
        self.batches = sorted(batches, key=lambda batch: (batch.now, not batch.open))
        self._next = 0

    def _open(self, now: datetime, hours: TradingSession, own: dict[str, Candle]) -> MarketBatch:
        sessions = dict.fromkeys(self._instruments, hours)
        return MarketBatch(now, open=True, sessions=sessions, candles=own)

    async def instruments(self) -> dict[str, Instrument]:
        return self._instruments

    async def start(self, symbols: Sequence[str], resume_after: datetime | None) -> None:
        late = [b for b in self.batches if resume_after is not None and b.now <= resume_after]
        self._next = len(late)

    async def history(
        self, symbol: str, count: int, before: datetime | None = None
    ) -> list[Candle]:
        everything = [*self._history.get(symbol, []), *self._candles[symbol]]
        until = before or self.batches[max(0, self._next - 1)].now
        return [c for c in everything if c.time + timedelta(minutes=5) <= until][-count:]

    async def forming(self, symbol: str, before: datetime) -> Candle | None:
        return None

    async def poll(self) -> MarketBatch:
        if self._next >= len(self.batches):
            return MarketBatch(self.batches[-1].now, open=False, ended=True)
        self._next += 1
        return self.batches[self._next - 1]

    async def close(self) -> None:
        pass


class Stepped:
    """A feed that brings as many batches as it is told, and says when the next one is asked for."""

    def __init__(self, inner: object) -> None:
        self._inner = inner
        self._allowed = 0
        self._changed = asyncio.Condition()
        self._waiting = False
        self.interval = 60.0

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)

    async def poll(self) -> MarketBatch:
        async with self._changed:
            self._waiting = True
            self._changed.notify_all()
            await self._changed.wait_for(lambda: self._allowed > 0)
            self._allowed -= 1
            self._waiting = False
        return await self._inner.poll()  # type: ignore[attr-defined,no-any-return]

    async def allow(self, scans: int) -> None:
        async with self._changed:
            self._allowed += scans
            self._changed.notify_all()

    async def pass_scans(self, scans: int) -> None:
        """That many scans from beginning to end."""
        await self.idle()
        await self.allow(scans)
        await self.idle()

    async def idle(self) -> None:
        """Until the loop asks for a batch that it may not have yet."""
        async with self._changed:
            asked = self._changed.wait_for(lambda: self._waiting and not self._allowed)
            await asyncio.wait_for(asked, PATIENCE)


class OpenBook(SimulatedExchange):
    """A book in memory, which closing would lose."""

    async def close(self) -> None:
        pass


@dataclass
class Market:
    """Everything of one account but the loop: what wiring builds, without processes."""

    feed: object
    symbols: tuple[str, ...] = FOUR
    rules: TradingRules = field(default_factory=TradingRules)
    roster: list[dict[str, object]] = field(default_factory=default_strategies)
    slippage_bps: float = 2.0

    async def open(self) -> "Market":
        known = await self.feed.instruments()  # type: ignore[attr-defined]
        self.instruments = {name: known[name] for name in self.symbols}
        self.ledger = FaultyLedger(self.roster)
        self.run = await self.ledger.open_run("simulation", "seed", "default", Decimal(100_000))
        self.books: dict[int, SimulatedExchange] = {}
        self.broker = Faulty(BrokerShell(self.venue_of, self.run, self.ledger))
        self.desk = RiskShell(self.run, self.build_book, self.ledger)
        self.risk = Faulty(self.desk)
        self.shells = {
            name: SymbolShell(share, self.rules, self.risk, self.broker)  # type: ignore[arg-type]
            for name, share in self.instruments.items()
        }
        return self

    async def venue_of(self, run: RunInfo) -> Venue:
        return Venue(self.exchange_of(run))

    def exchange_of(self, run: RunInfo) -> SimulatedExchange:
        if run.run_id not in self.books:
            book = OpenBook(":memory:", self.instruments, slippage_bps=self.slippage_bps)
            self.books[run.run_id] = book
        return self.books[run.run_id]

    @property
    def exchange(self) -> SimulatedExchange:
        return self.exchange_of(self.run)

    def build_book(self, run: RunInfo, epoch_floor: int) -> RiskBook:
        return RiskBook(
            run=run,
            limits=self.rules.risk,
            exits=self.rules.exits,
            charges=CHARGES,
            instruments=self.instruments,
            epoch_floor=epoch_floor,
        )

    async def scanner(self, ledger: object = None) -> Scanner:
        made = Scanner(
            feed=self.feed,  # type: ignore[arg-type]
            broker=self.broker,  # type: ignore[arg-type]
            risk=self.risk,
            symbols=self.shells,
            outbox=Outbox(ledger or self.ledger, self.run.run_id, 300),  # type: ignore[arg-type]
            history=self.rules.signals.candle_buffer,
            timeout=5.0,
            tolerance=60.0,
            pause=lambda batch: 0.0,
        )
        roster = await self.ledger.roster(-1)
        assert roster is not None
        made.crew.roster = roster
        return made

    def engine(self, **changes: object) -> EngineShell:
        options = EngineOptions(
            interval=0.0,
            closed_interval=0.0,
            scan_timeout=5.0,
            snapshot_interval=0.0,
            reconcile_interval=0.0,
            signal_log=500,
            failures_before_reducing=2,
            equity_interval=300,
            source="seed",
        )
        return EngineShell(
            self.run,
            self.rules,
            replace(options, **changes),  # type: ignore[arg-type]
            lambda: self.feed,  # type: ignore[arg-type,return-value]
            self.shells,
            broker=self.broker,  # type: ignore[arg-type]
            risk=self.risk,
            ledger=self.ledger,
        )

    # The record

    @property
    def trades(self) -> list:
        return [row.trade for row in self.ledger.store.trades.values()]

    @property
    def signals(self) -> list[Signal]:
        return list(self.ledger.store.signals.values())

    async def view(self):
        return await self.desk.view()

    async def check_books(self) -> None:
        """Ledger, exchange and risk tell the same story."""
        state = await self.ledger.run_state(self.run.run_id)
        view = await self.desk.view()
        orders = {report.reference: report for report in await self.exchange.reports()}
        newest = max((t.session_day for t in self.trades), default=None)
        today = [trade for trade in self.trades if trade.session_day == newest]
        assert {t.reference for t in today} == set(orders)
        for trade in today:
            assert trade.quantity == orders[trade.reference].filled_quantity
        assert (view.open_positions, view.working_orders) == (
            len(state.positions), len(state.pending),
        )  # fmt: skip
        assert view.realised_pnl == state.realised_total


LIVELY = TradingRules(signals=SignalRules(threshold=0.1))
"""Low enough that a simulated day has several trades a symbol."""


class StubSymbol:
    """A symbol that answers at once, or only when `free` is set."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: list[Step] = []
        self.free = asyncio.Event()
        self.free.set()
        self.fault: Exception | None = None
        self.wants_turn = False
        self.guard: Order | None = None
        self.log: list[tuple[str, str]] = []

    async def step(self, step: Step) -> StepReport:
        self.log.append((self.name, "turn" if step.proceed else "step"))
        self.steps.append(step)
        await self.free.wait()
        if self.fault is not None:
            raise self.fault
        final = step.candle is not None
        signal = Signal(self.name, Decision.HOLD, 0.0, {}, 1.0, step.now, step.now, final)
        wants = self.wants_turn and not step.proceed
        return StepReport(
            self.name, "FLAT", (signal,), None, 1.0, Decimal(0),
            roster_version=-1, wants_turn=wants, guard=self.guard,
        )  # fmt: skip


class StubRisk:
    """Risk's desk for scans whose money does not matter."""

    def __init__(self, view: object) -> None:
        self.view = view
        self.days: list[date] = []

    async def open_day(self, day: date, now: datetime) -> object:
        self.days.append(day)
        return self.view

    async def mark(self, now: datetime, open_pnl: object, *doubts: object) -> object:
        self.doubts = doubts
        return self.view

    def halt(self) -> None:
        self.view = replace(self.view, state=RiskState.HALTED, reason="kill")  # type: ignore[type-var]
