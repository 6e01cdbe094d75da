"""What a backtest answers: figures, trades, the equity curve, and what was assumed.

Values are those that JSON knows, but for Decimal rupees, dates and times, which the API's schemas
write. A figure that is undefined is None, and `undefined` says why.
"""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from hftray.backtest.assumptions import assumptions
from hftray.backtest.history import SymbolHistory
from hftray.backtest.order import BacktestOrder
from hftray.backtest.outcome import Outcome, RoundTrip
from hftray.core.metrics import (
    UNDEFINED,
    EquityCurve,
    exposure_percent,
    portfolio_metrics,
)
from hftray.core.money import ZERO, paisa, rupees
from hftray.core.rules import TradingRules
from hftray.strategies.ensemble import voters_of


def answer_of(
    order: BacktestOrder,
    rules: TradingRules,
    histories: Sequence[SymbolHistory],
    outcome: Outcome,
) -> dict[str, Any]:
    """The fields of `api.schemas_backtest.BacktestResult`."""
    pnls = [trip.exit.pnl or ZERO for trip in outcome.trips]
    metrics = figures(order, histories, outcome)
    return {
        **asked(order),
        "voters": [voter.name for voter in voters_of(order.roster)],
        "final_capital": order.initial_capital + sum(pnls, ZERO),
        "candles": outcome.candles,
        "metrics": metrics,
        "undefined": {name: UNDEFINED[name] for name in UNDEFINED if metrics[name] is None},
        "buy_and_hold": held_figures(order, histories),
        "trades": [trade_of(trip) for trip in outcome.trips],
        "equity_curve": [{"time": time, "equity": equity} for time, equity in outcome.curve],
        "assumptions": assumptions(order, rules),
    }


def asked(order: BacktestOrder) -> dict[str, Any]:
    """The order as the API names its fields; `symbol` is None where there are several."""
    symbols, strategies = order.symbols, order.strategies
    return {
        "symbol": symbols[0] if len(symbols) == 1 else None,
        "symbols": list(symbols),
        "strategy": strategies[0] if len(strategies) == 1 else list(strategies),
        "parameters": {kind: dict(changes) for kind, changes in order.parameters.items()},
        "start_date": order.start_date,
        "end_date": order.end_date,
        "initial_capital": order.initial_capital,
        "interval": order.interval,
        "slippage_bps": order.slippage_bps,
        "charges": order.charges,
    }


def figures(
    order: BacktestOrder, histories: Sequence[SymbolHistory], outcome: Outcome
) -> dict[str, Any]:
    """`core.metrics.Metrics` of the outcome, and what its trades cost and moved.

    `turnover` is the value of all shares bought and sold. Time in the market is counted over the
    sessions played, and once where several symbols are held.
    """
    trips = outcome.trips
    pnls = [trip.exit.pnl or ZERO for trip in trips]
    metrics = portfolio_metrics(pnls, outcome.curve, initial_capital=order.initial_capital)
    turnover = sum((_traded(trip) for trip in trips), ZERO)
    held = [(trip.closed.entry_time, trip.exit.timestamp) for trip in trips]
    return {
        **asdict(metrics),
        "gross_pnl": sum((trip.exit.gross_pnl or ZERO for trip in trips), ZERO),
        "charges": sum((_charges(trip) for trip in trips), ZERO),
        "exposure_percent": exposure_percent(held, _market_time(histories)),
        "turnover": paisa(turnover),
        "turnover_ratio": float(turnover / order.initial_capital),
    }


def held_figures(order: BacktestOrder, histories: Sequence[SymbolHistory]) -> dict[str, Any]:
    """Buying at the first price and doing nothing: the same capital, in equal parts a symbol."""
    curve = buy_and_hold(histories, order.initial_capital)
    metrics = portfolio_metrics([], curve, initial_capital=order.initial_capital)
    return {
        "final_capital": curve[-1][1] if curve else order.initial_capital,
        "total_return_percent": metrics.total_return_percent,
        "cagr_percent": metrics.cagr_percent,
        "max_drawdown_percent": metrics.max_drawdown_percent,
        "max_drawdown_days": metrics.max_drawdown_days,
        "sharpe": metrics.sharpe,
    }


def buy_and_hold(histories: Sequence[SymbolHistory], capital: Decimal) -> EquityCurve:
    """Equity at each day's end when every symbol is bought at its first open and kept.

    Parts of shares, no charges, no dividends. A symbol that has no candle yet is cash, one that has
    none any more keeps its last price.
    """
    closes = _closing_times(histories)
    days = np.array([day.toordinal() for day in closes])
    growth = np.zeros(len(days))
    for history in histories:
        own = history.candles.rows(slice(history.start, None))
        lasts = np.flatnonzero(np.diff(own.day, append=-1))
        places = own.day[lasts].searchsorted(days, side="right") - 1
        growth += np.where(places >= 0, own.close[lasts][places] / own.open[0], 1.0)
    equity = float(capital) * growth / max(1, len(histories))
    return [
        (moment, paisa(rupees(value)))
        for moment, value in zip(closes.values(), equity.tolist(), strict=True)
    ]


def trade_of(trip: RoundTrip) -> dict[str, Any]:
    """One round trip with its prices, reasons and money."""
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
        "charges": _charges(trip),
        "pnl": leaving.pnl,
        "votes": closed.votes,
        "score": closed.score,
    }


def _charges(trip: RoundTrip) -> Decimal:
    return trip.entry_charges + (trip.exit.charges or ZERO)


def _traded(trip: RoundTrip) -> Decimal:
    closed = trip.closed
    return (closed.entry_price + (trip.exit.price or ZERO)) * closed.quantity


def _closing_times(histories: Sequence[SymbolHistory]) -> dict[date, datetime]:
    closes: dict[date, datetime] = {}
    for history in histories:
        for day, session in history.sessions.items():
            closes[day] = max(closes.get(day, session.closes), session.closes)
    return dict(sorted(closes.items()))


def _market_time(histories: Sequence[SymbolHistory]) -> timedelta:
    """How long at least one of the symbols traded."""
    hours: dict[date, tuple[datetime, datetime]] = {}
    for history in histories:
        for day, session in history.sessions.items():
            opens, closes = hours.get(day, (session.opens, session.closes))
            hours[day] = min(opens, session.opens), max(closes, session.closes)
    return sum((closes - opens for opens, closes in hours.values()), timedelta(0))
