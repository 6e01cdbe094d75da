"""What a strategy is: inputs computed on candles, and one rule that reads two candles.

The rule is written once, with operators that floats and arrays share. Live, it gets the floats of
the newest two candles; over a history it gets whole columns and the same columns one candle
earlier. So a backtest's votes are the live votes by construction, and no rule can see further
back than its inputs do, nor ahead at all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Annotated, Any, ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from hftray.core.candles import Candles
from hftray.core.drift import UNKNOWN, Radius, drift
from hftray.strategies.comparison import Columns, Pair, Truth
from hftray.strategies.rough import Compiler, Rough

Votes = NDArray[np.int8]
Column = NDArray[Any]

Period = Annotated[int, Field(ge=2, le=250)]
"""A number of candles; 250 still warms up in the default buffer of 375."""

Percent = Annotated[float, Field(ge=0, le=100)]

Weight = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
"""How much a vote counts."""


class Parameters(BaseModel):
    """A strategy row's parameters: checked, complete, immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_default=True)

    weight: Weight = 1.0


class Input(NamedTuple):
    """Something to compute from candles: `series(candles, *arguments)`.

    `outputs` picks columns where the function gives several; without it the result is the one
    column. The newest two values can be had for less where `memory`, a number of candles, is all
    they depend on (`series` then takes `rows` last), or by a function of their own, `newest`.
    """

    series: Callable[..., Any]
    arguments: tuple[float, ...] = ()
    outputs: tuple[int, ...] = ()
    memory: int = 0
    newest: Callable[..., Any] | None = None

    def columns(self, candles: Candles) -> list[Column]:
        """The columns picked, each as long as the candles."""
        return self.pick(self.series(candles, *self.arguments))

    def radii(self, candles: Candles, window: int, result: Any) -> list[Radius]:
        """How far each column picked may lie from what a buffer of `window` candles gives."""
        if isinstance(self.series, attrgetter):
            return [0.0]
        return self.pick(drift(self.series, self.arguments, candles, window, result))

    def pick(self, result: Any) -> list[Any]:
        """The columns picked out of a function's result."""
        return [result[place] for place in self.outputs] if self.outputs else [result]

    def newest_call(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """The function, and its arguments after the candles, whose columns end as `series` do."""
        if self.newest is not None:
            return self.newest, self.arguments
        if self.memory:
            return self.series, (*self.arguments, slice(-self.memory, None))
        return self.series, self.arguments


CLOSE = Input(attrgetter("close"))
VOLUME = Input(attrgetter("volume"))
DAY = Input(attrgetter("day"))

P = TypeVar("P", bound=Parameters)


def _rough(
    column: Column,
    radius: Radius,
    window: int,
    doubts: NDArray[np.bool_],
    either: NDArray[np.bool_],
    compiler: Compiler | None,
) -> Columns:
    """A column as a pair, with `doubts` of the pair and `either` of the whole column.

    A buffer that still holds all there is warms up as the whole history does, so what is NaN there
    is NaN in it; of an input that nothing is known of, that is not known either.
    """
    certain = 0 if isinstance(radius, float) and radius == UNKNOWN else window
    fewer = max(0, certain - 1)
    return Columns.of(
        Rough(column, radius, either, certain, compiler),
        Rough(column[:-1], _part(radius, slice(-1)), doubts, fewer, compiler),
        Rough(column[1:], _part(radius, slice(1, None)), doubts, fewer, compiler),
    )


def _part(radius: Radius, rows: slice) -> Radius:
    return radius if isinstance(radius, float) else radius[rows]


class Strategy(ABC, Generic[P]):
    """One voter: +1 expects a rise, -1 a fall, 0 says nothing."""

    kind: ClassVar[str]
    """Name on the wire; the registry sets it."""

    parameters_type: ClassVar[type[Parameters]]
    """The model its parameters are checked by; the registry sets it."""

    def __init__(self, parameters: P, variant: str = "") -> None:
        self.parameters = parameters
        self.variant = variant
        self.inputs = self.needs()

    @classmethod
    def variants(cls, parameters: P) -> tuple[str, ...]:
        """The votes that one row of this kind casts, by name; a single one needs no name."""
        return ("",)

    @abstractmethod
    def needs(self) -> tuple[Input, ...]:
        """What to compute from the candles; its columns, in this order, reach the rule."""

    @abstractmethod
    def rule(self, columns: Sequence[Pair]) -> tuple[Truth, Truth]:
        """Whether to vote BUY and SELL, from each input column's values before and now."""

    def columns(self, candles: Candles) -> list[Column]:
        """The inputs' columns, each as long as the candles."""
        return [column for need in self.inputs for column in need.columns(candles)]

    def vote(self, candles: Candles) -> int:
        """The vote on the newest candle; 0 while there is no candle before it."""
        if len(candles) < 2:
            return 0
        columns: list[Column] = []
        for need in self.inputs:
            function, arguments = need.newest_call()
            columns += need.pick(function(candles, *arguments))
        buy, sell = self.rule([(c.item(-2), c.item(-1)) for c in columns])
        return int(buy) - int(sell)

    def vote_history(self, candles: Candles) -> Votes:
        """The vote on every candle as it was when it was the newest; the first is 0."""
        return self.votes_over(self.columns(candles))

    def survey(
        self,
        candles: Candles,
        columns: Sequence[Column],
        radii: Sequence[Radius],
        window: int,
        compiler: Compiler | None = None,
    ) -> tuple[Votes, Votes]:
        """The lowest and the highest vote that a buffer of `window` candles may give, by candle.

        `columns` are the inputs' columns, `radii` how far each may lie from the buffer's. Mostly
        both are the vote. Nothing is sure of inputs that nothing is known of, nor of a rule that
        does more with its columns than compare, add and scale them. A `compiler` makes plain
        functions quick.
        """
        doubts, either = np.zeros((2, len(candles)), dtype=np.bool_)
        rough = [
            _rough(c, r, window, doubts[1:], either, compiler)
            for c, r in zip(columns, radii, strict=True)
        ]
        votes = np.zeros(len(candles), dtype=np.int8)
        try:
            with np.errstate(invalid="ignore"):
                buys, sells = self.rule(rough)
            np.subtract(buys, sells, out=votes[1:], dtype=np.int8, casting="unsafe")
        except (AttributeError, TypeError):
            doubts[1:] = True
        doubts[1:] |= either[1:] | either[:-1]
        if not doubts.any():
            return votes, votes
        return np.where(doubts, np.int8(-1), votes), np.where(doubts, np.int8(1), votes)

    def votes_over(self, columns: Sequence[Column]) -> Votes:
        """The votes that the rule gives along whole columns."""
        votes = np.zeros(len(columns[0]), dtype=np.int8)
        if len(votes) > 1:
            with np.errstate(invalid="ignore"):  # infinity minus infinity: no vote
                buys, sells = self.rule([Columns.of(c, c[:-1], c[1:]) for c in columns])
            votes[1:] = buys.astype(np.int8) - sells.astype(np.int8)
        return votes
