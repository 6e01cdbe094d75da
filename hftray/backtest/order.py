"""A backtest as somebody orders it: which symbols, voters, days and costs.

The order is a plain value: the API and the command line make it, a worker plays it, a report
prints it. Everything in it is checked when it is made; only what depends on the data (whether there
are candles, how long they are) shows when it is played.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from hftray.core.errors import NotFound, RejectError
from hftray.strategies.registry import BadStrategy, check_parameters, known_kinds, make_voters

ENSEMBLE = "ensemble"
MAX_DAYS = 20 * 366
MAX_SLIPPAGE_BPS = 1_000.0
INTERVALS = (1, 2, 3, 5, 10, 15, 30, 60)
"""Candle lengths in minutes that can be asked for, as far as the data's candles make them up."""

Row = Mapping[str, Any]
"""A strategy row: id, name, kind, is_active, parameters."""

Changes = Mapping[str, Mapping[str, Any]]
"""Parameters to play with instead of the rows' own, by kind: {"rsi": {"period": 10}}."""


class BadOrder(RejectError):
    """An order makes no sense; `field` is its name on the wire, such as parameters.rsi.period."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)  # both, so that it survives pickling
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class BacktestOrder:
    """What to play. Both dates are included; capital is rupees.

    `roster` holds the voters' rows (see `choose_rows`), `strategies` and `parameters` how they were
    asked for. Without `slippage_bps` (basis points a fill) and `interval` (minutes a candle) those
    of the settings are taken. BadOrder names what is out of range.
    """

    symbols: tuple[str, ...]
    roster: tuple[Row, ...]
    start_date: date
    end_date: date
    initial_capital: Decimal
    strategies: tuple[str, ...] = (ENSEMBLE,)
    parameters: Changes = field(default_factory=dict)
    charges: bool = True
    slippage_bps: float | None = None
    interval: int | None = None

    def __post_init__(self) -> None:
        if not self.symbols:
            raise BadOrder("symbol", "name one, or several as symbols")
        if len(set(self.symbols)) < len(self.symbols):
            raise BadOrder("symbols", "a symbol is named twice")
        if self.end_date < self.start_date:
            raise BadOrder("end_date", "must not be before start_date")
        if (self.end_date - self.start_date).days > MAX_DAYS:
            raise BadOrder("end_date", "must be within 20 years of start_date")
        if not Decimal(0) < self.initial_capital < Decimal("Infinity"):
            raise BadOrder("initial_capital", "must be a positive amount of rupees")
        if self.slippage_bps is not None and not 0 <= self.slippage_bps <= MAX_SLIPPAGE_BPS:
            raise BadOrder("slippage_bps", f"must be 0 to {MAX_SLIPPAGE_BPS:g} basis points")
        if self.interval is not None and not 1 <= self.interval <= max(INTERVALS):
            raise BadOrder("interval", f"must be 1 to {max(INTERVALS)} minutes")


def strategy_names() -> list[str]:
    """What a backtest can run: the ensemble, a kind, or one voter of a kind that casts several."""
    names = [ENSEMBLE]
    for kind in known_kinds():
        variants = [voter.variant for voter in make_voters(kind, {}) if voter.variant]
        names += [kind, *(f"{kind}:{variant}" for variant in variants)]
    return names


def choose_rows(
    strategies: Sequence[str], roster: Sequence[Row], changes: Changes | None = None
) -> tuple[Row, ...]:
    """The voters' rows: the active ones (ensemble), or those named, with `changes` laid over them.

    A kind's first row counts, active or not; a kind without a row has its default parameters.
    NotFound for an unknown name; BadOrder for a list that makes no sense, and for changes to kinds
    that do not vote or with wrong fields.
    """
    names = strategy_names()
    for name in strategies:
        if name not in names:
            raise NotFound(f"unknown strategy {name}; known are {', '.join(names)}")
    if not strategies:
        raise BadOrder("strategy", "the list is empty")
    if ENSEMBLE not in strategies:
        rows = _named(strategies, roster)
    elif len(strategies) == 1:
        rows = [dict(row) for row in roster if row["is_active"]]
    else:
        raise BadOrder("strategy", f"'{ENSEMBLE}' stands alone, not in a list")
    changes = changes or {}
    _require_kinds(changes, rows)
    return tuple(_changed(row, changes.get(row["kind"], {})) for row in rows)


def _named(strategies: Sequence[str], roster: Sequence[Row]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for name in strategies:
        kind, _, variant = name.partition(":")
        known = rows.get(kind)
        if known is None:
            rows[kind] = _row(kind, roster, [variant] if variant else None)
        elif variant and variant not in known["parameters"]["variants"]:
            known["parameters"]["variants"].append(variant)
        elif not variant:  # the whole kind, beside the variants named so far
            whole = _row(kind, roster, None)["parameters"].get("variants", [])
            given = known["parameters"].get("variants", [])
            given += [other for other in whole if other not in given]
    return list(rows.values())


def _row(kind: str, roster: Sequence[Row], variants: list[str] | None) -> dict[str, Any]:
    unlisted: Row = {"id": None, "name": kind, "parameters": {}}
    found = next((row for row in roster if row["kind"] == kind), unlisted)
    parameters = check_parameters(kind, found["parameters"]).model_dump(mode="json")
    if variants is not None:
        parameters["variants"] = variants
    return {**found, "kind": kind, "is_active": True, "parameters": parameters}


def _require_kinds(changes: Changes, rows: Sequence[Row]) -> None:
    voting = list(dict.fromkeys(row["kind"] for row in rows))
    for kind in changes:
        if kind not in known_kinds():
            known = ", ".join(known_kinds())
            raise BadOrder(f"parameters.{kind}", f"unknown kind of strategy; known are {known}")
        if kind not in voting:
            raise BadOrder(
                f"parameters.{kind}", f"does not vote in this run; voting are {_listed(voting)}"
            )


def _changed(row: Row, changes: Mapping[str, Any]) -> Row:
    if not changes:
        return row
    kind = row["kind"]
    try:
        parameters = check_parameters(kind, {**row["parameters"], **changes})
    except BadStrategy as error:
        field = error.field.removeprefix("parameters")
        raise BadOrder(f"parameters.{kind}{field}", error.reason) from None
    return {**row, "parameters": parameters.model_dump(mode="json")}


def _listed(items: Sequence[object]) -> str:
    return ", ".join(str(item) for item in items) or "none"
