"""What the voters will say, for a whole history at once.

Votes are computed over all candles in one pass. The live buffer's values differ from these in the
last digits, so where that could change a vote (`Strategy.survey`), the vote is taken again on the
very candles that the buffer would hold; only there, and only where it could change the decision.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

import numpy as np

from hftray.core.candles import COLUMNS, Candles, Ints
from hftray.core.events import Decision, Vote
from hftray.strategies.ensemble import Ensemble
from hftray.strategies.rough import Compiler
from hftray.strategies.strategy import Input, Strategy, Votes

UNSURE = 2
"""In place of a vote or a side: it must be counted first."""


@dataclass(frozen=True, slots=True)
class Ballot:
    """One voter's history: where it may vote, the lowest and the highest vote it may give there.

    Where the two differ, only the buffer's own candles can tell; what they told is settled here.
    """

    rows: Ints
    lowest: Votes
    highest: Votes

    @property
    def size(self) -> int:
        """Bytes held."""
        same = self.lowest is self.highest
        return self.rows.nbytes + self.lowest.nbytes + (0 if same else self.highest.nbytes)

    def settle(self, row: int, vote: int) -> None:
        """Be sure of the vote on one of `rows` from now on."""
        place = self.rows.searchsorted(row)
        self.lowest[place] = self.highest[place] = vote


class VoteCache:
    """Ballots by symbol, candles, kind, variant and parameters, for later calls of `play`.

    A weight is no part of it: a vote does not depend on how much it counts. Ballots of at most
    `limit` bytes are kept, the least used go first.
    """

    def __init__(self, limit: int) -> None:
        self.size = 0
        self._limit = limit
        self._ballots: OrderedDict[Hashable, Ballot] = OrderedDict()
        self._newest: tuple[Candles, tuple[int, ...]] | None = None

    def name_of(self, candles: Candles) -> tuple[int, ...]:
        """Numbers that tell these candles from others, equal ones alike."""
        if self._newest is None or self._newest[0] is not candles:
            self._newest = candles, _fingerprint(candles)
        return self._newest[1]

    def find(self, key: Hashable) -> Ballot | None:
        """The ballot kept under the key."""
        ballot = self._ballots.get(key)
        if ballot is not None:
            self._ballots.move_to_end(key)
        return ballot

    def keep(self, key: Hashable, ballot: Ballot) -> None:
        """Keep a ballot that was not found."""
        self._ballots[key] = ballot
        self.size += ballot.size
        while self.size > self._limit:
            _, oldest = self._ballots.popitem(last=False)
            self.size -= oldest.size


def ballots_of(
    symbol: str,
    candles: Candles,
    ensemble: Ensemble,
    window: int,
    cache: VoteCache | None,
    compiler: Compiler | None = None,
) -> list[Ballot]:
    """Every voter's ballot over the candles, seen through a buffer of `window` candles."""
    place = (symbol, window, *cache.name_of(candles)) if cache is not None else ()
    columns: dict[Input, tuple[list[Any], list[Any]]] = {}
    ballots = []
    for voter in ensemble.voters:
        strategy = voter.strategy
        if cache is None:
            ballots.append(_ballot(strategy, candles, columns, window, compiler))
            continue
        parameters = strategy.parameters.model_dump_json(exclude={"weight"})
        key = (*place, type(strategy), strategy.variant, parameters)
        ballot = cache.find(key)
        if ballot is None:
            ballot = _ballot(strategy, candles, columns, window, compiler)
            cache.keep(key, ballot)
        ballots.append(ballot)
    return ballots


def _fingerprint(candles: Candles) -> tuple[int, ...]:
    return tuple(hash(getattr(candles, name).tobytes()) for name in ("time", *COLUMNS))


def _ballot(
    strategy: Strategy[Any],
    candles: Candles,
    known: dict[Input, tuple[list[Any], list[Any]]],
    window: int,
    compiler: Compiler | None,
) -> Ballot:
    if type(strategy).vote is not Strategy.vote:  # it votes by another rule than a history's
        rows = np.arange(len(candles))
        any_vote = np.ones(len(rows), dtype=np.int8)
        return Ballot(rows, -any_vote, any_vote)
    columns, radii = [], []
    for need in strategy.inputs:
        if need not in known:
            result = need.series(candles, *need.arguments)
            known[need] = need.pick(result), need.radii(candles, window, result)
        columns += known[need][0]
        radii += known[need][1]
    lowest, highest = strategy.survey(candles, columns, radii, window, compiler)
    if lowest is highest:
        rows = np.flatnonzero(lowest != 0)
        votes = lowest[rows]
        return Ballot(rows, votes, votes)
    rows = np.flatnonzero((lowest | highest) != 0)
    return Ballot(rows, lowest[rows], highest[rows])


class Foresight:
    """The electorate of a backtest: knows where a decision is possible, and what it is there.

    `row`, the newest candle's place, must be set before the engine asks for a vote.
    """

    def __init__(
        self, candles: Candles, ensemble: Ensemble, window: int, ballots: Sequence[Ballot]
    ):
        self.row = -1
        self._candles = candles
        self._ensemble = ensemble
        self._ballots = ballots
        self._window = window
        self._silence = Vote(Decision.HOLD, 0.0, {voter.name: 0 for voter in ensemble.voters})
        self._known: dict[int, Vote] = {}
        lowest, highest = np.zeros(len(candles)), np.zeros(len(candles))
        for voter, ballot in zip(ensemble.voters, ballots, strict=True):
            lowest[ballot.rows] += voter.weight * ballot.lowest
            highest[ballot.rows] += voter.weight * ballot.highest
        # A little less than the quorum: the exact count decides.
        enough = ensemble.quorum * (1 - 1e-9)
        possible = (highest > enough) | (lowest < -enough)
        self.possible: Ints = np.flatnonzero(possible) if ensemble.voters else np.arange(0)
        self._bounds = lowest[self.possible], highest[self.possible]

    @cached_property
    def _places(self) -> dict[int, int]:
        return {row: place for place, row in enumerate(self.possible.tolist())}

    @cached_property
    def _votes(self) -> list[tuple[int | None, ...]]:
        return _at(self.possible, self._ballots, len(self._candles))

    @cached_property
    def sides(self) -> Votes:
        """What is decided at each of `possible`: +1, -1 or 0, UNSURE where votes are in doubt."""
        lowest, highest = map(self._ensemble.sides, self._bounds)
        return np.where(lowest == highest, lowest, np.int8(UNSURE))

    @property
    def open(self) -> bool:
        """Whether a decision is possible on the candle at `row`."""
        return self.row in self._places

    def vote(self, candles: Candles) -> Vote:
        """The count on the candle at `row`."""
        place = self._places.get(self.row)
        return self._silence if place is None else self.at(place)

    def at(self, place: int) -> Vote:
        """The count on the candle at `possible[place]`."""
        known = self._known.get(place)
        if known is None:
            known = self._known[place] = self._count(place)
        return known

    def side_at(self, place: int) -> int:
        """The side decided for on the candle at `possible[place]`: +1, -1, or 0 for none."""
        return self._ensemble.side(self._votes_at(place))

    def _count(self, place: int) -> Vote:
        return self._ensemble.count(self._votes_at(place))

    def _votes_at(self, place: int) -> Sequence[int]:
        votes = self._votes[place]
        if None in votes:
            row = self.possible.item(place)
            buffer = self._candles.rows(slice(max(0, row + 1 - self._window), row + 1))
            votes = self._votes[place] = tuple(
                self._settled(number, row, buffer) if vote is None else vote
                for number, vote in enumerate(votes)
            )
        return cast(tuple[int, ...], votes)

    def _settled(self, number: int, row: int, buffer: Candles) -> int:
        vote = self._ensemble.voters[number].strategy.vote(buffer)
        self._ballots[number].settle(row, vote)
        return vote


def _at(rows: Ints, ballots: Sequence[Ballot], count: int) -> list[tuple[int | None, ...]]:
    """Each row's votes, in the voters' order; None for one that is not sure."""
    columns = []
    for ballot in ballots:
        votes = np.zeros(count, dtype=np.int8)
        votes[ballot.rows] = np.where(
            ballot.lowest == ballot.highest, ballot.lowest, np.int8(UNSURE)
        )
        columns.append([None if vote == UNSURE else vote for vote in votes[rows].tolist()])
    return list(zip(*columns, strict=True))
