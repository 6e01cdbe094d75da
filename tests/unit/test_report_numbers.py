"""How a report writes rupees, percentages and moments."""

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftray.backtest.report_numbers import (
    DASH,
    grouped,
    moment_text,
    percent_text,
    ratio_text,
    rupees_text,
    span_text,
)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "₹0.00"),
        ("999.5", "₹999.50"),
        ("1000", "₹1,000.00"),
        ("100000", "₹1,00,000.00"),
        ("123456789.994", "₹12,34,56,789.99"),
        ("-123456.785", "−₹1,23,456.79"),
        ("-0.004", "₹0.00"),
    ],
)
def test_rupees_stand_in_lakhs_and_crores(amount: str, text: str) -> None:
    assert rupees_text(Decimal(amount)) == text


def test_a_signed_amount_shows_its_gain() -> None:
    assert rupees_text(Decimal("12.3"), signed=True) == "+₹12.30"
    assert rupees_text(Decimal(0), signed=True) == "₹0.00"
    assert rupees_text(Decimal("-12.3"), signed=True) == "−₹12.30"
    assert rupees_text(100_000.4, paise=False) == "₹1,00,000"


@given(st.integers(-(10**15), 10**15))
def test_grouping_moves_no_digit(count: int) -> None:
    text = grouped(count)
    assert re.fullmatch(r"−?(\d{1,3}|\d{1,2}(,\d{2})*,\d{3})", text)
    assert int(text.replace(",", "").replace("−", "-")) == count


@pytest.mark.parametrize("nothing", [None, float("nan"), float("inf"), Decimal("NaN")])
def test_what_is_undefined_is_a_dash(nothing: float | None) -> None:
    assert rupees_text(nothing) == ratio_text(nothing) == percent_text(nothing) == DASH


def test_ratios_and_percentages() -> None:
    assert ratio_text(-1.005) == "−1.00"  # halves to even, as Python rounds a Decimal
    assert percent_text(12.345678, signed=True) == "+12.35%"
    assert percent_text(-0.001, signed=True) == "0.00%"
    assert percent_text(123456.0) == "1,23,456.00%"


def test_moments_are_indias() -> None:
    assert moment_text(datetime(2025, 6, 2, 20, 0, tzinfo=UTC)) == "03 Jun 2025 01:30"


def test_spans_name_their_two_largest_units() -> None:
    assert span_text(timedelta(minutes=55)).split() == ["55", "min"]
    assert span_text(timedelta(days=2, hours=3, minutes=4)).split() == ["2", "d", "3", "h"]
    assert span_text(timedelta(0)).split() == ["0", "min"]
