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

from hftray.strategies.rough import parts

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


def above(a: Value, b: Value) -> Truth:
    """Whether a lies above b by more than rounding."""
    return a - b > _HALF_TIE * (abs(a) + abs(b))


def crosses_above(a: Pair, b: Pair) -> Truth:
    """Whether a was at or below b on the candle before and is above it now."""
    a_before, a_now = a
    b_before, b_now = b
    if isinstance(a_now, float) and isinstance(b_now, float) and not a_now > b_now:
        return False
    if isinstance(a, Columns) or isinstance(b, Columns):
        whole, other = _whole(a), _whole(b)
        if whole is not None and other is not None:
            size, over = abs(whole) + abs(other), above(whole, other)
            return ~over[:-1] & _finite(size)[:-1] & over[1:]
    size = abs(a_before) + abs(b_before)
    was_not = a_before - b_before <= _HALF_TIE * size
    if was_not is False:
        return False
    return was_not & _finite(size) & above(a_now, b_now)


def crosses_below(a: Pair, b: Pair) -> Truth:
    """Whether a was at or above b on the candle before and is below it now."""
    return crosses_above(b, a)


def crosses(a: Pair, b: Pair) -> tuple[Truth, Truth]:
    """`crosses_above` and `crosses_below`; over columns for little more than one of them."""
    if not (isinstance(a, Columns) and isinstance(b, Columns)):
        return crosses_above(a, b), crosses_below(a, b)
    apart, size = a.whole - b.whole, abs(a.whole) + abs(b.whole)
    slack = _HALF_TIE * size
    finite, over, under = _finite(size)[:-1], apart > slack, apart < -slack
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
