"""One trade, and a crash at each of its await points: afterwards all books tell the same story."""

from collections import Counter
from dataclasses import replace

import pytest
from crash_audit import audit, audit_at_rest, come_to_rest, trades_again
from crash_processes import Fate
from crash_world import World
from engine_world import BUY, SELL, D

from hftray.actors import symbol
from hftray.core.recovery import order_of
from hftray.core.risk_epochs import Epochs
from hftray.testing import memory_ledger

# A long that is filled in part and stopped out in parts, then a short that is flattened.
STORY = (
    {},
    {"decision": BUY},
    {"parts": (2, 3)},
    {"move": D(-15)},
    {"parts": (3,)},
    {"parts": (6,)},
    {"decision": SELL},
    {"parts": (6,)},
    {},
)

# Three positions with a guard at the broker. It follows a long, begins to fill, the rest follows
# it; it closes a short by itself; it is withdrawn for the target of another long.
GUARDED_STORY = (
    {"decision": BUY},
    {"parts": (6,)},
    {"move": D(4)},
    {"move": D(-15), "parts": (3,)},
    {"parts": (6,)},
    {"decision": SELL},
    {"parts": (6,)},
    {"move": D(15), "parts": (6,)},
    {},  # by its stamp the guard filled in this candle, so nothing is entered on it
    {"decision": BUY},
    {"parts": (6,)},
    {"move": D(50)},
    {"parts": (6,)},
)

# Elsewhere these are the same as others.
ONLY = {Fate.TWICE: "before broker.place", Fate.REFUSE: "before broker"}


def tell(world: World, fate: Fate | None = None, point: int = -1) -> None:
    """The story, with one message of it meeting that fate; nothing else goes wrong."""
    for scene in GUARDED_STORY if world.rules.exits.guard else STORY:
        world.begin_step("INFY", **scene)
        passed = len(world.trail)
        world.deliver_all({} if fate is None else {point - passed: fate})
        audit(world)


@pytest.fixture(scope="module")
def trail() -> list[str]:
    """The await points of the undisturbed story, which enters and leaves in parts."""
    with World() as world:
        tell(world)
        rows = [(r.leg, r.status, r.requested_quantity, r.quantity) for r in world.trade_rows()]
        assert rows == [
            ("ENTRY", "EXECUTED", 59, 39),
            ("EXIT", "EXECUTED", 39, 39),
            ("ENTRY", "EXECUTED", 60, 60),
        ]
        return world.trail


@pytest.fixture(scope="module")
def guarded_trail() -> list[str]:
    """The await points of the undisturbed story with guards."""
    with World(guard=True) as world:
        tell(world)
        rows = [(r.leg, r.reason, r.requested_quantity, r.quantity) for r in world.trade_rows()]
        assert rows == [
            ("ENTRY", "signal", 59, 59),
            ("EXIT", "guard", 59, 29),
            ("EXIT", "trailing_stop", 30, 30),
            ("ENTRY", "signal", 59, 59),
            ("EXIT", "guard", 59, 59),
            ("ENTRY", "signal", 58, 58),
            ("EXIT", "guard", 58, 0),
            ("EXIT", "take_profit", 58, 58),
        ]
        assert any("broker.amend" in point for point in world.trail)
        return world.trail


def crash(fate: Fate, point: int, **broker: bool) -> Counter[str]:
    """The story with that disaster in it, rest, and a new trade; what really happened."""
    with World(**broker) as world:
        try:
            tell(world, fate, point)
            come_to_rest(world)
            audit_at_rest(world)
            while world.network.held:
                world.arrive(0)
                world.deliver_all()
            trades_again(world)
        except AssertionError as error:
            error.add_note(f"{fate} at point {point}: {list(world.fates)}")
            raise
        return world.fates


def crash_everywhere(fate: Fate, points: int, **broker: bool) -> None:
    for point in range(points):
        crash(fate, point, **broker)


@pytest.mark.parametrize("fate", list(Fate), ids=lambda fate: fate.name)
def test_no_await_point_loses_or_doubles_anything(fate, trail):
    points = [number for number, point in enumerate(trail) if ONLY.get(fate, "") in point]
    for number in points:
        assert crash(fate, number) == {f"{fate.name} {trail[number]}": 1}
    print(f"{fate.name}: {len(points)} of {len(trail)} points")


@pytest.mark.parametrize("fate", list(Fate), ids=lambda fate: fate.name)
def test_no_await_point_of_a_guards_life_loses_or_doubles_anything(fate, guarded_trail):
    points = [n for n, point in enumerate(guarded_trail) if ONLY.get(fate, "") in point]
    for number in points:
        met = crash(fate, number, guard=True)
        assert met == {f"{fate.name} {guarded_trail[number]}": 1}
    print(f"{fate.name}: {len(points)} of {len(guarded_trail)} points")


def forget_epochs(monkeypatch):
    monkeypatch.setattr(Epochs, "require", lambda epochs, symbol, epoch: None)


def forget_terms(monkeypatch):
    monkeypatch.setattr(memory_ledger, "require_term", lambda term, newest: newest)


def forget_names(monkeypatch):
    def renamed(trade):
        return replace(order_of(trade), reference=trade.reference[:-1] + "_")

    monkeypatch.setattr(symbol, "order_of", renamed)


BROKEN = {
    "an order is known by another name": (Fate.KILL_SYMBOL, {}, forget_names),
    "the broker takes a reference twice": (Fate.TWICE, {"dedupes": False}, None),
    "the broker takes an order given up": (Fate.KILL_SYMBOL_LATE, {"remembers": False}, None),
    "risk serves a stale symbol": (Fate.FREEZE_SYMBOL, {}, forget_epochs),
    "the ledger takes from a stale risk": (Fate.FREEZE_RISK, {}, forget_terms),
}


@pytest.mark.parametrize("promise", BROKEN)
def test_a_broken_promise_is_noticed(promise, trail, monkeypatch):
    fate, broker, sabotage = BROKEN[promise]
    if sabotage is not None:
        sabotage(monkeypatch)
    with pytest.raises(AssertionError) as noticed:
        crash_everywhere(fate, len(trail), **broker)
    print(f"{promise}: {noticed.value} ({noticed.value.__notes__[0]})")
