"""Numbers known to within a radius: what a rule says of them, and where it cannot be sure.

A rule compares columns with operators that floats and arrays share; a `Rough` column shares them
too. It answers with the values it has, and notes every place where the radius could turn a
comparison. So any rule written with operators also tells where its answer is safe.
"""

from collections.abc import Callable
from operator import eq, ge, gt, le, lt, ne
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Radius = float | Array

Compiler = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Makes a plain function quick."""


class Rough:
    """A column of values, each at most `radius` from the true one.

    `doubts` is shared by all that comes of a rule: true where a comparison could turn out the
    other way. Where one of the first `certain` values is NaN, the true one is NaN too. With a
    `compiler`, a comparison may be made in one pass over the values.
    """

    __slots__ = ("certain", "compiler", "doubts", "radius", "value")
    __array_ufunc__ = None  # numpy leaves operators to this class, and its functions refuse it
    __hash__ = None  # type: ignore[assignment]  # equality is elementwise

    def __init__(
        self,
        value: Array,
        radius: Radius,
        doubts: NDArray[np.bool_],
        certain: int = 0,
        compiler: Compiler | None = None,
    ) -> None:
        self.value = value
        self.radius = radius
        self.doubts = doubts
        self.certain = certain
        self.compiler = compiler

    def __add__(self, other: Any) -> "Rough":
        value, radius = parts(other)
        return self._of(self.value + value, self.radius + radius, other)

    def __sub__(self, other: Any) -> "Rough":
        value, radius = parts(other)
        return self._of(self.value - value, self.radius + radius, other)

    def __rsub__(self, other: Any) -> "Rough":
        return self._of(other - self.value, self.radius)

    def __mul__(self, factor: float) -> "Rough":
        return self._of(self.value * factor, self.radius * abs(factor))

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> "Rough":
        return self._of(-self.value, self.radius)

    def __abs__(self) -> "Rough":
        return self._of(abs(self.value), self.radius)

    def _of(self, value: Array, radius: Radius, other: Any = None) -> "Rough":
        return Rough(value, radius, self.doubts, self.certain_with(other), self.compiler)

    def certain_with(self, other: Any) -> int:
        """In how many of the first places NaN of either is certain."""
        return min(self.certain, other.certain) if isinstance(other, Rough) else self.certain

    def __gt__(self, other: Any) -> Array:
        return self._compare(gt, other)

    def __ge__(self, other: Any) -> Array:
        return self._compare(ge, other)

    def __lt__(self, other: Any) -> Array:
        return self._compare(lt, other)

    def __le__(self, other: Any) -> Array:
        return self._compare(le, other)

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return self._compare(eq, other)

    def __ne__(self, other: object) -> Array:  # type: ignore[override]
        return self._compare(ne, other)

    def _compare(self, how: Callable[[Any, Any], Any], other: Any) -> Array:
        value, radius = parts(other)
        radius = self.radius + radius
        if not exact(radius):
            # Written so that NaN is in doubt, unless the true value is known to be NaN as well.
            apart = self.value - value
            np.absolute(apart, out=apart)
            sure = apart > radius
            early = slice(self.certain_with(other))
            sure[early] |= np.isnan(apart[early])
            np.logical_or(self.doubts, np.logical_not(sure, out=sure), out=self.doubts)
        answer: Array = how(self.value, value)
        return answer


def parts(other: Any) -> tuple[Any, Radius]:
    """The values, and how far they may be off."""
    return (other.value, other.radius) if isinstance(other, Rough) else (other, 0.0)


def exact(radius: Radius) -> bool:
    """Whether nothing is rough."""
    return isinstance(radius, float) and radius == 0.0
