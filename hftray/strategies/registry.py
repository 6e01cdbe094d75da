"""Strategy kinds by name, and how a row's parameters become voters."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from hftray.core.errors import RejectError
from hftray.strategies.strategy import Parameters, Strategy

S = TypeVar("S", bound=type[Strategy[Any]])

_KINDS: dict[str, type[Strategy[Any]]] = {}
_NAME = r"[a-z][a-z0-9_]{0,31}"  # ":" and "#" part a voter's name


class BadStrategy(RejectError):
    """A strategy row cannot be used; `field` is `kind`, or `parameters.<name>`."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        self.reason = reason


def register(kind: str, parameters_type: type[Parameters]) -> Callable[[S], S]:
    """Class decorator: make the strategy known under its name on the wire.

    ValueError when the name is taken, or is not lower case letters, digits and underscores.
    """

    def enter(cls: S) -> S:
        if not re.fullmatch(_NAME, kind):
            raise ValueError(f"strategy kind '{kind}' must match {_NAME}")
        if kind in _KINDS:
            raise ValueError(f"strategy kind '{kind}' is registered twice")
        cls.kind = kind
        cls.parameters_type = parameters_type
        _KINDS[kind] = cls
        return cls

    return enter


def forget(kinds: Iterable[str]) -> None:
    """Take kinds out again: those of a file that failed half way."""
    for kind in kinds:
        _KINDS.pop(kind, None)


def known_kinds() -> tuple[str, ...]:
    """Every registered kind, sorted."""
    return tuple(sorted(_KINDS))


def strategy_class(kind: str) -> type[Strategy[Any]]:
    """The class of a kind; BadStrategy names the known ones."""
    try:
        return _KINDS[kind]
    except KeyError:
        known = ", ".join(known_kinds())
        raise BadStrategy("kind", f"'{kind}' is unknown; known are {known}") from None


def check_parameters(kind: str, raw: Mapping[str, Any]) -> Parameters:
    """A row's parameters, complete with defaults; BadStrategy names the first faulty field."""
    model = strategy_class(kind).parameters_type
    try:
        return model.model_validate(dict(raw))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(["parameters", *(str(part) for part in first["loc"])])
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            reason = f"unknown; a '{kind}' strategy takes {', '.join(model.model_fields)}"
        raise BadStrategy(field, f"{reason} (got {first['input']!r})") from None


def make_voters(kind: str, raw: Mapping[str, Any]) -> tuple[Strategy[Any], ...]:
    """The voters of one row; BadStrategy when its kind or parameters are."""
    cls = strategy_class(kind)
    parameters = check_parameters(kind, raw)
    return tuple(cls(parameters, variant) for variant in cls.variants(parameters))
