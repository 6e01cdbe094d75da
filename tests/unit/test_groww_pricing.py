"""Prices that go to Groww: marketable, on the tick, inside the circuit band, within their own."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftray.adapters.groww.pricing import (
    NO_LIMITS,
    entry_price,
    marketable,
    stop_price,
)
from hftray.adapters.groww.wire import CircuitLimits
from hftray.core.errors import OrderRejected
from hftray.core.market import Instrument
from hftray.core.orders import Side

D = Decimal
SHARE = Instrument("TCS", tick_size=D("0.10"))
BAND = CircuitLimits(D("90.00"), D("110.00"))
OPEN_BAND = NO_LIMITS

ticks = st.sampled_from([D("0.01"), D("0.05"), D("0.10"), D("0.50"), D(1), D(5)])
prices = st.decimals("0.05", "20000", places=2)
percents = st.decimals("0.01", "20", places=2)


@pytest.mark.parametrize(
    ("side", "last", "expected"),
    [
        (Side.BUY, "100.00", "101.00"),
        (Side.SELL, "100.00", "99.00"),
        (Side.BUY, "100.05", "101.00"),  # 101.0505 rounded inwards
        (Side.SELL, "99.95", "99.00"),  # 98.9505 rounded inwards
        (Side.BUY, "1.23", "1.30"),  # one percent is less than a tick: reach the last price
    ],
)
def test_an_exit_is_a_limit_a_percent_beyond_the_last_price(side, last, expected):
    price = marketable(D(last), side, SHARE, D("1.0"), OPEN_BAND)
    assert (price.limit, price.trigger, price.at_circuit) == (D(expected), None, None)


def test_an_exit_is_cut_at_the_circuit_limit_and_says_so():
    locked = marketable(D("110.00"), Side.BUY, SHARE, D("1.0"), BAND)
    assert (locked.limit, locked.at_circuit) == (D("110.00"), D("110.00"))
    falling = marketable(D("90.40"), Side.SELL, SHARE, D("1.0"), BAND)
    assert (falling.limit, falling.at_circuit) == (D("90.00"), D("90.00"))
    inside = marketable(D("105.00"), Side.BUY, SHARE, D("1.0"), BAND)
    assert (inside.limit, inside.at_circuit) == (D("106.00"), None)


@given(last=prices, side=st.sampled_from(Side), tick=ticks, percent=percents)
def test_a_marketable_price_is_on_the_tick_reaches_the_last_price_and_stays_in_its_band(
    last, side, tick, percent
):
    price = marketable(last, side, Instrument("X", tick_size=tick), percent, OPEN_BAND).limit
    assert price > 0
    assert price % tick == 0
    beyond = (price - last) * side.sign
    if price > tick or side is Side.BUY:
        assert beyond >= 0
    # Never further than the band, but for the one tick it may take to reach the last price.
    assert beyond <= max(last * percent / 100, tick)


@given(last=prices, side=st.sampled_from(Side), tick=ticks, percent=percents, width=percents)
def test_no_price_leaves_the_circuit_band(last, side, tick, percent, width):
    lower = (last * (1 - width / 100) / tick).to_integral_value("ROUND_CEILING") * tick
    upper = (last * (1 + width / 100) / tick).to_integral_value("ROUND_FLOOR") * tick
    if not 0 < lower <= upper:
        return
    band = CircuitLimits(lower, upper)
    furthest = upper if side is Side.BUY else lower
    share = Instrument("X", tick_size=tick)
    price = marketable(last, side, share, percent, band)
    assert price.limit % tick == 0
    assert (price.limit - furthest) * side.sign <= 0
    assert (price.at_circuit is None) or price.limit == furthest


def test_an_entry_never_pays_more_than_its_limit():
    assert entry_price(D("100.07"), Side.BUY, SHARE, BAND).limit == D("100.00")
    assert entry_price(D("100.03"), Side.SELL, SHARE, BAND).limit == D("100.10")
    assert entry_price(D("112.00"), Side.BUY, SHARE, BAND).limit == D("110.00")
    assert entry_price(D("112.00"), Side.BUY, SHARE, OPEN_BAND).limit == D("112.00")


@pytest.mark.parametrize(("side", "limit"), [(Side.BUY, "89.90"), (Side.SELL, "110.10")])
def test_an_entry_that_the_whole_band_lies_beyond_is_refused(side, limit):
    with pytest.raises(OrderRejected, match="circuit limit"):
        entry_price(D(limit), side, SHARE, BAND)


def test_a_guard_trades_a_percent_beyond_its_trigger_inside_the_band():
    guard = stop_price(D("98.00"), None, Side.SELL, SHARE, D("1.0"), BAND)
    assert (guard.trigger, guard.limit) == (D("98.00"), D("97.10"))
    short = stop_price(D("102.00"), None, Side.BUY, SHARE, D("1.0"), BAND)
    assert (short.trigger, short.limit) == (D("102.00"), D("103.00"))
    cut = stop_price(D("90.20"), None, Side.SELL, SHARE, D("1.0"), BAND)
    assert (cut.trigger, cut.limit, cut.at_circuit) == (D("90.20"), D("90.00"), D("90.00"))
    own = stop_price(D("98.00"), D("96.57"), Side.SELL, SHARE, D("1.0"), BAND)
    assert (own.trigger, own.limit) == (D("98.00"), D("96.60"))
    for wrong in ("-1", "0.01"):
        with pytest.raises(OrderRejected, match="trigger"):
            stop_price(D(wrong), None, Side.SELL, SHARE, D("1.0"), OPEN_BAND)
    with pytest.raises(OrderRejected, match="trigger"):
        stop_price(D("89.00"), None, Side.SELL, SHARE, D("1.0"), BAND)


@given(trigger=prices, side=st.sampled_from(Side), tick=ticks, percent=percents)
def test_a_guards_limit_never_lies_before_its_trigger(trigger, side, tick, percent):
    share = Instrument("X", tick_size=tick)
    if trigger < tick:
        return
    guard = stop_price(trigger, None, side, share, percent, OPEN_BAND)
    assert guard.limit % tick == 0
    assert guard.trigger % tick == 0
    assert (guard.limit - guard.trigger) * side.sign >= 0
