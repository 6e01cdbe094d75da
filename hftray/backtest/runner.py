"""A backtest as the API asks for it: one symbol, a range of days, some or all voters.

`run_backtest` is a plain function so that it can run on any worker of a cluster.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from hftray.backtest.interpreter import Interpreter, Outcome, RoundTrip
from hftray.core.candles import ist_day
from hftray.core.engine import SymbolEngine
from hftray.core.errors import NotFound
from hftray.core.ledger import RunInfo
from hftray.core.market import Candle, Instrument
from hftray.core.metrics import portfolio_metrics
from hftray.core.risk import RiskBook
from hftray.core.rules import SignalRules, TradingRules
from hftray.core.session import IST, TradingSession
from hftray.ports import Feed
from hftray.strategies.ensemble import Ensemble
from hftray.strategies.registry import check_parameters

SESSION_MINUTES = 375

BuildBook = Callable[[Mapping[str, Instrument], RunInfo, int], RiskBook]


def run_backtest(
    build_feed: Callable[[], Feed],
    build_book: BuildBook,
    rules: TradingRules,
    slippage_bps: float,
    order: Mapping[str, Any],
    roster: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Play the days of `order` (symbol, strategy, start_date, end_date, initial_capital).

    NotFound when the feed does not know the symbol or has no candles in the range.
    """
    return asyncio.run(_run(build_feed(), build_book, rules, slippage_bps, order, roster))


async def _run(
    feed: Feed,
    build_book: BuildBook,
    rules: TradingRules,
    slippage_bps: float,
    order: Mapping[str, Any],
    roster: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    symbol, capital = order["symbol"], Decimal(order["initial_capital"])
    instruments = await feed.instruments()
    if symbol not in instruments:
        raise NotFound(f"symbol {symbol}: known are {', '.join(sorted(instruments))}")
    start, end = order["start_date"], order["end_date"]
    earlier, played = await _history(feed, symbol, start, end, rules.signals)
    instrument = instruments[symbol]
    voters = Ensemble(chosen_rows(order["strategy"], roster), rules.signals.threshold)
    engine = SymbolEngine(instrument, rules, voters)
    engine.warm(earlier)
    run = RunInfo(0, "backtest", symbol, "backtest", capital)
    interpreter = Interpreter(
        engine, build_book({symbol: instrument}, run, 0), slippage_bps=slippage_bps
    )
    sessions = {day: feed.session(symbol, day) for day in {_day(c) for c in played}}
    outcome = play_days(interpreter, played, sessions)
    await feed.close()
    return _result(order, capital, outcome)


def play_days(
    interpreter: Interpreter,
    candles: Sequence[Candle],
    sessions: Mapping[date, TradingSession | None],
) -> Outcome:
    """Play candles day by day; days without a session are left out."""
    for day, of_day in groupby(candles, key=_day):
        session = sessions[day]
        if session is None:
            continue
        interpreter.open_session(session)
        for candle in of_day:
            interpreter.play(candle)
        interpreter.close_session()
    return interpreter.outcome


def chosen_rows(strategy: str, roster: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The voters to run: the active ones (ensemble), those of a kind, or one variant of a kind."""
    if strategy == "ensemble":
        return [row for row in roster if row["is_active"]]
    kind, _, variant = strategy.partition(":")
    row = next((row for row in roster if row["kind"] == kind), None)
    parameters = dict(row["parameters"]) if row else check_parameters(kind, {}).model_dump()
    if variant:
        parameters["variants"] = [variant]
    return [
        {"id": row["id"] if row else None, "name": kind, "kind": kind, "is_active": True,
         "parameters": parameters}
    ]  # fmt: skip


async def _history(
    feed: Feed, symbol: str, start: date, end: date, signals: SignalRules
) -> tuple[list[Candle], list[Candle]]:
    warm_up, minutes = signals.candle_buffer, signals.candle_minutes
    opens = datetime.combine(start, time(), IST)
    closes = datetime.combine(end + timedelta(days=1), time(), IST)
    days = (end - start).days + 1
    most = days * -(-SESSION_MINUTES // minutes) + warm_up
    candles = await feed.history(symbol, most, closes)
    played = [candle for candle in candles if candle.time >= opens]
    if not played:
        has = (
            f"the data covers {candles[0].time.astimezone(IST):%Y-%m-%d} to "
            f"{candles[-1].time.astimezone(IST):%Y-%m-%d}"
            if candles
            else "there are none before it either"
        )
        raise NotFound(f"no candles of {symbol} from {start} to {end}; {has}")
    return candles[: len(candles) - len(played)][-warm_up:], played


def _day(candle: Candle) -> date:
    return date.fromordinal(ist_day(candle.time))


def _result(order: Mapping[str, Any], capital: Decimal, outcome: Outcome) -> dict[str, Any]:
    pnls = [trip.exit.pnl or Decimal(0) for trip in outcome.trips]
    metrics = portfolio_metrics(pnls, outcome.curve, initial_capital=capital)
    return {
        **{key: order[key] for key in ("symbol", "strategy", "start_date", "end_date")},
        "initial_capital": capital,
        "final_capital": capital + sum(pnls, Decimal(0)),
        "candles": outcome.candles,
        "metrics": asdict(metrics),
        "trades": [_trade(trip) for trip in outcome.trips],
        "equity_curve": [{"time": time, "equity": equity} for time, equity in outcome.curve],
    }


def _trade(trip: RoundTrip) -> dict[str, Any]:
    closed, leaving = trip.closed, trip.exit
    return {
        "symbol": closed.symbol,
        "side": closed.side.value,
        "quantity": closed.quantity,
        "entry_time": closed.entry_time,
        "entry_price": closed.entry_price,
        "exit_time": leaving.timestamp,
        "exit_price": leaving.price,
        "exit_reason": leaving.reason,
        "gross_pnl": leaving.gross_pnl,
        "charges": trip.entry_charges + (leaving.charges or Decimal(0)),
        "pnl": leaving.pnl,
        "votes": closed.votes,
        "score": closed.score,
    }
