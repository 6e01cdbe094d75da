"""Frozen values with a few fields changed, for less than `dataclasses.replace` takes."""

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")

_set = object.__setattr__


def changed(value: T, **changes: Any) -> T:
    """A copy of a frozen dataclass with slots and no `__post_init__`, these fields changed.

    AttributeError for a field it does not have.
    """
    kind: Any = type(value)
    names, values_of = _fields(kind)
    copy: T = object.__new__(kind)
    for name, kept in zip(names, values_of(value), strict=True):
        _set(copy, name, kept)
    for name, new in changes.items():
        _set(copy, name, new)
    return copy


@cache
def _fields(kind: type) -> tuple[tuple[str, ...], Callable[[Any], Any]]:
    names: tuple[str, ...] = kind.__slots__  # type: ignore[attr-defined]
    return names, attrgetter(*names)
