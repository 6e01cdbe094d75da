"""One order as several: the exchange takes no more than a freeze quantity at once.

The parts' references are a function of the order's own, in both directions, so a new process finds
every part of an order and the order of every part. Part 0 carries the reference itself. Our
references begin with the day's year (20…); in those of further parts these two characters make
room for `P` and the part's number, so 20 characters stay 20.
"""

import re

from hftray.core.errors import OrderRejected
from hftray.core.orders import Leg

_DIGITS = "0123456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # those of `order_reference`
MOST_PARTS = len(_DIGITS)
_OWN = re.compile(r"(20|P[0-9A-HJ-NP-Z])(\d{6}[EXM][0-9A-Z]{8,11})")


def split(quantity: int, freeze: int | None) -> list[int]:
    """The quantities of the parts, the largest possible first; None knows no freeze quantity.

    OrderRejected for more parts than there are references.
    """
    if freeze is None or quantity <= freeze:
        return [quantity]
    whole, rest = divmod(quantity, freeze)
    parts = [freeze] * whole + ([rest] if rest else [])
    if len(parts) > MOST_PARTS:
        raise OrderRejected(
            f"quantity {quantity} needs {len(parts)} orders of {freeze}, allowed are {MOST_PARTS}"
        )
    return parts


def part_reference(reference: str, number: int) -> str:
    """The reference of a part. ValueError for a number or a reference that has none."""
    if number == 0:
        return reference
    if not 0 < number < MOST_PARTS or not reference.startswith("20"):
        raise ValueError(f"{reference} has no part {number}")
    return f"P{_DIGITS[number]}{reference[2:]}"


def order_of_part(reference: str) -> tuple[str, int] | None:
    """The order's reference and the part's number; None when the reference is not one of ours."""
    match = _OWN.fullmatch(reference)
    if match is None:
        return None
    mark, rest = match.groups()
    return (reference, 0) if mark == "20" else (f"20{rest}", _DIGITS.index(mark[1]))


def leg_of(reference: str) -> Leg | None:
    """What an order of ours is for, read from its reference; None when it is not one of ours."""
    own = order_of_part(reference)
    return None if own is None else {"E": Leg.ENTRY, "X": Leg.EXIT, "M": Leg.MANUAL}[own[0][8]]
