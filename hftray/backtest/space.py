"""The parameters that a sweep varies: what they are called, which values they may take.

A name is `<kind>.<field>` for a strategy's parameter (its weight too), or `exits.<field>`,
`risk.<field>`, `signals.threshold` for a number of the rules. A *set* gives each name one plain
value (int, float, bool or text), so that it can be written down as JSON.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from hftray.core.errors import ConfigError
from hftray.core.rules import TradingRules
from hftray.settings import ExitSection, RiskSection, SignalSection
from hftray.strategies.registry import check_parameters, strategy_class

Value = int | float | bool | str
ParameterSet = Mapping[str, Value]
Roster = Sequence[Mapping[str, Any]]

MOST_VALUES = 100_000  # that one range may stand for

_SECTIONS: Mapping[str, tuple[type[BaseModel], tuple[str, ...]]] = {
    "exits": (ExitSection, tuple(ExitSection.model_fields)),
    "risk": (RiskSection, tuple(RiskSection.model_fields)),
    "signals": (SignalSection, ("threshold",)),
}


@dataclass(frozen=True, slots=True)
class Dimension:
    """A parameter and its values: those listed, or any number from `low` to `high`."""

    name: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    numeric: bool = True
    """Whether neighbours in `values` are alike, which a sampler that learns makes use of."""


@dataclass(frozen=True, slots=True)
class Space:
    """Everything that is varied, and what it is laid over."""

    dimensions: tuple[Dimension, ...]
    roster: Roster
    rules: TradingRules

    @classmethod
    def parse(cls, texts: Sequence[str], roster: Roster, rules: TradingRules) -> "Space":
        """From `name=5:40`, `name=0.5:2:0.25` or `name=5,10,20`; ConfigError names what is wrong.

        A strategy's parameter needs an active row of its kind in the roster.
        """
        dimensions = tuple(_dimension(text, roster) for text in texts)
        names = [dimension.name for dimension in dimensions]
        for name in names:
            if names.count(name) > 1:
                raise ConfigError(f"--param {name}: given twice")
        if not names:
            raise ConfigError("--param: name at least one, such as rsi.period=5:30")
        return cls(dimensions, tuple(roster), rules)

    @property
    def size(self) -> int | None:
        """How many sets there are, None when a range has no step."""
        if not all(dimension.values for dimension in self.dimensions):
            return None
        return math.prod(len(dimension.values) for dimension in self.dimensions)

    def require_grid(self) -> None:
        """ConfigError when some range has no step, so that its values cannot be listed."""
        for dimension in self.dimensions:
            if not dimension.values:
                low, high = dimension.low, dimension.high
                raise ConfigError(
                    f"--param {dimension.name}={low:g}:{high:g}: a grid needs a step, "
                    f"such as {low:g}:{high:g}:{(high - low) / 4:g}"
                )

    def applied(self, chosen: ParameterSet) -> tuple[list[dict[str, Any]], TradingRules]:
        """Roster and rules with the set's values in place.

        BadStrategy when values that are sound by themselves do not go together, such as a short
        average longer than the long one.
        """
        by_owner: dict[str, dict[str, Value]] = {}
        for name, value in chosen.items():
            owner, _, field = name.partition(".")
            by_owner.setdefault(owner, {})[field] = value
        rows = [dict(row) for row in self.roster]
        for row in rows:
            if varied := by_owner.get(row["kind"]):
                own = {field: _in_model(row["kind"], field, v) for field, v in varied.items()}
                merged = {**(row.get("parameters") or {}), **own}
                row["parameters"] = check_parameters(row["kind"], merged).model_dump(mode="json")
        rules = self.rules
        for section in _SECTIONS.keys() & by_owner.keys():
            rules = replace(rules, **{section: _laid_over(rules, section, by_owner[section])})
        return rows, rules


def _laid_over(rules: TradingRules, section: str, varied: Mapping[str, Value]) -> Any:
    before = getattr(rules, section)
    # Through text: a Decimal field must get the number that was written, not its nearest float.
    values = {name: type(getattr(before, name))(str(value)) for name, value in varied.items()}
    return replace(before, **values)


def _in_model(kind: str, field: str, value: Value) -> Any:
    """The value as the strategy's model takes it; a list of names is written `sma+ema`."""
    annotation = strategy_class(kind).parameters_type.model_fields[field].annotation
    return tuple(str(value).split("+")) if get_origin(annotation) is tuple else value


# Reading the command line


def _dimension(text: str, roster: Roster) -> Dimension:
    name, equals, given = text.partition("=")
    name, given = name.strip(), given.strip()
    if not equals or not given:
        raise ConfigError(f"--param {text}: expected name=low:high[:step] or name=value,value")
    field = _field(name, roster)
    bounded: Any = Annotated[field.annotation, *field.metadata]
    adapter: TypeAdapter[Any] = TypeAdapter(bounded)
    if ":" in given:
        return _range(name, given, field, adapter)
    values = tuple(_listed(name, part.strip(), field, adapter) for part in given.split(","))
    if len(set(values)) < len(values):
        raise ConfigError(f"--param {name}={given}: a value is listed twice")
    numeric = all(isinstance(value, int | float) for value in values)
    return Dimension(name, values, numeric=numeric and list(values) == sorted(values))


def _field(name: str, roster: Roster) -> FieldInfo:
    owner, _, field = name.partition(".")
    kinds = sorted({row["kind"] for row in roster if row.get("is_active", True)})
    if owner in _SECTIONS:
        model, allowed = _SECTIONS[owner]
    elif owner in kinds:
        model = strategy_class(owner).parameters_type
        allowed = tuple(model.model_fields)
    else:
        raise ConfigError(
            f"--param {name}: '{owner}' is not varied; strategies of this run are "
            f"{', '.join(kinds)}, besides them {', '.join(_SECTIONS)}"
        )
    if field not in allowed:
        raise ConfigError(f"--param {name}: unknown; {owner} has {', '.join(allowed)}")
    return model.model_fields[field]


def _range(name: str, given: str, field: FieldInfo, adapter: TypeAdapter[Any]) -> Dimension:
    if field.annotation not in (int, float, Decimal):
        raise ConfigError(f"--param {name}={given}: not a number; list its values with commas")
    try:
        low, high, *rest = (Decimal(part) for part in given.split(":"))
    except (InvalidOperation, ValueError):
        raise ConfigError(f"--param {name}={given}: expected low:high or low:high:step") from None
    finite = all(number.is_finite() for number in (low, high, *rest))
    if len(rest) > 1 or not finite or low > high or any(step <= 0 for step in rest):
        raise ConfigError(f"--param {name}={given}: expected low <= high and one step above 0")
    for end in (low, high):
        _checked(name, str(end), adapter)
    whole = field.annotation is int
    if not rest and not whole:
        return Dimension(name, low=float(low), high=float(high))
    step = rest[0] if rest else Decimal(1)
    count = int((high - low) / step) + 1
    if count > MOST_VALUES:
        raise ConfigError(f"--param {name}={given}: {count} values; at most {MOST_VALUES}")
    steps = [low + step * place for place in range(count)]
    if whole and any(number != int(number) for number in steps):
        raise ConfigError(f"--param {name}={given}: takes whole numbers only")
    return Dimension(name, tuple(int(n) if whole else float(n) for n in steps))


def _listed(name: str, text: str, field: FieldInfo, adapter: TypeAdapter[Any]) -> Value:
    if get_origin(field.annotation) is tuple:
        _checked(name, tuple(text.split("+")), adapter)
        return text
    value = _checked(name, text, adapter)
    return float(value) if isinstance(value, Decimal) else value


def _checked(name: str, given: Any, adapter: TypeAdapter[Any]) -> Any:
    check = adapter.validate_strings if isinstance(given, str) else adapter.validate_python
    try:
        return check(given)
    except ValidationError as error:
        fault = error.errors()[0]["msg"]
        raise ConfigError(f"--param {name}: {fault} (got {given!r})") from None
