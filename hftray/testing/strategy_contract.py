"""What every strategy must keep, as checks that run on hftray's own and on a user's alike.

`strategy_contract(kind, candles)` runs them all and never raises: what a strategy's code raises is
a broken promise. `hftray check strategy FILE` prints the outcome; a user's own test suite can
assert on it, as hftray's does.
"""

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from hftray.backtest.checks import (
    check_lookahead,
    check_warm_up,
    frozen,
    named_voters,
    part,
)
from hftray.core.candles import Candles
from hftray.strategies.ensemble import Ensemble
from hftray.strategies.registry import BadStrategy, check_parameters, strategy_class
from hftray.strategies.strategy import Parameters, Strategy

SLOWEST = 0.002
"""Seconds that one live vote may take; hftray's own need some hundredths of a millisecond."""
TIMED = 50
SHORT = (0, 1, 2, 3, 13)

Voters = Mapping[str, Strategy[Any]]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One promise: what it is, whether it is kept, and what was seen."""

    promise: str
    kept: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Case:
    """What the checks look at: a kind with its default parameters, and candles to vote on."""

    kind: str
    voters: Voters
    candles: Candles
    buffer: int


class Broken(Exception):
    """A promise is not kept; the message says how."""


def strategy_contract(kind: str, candles: Candles, *, buffer: int = 375) -> list[Verdict]:
    """Every promise, checked on these candles (at least twice the live `buffer` of them)."""
    try:
        case = Case(kind, named_voters(kind), frozen(candles), buffer)
    except Exception as error:  # noqa: BLE001 - a user's code may raise anything
        return [Verdict("makes voters from its defaults", False, _told(error))]
    return [_verdict(promise, check, case) for promise, check in PROMISES.items()]


def broken(verdicts: list[Verdict]) -> list[str]:
    """The promises not kept, and how."""
    return [f"{verdict.promise}: {verdict.seen}" for verdict in verdicts if not verdict.kept]


def _verdict(promise: str, check: Callable[[Case], str], case: Case) -> Verdict:
    try:
        return Verdict(promise, True, check(case))
    except Broken as error:
        return Verdict(promise, False, str(error))
    except Exception as error:  # noqa: BLE001 - a user's code may raise anything
        return Verdict(promise, False, _told(error))


def _told(error: Exception) -> str:
    return f"raises {type(error).__name__}: {error}"


def _parameters(case: Case) -> str:
    model = strategy_class(case.kind).parameters_type
    _require(issubclass(model, Parameters), f"{model.__name__} is no Parameters")
    _require(bool(model.model_config.get("frozen")), f"{model.__name__} can be changed")
    try:
        check_parameters(case.kind, {"no such parameter": 1})
    except BadStrategy:
        pass
    else:
        raise Broken(f"{model.__name__} takes parameters that it does not have")
    properties: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    for name, schema in properties.items():
        for choice in schema.get("anyOf", [schema]):
            if choice.get("type") in ("integer", "number"):
                low = {"minimum", "exclusiveMinimum"} & set(choice)
                high = {"maximum", "exclusiveMaximum"} & set(choice)
                _require(bool(low and high), f"parameter {name} has no lower and upper bound")
    given = check_parameters(case.kind, {})
    again = check_parameters(case.kind, given.model_dump(mode="json"))
    _require(given == again, "parameters change on their way through JSON")
    return ", ".join(properties)


def _votes(case: Case) -> str:
    counts = []
    for name, voter in case.voters.items():
        votes = voter.vote_history(case.candles)
        odd = sorted(set(np.unique(votes).tolist()) - {-1, 0, 1})
        _require(not odd, f"{name} votes {odd}")
        counts.append(f"{name} {np.sum(votes == 1)} BUY, {np.sum(votes == -1)} SELL")
    return f"{'; '.join(counts)} on {len(case.candles)} candles"


def _silent_on_nothing(case: Case) -> str:
    for name, voter in case.voters.items():
        columns = voter.columns(case.candles)
        numbers = [np.issubdtype(column.dtype, np.floating) for column in columns]
        if any(numbers):
            blank = [
                np.full_like(column, np.nan) if number else column
                for column, number in zip(columns, numbers, strict=True)
            ]
            _require(not voter.votes_over(blank).any(), f"{name} votes on inputs that are NaN")
    return "no vote on inputs that are NaN"


def _odd_markets(case: Case) -> str:
    candles = case.candles
    flat = np.full(len(candles), 100.0)
    still = Candles(candles.time, candles.day, flat, flat, flat, flat, np.zeros(len(candles)))
    markets = [part(candles, 0, count) for count in SHORT] + [still]
    for name, voter in case.voters.items():
        for market in markets:
            history = voter.vote_history(market)
            count = len(market)
            _require(len(history) == count, f"{name} casts {len(history)} votes on {count} candles")
            live, last = voter.vote(market), int(history[-1]) if count else 0
            _require(live == last, f"{name} votes {live} live, {last} in history")
    return f"{', '.join(map(str, SHORT))} candles; a price that never moves, without volume"


def _no_lookahead(case: Case) -> str:
    looks = [check_lookahead(name, voter, case.candles) for name, voter in case.voters.items()]
    for look in looks:
        _require(not look.fault, f"{look.voter}: {look.fault}")
    return f"cut at {sum(look.cuts for look in looks)} places"


def _same_in_the_ensemble(case: Case) -> str:
    """The ensemble computes inputs once for all voters and applies the rules itself."""
    row = {"id": 1, "kind": case.kind, "is_active": True, "parameters": {}}
    ensemble = Ensemble([row])
    _, history = ensemble.vote_history(case.candles)
    for name, voter in case.voters.items():
        own = voter.vote_history(case.candles)
        _require(bool((history[name] == own).all()), f"{name} votes otherwise in an ensemble")
    for end in np.linspace(2, len(case.candles), TIMED, dtype=np.int64).tolist():
        live = ensemble.vote(part(case.candles, max(0, end - case.buffer), end)).votes
        for name, voter in case.voters.items():
            own_live = voter.vote(part(case.candles, max(0, end - case.buffer), end))
            _require(live[name] == own_live, f"{name} votes otherwise in an ensemble, live")
    return "in an ensemble as alone"


def _deterministic(case: Case) -> str:
    other = part(case.candles, 0, len(case.candles) // 2)
    fresh = named_voters(case.kind)
    for name, voter in case.voters.items():
        first = voter.vote_history(case.candles)
        voter.vote_history(other)
        voter.vote(other)
        for again in (voter, fresh[name]):
            same = (again.vote_history(case.candles) == first).all()
            _require(bool(same), f"{name} votes otherwise when asked again")
    return "the same votes again, and from a second instance"


def _pickles(case: Case) -> str:
    for name, voter in case.voters.items():
        copy: Strategy[Any] = pickle.loads(pickle.dumps(voter))
        same = (copy.vote_history(case.candles) == voter.vote_history(case.candles)).all()
        _require(bool(same), f"{name} votes otherwise after pickling")
    return "votes the same after pickling"


def _warms_up(case: Case) -> str:
    most = []
    for name, voter in case.voters.items():
        found = check_warm_up(name, voter, case.candles, case.buffer)
        _require(not found.fault, f"{name}: {found.fault}")
        most.append(f"{name} {found.most}")
    return f"candles needed at most: {', '.join(most)} of {case.buffer}"


def _fast(case: Case) -> str:
    newest = case.candles.tail(case.buffer)
    took = []
    for name, voter in case.voters.items():
        voter.vote(newest)
        stamps = [perf_counter()]
        for _ in range(TIMED):
            voter.vote(newest)
            stamps.append(perf_counter())
        best = min(after - before for before, after in pairwise(stamps))
        _require(best <= SLOWEST, f"{name} takes {best * 1e3:.1f} ms, {SLOWEST * 1e3:g} at most")
        took.append(f"{name} {best * 1e6:.0f} µs")
    return f"a live vote takes {', '.join(took)}"


def _require(kept: bool, otherwise: str) -> None:
    if not kept:
        raise Broken(otherwise)


PROMISES: dict[str, Callable[[Case], str]] = {
    "bounded parameters with a JSON schema": _parameters,
    "votes are -1, 0 or 1": _votes,
    "no vote on what is not a number": _silent_on_nothing,
    "bears odd markets": _odd_markets,
    "no look ahead; live as over a history": _no_lookahead,
    "votes the same in an ensemble": _same_in_the_ensemble,
    "deterministic": _deterministic,
    "pickles": _pickles,
    "warms up within the buffer": _warms_up,
    "fast": _fast,
}
