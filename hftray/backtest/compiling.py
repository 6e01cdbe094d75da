"""Plain functions compiled by numba, as they stand, with all plain functions that they call.

numba is loaded by the first use, which takes about a second, and compiles for a few more. The
result is kept beside the source, or in the user's cache where that cannot be written to; where
neither can, every process compiles for itself.
"""

import zlib
from collections.abc import Callable, Iterator
from functools import cache
from types import CodeType, FunctionType
from typing import Any


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in machine code. What it calls by name must be plain functions, or numba's."""
    from numba import njit

    assert isinstance(function, FunctionType)
    copy = _bound(function, {})
    # numba notices another source of this one function only. Named for the code of all of them, it
    # never finds what was compiled of an earlier state.
    copy.__qualname__ = f"{function.__name__}_{_stamp(function):08x}"
    try:
        return njit(cache=True)(copy)
    except RuntimeError:  # numba's answer to a file system without any place for its cache
        return njit(copy)


def _bound(function: FunctionType, done: dict[FunctionType, Any]) -> FunctionType:
    """A copy that calls compiled functions where the original calls plain ones."""
    from numba import njit

    names: dict[str, Any] = {}
    # Nobody calls these from Python; without the way in they compile in two thirds of the time.
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    inner = njit(**options)
    for name, called in _calls(function):
        if called not in done:
            done[called] = inner(_bound(called, done))
        names[name] = done[called]
    copy = FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


def _calls(function: FunctionType) -> Iterator[tuple[str, FunctionType]]:
    for name in function.__code__.co_names:
        called = function.__globals__.get(name)
        if isinstance(called, FunctionType):
            yield name, called


def _stamp(function: FunctionType) -> int:
    """A number that changes with the code, and with the constants it uses, of any of them."""
    seen: dict[FunctionType, str] = {}
    waiting = [function]
    while waiting:
        one = waiting.pop()
        if one not in seen:
            seen[one] = _text(one)
            waiting += [called for _, called in _calls(one)]
    return zlib.crc32("\n".join(seen.values()).encode())


def _text(function: FunctionType) -> str:
    code = function.__code__
    constants = [repr(c) for c in code.co_consts if not isinstance(c, CodeType)]
    globals_used = [
        f"{name}={value!r}"
        for name in code.co_names
        if isinstance(value := function.__globals__.get(name), int | float | str | tuple)
    ]
    return (
        f"{function.__qualname__} {code.co_code.hex()} {constants} {code.co_names} {globals_used}"
    )
