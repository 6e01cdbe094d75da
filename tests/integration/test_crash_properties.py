"""Random days with random disasters: whatever dies, stalls, repeats or gets lost, the books agree.

hypothesis picks which message of a step meets which `Fate`, what the market does meanwhile and how
the broker's news are mangled; it prints the steps of a failure. `HYPOTHESIS_EXAMPLES` sets
how many days are played (and each of them is longer then).
"""

import os
from collections import Counter

from crash_audit import audit, audit_at_rest, come_to_rest
from crash_processes import SYMBOLS, Fate
from crash_world import Mail, World
from engine_world import BUY, HOLD, SELL, D
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from hypothesis_profiles import examples

EXAMPLES = int(os.environ.get("HYPOTHESIS_EXAMPLES", "0"))

symbols = st.sampled_from(SYMBOLS)
decisions = st.sampled_from([BUY, SELL, HOLD])
moves = st.sampled_from([D(0), D(-20), D(-12), D(4), D(12), D(50)])  # per mille
parts = st.lists(st.sampled_from([6, 3, 1, 0]), max_size=3)
plans = st.dictionaries(st.integers(0, 15), st.sampled_from(Fate), max_size=3)
numbers = st.integers(0, 30)
covered: Counter[str] = Counter()


class Disasters(RuleBasedStateMachine):
    """A day of two symbols, which the teardown brings to rest."""

    guard = False

    def __init__(self) -> None:
        super().__init__()
        self.world = World(guard=self.guard)

    @rule(
        symbol=symbols, decision=decisions, move=moves, parts=parts,
        mail=st.sampled_from(Mail), plan=plans,
    )  # fmt: skip
    def step(self, symbol, decision, move, parts, mail, plan):
        self.world.begin_step(symbol, move=move, parts=parts, decision=decision, mail=mail)
        self.world.deliver_all(plan)

    @rule(decision=decisions, parts=parts, plan=plans)
    def step_both_at_once(self, decision, parts, plan):
        for symbol in SYMBOLS:
            self.world.begin_step(symbol, parts=parts, decision=decision)
        self.world.deliver_all(plan)

    @precondition(lambda self: self.world.network.held)
    @rule(number=numbers, plan=plans)
    def late_message(self, number, plan):
        self.world.arrive(number)
        self.world.deliver_all(plan)

    @precondition(lambda self: self.world.network.held)
    @rule()
    def patience_ends(self):
        self.world.network.give_up()
        self.world.deliver_all()

    @rule(symbol=symbols, kill=st.booleans())
    def replace_symbol(self, symbol, kill):
        self.world.replace_symbol(symbol, kill=kill)

    @rule(kill=st.booleans())
    def replace_risk(self, kill):
        self.world.replace_risk(kill=kill)

    @precondition(lambda self: self.world.ghosts)
    @rule(number=numbers, decision=decisions, plan=plans)
    def haunt(self, number, decision, plan):
        self.world.haunt(number, decision)
        self.world.deliver_all(plan)

    @rule(blind=st.integers(0, 3), refusals=st.integers(0, 1))
    def bad_mood_of_the_broker(self, blind, refusals):
        self.world.broker.blind, self.world.broker.refusals = blind, refusals

    @rule()
    def reconcile(self):
        self.world.reconcile()

    @rule(verb=st.sampled_from(["kill", "resume"]), plan=plans)
    def operate(self, verb, plan):
        self.world.operate(verb)
        self.world.deliver_all(plan)

    @invariant()
    def books_agree(self):
        audit(self.world)

    def teardown(self):
        world = self.world
        try:
            come_to_rest(world)
            audit_at_rest(world)
            while world.network.held:
                world.arrive(0)
                world.deliver_all()
            come_to_rest(world)
            audit_at_rest(world)
        finally:
            covered.update(world.fates)
            covered["deliveries"] += len(world.trail)
            world.close()


class GuardedDisasters(Disasters):
    """The same with a stop order at the broker for each position."""

    guard = True


TestDisasters = Disasters.TestCase
TestGuardedDisasters = GuardedDisasters.TestCase
TestDisasters.settings = TestGuardedDisasters.settings = settings(
    max_examples=EXAMPLES or examples(40),
    stateful_step_count=80 if EXAMPLES else 30,
    suppress_health_check=list(HealthCheck),
)
