from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftray.core.money import paisa, portion, round_down_to_tick, round_to_tick, round_up_to_tick

D = Decimal
TICKS = [D("0.01"), D("0.05"), D("0.10"), D("0.50"), D("1"), D("5")]
amounts = st.decimals("0.01", "99999", places=4)


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        (D("1.005"), "1.01"),
        (D("-1.005"), "-1.01"),
        (D("1.0049"), "1.00"),
        (2.675, "2.68"),  # a person sees 2.675, whatever the float holds
        (7, "7.00"),
    ],
)
def test_half_a_paisa_goes_away_from_zero(amount, expected):
    assert str(paisa(amount)) == expected


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), D("NaN")])
def test_money_is_a_number(amount):
    with pytest.raises(ValueError, match="not an amount of money"):
        paisa(amount)


@pytest.mark.parametrize(
    ("price", "tick", "down", "nearest", "up"),
    [
        (100.12, D("0.05"), "100.10", "100.10", "100.15"),
        (100.125, D("0.05"), "100.10", "100.15", "100.15"),
        (100.15, D("0.05"), "100.15", "100.15", "100.15"),
        (20_003, D("5"), "20000", "20005", "20005"),
        (D("1402.37"), D("0.10"), "1402.30", "1402.40", "1402.40"),
    ],
)
def test_prices_land_on_the_tick(price, tick, down, nearest, up):
    assert round_down_to_tick(price, tick) == D(down)
    assert round_to_tick(price, tick) == D(nearest)
    assert round_up_to_tick(price, tick) == D(up)


def test_float_noise_does_not_move_a_price_by_a_tick():
    noisy = 0.1 + 0.2  # 0.30000000000000004
    assert round_up_to_tick(noisy, D("0.05")) == D("0.30")
    assert round_down_to_tick(0.1 * 3 - 1e-16 * 3, D("0.05")) == D("0.30")


@given(amounts, st.sampled_from(TICKS))
def test_directional_rounding_brackets_the_price_within_one_tick(price, tick):
    down, up = round_down_to_tick(price, tick), round_up_to_tick(price, tick)
    assert down <= price <= up
    assert up - down <= tick
    assert down % tick == up % tick == 0
    assert round_to_tick(price, tick) in (down, up)


@given(amounts, st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_dividing_an_amount_loses_no_paisa(amount, parts):
    total, whole = paisa(amount), sum(parts)
    left, taken = whole, D(0)
    for part in parts:
        taken += portion(total, left, whole) - portion(total, left - part, whole)
        left -= part
    assert taken == total


def exactly(price, tick, rounding):
    return (D(repr(round(price, 8))) / tick).to_integral_value(rounding) * tick


@given(
    st.one_of(
        st.floats(0, 1e7),
        st.floats(-100, 100),
        # On a tick and half-way between two, or so near that only exact arithmetic can tell.
        st.builds(lambda halves, off: halves * 0.025 + off, st.integers(0, 10**6),
                  st.sampled_from([0.0, 1e-12, -1e-12, 4e-9, -4e-9, 6e-9, -6e-9, 1e-7, -1e-7])),
    ),
    st.sampled_from([D("0.0001"), *TICKS]),
)  # fmt: skip
def test_a_float_price_is_rounded_as_its_shortest_decimal_is(price, tick):
    assert round_to_tick(price, tick) == exactly(price, tick, "ROUND_HALF_UP")
    assert round_down_to_tick(price, tick) == exactly(price, tick, "ROUND_FLOOR")
    assert round_up_to_tick(price, tick) == exactly(price, tick, "ROUND_CEILING")


@pytest.mark.parametrize("price", [float("nan"), float("inf"), float("-inf")])
def test_a_price_is_a_number(price):
    with pytest.raises(ValueError, match="not an amount of money"):
        round_to_tick(price, TICKS[0])
