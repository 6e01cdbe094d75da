"""What a share is called, and what somebody is told who named another."""

from datetime import date

import pytest

from hftray.core.orders import Leg, order_reference
from hftray.core.symbols import alternatives, exchange_of, share_name, symbol_on


@pytest.mark.parametrize(
    ("symbol", "exchange", "name"),
    [("TCS", "NSE", "TCS"), ("BSE:TCS", "BSE", "TCS"), ("BSE", "NSE", "BSE")],
)
def test_a_symbol_says_exchange_and_name(symbol, exchange, name):
    assert (exchange_of(symbol), share_name(symbol)) == (exchange, name)
    assert symbol_on(exchange, name) == symbol


def test_few_symbols_are_all_named():
    assert alternatives(["X"], ["TCS", "ITC"]) == "known are ITC, TCS"
    assert alternatives(["X"], ["BSE:TCS", "ITC"]) == "known are BSE:TCS, ITC"


def test_twins_on_bse_are_not_listed_one_by_one():
    known = ["TCS", "ITC", "BSE:TCS", "BSE:ITC"]
    assert alternatives(["X"], known) == "known are ITC, TCS, and each of them on BSE as BSE:NAME"


def test_of_many_symbols_the_nearest_are_named():
    known = {*(f"SHARE{number}" for number in range(100)), "RELIANCE", "BSE:RELIANCE"}
    assert "RELIANCE" in alternatives(["RELIANC"], known)
    assert "BSE:RELIANCE" in alternatives(["BSE:RELIANC"], known)
    assert alternatives(["QQQ"], known) == "nothing has a similar name"


def test_orders_of_both_exchanges_have_references_of_their_own():
    day = date(2026, 6, 1)
    one, other = (order_reference(1, day, name, Leg.ENTRY, 1) for name in ("TCS", "BSE:TCS"))
    assert one != other
    assert other.isalnum()
    assert len(other) == len(one) == 20
