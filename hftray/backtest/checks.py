"""Whether a strategy can be believed: does it look ahead, and how much history does it need?

Both checks only call `vote` and `vote_history`, so they hold for any strategy, also the user's own,
whatever its rule does. Candles are handed over read-only: a strategy that writes into them fails.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from hftray.core.candles import Candles, Ints
from hftray.strategies.registry import make_voters
from hftray.strategies.strategy import Strategy, Votes

CUTS = 200
STARTS = 200
HORIZONS = 3
"""Candle buffers that a warm-up is watched for."""
TOLERATED = 0.01
"""The share of votes that may differ in a warm buffer: two averages all but equal, judged apart."""


@dataclass(frozen=True, slots=True)
class Lookahead:
    """What cutting the future showed of one voter; `fault` is empty when it changed nothing."""

    voter: str
    candles: int
    cuts: int
    votes: int
    fault: str


@dataclass(frozen=True, slots=True)
class WarmUp:
    """How many candles one voter needs; `fault` is empty when the live buffer holds enough.

    `silent` counts the candles before its inputs are numbers, `typical` and `most` those until its
    votes are what a longer history gives, over all the places where a history was begun. `late` of
    the `votes` in a full buffer still differed.
    """

    voter: str
    silent: int
    typical: int
    most: int
    votes: int
    late: int
    fault: str


def named_voters(kind: str, parameters: dict[str, Any] | None = None) -> dict[str, Strategy[Any]]:
    """A kind's voters as they are called on the wire. BadStrategy."""
    voters = make_voters(kind, parameters or {})
    return {f"{kind}:{v.variant}" if v.variant else kind: v for v in voters}


def part(candles: Candles, start: int, end: int) -> Candles:
    """The candles of these rows."""
    return Candles(*(getattr(candles, column.name)[start:end] for column in fields(Candles)))


def frozen(candles: Candles) -> Candles:
    """A copy whose columns cannot be written to."""
    columns = [getattr(candles, column.name).copy() for column in fields(Candles)]
    for column in columns:
        column.flags.writeable = False
    return Candles(*columns)


def check_lookahead(
    voter: str, strategy: Strategy[Any], candles: Candles, cuts: int = CUTS
) -> Lookahead:
    """Cut the history after many candles, above all where votes fall, and vote again.

    What was voted up to a cut must be what the whole history says, and the live vote on the newest
    candle must be the last of them.
    """
    candles = frozen(candles)
    whole = _history(strategy, candles)
    if isinstance(whole, str):
        return Lookahead(voter, len(candles), 0, 0, whole)
    ends = _cuts(whole, cuts)
    fault = next(filter(None, (_cut(strategy, candles, whole, end) for end in ends)), "")
    return Lookahead(voter, len(candles), len(ends), int(np.count_nonzero(whole)), fault)


def _cuts(votes: Votes, count: int) -> list[int]:
    """Prefix lengths: evenly spread, and ending just before, on and just after a vote."""
    spread = np.linspace(0, len(votes), count, dtype=np.int64)
    cast = np.flatnonzero(votes)
    cast = cast[:: max(1, len(cast) // count)]
    ends = {*spread.tolist(), *(end for i in cast.tolist() for end in (i, i + 1, i + 2))}
    return sorted(end for end in ends if end <= len(votes))


def _cut(strategy: Strategy[Any], candles: Candles, whole: Votes, end: int) -> str:
    past = part(candles, 0, end)
    votes = _history(strategy, past)
    if isinstance(votes, str):
        return f"on {end} candles it {votes}"
    differing = np.flatnonzero(votes != whole[:end])
    if len(differing):
        row = int(differing[-1])
        return (
            f"candle {row} is voted {votes[row]} when the history ends {end - 1 - row} candles "
            f"later, {whole[row]} when it goes on"
        )
    live = _live(strategy, past)
    if isinstance(live, str):
        return f"on {end} candles its vote {live}"
    last = int(votes[-1]) if end else 0
    return "" if live == last else f"on {end} candles vote says {live}, vote_history {last}"


def check_warm_up(
    voter: str, strategy: Strategy[Any], candles: Candles, buffer: int, starts: int = STARTS
) -> WarmUp:
    """Begin the history at many candles and see from where on its votes are the whole's.

    `buffer` is how many candles live votes are cast on; needs more candles than that.
    """
    candles = frozen(candles)
    whole = _history(strategy, candles)
    if isinstance(whole, str):
        return WarmUp(voter, 0, 0, 0, 0, 0, whole)
    if len(candles) < 2 * buffer:
        fault = f"needs at least {2 * buffer} candles to be judged, there are {len(candles)}"
        return WarmUp(voter, 0, 0, 0, 0, 0, fault)
    horizon = min(HORIZONS * buffer, len(candles) - 1)
    needed, late, cast = [], 0, 0
    # Not from the very first candle: there the whole history begins too, and nothing can differ.
    for start in np.linspace(1, len(candles) - horizon, starts, dtype=np.int64).tolist():
        settled = whole[start : start + horizon]
        votes = _history(strategy, part(candles, start, start + horizon))
        if isinstance(votes, str):
            return WarmUp(voter, 0, 0, 0, 0, 0, votes)
        differing = np.flatnonzero(votes != settled)
        needed.append(int(differing[-1]) + 2 if len(differing) else 1)
        late += int(np.count_nonzero(differing >= buffer - 1))
        cast += int(np.count_nonzero(settled[buffer - 1 :]))
    silent = _silent(strategy, candles)
    typical, most = (max(silent + 1, int(n)) for n in (np.median(needed), max(needed)))
    fault = ""
    if silent >= buffer:
        fault = f"is silent for {silent} candles, but live only {buffer} are kept"
    elif late > TOLERATED * cast:
        fault = f"with {buffer} candles {late} of {cast} votes depend on where the history begins"
    return WarmUp(voter, silent, typical, most, cast, late, fault)


def _silent(strategy: Strategy[Any], candles: Candles) -> int:
    """Candles before all inputs are finite numbers, and have been on the candle before."""
    rows = 0
    for column in strategy.columns(candles):
        known: Ints = np.flatnonzero(np.isfinite(column))
        rows = max(rows, int(known[0]) if len(known) else len(column))
    return rows + 1


def _history(strategy: Strategy[Any], candles: Candles) -> Votes | str:
    """The votes, or what is wrong with them."""
    try:
        votes = strategy.vote_history(candles)
    except Exception as error:  # noqa: BLE001 - a user's code may raise anything
        return f"raises {type(error).__name__}: {error}"
    if len(votes) != len(candles):
        return f"gives {len(votes)} votes for {len(candles)} candles"
    return votes


def _live(strategy: Strategy[Any], candles: Candles) -> int | str:
    try:
        return strategy.vote(candles)
    except Exception as error:  # noqa: BLE001 - a user's code may raise anything
        return f"raises {type(error).__name__}: {error}"


def faults(findings: Sequence[Lookahead] | Sequence[WarmUp]) -> list[str]:
    """The faulty voters and what is wrong with them."""
    return [f"{found.voter}: {found.fault}" for found in findings if found.fault]
