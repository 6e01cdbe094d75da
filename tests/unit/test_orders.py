"""Orders: their life as a table, and the names that make a retry find the earlier order."""

import re
from datetime import date
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftray.core.errors import IllegalTransition
from hftray.core.orders import (
    Leg,
    OrderStatus,
    Side,
    TradeStatus,
    order_reference,
    require_trade_step,
)

LEGAL = {
    (TradeStatus.PENDING, TradeStatus.EXECUTED),
    (TradeStatus.PENDING, TradeStatus.FAILED),
}

steps = st.tuples(
    st.integers(0, 10**6),
    st.dates(date(2020, 1, 1), date(2099, 12, 31)),
    st.text(st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ&-0123456789"), min_size=1, max_size=12),
    st.sampled_from(Leg),
    st.integers(1, 10**6),
)


@pytest.mark.parametrize(("before", "after"), list(product(TradeStatus, TradeStatus)))
def test_every_step_of_a_trade(before, after):
    if (before, after) in LEGAL:
        require_trade_step(before, after)
        return
    with pytest.raises(IllegalTransition, match=f"from {before} to {after}"):
        require_trade_step(before, after)


def test_only_a_working_order_can_still_change():
    assert {status for status in OrderStatus if not status.terminal} == {OrderStatus.WORKING}


def test_sides_mirror():
    assert [side.sign for side in (Side.BUY, Side.SELL)] == [1, -1]
    assert all(side.opposite.opposite is side and side.opposite is not side for side in Side)


@given(steps)
def test_a_reference_is_twenty_letters_and_digits_that_show_day_and_leg(step):
    reference = order_reference(*step)
    assert re.fullmatch(r"[A-Z0-9]{20}", reference)
    assert reference.startswith(f"{step[1]:%Y%m%d}")
    assert reference[8] == {Leg.ENTRY: "E", Leg.EXIT: "X", Leg.MANUAL: "M"}[step[3]]
    assert order_reference(*step) == reference


@given(st.lists(steps, unique=True, min_size=2, max_size=50))
def test_references_of_different_steps_differ(several):
    assert len({order_reference(*step) for step in several}) == len(several)


def test_neighbouring_steps_of_a_busy_day_have_different_references():
    day = date(2026, 6, 1)
    names = {
        order_reference(run, day, symbol, leg, sequence)
        for run in (1, 11)
        for symbol in ("INFY", "ITC", "1NFY")
        for leg in (Leg.ENTRY, Leg.EXIT)
        for sequence in range(1, 500)
    }
    assert len(names) == 2 * 3 * 2 * 499


@given(steps)
def test_the_same_step_of_another_database_has_another_reference(step):
    names = {order_reference(*step, database) for database in ("", "of May", "of June")}
    assert len(names) == 3
    assert {name[:9] for name in names} == {order_reference(*step)[:9]}
