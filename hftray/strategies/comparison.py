"""How votes compare: one set of operators for a single candle and for a whole history.

A `Value` is a float (live, one candle) or an array of floats (history, all candles); every
function here uses only operators that both have, so the two cannot disagree. A `Pair` is a value
on the candle before and now.

Prices are multiples of a tick, so two averages of them can be equal, and then the rounding of a
running sum would decide. Values within a relative 1e-9 are therefore equal. A comparison with
NaN or infinity is never true.

`if ... is False` only saves time: it is how a float mostly answers, and then the rest does not
matter; an array is never `False` itself and goes on.
"""

from typing import Any

import numpy as np

from hftray.core.candles import writable
from hftray.strategies.rough import Rough, exact, parts

Value = Any
"""A float, or an array of floats."""

Truth = Any
"""A bool, or an array of bools."""

Pair = tuple[Value, Value]
"""A value on the candle before, and now."""


class Columns(tuple[Value, Value]):
    """The pair of a whole column: all but its last value, all but its first.

    What is asked of both, `crosses_above` and its like ask of the `whole` column once.
    """

    whole: Value

    @classmethod
    def of(cls, column: Value, before: Value, now: Value) -> "Columns":
        """The pair `before` and `now` of this column."""
        pair = cls((before, now))
        pair.whole = column
        return pair


TIE = 1e-9
"""Two values whose relative difference is not above this are equal."""

# Half, because it multiplies the sum of two nearly equal numbers.
_HALF_TIE = TIE / 2
_INFINITE = float("inf")
_NEITHER = 2


def higher(a: float, b: float) -> bool:
    """Whether a lies above b by more than rounding. It takes columns as well."""
    return a - b > _HALF_TIE * (abs(a) + abs(b))


def above(a: Value, b: Value) -> Truth:
    """Whether a lies above b by more than rounding."""
    if isinstance(a, Rough) or isinstance(b, Rough):
        sides = _sides(a, b)
        if sides is not None:
            return sides == 1
    return higher(a, b)


def crosses_above(a: Pair, b: Pair) -> Truth:
    """Whether a was at or below b on the candle before and is above it now."""
    a_before, a_now = a
    b_before, b_now = b
    if isinstance(a_now, float) and isinstance(b_now, float) and not a_now > b_now:
        return False
    if isinstance(a, Columns) or isinstance(b, Columns):
        whole, other = _whole(a), _whole(b)
        if whole is not None and other is not None:
            sides = _sides(whole, other)
            if sides is not None:
                return (sides[:-1] <= 0) & (sides[1:] == 1)
            size = abs(whole) + abs(other)
            over = whole - other > _HALF_TIE * size
            return ~over[:-1] & _finite(size)[:-1] & over[1:]
    size = abs(a_before) + abs(b_before)
    was_not = a_before - b_before <= _HALF_TIE * size
    if was_not is False:
        return False
    return was_not & _finite(size) & higher(a_now, b_now)


def crosses_below(a: Pair, b: Pair) -> Truth:
    """Whether a was at or above b on the candle before and is below it now."""
    return crosses_above(b, a)


def crosses(a: Pair, b: Pair) -> tuple[Truth, Truth]:
    """`crosses_above` and `crosses_below`; over columns for little more than one of them."""
    if not (isinstance(a, Columns) and isinstance(b, Columns)):
        return crosses_above(a, b), crosses_below(a, b)
    sides = _sides(a.whole, b.whole)
    if sides is not None:
        was, now = sides[:-1], sides[1:]
        return (was <= 0) & (now == 1), (was >= 0) & (was != _NEITHER) & (now == -1)
    apart, size = a.whole - b.whole, abs(a.whole) + abs(b.whole)
    beyond = abs(apart) > _HALF_TIE * size  # on which side needs no look at how rough they are
    finite, higher = _finite(size)[:-1], parts(apart)[0] > 0
    over, under = beyond & higher, beyond & ~higher
    return ~over[:-1] & finite & over[1:], ~under[:-1] & finite & under[1:]


def _whole(pair: Pair) -> Value | None:
    """What both values are of: a column, or a number that does not change."""
    if isinstance(pair, Columns):
        return pair.whole
    before, now = pair
    return now if isinstance(now, float) and before == now else None


def _finite(size: Value) -> Truth:
    """However rough it is: what is not known at all leaves the other comparisons in doubt."""
    return parts(size)[0] < _INFINITE


# In one pass over rough columns


def _sides(a: Value, b: Value) -> Any:
    """Where a lies above b (+1), below it (-1), within rounding (0), or is not finite (2).

    None unless one is a rough column that has a compiler.
    """
    if not isinstance(a, Rough):
        other = _sides(b, a) if isinstance(b, Rough) else None
        return other if other is None else np.where(other == _NEITHER, other, -other)
    if a.compiler is None:
        return None
    value, (other, more) = a.value, parts(b)
    radius, certain = (a.radius + more) * (1 + _HALF_TIE), a.certain_with(b)
    if exact(radius):
        radius, certain = -1.0, len(value)
    columns = [writable(_column(part, len(value))) for part in (value, other, radius)]
    return a.compiler(sides_of)(*columns, certain, a.doubts)


def _column(values: Any, count: int) -> Any:
    return values if isinstance(values, np.ndarray) and values.ndim else np.full(count, values)


def sides_of(a: Any, b: Any, radius: Any, certain: int, doubts: Any) -> Any:
    """The side of b on which a lies, row by row, and doubts where the radius could turn it.

    Without branches, so that machine code takes several rows at once.
    """
    sides = np.empty(len(a), np.int8)
    for row in range(len(a)):
        value, other = a[row], b[row]
        size = abs(value) + abs(other)
        margin = abs(abs(value - other) - _HALF_TIE * size)
        # Written so that NaN is in doubt, unless the true value is known to be NaN as well.
        doubts[row] |= (not margin > radius[row]) & ((row >= certain) | (margin == margin))
        over, under = np.int8(higher(value, other)), np.int8(higher(other, value))
        sides[row] = over - under + np.int8(_NEITHER) * np.int8(not size < _INFINITE)
    return sides
