"""What a set of closed trades and an equity curve amount to.

Money is Decimal rupees, ratios are floats; a figure that is undefined is None, never infinity or
NaN, so that the result goes into JSON as it is.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from hftray.core.money import ZERO, paisa
from hftray.core.session import IST

TRADING_DAYS_A_YEAR = 252

EquityCurve = Sequence[tuple[datetime, Decimal]]
"""Equity in rupees at moments in time, oldest first."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Portfolio figures; percentages are 0..100, `win_rate` is 0..1, losses are positive."""

    trades: int
    wins: int
    losses: int
    win_rate: float | None
    profit_factor: float | None
    average_win: Decimal | None
    average_loss: Decimal | None
    expectancy: Decimal | None
    net_pnl: Decimal
    total_return_percent: float
    max_drawdown: Decimal
    max_drawdown_percent: float
    sharpe: float | None


def portfolio_metrics(
    pnls: Sequence[Decimal], curve: EquityCurve, *, initial_capital: Decimal
) -> Metrics:
    """All figures from the net P&L of closed trades and the curve, which starts from the capital.

    Win rate: wins / trades. Profit factor: sum of wins / sum of losses, None without a loss.
    Expectancy: mean net P&L of a trade. Total return: last equity over the initial capital, from
    the P&L when there is no curve. (Definitions: R. Pardo, "The Evaluation and Optimization of
    Trading Strategies", 2008.) Drawdown and Sharpe: see the functions of those names.
    """
    gains = [pnl for pnl in pnls if pnl > ZERO]
    falls = [-pnl for pnl in pnls if pnl < ZERO]
    net = sum(pnls, ZERO)
    final = curve[-1][1] if curve else initial_capital + net
    drop, drop_percent = max_drawdown(curve, initial_capital=initial_capital)
    return Metrics(
        trades=len(pnls),
        wins=len(gains),
        losses=len(falls),
        win_rate=len(gains) / len(pnls) if pnls else None,
        profit_factor=float(sum(gains, ZERO) / sum(falls, ZERO)) if falls else None,
        average_win=_mean(gains),
        average_loss=_mean(falls),
        expectancy=_mean(pnls),
        net_pnl=paisa(net),
        total_return_percent=_percent(final - initial_capital, initial_capital),
        max_drawdown=drop,
        max_drawdown_percent=drop_percent,
        sharpe=sharpe(daily_returns(curve, initial_capital=initial_capital)),
    )


def max_drawdown(curve: EquityCurve, *, initial_capital: Decimal) -> tuple[Decimal, float]:
    """The deepest fall from a peak: in rupees, and in percent of its peak.

    The two may belong to different falls: a large one from a high peak loses more rupees, an
    early one from a low peak may lose the larger share (M. Magdon-Ismail and A. Atiya, "Maximum
    Drawdown", 2004).
    """
    peak, worst, worst_percent = initial_capital, ZERO, 0.0
    for _, equity in curve:
        peak = max(peak, equity)
        worst = max(worst, peak - equity)
        worst_percent = max(worst_percent, _percent(peak - equity, peak))
    return paisa(worst), worst_percent


def daily_returns(curve: EquityCurve, *, initial_capital: Decimal) -> list[float]:
    """One return a trading day (IST), from each day's last equity; the first from the capital."""
    closes: dict[date, Decimal] = {}
    for moment, equity in curve:
        closes[moment.astimezone(IST).date()] = equity
    returns: list[float] = []
    before = initial_capital
    for equity in closes.values():
        if before <= ZERO:  # a ruined account has no returns
            break
        returns.append(float(equity / before) - 1.0)
        before = equity
    return returns


def sharpe(returns: Sequence[float]) -> float | None:
    """Annualised Sharpe ratio: mean / sample deviation x sqrt(252), risk-free rate 0.

    None with fewer than two returns or no deviation (W. F. Sharpe, "The Sharpe Ratio", 1994).
    """
    if len(returns) < 2:
        return None
    deviation = statistics.stdev(returns)
    # Equal returns leave float noise instead of an exact 0.
    if deviation < 1e-12:
        return None
    return statistics.fmean(returns) / deviation * math.sqrt(TRADING_DAYS_A_YEAR)


def _mean(amounts: Sequence[Decimal]) -> Decimal | None:
    return paisa(sum(amounts, ZERO) / len(amounts)) if amounts else None


def _percent(part: Decimal, whole: Decimal) -> float:
    return float(part / whole * 100) if whole > ZERO else 0.0
