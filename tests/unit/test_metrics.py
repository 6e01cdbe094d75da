import json
import math
import statistics
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from hftray.core.metrics import daily_returns, max_drawdown, portfolio_metrics, sharpe

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
