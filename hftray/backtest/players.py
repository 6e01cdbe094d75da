"""Who plays the sets of a sweep, and how work is handed out.

A `Player` holds the histories and the votes computed so far, so a set costs only what is new in
it. Where players live (this process, a cluster) is their caller's choice.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from hftray.backtest.play import VoteCache
from hftray.backtest.search import Search
from hftray.backtest.space import ParameterSet
from hftray.backtest.sweep import Ground, Result, Window, figures_of, metrics_of
from hftray.strategies.plugins import load_plugins

CALL_SECONDS = 0.5  # of work in one call: it costs 5 ms, and a progress bar should not stand still
_SMALLEST = 16  # of a call's usual sets, the part that is not divided any more
VOTES = 32 << 20  # bytes of votes that a worker keeps


class Player:
    """One worker's share of a study: plays sets, and keeps the votes of the window it is in."""

    def __init__(self, ground: Ground) -> None:
        load_plugins(
            ground.strategy_files
        )  # this may be another process than the one that read them
        self._whole = self._ground = ground
        self._window: Window | None = None
        self._votes = self._no_votes()

    def __call__(
        self, window: Window | None, sets: Sequence[ParameterSet]
    ) -> tuple[list[Result], float]:
        """Play each set over the window, all days without one: the results, and the seconds."""
        began = time.perf_counter()
        if window != self._window:
            self._window = window
            self._ground = self._whole if window is None else self._whole.within(window)
            self._votes = self._no_votes()
        results = []
        for chosen in sets:
            outcome = self._ground.play(chosen, self._votes)
            figures = figures_of(metrics_of(outcome, self._ground.capital))
            results.append(Result(dict(chosen), figures))
        return results, time.perf_counter() - began

    def _no_votes(self) -> VoteCache:
        return VoteCache(VOTES)


class Players(Protocol):
    """Workers that each hold a Player; `actors.workers` on a cluster, `Alone` without one."""

    @property
    def free(self) -> bool:
        """Whether another call is welcome now."""
        ...

    @property
    def busy(self) -> bool:
        """Whether any call has not been answered."""
        ...

    @property
    def at_once(self) -> int:
        """How many calls are welcome at a time."""
        ...

    def submit(self, *arguments: Any) -> None:
        """Have one of them play."""
        ...

    def take(self) -> Any:
        """The answer to some call, as soon as there is one."""
        ...


class Alone:
    """`Players` with nobody but this process."""

    def __init__(self, ground: Ground) -> None:
        self._player = Player(ground)
        self._calls: list[tuple[Any, ...]] = []

    @property
    def free(self) -> bool:
        """One call at a time."""
        return not self._calls

    @property
    def busy(self) -> bool:
        """Whether a call waits to be made."""
        return bool(self._calls)

    @property
    def at_once(self) -> int:
        """One."""
        return 1

    def submit(self, *arguments: Any) -> None:
        """Remember the call."""
        self._calls.append(arguments)

    def take(self) -> Any:
        """Make the call."""
        return self._player(*self._calls.pop())


def explore(
    search: Search,
    players: Players,
    metric: str,
    found: Callable[[Sequence[Result]], None],
    *,
    window: Window | None = None,
) -> None:
    """Play what the search proposes until it has no more; `found` gets results as they finish.

    A search that learns gets each result before it proposes much more; for the others, a call
    holds as many sets as fill half a second, and fewer towards the end, so that all players end
    together.
    """
    sets_a_call = 1
    while True:
        while players.free:
            share = max(1, sets_a_call // _SMALLEST, search.left // players.at_once)
            if not (sets := search.ask(min(sets_a_call, share))):
                break
            players.submit(window, sets)
        if not players.busy:
            return
        results, seconds = players.take()
        for result in results:
            search.tell(result.chosen, result.figures[metric])
        found(results)
        if not search.learns:
            sets_a_call = max(1, round(CALL_SECONDS * len(results) / max(seconds, 1e-6)))
