"""The weighted vote: all active strategies on one symbol's candles.

Score = Σ(weight × vote) / Σ(weight), over the weights of every active voter, warm or not. A score
beyond the threshold decides; on it, within rounding, it does not.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from hftray.core.candles import Candles, Floats
from hftray.core.events import Decision, Vote
from hftray.strategies.comparison import TIE, Pair, Truth
from hftray.strategies.registry import make_voters
from hftray.strategies.strategy import Input, Strategy, Votes

Rule = Callable[[Sequence[Pair]], tuple[Truth, Truth]]


@dataclass(frozen=True, slots=True)
class Voter:
    """One voter of an ensemble; `strategy_id` is its row."""

    name: str
    weight: float
    strategy_id: int | None
    strategy: Strategy[Any]


def voters_of(rows: Sequence[Mapping[str, Any]]) -> tuple[Voter, ...]:
    """The voters of the active rows, in the rows' order.

    A row has id, name, kind, is_active, parameters. A voter is named for its row's kind (and
    variant); only the first row of a kind, active or not, goes without its id, so that switching
    one row renames no other voter. BadStrategy when an active row cannot be used.
    """
    voters: list[Voter] = []
    seen: set[str] = set()
    for row in rows:
        kind, row_id = row["kind"], row.get("id")
        mark = f"#{row_id}" if kind in seen else ""
        seen.add(kind)
        if not row.get("is_active", True):
            continue
        for strategy in make_voters(kind, row.get("parameters") or {}):
            variant = f":{strategy.variant}" if strategy.variant else ""
            weight = strategy.parameters.weight
            voters.append(Voter(f"{kind}{variant}{mark}", weight, row_id, strategy))
    return tuple(voters)


def places_of(inputs: Sequence[Input]) -> dict[Input, range]:
    """Where each input's columns lie when all inputs' columns stand in one row."""
    places: dict[Input, range] = {}
    end = 0
    for need in inputs:
        width = len(need.outputs) or 1
        places[need] = range(end, end + width)
        end += width
    return places


class Ensemble:
    """Counts the votes of strategy rows; immutable, so build a new one when a row changes.

    What several voters need (RSI of the same period) is computed once a decision.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], threshold: float = 0.3) -> None:
        self.voters = voters_of(rows)
        self.threshold = threshold
        self._beyond = threshold * (1 + TIE)
        self._silence = {voter.name: 0 for voter in self.voters}
        self._total_weight = sum(voter.weight for voter in self.voters)
        self._inputs = tuple(
            dict.fromkeys(need for voter in self.voters for need in voter.strategy.inputs)
        )
        self._places = places_of(self._inputs)
        self._newest_calls = tuple((*need.newest_call(), need.outputs) for need in self._inputs)
        self._ballots = tuple(self._ballot(voter) for voter in self.voters)

    def vote(self, candles: Candles) -> Vote:
        """All votes on the newest candle, and what they decide; HOLD without an active voter."""
        if candles.close.size < 2 or not self.voters:
            return Vote(Decision.HOLD, 0.0, self._silence.copy())
        values: list[Pair] = []
        first = (candles,)
        for function, arguments, outputs in self._newest_calls:
            result = function(*first + arguments)
            # Only the values are kept, so that the next call finds the arrays' memory still warm.
            if outputs:
                for place in outputs:
                    column = result[place]
                    values.append((column.item(-2), column.item(-1)))
            else:
                values.append((result.item(-2), result.item(-1)))
        votes = self._silence.copy()
        total = 0.0
        for name, weight, rule, pick in self._ballots:
            buy, sell = rule(pick(values))
            if buy != sell:
                votes[name] = vote = buy - sell
                total += weight * vote
        return self._counted(votes, total)

    def count(self, votes: Sequence[int]) -> Vote:
        """What these votes decide, one for each voter in their order."""
        return self._counted(dict(zip(self._silence, votes, strict=True)), self._total(votes))

    def side(self, votes: Sequence[int]) -> int:
        """The side that these votes decide for: +1 is BUY, -1 SELL, 0 HOLD."""
        score = self._total(votes) / self._total_weight
        return (score > self._beyond) - (score < -self._beyond)

    def _total(self, votes: Sequence[int]) -> float:
        total = 0.0
        for voter, vote in zip(self.voters, votes, strict=True):
            if vote:
                total += voter.weight * vote
        return total

    @property
    def quorum(self) -> float:
        """The sum of weighted votes beyond which a decision is made, within rounding."""
        return self._beyond * self._total_weight

    def vote_history(self, candles: Candles) -> tuple[Floats, dict[str, Votes]]:
        """The score and each voter's vote on every candle, as each was the newest one."""
        known = {need: need.columns(candles) for need in self._inputs}
        votes: dict[str, Votes] = {}
        total = np.zeros(len(candles))
        for voter in self.voters:  # in the order of `vote`, so that both round alike
            columns = [column for need in voter.strategy.inputs for column in known[need]]
            votes[voter.name] = voter.strategy.votes_over(columns)
            total += voter.weight * votes[voter.name]
        return total / (self._total_weight or 1.0), votes

    def decide(self, score: float) -> Decision:
        """BUY above the threshold, SELL below its negative, HOLD on it and between."""
        if score > self._beyond:
            return Decision.BUY
        return Decision.SELL if score < -self._beyond else Decision.HOLD

    def sides(self, totals: Floats) -> Votes:
        """`decide` for sums of weighted votes: +1 is BUY, -1 SELL, 0 HOLD."""
        scores = totals / (self._total_weight or 1.0)
        sides: Votes = (scores > self._beyond).astype(np.int8)
        return sides - (scores < -self._beyond)

    def _counted(self, votes: dict[str, int], total: float) -> Vote:
        score = total / self._total_weight
        decision = self.decide(score)
        strategy_id = None if decision is Decision.HOLD else self._heaviest(decision, votes)
        return Vote(decision, score, votes, strategy_id)

    def _heaviest(self, decision: Decision, votes: Mapping[str, int]) -> int | None:
        side = 1 if decision is Decision.BUY else -1
        weight, strategy_id = 0.0, None
        for voter in self.voters:
            if voter.weight > weight and votes[voter.name] == side:
                weight, strategy_id = voter.weight, voter.strategy_id
        return strategy_id

    def _ballot(self, voter: Voter) -> tuple[str, float, Rule, Callable[..., Any]]:
        """The voter's name, weight and rule, and what picks its values out of all columns."""
        places = [place for need in voter.strategy.inputs for place in self._places[need]]
        # itemgetter gives a bare value for one place, a tuple for several; rules take tuples.
        first = places[0]
        pick = itemgetter(*places) if places[1:] else itemgetter(slice(first, first + 1))
        return voter.name, voter.weight, voter.strategy.rule, pick
