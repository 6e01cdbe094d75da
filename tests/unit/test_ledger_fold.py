"""The mirror of a run against the in-memory ledger, whose rules are written another way."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ledger_world import History

from hftray.core.errors import IllegalTransition, NotFound, StaleEpoch
from hftray.core.ledger import (
    LedgerEvent,
    OrderIntended,
    OrderSettled,
    RiskStateChanged,
    RunInfo,
    RunState,
    ScanningSet,
)
from hftray.core.ledger_fold import RunMirror, applied, require_owner, require_term
from hftray.core.orders import TradeStatus
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


def test_an_order_of_yesterday_that_ended_counts_once_though_it_is_told_again() -> None:
    """A mirror made from the state does not remember it, so both its steps are refused there."""
    (begun,), (intended,), (next_day,) = History(1).play([0, 0, 8])
    assert isinstance(intended, OrderIntended)
    done = replace(intended.trade, status=TradeStatus.EXECUTED, quantity=10, price=Decimal(100))
    ended = OrderSettled(replace(done, pnl=Decimal(7)))
    mirror = RunMirror(RunState(RUN))
    for event in (begun, intended, next_day, intended, ended, intended, ended):
        mirror.apply(event)
    assert mirror.state().realised_total == 7
    again = RunMirror(mirror.state())
    with pytest.raises(IllegalTransition, match="that day is over"):
        again.apply(intended)
    with pytest.raises(NotFound, match="never recorded, or has ended"):
        again.apply(ended)
    assert again.state() == mirror.state()


def test_the_database_may_lack_an_order_of_yesterday() -> None:
    """It was refused there, and happened all the same."""
    (begun,), (intended,), (next_day,) = History(1).play([0, 0, 8])
    mirror = known(begun, next_day)
    mirror.catch_up(intended)
    assert mirror.state().pending == (intended.trade,)


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


def test_only_another_owner_is_refused() -> None:
    for owner, present in (("a", "a"), ("a", ""), ("", "a"), ("", "")):
        require_owner(owner, present)
    with pytest.raises(StaleEpoch, match="stop it"):
        require_owner("a", "b")


# Events that the state lacks although it may know of later ones


def day_of_trades() -> tuple[list[LedgerEvent], list[LedgerEvent], list[LedgerEvent]]:
    """A day begins; an entry; its exit."""
    history = History(1)
    ((opened,), *steps) = history.play([0, 10, 10, 10, 10])
    entry, leaving = steps[:2], steps[2:]
    return [opened], [event for (event,) in entry], [event for (event,) in leaving]


def known(*events: LedgerEvent) -> RunMirror:
    """What the database shows: it has these, and none that depend on others it lacks."""
    mirror = RunMirror(RunState(RUN))
    for event in events:
        mirror.apply(event)
    return mirror


def test_an_entry_that_comes_late_opens_its_position() -> None:
    day, entry, _ = day_of_trades()
    mirror = known(*day)
    for event in entry:
        mirror.catch_up(event)
    assert mirror.state() == known(*day, *entry).state()


def test_an_entry_that_comes_after_its_exit_opens_nothing() -> None:
    day, entry, leaving = day_of_trades()
    mirror = known(*day, *leaving)
    for event in entry:
        mirror.catch_up(event)
    whole = known(*day, *entry, *leaving).state()
    assert mirror.state().positions == whole.positions == ()
    assert mirror.state().realised_total == whole.realised_total
    assert {t.reference for t in mirror.state().trades_today} == {
        t.reference for t in whole.trades_today
    }


def test_an_entry_of_a_day_that_is_over_opens_nothing() -> None:
    """Its exits of that day are not in sight."""
    day, entry, _ = day_of_trades()
    (opened,) = day
    later = replace(opened, session_day=opened.session_day.replace(day=30))
    mirror = known(*day, later)
    for event in entry:
        mirror.catch_up(event)
    assert mirror.state().positions == ()


def test_an_exit_that_comes_late_closes_its_position() -> None:
    day, entry, leaving = day_of_trades()
    mirror = known(*day, *entry)
    for event in leaving:
        mirror.catch_up(event)
    assert mirror.state() == known(*day, *entry, *leaving).state()


def test_a_part_of_an_exit_that_comes_after_the_last_part_opens_nothing() -> None:
    day, entry, (intended, settled) = day_of_trades()
    assert isinstance(intended, OrderIntended)
    assert isinstance(settled, OrderSettled)
    assert settled.closed is not None
    mirror = known(*day, *entry, intended, settled)
    part = replace(intended.trade, reference="part")
    left = replace(settled.closed, quantity=4)
    mirror.catch_up(OrderIntended(part))
    mirror.catch_up(
        OrderSettled(
            replace(settled.trade, reference="part", pnl=Decimal(7)),
            position=left,
            closed=replace(settled.closed, quantity=6),
        )
    )
    assert mirror.state().positions == ()
    assert settled.trade.pnl is not None
    assert mirror.state().realised_total == settled.trade.pnl + 7


def test_a_risk_change_that_comes_after_a_later_one_changes_nothing() -> None:
    moment = History(1).now
    halted = RiskStateChanged(1, "HALTED", "kill", "anita", moment, 2)
    mirror = known(RiskStateChanged(1, "REDUCING", "loss", "risk", moment, 1))
    mirror.catch_up(halted)
    assert mirror.state().risk_state == "HALTED"
    mirror.catch_up(replace(halted, state="ACTIVE", sequence=1))
    mirror.catch_up(ScanningSet(1, True, moment))
    assert mirror.state() == known(halted).state()
