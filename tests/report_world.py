"""A real outcome to report: the default voters over the generated market, seeded."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from hftray.adapters.calendar import KnownDays, SessionCalendar
from hftray.adapters.instruments import Listings
from hftray.adapters.simulated_market import SimulatedFeed
from hftray.backtest.history import SymbolHistory
from hftray.backtest.outcome import Outcome, RoundTrip
from hftray.backtest.play import play
from hftray.backtest.report import render_report
from hftray.core.charges import ChargeSchedule
from hftray.core.ledger import RunInfo, TradeRecord
from hftray.core.metrics import portfolio_metrics
from hftray.core.orders import Leg, Side, TradeStatus
from hftray.core.position import Position
from hftray.core.risk import RiskBook
from hftray.core.rules import TradingRules
from hftray.core.session import IST, SessionRules
from hftray.strategies.defaults import default_strategies

CONFIG = Path(__file__).parents[1] / "config"
CAPITAL = Decimal(100_000)
MONDAY = date(2025, 6, 2)
ROSTER = [dict(row, id=number) for number, row in enumerate(default_strategies(), start=1)]


@cache
def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load((CONFIG / name).read_text())


@cache
def histories(symbols: tuple[str, ...], days: int) -> list[SymbolHistory]:
    """Generated candles of these many sessions, behind five sessions that only warm up."""
    weekdays = _weekdays(-60, days)
    known = KnownDays(weekdays[0], weekdays[-1], frozenset(weekdays))
    calendar = SessionCalendar.from_mapping(_read("sessions.yaml"), known)
    feed = SimulatedFeed(
        Listings.from_mapping(_read("instruments.yaml")), calendar, seed=42, start_day=MONDAY,
        rules=SessionRules(),
    )  # fmt: skip
    # In a thread of its own, for playwright keeps an event loop running in the tests' one.
    with ThreadPoolExecutor(1) as pool:
        return [
            pool.submit(asyncio.run, _history(feed, calendar, symbol, days)).result()
            for symbol in symbols
        ]


def _weekdays(first: int, days: int) -> list[date]:
    nearby = (MONDAY + timedelta(n) for n in range(first, 2 * days + 9))
    return [day for day in nearby if day.weekday() < 5]


async def _history(
    feed: SimulatedFeed, calendar: SessionCalendar, symbol: str, days: int
) -> SymbolHistory:
    share = (await feed.instruments())[symbol]
    sessions = {
        day: calendar.session(day, share, SessionRules()) for day in _weekdays(0, days)[:days]
    }
    end = max(hours.closes for hours in sessions.values())
    candles = await feed.history(symbol, 75 * days + 375, end)
    start = sum(candle.time < sessions[MONDAY].opens for candle in candles)
    return SymbolHistory.of(share, candles, start, sessions)


def outcome_of(played: Sequence[SymbolHistory]) -> Outcome:
    """The default voters and rules over these histories, with charges and slippage."""
    rules = TradingRules()
    book = RiskBook(
        run=RunInfo(0, "backtest", "report", "report", CAPITAL), limits=rules.risk,
        exits=rules.exits, charges=ChargeSchedule.from_mapping(_read("charges.yaml")),
        instruments={history.symbol: history.instrument for history in played},
    )  # fmt: skip
    return play(played, ROSTER, rules=rules, book=book, slippage_bps=2.0)


def trip(
    pnl: str | Decimal,
    *,
    votes: dict[str, int] | None = None,
    side: Side = Side.BUY,
    reason: str = "take_profit",
    symbol: str = "RELIANCE",
    day: date = MONDAY,
) -> RoundTrip:
    """A round trip by hand: ten shares entered at 1,300 from 10:00 to 11:00."""
    opened = datetime(day.year, day.month, day.day, 10, tzinfo=IST)
    held = Position(
        reference=f"{symbol}-{day}", symbol=symbol, side=side, quantity=10,
        entry_price=Decimal(1300), entry_time=opened, session_day=day, stop_loss=Decimal(1290),
        take_profit=Decimal(1320), best_price=1300.0, score=0.4,
        votes={"rsi": side.sign, "macd": 0} if votes is None else votes,
    )  # fmt: skip
    leaving = TradeRecord(
        reference=f"{symbol}-{day}-exit", run_id=0, user_id="", symbol=symbol, exchange="NSE",
        side=side.opposite, leg=Leg.EXIT, requested_quantity=10, reason=reason,
        timestamp=opened + timedelta(hours=1), session_day=day, quantity=10, price=Decimal(1310),
        status=TradeStatus.EXECUTED, charges=Decimal("12.50"), pnl=Decimal(pnl),
        gross_pnl=Decimal(pnl) + Decimal(20),
    )  # fmt: skip
    return RoundTrip(held, leaving, Decimal("7.50"))


def metrics_of(outcome: Outcome) -> dict[str, Any]:
    pnls = [trip.exit.pnl or Decimal(0) for trip in outcome.trips]
    return asdict(portfolio_metrics(pnls, outcome.curve, initial_capital=CAPITAL))


def page_of(played: Sequence[SymbolHistory], outcome: Outcome, **changes: Any) -> str:
    """The report of an outcome, as a caller would have it made."""
    parts: dict[str, Any] = {
        "title": "Backtest", "order": {"strategy": "ensemble", "initial_capital": CAPITAL},
        "outcome": outcome, "histories": played, "metrics": metrics_of(outcome), "roster": ROSTER,
    }  # fmt: skip
    return render_report(**(parts | changes))
