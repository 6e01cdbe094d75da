"""The API over an in-memory catalogue and a desk that records what it is told."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import httpx
from fastapi import FastAPI

from hftray.actors.jobs import Job
from hftray.api.app import create_app
from hftray.api.dependencies import ApiSettings, Services
from hftray.api.desk import EngineSnapshot
from hftray.backtest.answer import answer_of
from hftray.backtest.order import BacktestOrder
from hftray.backtest.outcome import Outcome
from hftray.core.errors import NotFound
from hftray.core.events import Decision, Signal
from hftray.core.ledger import (
    EquityMarked,
    OrderIntended,
    OrderSettled,
    RunInfo,
    SignalRecorded,
    TradeRecord,
)
from hftray.core.market import Candle
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.core.position import Position
from hftray.core.rules import TradingRules
from hftray.strategies.registry import known_kinds
from hftray.testing.memory_catalog import MemoryCatalog
from hftray.testing.memory_ledger import MemoryLedger

D = Decimal
SYMBOLS = ("RELIANCE", "TCS", "M&M", "BSE:RELIANCE")
DAY = date(2026, 6, 1)
NOON = datetime(2026, 6, 1, 6, 30, tzinfo=UTC)  # 12:00 in India

STRATEGIES = [
    {"name": "Moving Average Crossover", "kind": "ma_crossover"},
    {"name": "RSI Mean Reversion", "kind": "rsi"},
    {"name": "MACD Strategy", "kind": "macd"},
    {"name": "Bollinger Bands", "kind": "bollinger"},
]


def signal(symbol: str, minute: int, *, final: bool = True) -> Signal:
    """A BUY seen some minutes after noon."""
    return Signal(
        symbol=symbol,
        signal=Decision.BUY,
        score=0.5676,
        votes={"ma_crossover:sma": 1, "rsi": 0},
        price=1412.5,
        candle_time=NOON + timedelta(minutes=minute - 5),
        timestamp=NOON + timedelta(minutes=minute),
        final=final,
        action="entered",
    )


def wire(found: Signal) -> dict[str, Any]:
    """A signal as the engine's snapshot holds it."""
    return {name: getattr(found, name) for name in Signal.__slots__}


_LOG = [wire(signal("RELIANCE", minute)) for minute in range(600, 0, -1)]


class FakeDesk:
    """A desk without an engine behind it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.failure: Exception | None = None
        self.jobs: dict[str, Job] = {}
        log = list(_LOG)
        self.picture: EngineSnapshot = {
            "run_id": 1,
            "status": {
                "running": True,
                "mode": "simulation",
                "run_id": 1,
                "user_id": "default",
                "session": {"open": True, "next_change": NOON + timedelta(hours=3)},
                "note": "",
                "scans": 128,
                "last_scan_at": NOON,
                "scan_ms": 6.25,
                "symbols": list(SYMBOLS),
                "initial_capital": D(100_000),
                "capital": D("100412.35"),
                "equity": D("100390.1"),
                "realised_pnl": D("412.35"),
                "open_pnl": D("-22.25"),
                "open_positions": 1,
                "trades_today": 3,
                "risk_state": "ACTIVE",
                "degraded": [],
            },
            "signals": log,
            "latest": {"RELIANCE": log[0]},
            "risk": {"state": "ACTIVE", "reason": "", "capital": D("100412.35")},
            "positions": [
                {"reference": "held", "last_price": 1401.25, "open_pnl": D("-22.25")},
            ],
        }

    def snapshot(self) -> EngineSnapshot:
        self._maybe_fail()
        return self.picture

    def symbols(self) -> tuple[str, ...]:
        return SYMBOLS

    async def start(self, user_id: str) -> dict[str, Any]:
        return self._told("start", user_id, running=True)

    async def stop(self) -> dict[str, Any]:
        return self._told("stop", running=False)

    async def kill(self, reason: str, actor: str) -> dict[str, Any]:
        return self._told("kill", reason, actor, risk_state="HALTED")

    async def resume(self, reason: str, actor: str) -> dict[str, Any]:
        return self._told("resume", reason, actor, risk_state="ACTIVE")

    async def settle(self, symbol: str, price: Decimal, reason: str, actor: str) -> dict[str, Any]:
        self._maybe_fail()
        self.calls.append(("settle", symbol, price, reason, actor))
        return {
            "reference": "20260601X0000000001",
            "symbol": symbol,
            "side": Side.SELL,
            "quantity": 20,
            "price": price,
            "pnl": D("-22.25"),
            "reason": f"settled: {reason} (by {actor})",
            "timestamp": NOON,
            "left": 0,
        }

    async def confirm(
        self, reference: str, price: Decimal | None, reason: str, actor: str
    ) -> dict[str, Any]:
        self._maybe_fail()
        self.calls.append(("confirm", reference, price, reason, actor))
        return {
            "reference": "20260601M0000000001",
            "order": reference,
            "symbol": "INFY",
            "side": Side.BUY,
            "quantity": 0 if price is None else 20,
            "price": price,
            "booked_price": None if price is None else D("1400.00"),
            "pnl": None if price is None else D("-10.01"),
            "reason": f"confirmed: {reason} (by {actor})",
            "timestamp": NOON,
        }

    async def candles(self, symbol: str, limit: int) -> list[Candle]:
        if symbol not in SYMBOLS:
            raise NotFound(f"unknown symbol {symbol}")
        self.calls.append(("candles", symbol, limit))
        return [_candle(symbol, index) for index in range(limit)]

    async def strategies_changed(self) -> None:
        self.calls.append(("strategies_changed",))
        self._maybe_fail()

    async def backtest(self, order: BacktestOrder, patience: float) -> Job:
        """Without patience the job stays under way."""
        self._maybe_fail()
        self.calls.append(("backtest", order, patience))
        job_id = f"{len(self.calls):016x}"
        if patience > 0:
            return Job(job_id, "done", 1.0, backtest_answer(order))
        self.jobs[job_id] = Job(job_id, "running", 0.25)
        return self.jobs[job_id]

    async def backtest_job(self, job_id: str) -> Job:
        if job_id not in self.jobs:
            raise NotFound(f"no backtest {job_id}")
        return self.jobs[job_id]

    async def cancel_backtest(self, job_id: str) -> None:
        await self.backtest_job(job_id)
        del self.jobs[job_id]

    def _told(self, *call: Any, **changes: Any) -> dict[str, Any]:
        self._maybe_fail()
        self.calls.append(call)
        self.picture["status"] |= changes
        return self.picture["status"]

    def _maybe_fail(self) -> None:
        if self.failure is not None:
            raise self.failure


def backtest_answer(order: BacktestOrder) -> dict[str, Any]:
    """The answer to an order on a market without candles, but with a paid-up account."""
    open_fields = {"interval": 5, "slippage_bps": 2.0}
    missing = {name: v for name, v in open_fields.items() if getattr(order, name) is None}
    outcome = Outcome(curve=[(NOON, D("100100"))])
    answer = answer_of(replace(order, **missing), TradingRules(), [], outcome)
    return answer | {"final_capital": D("100100")}


def _candle(symbol: str, index: int) -> Candle:
    price = 1400.0 + 10 * (index % 7)
    opens = NOON + timedelta(minutes=5 * index)
    close = price if index % 3 == 0 else price + 2  # every third candle is a doji
    return Candle(symbol, opens, price, price + 5, price - 5, close, 1000.0)


def trade(
    reference: str, leg: Leg, *, run_id: int = 1, minute: int = 0, pnl: str | None = None
) -> TradeRecord:
    """An executed RELIANCE order; an exit carries its P&L."""
    return TradeRecord(
        reference=reference,
        run_id=run_id,
        user_id="default",
        symbol="RELIANCE",
        exchange="NSE",
        side=Side.BUY if leg is Leg.ENTRY else Side.SELL,
        leg=leg,
        requested_quantity=20,
        quantity=20,
        reason="vote",
        timestamp=NOON + timedelta(minutes=minute),
        session_day=DAY,
        price=D("1402.5"),
        status=TradeStatus.EXECUTED,
        strategy_id=1,
        pnl=None if pnl is None else D(pnl),
    )


def position(reference: str) -> Position:
    """Twenty RELIANCE bought at noon."""
    return Position(
        reference=reference,
        symbol="RELIANCE",
        side=Side.BUY,
        quantity=20,
        entry_price=D("1402.5"),
        entry_time=NOON,
        session_day=DAY,
        stop_loss=D(1390),
        take_profit=D("1427.5"),
        best_price=1405.0,
    )


def _order(record: TradeRecord, after: Position | None, closed: Position | None) -> list[Any]:
    return [
        OrderIntended(_pending(record)),
        OrderSettled(record, position=after, closed=closed),
    ]


def _pending(record: TradeRecord) -> TradeRecord:
    fields = {name: getattr(record, name) for name in TradeRecord.__slots__}
    return TradeRecord(**fields | {"status": TradeStatus.PENDING, "quantity": 0, "price": None})


async def filled_ledger() -> MemoryLedger:
    """Run 1 with a win, a loss and an open position; run 2 with one trade of its own."""
    rows = [{"description": "", "is_active": True, "parameters": {}} | row for row in STRATEGIES]
    ledger = MemoryLedger(rows)
    runs: list[RunInfo] = [
        await ledger.open_run("simulation", source, "default", D(100_000)) for source in "ab"
    ]
    assert [run.run_id for run in runs] == [1, 2]
    for name, minute, pnl in (("won", 0, "600"), ("lost", 10, "-200")):
        held = position(name)
        await ledger.append(_order(trade(name, Leg.ENTRY, minute=minute), held, None))
        left = trade(f"{name}-exit", Leg.EXIT, minute=minute + 5, pnl=pnl)
        await ledger.append(_order(left, None, held))
    await ledger.append(_order(trade("held", Leg.ENTRY, minute=20), position("held"), None))
    await ledger.append(_order(trade("other", Leg.ENTRY, run_id=2), position("other"), None))
    await ledger.append([SignalRecorded(1, signal("RELIANCE", m)) for m in (5, 10, 15)])
    await ledger.append(
        [
            EquityMarked(1, NOON + timedelta(minutes=m), DAY, D(c), D(c), D(0), D(0), 0)
            for m, c in ((0, 100_000), (5, 100_600), (15, 100_400))
        ]
    )
    return ledger


@dataclass(slots=True)
class World:
    """One application, what it was made of, and a client."""

    app: FastAPI
    client: httpx.AsyncClient
    desk: FakeDesk
    catalog: MemoryCatalog
    ledger: MemoryLedger


@cache
def _application(settings: ApiSettings, kinds: tuple[str, ...]) -> FastAPI:
    """One application for all tests of these settings and strategies.

    What it serves is put in by each; `kinds` stand in its document.
    """
    return create_app(Services(None, None, settings))  # type: ignore[arg-type]


@asynccontextmanager
async def api_world(
    token: str | None = None,
    change: Callable[[MemoryCatalog], Any] = lambda catalog: catalog,
    mutations_per_minute: int = 0,
) -> AsyncIterator[World]:
    """The API on loopback; `change` may wrap the catalogue."""
    ledger, desk = await filled_ledger(), FakeDesk()
    catalog = MemoryCatalog(ledger)
    settings = ApiSettings(version="1.2.3", token=token, mutations_per_minute=mutations_per_minute)
    services = Services(change(catalog), desk, settings)
    # One that counts calls is used by one test.
    app = (
        create_app(services)
        if mutations_per_minute
        else _application(settings, tuple(known_kinds()))
    )
    app.state.services = services
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:5000") as client:
        yield World(app, client, desk, catalog, ledger)
