"""Sets that are proposed for what became of others: Optuna's TPE, asked and told.

Optuna sees the place of a value in its list, so a step of 0.1 gives 0.3 and not its neighbour
among the floats.
"""

from collections.abc import Iterable
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import RandomSampler, TPESampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from hftray.backtest.space import Dimension, ParameterSet, Space, Value


class Learner:
    """One study of a space, begun with the results that are known."""

    patience = 1_000

    def __init__(
        self,
        space: Space,
        seed: int,
        *,
        maximise: bool,
        known: Iterable[tuple[ParameterSet, float | None]],
    ) -> None:
        self._dimensions = space.dimensions
        self._distributions = {d.name: _distribution(d) for d in space.dimensions}
        optuna.logging.set_verbosity(optuna.logging.ERROR)  # it would report every set
        direction = StudyDirection.MAXIMIZE if maximise else StudyDirection.MINIMIZE
        # Sets that are being played count as bad ones, so that workers spread out.
        self._sampler = TPESampler(seed=seed, constant_liar=True)
        self._by_chance = RandomSampler(seed=seed)
        self._study = optuna.create_study(sampler=self._sampler, direction=direction)
        for chosen, value in known:
            self._study.add_trial(self._finished(chosen, value))

    def propose(self, *, by_chance: bool) -> tuple[dict[str, Value], Trial]:
        """A set, by what is known or by chance, and the trial that is answered with it."""
        self._study.sampler = self._by_chance if by_chance else self._sampler
        trial = self._study.ask(self._distributions)
        places = trial.params  # a copy each time
        return {of.name: _value(of, places[of.name]) for of in self._dimensions}, trial

    def answer(self, trial: Trial, value: float | None) -> None:
        """What a set came to; None counts as bad."""
        if value is None:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, value)

    def discard(self, trial: Trial) -> None:
        """Let samplers pass over it."""
        self._study.tell(trial, state=TrialState.FAIL)

    def _finished(self, chosen: ParameterSet, value: float | None) -> FrozenTrial:
        return create_trial(
            state=TrialState.PRUNED if value is None else TrialState.COMPLETE,
            value=value,
            params={of.name: _place(of, chosen[of.name]) for of in self._dimensions},
            distributions=self._distributions,
        )


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
