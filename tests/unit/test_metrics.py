import json
import math
import statistics
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from hftray.core.metrics import (
    UNDEFINED,
    cagr_percent,
    daily_returns,
    exposure_percent,
    max_drawdown,
    max_drawdown_days,
    portfolio_metrics,
    sharpe,
    sortino,
)

D = Decimal
CAPITAL = D(1_000)
START = datetime(2026, 6, 1, 4, tzinfo=UTC)


def curve(*equities, step=timedelta(days=1)):
    return [(START + index * step, D(equity)) for index, equity in enumerate(equities)]


def test_trade_figures():
    found = portfolio_metrics([D(30), D(10), D(-20), D(0)], [], initial_capital=CAPITAL)
    assert (found.trades, found.wins, found.losses) == (4, 2, 1)
    assert found.win_rate == 0.5
    assert found.profit_factor == 2.0
    assert (found.average_win, found.average_loss) == (D(20), D(20))
    assert (found.expectancy, found.net_pnl) == (D(5), D(20))
    assert found.total_return_percent == 2.0


def test_nothing_traded_leaves_the_ratios_undefined():
    found = portfolio_metrics([], [], initial_capital=CAPITAL)
    assert (found.trades, found.win_rate, found.profit_factor) == (0, None, None)
    assert (found.expectancy, found.sharpe, found.max_drawdown) == (None, None, 0)


def test_without_a_loss_there_is_no_profit_factor():
    assert portfolio_metrics([D(5)], [], initial_capital=CAPITAL).profit_factor is None


def test_drawdown_starts_from_the_initial_capital():
    assert max_drawdown(curve(900, 950), initial_capital=CAPITAL) == (D(100), 10.0)


def test_deepest_fall_in_rupees_and_in_percent_may_be_different_ones():
    falls = curve(800, 4_000, 3_700)  # 20 % of 1,000; 300 rupees of 4,000
    assert max_drawdown(falls, initial_capital=CAPITAL) == (D(300), 20.0)


def test_sharpe_is_annualised_from_each_days_last_equity():
    days = curve(1_010, 1_000, 1_030)
    noon = (START + timedelta(hours=2), D(1_010))
    morning = (START, D(500))  # not the day's last
    points = [morning, noon, *days[1:]]
    returns = [0.01, 1_000 / 1_010 - 1, 0.03]
    expected = statistics.mean(returns) / statistics.stdev(returns) * math.sqrt(252)
    found = portfolio_metrics([], points, initial_capital=CAPITAL)
    assert found.sharpe == pytest.approx(expected)
    assert found.total_return_percent == pytest.approx(3.0)


def test_a_day_is_a_day_in_india():
    late = datetime(2026, 6, 1, 20, tzinfo=UTC)  # 2 June, 01:30 IST
    points = [(START, D(1_010)), (late, D(1_020))]
    assert len(daily_returns(points, initial_capital=CAPITAL)) == 2


@pytest.mark.parametrize("returns", [[], [0.01], [0.01, 0.01, 0.01], [0.0, 0.0]])
def test_sharpe_is_undefined_without_variation(returns):
    assert sharpe(returns) is None


def test_a_ruined_account_has_no_further_returns():
    assert daily_returns(curve(0, 50), initial_capital=CAPITAL) == [-1.0]


def test_the_result_goes_into_json():
    found = portfolio_metrics([D(5)], curve(1_005), initial_capital=CAPITAL)
    text = json.dumps(asdict(found), default=str, allow_nan=False)
    assert json.loads(text)["net_pnl"] == "5.00"


@pytest.mark.parametrize(
    ("equities", "days"),
    [
        ([], 0),
        ([1_000, 1_000], 0),
        ([1_100, 1_200], 0),
        ([900, 950], 2),  # never regained: to the end
        ([1_100, 1_000, 1_050, 1_100, 1_200], 3),
        ([900, 1_000, 1_500, 1_490, 1_480, 1_470], 2),  # 10 % of 1,000; later 2 % for longer
        ([2_000, 1_900, 2_000, 1_000], 1),
        ([1_100, 1_100, 1_000, 1_100], 2),  # from the last day at the peak
    ],
)
def test_the_deepest_fall_lasts_until_its_peak_is_regained(equities, days):
    assert max_drawdown_days(curve(*equities), initial_capital=CAPITAL) == days


def test_drawdown_days_are_trading_days_not_points():
    points = curve(900, 950, 900, 1_000, step=timedelta(hours=1))  # one day in India
    assert max_drawdown_days(points, initial_capital=CAPITAL) == 0
    assert max_drawdown_days(points[:3], initial_capital=CAPITAL) == 1


def test_growth_is_compounded_over_252_trading_days():
    half_a_year = curve(*[1_000] * 125, 1_100)
    assert cagr_percent(half_a_year, initial_capital=CAPITAL) == pytest.approx(21.0)
    falling = curve(*[1_000] * 503, 810)
    assert cagr_percent(falling, initial_capital=CAPITAL) == pytest.approx(-10.0)


@pytest.mark.parametrize(
    ("equities", "growth"), [([], None), ([0], -100.0), ([-5], -100.0), ([10**9], None)]
)
def test_growth_that_no_number_tells(equities, growth):
    assert cagr_percent(curve(*equities), initial_capital=CAPITAL) == growth


def test_sortino_counts_falls_only():
    returns = [0.02, -0.01, 0.03, -0.03]
    downside = math.sqrt((0.01**2 + 0.03**2) / 4)
    expected = statistics.mean(returns) / downside * math.sqrt(252)
    assert sortino(returns) == pytest.approx(expected)
    assert sortino([*returns, 0.0]) < sortino(returns)


@pytest.mark.parametrize("returns", [[], [-0.01], [0.01, 0.0], [0.0, 0.0]])
def test_sortino_is_undefined_without_a_fall(returns):
    assert sortino(returns) is None


def test_calmar_is_growth_over_the_deepest_fall():
    found = portfolio_metrics([], curve(900, 1_100), initial_capital=CAPITAL)
    assert found.calmar == pytest.approx(found.cagr_percent / 10)
    assert portfolio_metrics([], curve(1_100), initial_capital=CAPITAL).calmar is None


def hour(number):
    return START + timedelta(hours=number)


@pytest.mark.parametrize(
    ("held", "percent"),
    [
        ([], 0.0),
        ([(0, 1)], 10.0),
        ([(5, 6), (0, 2)], 30.0),
        ([(0, 4), (1, 2), (3, 5)], 50.0),  # two symbols at once count once
        ([(0, 1), (1, 2)], 20.0),
        ([(0, 10)], 100.0),
    ],
)
def test_time_in_the_market(held, percent):
    spans = [(hour(begin), hour(end)) for begin, end in held]
    assert exposure_percent(spans, timedelta(hours=10)) == pytest.approx(percent)
    assert exposure_percent(spans, timedelta(0)) is None


@pytest.mark.parametrize(
    ("pnls", "points"), [([], []), ([D(5)], [1_005]), ([D(-5), D(-5)], [995, 990])]
)
def test_every_undefined_figure_has_a_reason(pnls, points):
    found = asdict(portfolio_metrics(pnls, curve(*points), initial_capital=CAPITAL))
    assert {name for name, figure in found.items() if figure is None} <= set(UNDEFINED)
    assert set(UNDEFINED) <= {*found, "exposure_percent"}
