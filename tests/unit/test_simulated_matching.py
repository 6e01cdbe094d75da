"""The price rule that simulation, replay and backtest share, on hand-drawn prices."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftray.core.market import Candle, Instrument
from hftray.core.matching import (
    average_price,
    fill_price,
    first_part,
    level_price,
    refused,
    taker_price,
    trigger_price,
)
from hftray.core.orders import Execution, Leg, Order, Side

SHARE = Instrument("TCS", tick_size=Decimal("0.05"))
NOON = datetime(2026, 11, 20, 6, 30, tzinfo=UTC)
BUY = Order("R1", "TCS", "NSE", Leg.ENTRY, Side.BUY, 10, NOON)
SELL = replace(BUY, side=Side.SELL)


def candle(opened: float, high: float, low: float, close: float) -> Candle:
    return Candle("TCS", NOON, opened, high, low, close, 1000)


@pytest.mark.parametrize(
    ("side", "price", "bps", "pays"),
    [
        (Side.BUY, 100.0, 0, "100.00"),
        (Side.BUY, 100.0, 10, "100.10"),
        (Side.SELL, 100.0, 10, "99.90"),
        (Side.BUY, 100.0, 1, "100.05"),  # 100.01 is rounded against the taker
        (Side.SELL, 100.0, 1, "99.95"),
        (Side.BUY, 0.1 + 0.2, 0, "0.30"),  # float noise costs no tick
        (Side.SELL, 0.02, 0, "0.05"),  # there is no price under one tick
    ],
)
def test_the_taker_pays_slippage_and_the_rounding(side, price, bps, pays):
    assert taker_price(price, side, SHARE, slippage_bps=bps) == Decimal(pays)


@pytest.mark.parametrize(
    ("order", "price", "fills"),
    [
        (replace(BUY, limit_price=Decimal("100.50")), 100.0, "100.10"),
        (replace(BUY, limit_price=Decimal("100.05")), 100.0, "100.05"),
        (replace(BUY, limit_price=Decimal("100.00")), 100.05, None),
        (replace(SELL, limit_price=Decimal("99.95")), 100.0, "99.95"),
        (replace(SELL, limit_price=Decimal("100.05")), 100.0, None),
        (BUY, 100.0, "100.10"),
    ],
)
def test_a_limit_is_never_passed(order, price, fills):
    expected = None if fills is None else Decimal(fills)
    assert fill_price(order, price, SHARE, slippage_bps=10) == expected


@given(
    side=st.sampled_from(Side),
    price=st.floats(1, 50_000),
    limit=st.decimals("1", "50000", places=2),
    bps=st.floats(0, 100),
    tick=st.sampled_from(["0.01", "0.05", "0.10", "5.00"]),
)
def test_fills_lie_on_the_tick_within_the_limit_and_never_better_than_the_market(
    side, price, limit, bps, tick
):
    share = replace(SHARE, tick_size=Decimal(tick))
    order = replace(BUY, side=side, limit_price=limit)
    filled = fill_price(order, price, share, slippage_bps=bps)
    if filled is None:
        return
    assert filled % share.tick_size == 0
    assert (limit - filled) * side.sign >= 0
    assert (float(filled) - price) * side.sign >= -1e-6


@pytest.mark.parametrize(
    ("level", "bar", "before", "reached"),
    [
        # A long position's stop at 95, the market was above it.
        ("95", (100, 101, 94, 96), 100.5, 95),
        ("95", (93, 97, 92, 96), 100.5, 93),  # opened under it, and came back
        ("95", (93, 94, 92, 94), 100.5, 93),  # opened under it, and never came back
        # Its target at 110, the market was below it.
        ("110", (100, 112, 99, 111), 100.5, 110),
        ("110", (111, 113, 109, 112), 100.5, 111),  # a gap in its favour
        # Opened exactly on the level.
        ("95", (95, 96, 94, 95), 100.0, 95),
        # Entered at this candle's open, so the open is where the level was safe.
        ("95", (100, 101, 94, 96), 100.0, 95),
        # Nothing known before: only a level outside the candle was jumped over.
        ("95", (93, 97, 92, 96), None, 95),
        ("95", (93, 94, 92, 94), None, 93),
    ],
)
def test_a_level_inside_a_candle_trades_at_the_level_or_at_the_gap(level, bar, before, reached):
    assert level_price(Decimal(level), candle(*bar), before) == reached


def test_a_triggered_exit_pays_slippage_too():
    stop = replace(SELL, leg=Leg.EXIT, trigger=Decimal("95.00"))
    filled = trigger_price(stop, candle(100, 101, 94, 96), SHARE, before=100.0, slippage_bps=10)
    assert filled == Decimal("94.90")


@given(reference=st.text("0123456789ABC", min_size=5, max_size=20), quantity=st.integers(1, 500))
def test_chance_is_a_function_of_the_reference(reference, quantity):
    part = first_part(reference, quantity, rate=1.0, seed=3)
    assert part == first_part(reference, quantity, rate=1.0, seed=3)
    assert 1 <= part < max(2, quantity)
    assert first_part(reference, quantity, rate=0.0, seed=3) == quantity
    assert refused(reference, rate=1.0, seed=3)
    assert not refused(reference, rate=0.0, seed=3)


def test_a_rate_is_the_share_of_orders_it_strikes():
    struck = sum(refused(f"ORDER{number}", rate=0.2, seed=9) for number in range(2000))
    assert 330 < struck < 470


def test_the_average_price_is_weighted_by_shares():
    fills = [
        Execution("a", 1, Decimal("100.00"), NOON),
        Execution("b", 2, Decimal("100.05"), NOON),
    ]
    assert average_price(fills) == Decimal("100.0333")
    assert average_price([]) is None
