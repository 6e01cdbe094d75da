"""Which set to try next, over a `Space`: all of a grid, some at random, or what TPE learns.

Grid and random search propose the same sets in the same order whatever the results are; taken up
again they come by everything known and go on where they stopped. TPE learns: it is told what is
known and goes on from there.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Protocol

from hftray.backtest.draws import drawn, listed
from hftray.backtest.learner import Learner
from hftray.backtest.space import ParameterSet, Space, Value
from hftray.core.errors import ConfigError, RejectError

MOST_SETS = 1_000_000
DRAWN_IN_VAIN = 10_000  # sets; they are drawn in no time
STUCK = 20  # proposals in a row that brought nothing new; then the next ones are drawn at random

Key = tuple[Value, ...]


class Method(StrEnum):
    """How sets are chosen: all of them, at random, or by a tree-structured Parzen estimator.

    TPE: J. Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011.
    """

    GRID = "grid"
    RANDOM = "random"
    TPE = "tpe"


class _Source(Protocol):
    """Where sets come from."""

    @property
    def patience(self) -> int | None:
        """How many proposals in a row may bring nothing new, before there is hardly anything left.

        None for a source that ends by itself.
        """
        ...

    def propose(self, *, by_chance: bool) -> tuple[dict[str, Value], Any] | None:
        """A set, and what to answer it with; None when there is no other."""
        ...

    def answer(self, ticket: Any, value: float | None) -> None:
        """What a set came to; None when that is nothing good."""
        ...

    def discard(self, ticket: Any) -> None:
        """The set was there before."""
        ...


class Search:
    """A stream of different, feasible sets, at most `count` with those already known."""

    def __init__(
        self,
        space: Space,
        method: Method,
        count: int | None = None,
        *,
        seed: int = 0,
        maximise: bool = True,
        known: Iterable[tuple[ParameterSet, float | None]] = (),
    ) -> None:
        """`count` is needed but for a grid, which is tried in full. ConfigError."""
        self.method = method
        self.count = _count(space, method, count)
        self.infeasible = 0
        self._space = space
        self._names = [dimension.name for dimension in space.dimensions]
        known = list(known)
        self._known = {self._key(chosen): value for chosen, value in known}
        self._proposed: set[Key] = set()
        self._feasible = 0
        self._pending: dict[Key, Any] = {}
        self._source: _Source
        if method is Method.TPE:
            # It goes on from what is known, so it must not draw the same again.
            self._source = Learner(space, seed + len(known), maximise=maximise, known=known)
            self._proposed.update(self._known)
            self._feasible = len(self._known)
        else:
            self._source = _Drawn(space, seed)

    @property
    def learns(self) -> bool:
        """Whether results change what is proposed."""
        return self.method is Method.TPE

    @property
    def left(self) -> int:
        """How many sets are still to be proposed, if the space has so many."""
        return self.count - self._feasible

    def ask(self, most: int) -> list[dict[str, Value]]:
        """Up to `most` new sets; none when all were proposed, or until more results are told."""
        sets: list[dict[str, Value]] = []
        in_vain, patience = 0, self._source.patience
        while len(sets) < most and not self._complete() and in_vain != patience:
            proposal = self._source.propose(by_chance=in_vain >= STUCK)
            if proposal is None:
                break
            chosen, ticket = proposal
            key = self._key(chosen)
            in_vain += 1
            if key in self._proposed:
                self._source.discard(ticket)
                continue
            self._proposed.add(key)
            if not self._is_feasible(chosen):
                self._source.answer(ticket, None)
                continue
            self._feasible += 1
            in_vain = 0
            if key in self._known:
                self._source.answer(ticket, self._known[key])
                continue
            self._pending[key] = ticket
            sets.append(chosen)
        return sets

    def tell(self, chosen: ParameterSet, value: float | None) -> None:
        """What a set came to; None when the metric is undefined for it, which counts as bad."""
        self._source.answer(self._pending.pop(self._key(chosen)), value)

    def _complete(self) -> bool:
        size = self._space.size
        return self._feasible >= self.count or (size is not None and len(self._proposed) >= size)

    def _is_feasible(self, chosen: ParameterSet) -> bool:
        try:
            self._space.applied(chosen)
        except RejectError:
            self.infeasible += 1
            return False
        return True

    def _key(self, chosen: ParameterSet) -> Key:
        return tuple(chosen[name] for name in self._names)


class _Drawn:
    """Sets that were drawn whatever came of others."""

    def __init__(self, space: Space, seed: int) -> None:
        self._sets = drawn(space, seed)
        self.patience = None if listed(space) else DRAWN_IN_VAIN

    def propose(self, **_: bool) -> tuple[dict[str, Value], None] | None:
        chosen = next(self._sets, None)
        return None if chosen is None else (chosen, None)

    def answer(self, *_: Any) -> None:
        """No matter."""

    discard = answer


def _count(space: Space, method: Method, count: int | None) -> int:
    if method is Method.GRID:
        space.require_grid()
        count = space.size
    if count is None or not 1 <= count <= MOST_SETS:
        raise ConfigError(f"--{method}: {count} sets; 1 to {MOST_SETS:,} are possible")
    return count
