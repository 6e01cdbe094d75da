import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftray.core.orders import Side
from hftray.core.sizing import entry_band, position_size

D = Decimal


def size(**changes):
    usual = {
        "capital": D(100_000),
        "risk_percent": D(2),
        "atr": 50.0,
        "stop_multiple": 2.0,
        "price": D(1_000),
        "fallback_stop_percent": 1.5,
        "free": D(100_000),
        "max_exposure_percent": D(25),
    }
    return position_size(**(usual | changes))


def test_specification_example_gives_20_shares():
    assert size() == 20


@pytest.mark.parametrize("atr", [None, 0.0, -1.0, math.nan, math.inf])
def test_without_an_atr_the_stop_is_a_percentage_of_the_price(atr):
    # 2,000 at risk / (1,000 x 1.5 %) = 133.3
    assert size(atr=atr, max_exposure_percent=D(500), free=D(500_000)) == 133


@pytest.mark.parametrize(
    ("changes", "shares"),
    [
        ({"price": D(1_250)}, 20),  # exactly 25 % of capital
        ({"price": D("1250.01")}, 19),
        ({"free": D(5_000)}, 5),
        ({"free": D("4999.99")}, 4),
        ({"free": D(999)}, 0),
        ({"free": D(0)}, 0),
        ({"capital": D(0)}, 0),
        ({"capital": D(-5)}, 0),
        ({"price": D(0)}, 0),
        ({"atr": 1_000.0}, 1),  # exactly the risk of one share
        ({"atr": 1_000.1}, 0),
        ({"stop_multiple": 0.0}, 0),
    ],
)
def test_size_is_cut_to_what_risk_exposure_and_free_capital_allow(changes, shares):
    assert size(**changes) == shares


@given(
    st.decimals("0", "1000000", places=2),
    st.decimals("0", "1000000", places=2),
    st.decimals("0.05", "9999", places=2),
    st.none() | st.floats(0.01, 500),
)
def test_no_size_costs_more_than_is_free(capital, free, price, atr):
    shares = size(capital=capital, free=free, price=price, atr=atr)
    assert shares >= 0
    assert shares * price <= free
    assert shares * price * 4 <= capital


def test_a_buy_may_cost_up_to_its_limit_and_a_short_may_deploy_the_far_edge():
    band = {"percent": D("0.5"), "tick": D("0.05")}
    assert entry_band(Side.BUY, 100.25, **band) == (D("100.75"), D("100.75"))
    assert entry_band(Side.SELL, 100.25, **band) == (D("99.75"), D("100.80"))
