"""What a set of closed trades and an equity curve amount to.

Money is Decimal rupees, ratios are floats; a figure that is undefined is None, never infinity or
NaN, so that the result goes into JSON as it is.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal

from hftray.core.money import ZERO, paisa
from hftray.core.session import IST

TRADING_DAYS_A_YEAR = 252

_STEPS = 1 << 53

EquityCurve = Sequence[tuple[datetime, Decimal]]
"""Equity in rupees at moments in time, oldest first."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Portfolio figures; percentages are 0..100, `win_rate` is 0..1, losses are positive.

    `max_drawdown_days` counts trading days.
    """

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
    max_drawdown_days: int
    cagr_percent: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None


UNDEFINED = {
    "win_rate": "no trade was closed",
    "profit_factor": "no trade lost",
    "average_win": "no trade won",
    "average_loss": "no trade lost",
    "expectancy": "no trade was closed",
    "cagr_percent": "no trading day, or a growth beyond any number",
    "sharpe": "fewer than two trading days, or every day returned the same",
    "sortino": "fewer than two trading days, or none that lost",
    "calmar": "no drawdown to compare with",
    "exposure_percent": "no session was played",
}
"""Why a figure may be None, in words for whoever reads the result."""


def portfolio_metrics(
    pnls: Sequence[Decimal], curve: EquityCurve, *, initial_capital: Decimal
) -> Metrics:
    """All figures from the net P&L of closed trades and the curve, which starts from the capital.

    Win rate: wins / trades. Profit factor: sum of wins / sum of losses, None without a loss.
    Expectancy: mean net P&L of a trade. Total return: last equity over the initial capital, from
    the P&L when there is no curve. (Definitions: R. Pardo, "The Evaluation and Optimization of
    Trading Strategies", 2008.) Calmar: annual growth over the deepest fall in percent (T. W. Young,
    "Calmar Ratio: A Smoother Tool", Futures, 1991). The others: see the functions of their names.
    """
    gains = [pnl for pnl in pnls if pnl > ZERO]
    falls = [-pnl for pnl in pnls if pnl < ZERO]
    net = sum(pnls, ZERO)
    final = curve[-1][1] if curve else initial_capital + net
    drop, drop_percent = max_drawdown(curve, initial_capital=initial_capital)
    closes = daily_equity(curve)
    returns = _returns(closes, initial_capital)
    growth = _growth(closes, initial_capital)
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
        max_drawdown_days=_drawdown_days([initial_capital, *closes]),
        cagr_percent=growth,
        sharpe=sharpe(returns),
        sortino=sortino(returns),
        calmar=growth / drop_percent if growth is not None and drop_percent > 0 else None,
    )


def max_drawdown(curve: EquityCurve, *, initial_capital: Decimal) -> tuple[Decimal, float]:
    """The deepest fall from a peak: in rupees, and in percent of its peak.

    The two may belong to different falls: a large one from a high peak loses more rupees, an
    early one from a low peak may lose the larger share (M. Magdon-Ismail and A. Atiya, "Maximum
    Drawdown", 2004).
    """
    peak, worst = initial_capital, ZERO
    share, of = ZERO, Decimal(1)  # the largest part of its peak, as a fraction
    for _, equity in curve:
        if equity >= peak:
            peak = equity
            continue
        fall = peak - equity
        worst = max(worst, fall)
        if peak > ZERO and fall * of > share * peak:
            share, of = fall, peak
    return paisa(worst), _percent(share, of)


def max_drawdown_days(curve: EquityCurve, *, initial_capital: Decimal) -> int:
    """Trading days from the peak before the deepest fall (in percent) until it is regained.

    Judged by each day's last equity; a fall that is not made good lasts to the end of the curve.
    """
    return _drawdown_days([initial_capital, *daily_equity(curve)])


def _drawdown_days(closes: Sequence[Decimal]) -> int:
    highest = peak = 0
    share, of, worst = ZERO, Decimal(1), 0.0
    for day, equity in enumerate(closes):
        top = closes[highest]
        if equity >= top:
            highest = day
        elif top > ZERO and (fall := top - equity) * of > share * top:
            share, of = fall, top
            if (percent := _percent(fall, top)) > worst:
                peak, worst = highest, percent
    if worst == 0.0:
        return 0
    regained = (day for day in range(peak + 1, len(closes)) if closes[day] >= closes[peak])
    return next(regained, len(closes) - 1) - peak


def cagr_percent(curve: EquityCurve, *, initial_capital: Decimal) -> float | None:
    """Compound growth a year: (last / initial) ^ (252 / trading days) - 1, in percent.

    -100 for a ruined account; None without a day, or where the figure overflows.
    """
    return _growth(daily_equity(curve), initial_capital)


def _growth(closes: Sequence[Decimal], initial_capital: Decimal) -> float | None:
    if not closes:
        return None
    if closes[-1] <= ZERO:
        return -100.0
    years = len(closes) / TRADING_DAYS_A_YEAR
    try:
        return (math.pow(float(closes[-1] / initial_capital), 1 / years) - 1) * 100
    except OverflowError:
        return None


def daily_equity(curve: EquityCurve) -> list[Decimal]:
    """The last equity of each trading day (IST)."""
    closes: dict[date, Decimal] = {}
    for moment, equity in curve:
        local = moment if moment.tzinfo is IST else moment.astimezone(IST)
        closes[local.date()] = equity
    return list(closes.values())


def daily_returns(curve: EquityCurve, *, initial_capital: Decimal) -> list[float]:
    """One return a trading day (IST), from each day's last equity; the first from the capital."""
    return _returns(daily_equity(curve), initial_capital)


def _returns(closes: Sequence[Decimal], before: Decimal) -> list[float]:
    returns: list[float] = []
    for equity in closes:
        if before <= ZERO:  # a ruined account has no returns
            break
        returns.append(0.0 if equity == before else float(equity / before) - 1.0)
        before = equity
    return returns


def sharpe(returns: Sequence[float]) -> float | None:
    """Annualised Sharpe ratio: mean / sample deviation x sqrt(252), risk-free rate 0.

    None with fewer than two returns or no deviation (W. F. Sharpe, "The Sharpe Ratio", 1994).
    """
    if len(returns) < 2:
        return None
    deviation = _deviation(returns)
    # Equal returns leave float noise instead of an exact 0.
    if deviation < 1e-12:
        return None
    return statistics.fmean(returns) / deviation * math.sqrt(TRADING_DAYS_A_YEAR)


def _deviation(returns: Sequence[float]) -> float:
    """`statistics.stdev`, to the last bit: exact sums, and one rounding.

    Returns of less than 100 % are whole numbers of 2^-53; sums of such are quick.
    """
    wholes = [r * _STEPS for r in returns]
    if not all(whole.is_integer() for whole in wholes):
        return statistics.stdev(returns)
    steps, count = [int(whole) for whole in wholes], len(wholes)
    squares = count * sum([step * step for step in steps]) - sum(steps) ** 2
    return _root(squares, count * (count - 1) * _STEPS * _STEPS)


def _root(numerator: int, denominator: int) -> float:
    """The square root of the fraction, rounded once."""
    shift = max(0, 110 - numerator.bit_length() + denominator.bit_length())
    shift += shift % 2
    scaled, rest = divmod(numerator << shift, denominator)
    root = math.isqrt(scaled)
    if rest or root * root != scaled:
        root |= 1  # more than 53 digits, so this last one only says that it is not exact
    return root / (1 << shift // 2)


def sortino(returns: Sequence[float]) -> float | None:
    """Annualised Sortino ratio: mean / downside deviation x sqrt(252), target return 0.

    The downside deviation is the root of the mean square of all returns, gains counting as 0
    (F. A. Sortino and L. N. Price, "Performance Measurement in a Downside Risk Framework", 1994).
    None with fewer than two returns or no loss among them.
    """
    if len(returns) < 2:
        return None
    downside = math.sqrt(math.fsum([r**2 for r in returns if r < 0.0]) / len(returns))
    if downside < 1e-12:
        return None
    return statistics.fmean(returns) / downside * math.sqrt(TRADING_DAYS_A_YEAR)


def exposure_percent(
    held: Iterable[tuple[datetime, datetime]], market_time: timedelta
) -> float | None:
    """Share of the market's open time in which anything was held, in percent; None without time.

    `held` are the spans from entry to exit, in any order; where spans overlap, time counts once.
    """
    if market_time <= timedelta(0):
        return None
    total = timedelta(0)
    until: datetime | None = None
    for begin, end in sorted(held):
        since = begin if until is None else max(begin, until)
        if end > since:
            total += end - since
            until = end
    return total / market_time * 100


def _mean(amounts: Sequence[Decimal]) -> Decimal | None:
    return paisa(sum(amounts, ZERO) / len(amounts)) if amounts else None


def _percent(part: Decimal, whole: Decimal) -> float:
    return float(part / whole * 100) if whole > ZERO else 0.0
