"""The mirror of a run against the in-memory ledger, whose rules are written another way."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_world import History

from hftray.core.errors import IllegalTransition, NotFound, StaleEpoch
from hftray.core.ledger import OrderIntended, OrderSettled, RunInfo, RunState
from hftray.core.ledger_fold import RunMirror, applied, require_term
from hftray.storage.event_codec import entry_of, event_of, state_of, state_text
from hftray.testing.memory_ledger import MemoryLedger

RUN = RunInfo(1, "simulation", "seed 7", "default", Decimal("100000.00"))
NUMBERS = st.lists(st.integers(0, 100_000), max_size=60)


def shown(state: RunState) -> str:
    """A state as text: NaN equals NaN there, and moments of different zones are one."""
    utc = state.market_time and state.market_time.timestamp()
    return repr(replace(state, market_time=None)) + repr(utc)


@given(NUMBERS)
def test_the_mirror_shows_what_the_ledger_shows(numbers: list[int]) -> None:
    async def play() -> None:
        ledger = MemoryLedger()
        run = await ledger.open_run("simulation", "seed 7", "default", Decimal("100000.00"))
        mirror = RunMirror(RunState(run))
        for batch in History(run.run_id).play(numbers):
            await ledger.append(batch)
            for event in batch:
                mirror.apply(event)
            assert shown(mirror.state()) == shown(await ledger.run_state(run.run_id))

    asyncio.run(play())


@given(NUMBERS, st.integers(0, 60))
def test_a_mirror_begun_from_a_state_in_the_middle_goes_on_alike(
    numbers: list[int], cut: int
) -> None:
    batches = History(1).play(numbers)
    whole = RunMirror(RunState(RUN))
    second = RunMirror(RunState(RUN))
    for number, batch in enumerate(batches):
        if number == cut:
            second = RunMirror(state_of(state_text(whole.state())))
        for event in batch:
            whole.apply(event)
            second.apply(event_of(entry_of(event)))
    assert state_text(second.state()) == state_text(whole.state())


def test_a_copy_does_not_follow() -> None:
    mirror = RunMirror(RunState(RUN))
    twin = mirror.copy()
    for batch in History(1).play([0, 0, 0, 6]):
        for event in batch:
            mirror.apply(event)
    assert twin.state() == RunState(RUN)
    assert mirror.state() != RunState(RUN)


def test_what_cannot_happen_is_refused() -> None:
    ((_,), (intended,)) = History(1).play([0, 0])
    assert isinstance(intended, OrderIntended)
    fresh = RunState(RUN)
    with pytest.raises(NotFound, match="never recorded"):
        applied(fresh, OrderSettled(intended.trade))
    with pytest.raises(IllegalTransition, match="PENDING"):
        applied(applied(fresh, intended), OrderSettled(intended.trade))
    with pytest.raises(NotFound, match="run 1"):
        applied(replace(fresh, run=replace(RUN, run_id=2)), intended)


def test_an_order_ends_once() -> None:
    history = History(1)
    ((opened,), (intended,), (settled,)) = history.play([0, 30, 30])
    assert isinstance(settled, OrderSettled)
    once = applied(applied(applied(RunState(RUN), opened), intended), settled)
    other = replace(settled, trade=replace(settled.trade, pnl=Decimal(5)))
    for again in (intended, settled, other):
        assert applied(once, again) == once


def test_only_an_older_term_is_refused() -> None:
    assert require_term(None, 3) == 3
    assert require_term(3, 3) == 3
    assert require_term(4, 3) == 4
    with pytest.raises(StaleEpoch):
        require_term(2, 3)
