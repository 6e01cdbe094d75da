"""Which set to try next: Optuna's samplers, asked and told, over a `Space`.

Optuna sees the place of a value in its list, so a step of 0.1 gives 0.3 and not its neighbour
among the floats. Grid and random search propose the same sets in the same order whatever the
results are; taken up again they come by everything known and go on where they stopped. TPE learns:
it is told what is known and goes on from there.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from hftray.backtest.space import Dimension, ParameterSet, Space, Value
from hftray.core.errors import ConfigError, RejectError

MOST_SETS = 1_000_000
STUCK = 20  # proposals in a row that brought nothing new; then the next ones are drawn at random
EXHAUSTED = 1_000  # of those in a row; there is hardly anything left

Key = tuple[Value, ...]


class Method(StrEnum):
    """How sets are chosen: all of them, at random, or by a tree-structured Parzen estimator.

    TPE: J. Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011.
    """

    GRID = "grid"
    RANDOM = "random"
    TPE = "tpe"


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
        self._by_name = {dimension.name: dimension for dimension in space.dimensions}
        self._distributions = {d.name: _distribution(d) for d in space.dimensions}
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it would report every set
        direction = StudyDirection.MAXIMIZE if maximise else StudyDirection.MINIMIZE
        known = list(known)
        # A search that learns goes on from what is known, so it must not draw the same again.
        seed = seed + len(known) if method is Method.TPE else seed
        self._sampler = _sampler(space, method, seed)
        self._by_chance = self._sampler if method is Method.GRID else RandomSampler(seed=seed)
        self._study = optuna.create_study(sampler=self._sampler, direction=direction)
        self._known = {self._key(chosen): value for chosen, value in known}
        self._proposed: set[Key] = set()
        self._feasible = 0
        self._pending: dict[Key, Trial] = {}
        if method is Method.TPE:
            for chosen, value in known:
                self._study.add_trial(self._finished(chosen, value))
            self._proposed.update(self._known)
            self._feasible = len(self._known)

    @property
    def learns(self) -> bool:
        """Whether results change what is proposed."""
        return self.method is Method.TPE

    def ask(self, most: int) -> list[dict[str, Value]]:
        """Up to `most` new sets; none when all were proposed, or until more results are told."""
        sets: list[dict[str, Value]] = []
        repeats = 0
        while len(sets) < most and repeats < EXHAUSTED and not self._complete():
            self._study.sampler = self._sampler if repeats < STUCK else self._by_chance
            trial = self._study.ask(self._distributions)
            drawn = trial.params  # a copy each time
            chosen = {name: _value(self._by_name[name], drawn[name]) for name in self._names}
            key = self._key(chosen)
            if key in self._proposed:
                repeats += 1
                self._study.tell(trial, state=TrialState.FAIL)  # samplers pass over these
                continue
            repeats = 0
            self._proposed.add(key)
            if not self._is_feasible(chosen):
                self._study.tell(trial, state=TrialState.PRUNED)
                continue
            self._feasible += 1
            if key in self._known:
                self._answer(trial, self._known[key])
                continue
            self._pending[key] = trial
            sets.append(chosen)
        return sets

    def tell(self, chosen: ParameterSet, value: float | None) -> None:
        """What a set came to; None when the metric is undefined for it, which counts as bad."""
        self._answer(self._pending.pop(self._key(chosen)), value)

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

    def _answer(self, trial: Trial, value: float | None) -> None:
        if value is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, value)

    def _finished(self, chosen: ParameterSet, value: float | None) -> FrozenTrial:
        return create_trial(
            state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
            value=value,
            params={name: _place(self._by_name[name], chosen[name]) for name in self._names},
            distributions=self._distributions,
        )

    def _key(self, chosen: ParameterSet) -> Key:
        return tuple(chosen[name] for name in self._names)


class _Grid(GridSampler):
    """Every set once. The original looks through all trials after each one, to end a loop that is
    not in use here: 50 ms a set after 1,000 sets.
    """

    def after_trial(self, *_: Any) -> None:
        """Nothing."""


def _count(space: Space, method: Method, count: int | None) -> int:
    if method is Method.GRID:
        space.require_grid()
        count = space.size
    if count is None or not 1 <= count <= MOST_SETS:
        raise ConfigError(f"--{method}: {count} sets; 1 to {MOST_SETS:,} are possible")
    return count


def _sampler(space: Space, method: Method, seed: int) -> BaseSampler:
    match method:
        case Method.GRID:
            places: Mapping[str, list[int]] = {
                dimension.name: list(range(len(dimension.values))) for dimension in space.dimensions
            }
            return _Grid(places, seed=seed)
        case Method.RANDOM:
            return RandomSampler(seed=seed)
        case Method.TPE:
            # Sets that are being played count as bad ones, so that workers spread out.
            return TPESampler(seed=seed, constant_liar=True)


def _distribution(dimension: Dimension) -> BaseDistribution:
    if not dimension.values:
        return FloatDistribution(dimension.low, dimension.high)
    if dimension.numeric:
        return IntDistribution(0, len(dimension.values) - 1)
    return CategoricalDistribution(range(len(dimension.values)))


def _value(dimension: Dimension, place: Any) -> Value:
    return dimension.values[place] if dimension.values else float(place)


def _place(dimension: Dimension, value: Value) -> Any:
    return dimension.values.index(value) if dimension.values else value
