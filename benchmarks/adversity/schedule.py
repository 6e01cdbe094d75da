"""What the adversary will do and when, drawn from a seed before anything starts."""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass

ACTORS = ("symbol", "risk", "persistence", "broker", "engine", "api")
EXCHANGE = (
    "late-accept", "late-reply", "drop-reply", "lost-request", "unavailable", "reject",
    "duplicate-fill", "lose-report", "dark",
)  # fmt: skip

# Every kind of fault with the least and the most seconds it lasts. For a killed PostgreSQL that is
# the time until it is started again, at the latest; a node is removed so long after another has
# come; a frozen node sleeps until the cluster has given it up and then for so long.
_OF_ACTORS = {
    **{f"kill {actor}": (0.0, 0.0) for actor in ACTORS},
    **{f"stop {actor}": (0.2, 3.0) for actor in ACTORS},
}
_OF_MACHINES = {
    "kill postgres": (0.5, 3.0),
    "remove node": (0.3, 2.0),
    "freeze node": (0.5, 2.0),
    "fill journal disk": (1.0, 3.0),
    "kill switch": (0.5, 2.0),
}
KINDS: dict[str, tuple[float, float]] = {
    **_OF_ACTORS,
    **{f"exchange {kind}": (0.1, 1.5) for kind in EXCHANGE},
    **_OF_MACHINES,
}
# How often a kind comes in one round; the first round has each once.
_TIMES = {"kill symbol": 3, "stop symbol": 2, "remove node": 0, "freeze node": 0}
ROUND = _TIMES | {f"exchange {kind}": 2 for kind in EXCHANGE}
NODES_EVERY = 2  # rounds: a lost node restarts ten actors at once


@dataclass(frozen=True, slots=True)
class Deck:
    """The kinds of faults with the seconds they last, and how often each comes in one round."""

    kinds: Mapping[str, tuple[float, float]]
    times: Mapping[str, int]

    def of_round(self, number: int) -> list[str]:
        """What comes in a round, not shuffled yet; the first one has each kind once."""
        if number == 0:
            return list(self.kinds)
        nodes = {"remove node": 1, "freeze node": 1} if number % NODES_EVERY == 0 else {}
        times = {**self.times, **nodes}
        return [kind for kind in self.kinds for _ in range(times.get(kind, 1))]


SIMULATED = Deck(KINDS, ROUND)


def deck_with(exchange: Mapping[str, tuple[float, float]]) -> Deck:
    """The faults of our own parts, and those of another exchange with their seconds."""
    own = {f"exchange {kind}": span for kind, span in exchange.items()}
    return Deck({**_OF_ACTORS, **own, **_OF_MACHINES}, _TIMES)


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault to come: `at` is seconds of the adversary's clock, which rests in audits.

    `target` chooses among those there are at that moment (modulo their number).
    """

    number: int
    at: float
    kind: str
    target: int
    seconds: float


def schedule(seed: int, seconds: float, gap: float, faults: Deck = SIMULATED) -> list[Planned]:
    """Faults for that many seconds, on average `gap` seconds apart; a function of its arguments."""
    chance = random.Random(seed)
    planned: list[Planned] = []
    at, rounds, deck = 2.0, 0, list[str]()
    while at < seconds:
        if not deck:
            deck = faults.of_round(rounds)
            chance.shuffle(deck)
            rounds += 1
        kind = deck.pop()
        least, most = faults.kinds[kind]
        planned.append(
            Planned(
                number=len(planned) + 1,
                at=round(at, 3),
                kind=kind,
                target=chance.randrange(1000),
                seconds=round(chance.uniform(least, most), 3),
            )
        )
        at += min(chance.expovariate(1 / gap), 3 * gap)
    return planned


def digest(planned: list[Planned]) -> str:
    """A short name of the whole schedule: the same seed gives the same one."""
    return hashlib.sha256(repr(planned).encode()).hexdigest()[:12]
