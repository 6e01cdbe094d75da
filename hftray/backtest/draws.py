"""Sets of a space that are drawn without regard to any result: all of them, or some at random."""

from collections.abc import Iterator

import numpy as np

from hftray.backtest.space import Space, Value

LISTED = 1_000_000
"""Sets. Of smaller spaces all are put in a random order, so that none comes twice."""

_AT_ONCE = 256


def drawn(space: Space, seed: int) -> Iterator[dict[str, Value]]:
    """Sets in a random order (numpy's PCG64), the same for the same seed.

    Of a space of up to `LISTED` sets each comes once; of a larger one they come without end, and
    one may come again.
    """
    random = np.random.default_rng(seed)
    return _all(space, random) if listed(space) else _some(space, random)


def listed(space: Space) -> bool:
    """Whether each set of the space comes once."""
    return space.size is not None and space.size <= LISTED


def _all(space: Space, random: np.random.Generator) -> Iterator[dict[str, Value]]:
    names = [dimension.name for dimension in space.dimensions]
    values = [dimension.values for dimension in space.dimensions]
    order = random.permutation(space.size or 0)
    for begin in range(0, len(order), _AT_ONCE):
        part = order[begin : begin + _AT_ONCE]
        columns = np.unravel_index(part, [len(listed) for listed in values])
        for places in np.stack(columns, axis=1).tolist():
            yield {name: v[at] for name, v, at in zip(names, values, places, strict=True)}


def _some(space: Space, random: np.random.Generator) -> Iterator[dict[str, Value]]:
    while True:
        for shares in random.random((_AT_ONCE, len(space.dimensions))).tolist():
            yield {
                of.name: of.values[int(share * len(of.values))] if of.values
                else of.low + share * (of.high - of.low)
                for of, share in zip(space.dimensions, shares, strict=True)
            }  # fmt: skip
