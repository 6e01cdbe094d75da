"""Orders above the freeze quantity: their parts, and whose part a reference is."""

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftray.adapters.groww.parts import (
    MOST_PARTS,
    leg_of,
    order_of_part,
    part_reference,
    split,
)
from hftray.core.errors import OrderRejected
from hftray.core.orders import Leg, order_reference

REFERENCE = order_reference(7, date(2026, 11, 20), "TCS", Leg.EXIT, 3)


@given(quantity=st.integers(1, 10**6), freeze=st.integers(1, 10**5))
def test_the_parts_add_up_and_none_is_above_the_freeze_quantity(quantity, freeze):
    if quantity > freeze * MOST_PARTS:
        with pytest.raises(OrderRejected, match=str(quantity)):
            split(quantity, freeze)
        return
    parts = split(quantity, freeze)
    assert sum(parts) == quantity
    assert all(0 < part <= freeze for part in parts)
    # All but the last are full, which is how a new process sees that another may follow.
    assert all(part == freeze for part in parts[:-1])


def test_without_a_freeze_quantity_there_is_one_part():
    assert split(10**7, None) == [10**7]


@given(
    number=st.integers(0, MOST_PARTS - 1),
    leg=st.sampled_from(Leg),
    sequence=st.integers(0, 500),
    day=st.dates(date(2026, 1, 1), date(2099, 12, 31)),
)
def test_a_parts_reference_leads_back_to_its_order(number, leg, sequence, day):
    reference = order_reference(1, day, "RELIANCE", leg, sequence)
    part = part_reference(reference, number)
    assert len(part) == 20
    assert part.isalnum()
    assert order_of_part(part) == (reference, number)
    assert leg_of(part) is leg


def test_part_0_carries_the_reference_itself_and_no_two_parts_share_one():
    references = {part_reference(REFERENCE, number) for number in range(MOST_PARTS)}
    assert part_reference(REFERENCE, 0) == REFERENCE
    assert len(references) == MOST_PARTS


@pytest.mark.parametrize(
    "reference", ["", "Ab-654321234-1628190", "SQ2026112000000001", "12345678", REFERENCE.lower()]
)
def test_other_references_are_not_taken_for_ours(reference):
    assert order_of_part(reference) is None
    assert leg_of(reference) is None


def test_a_part_that_cannot_be_named_is_refused():
    with pytest.raises(ValueError, match=REFERENCE):
        part_reference(REFERENCE, MOST_PARTS)
