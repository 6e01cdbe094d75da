"""RiskShell: every grant is in the ledger before it is given, and a restart changes no answer."""

import asyncio
import weakref
from dataclasses import replace
from decimal import Decimal

import pytest
from engine_world import DAY, SYMBOL, D, at
from risk_world import entry, fill, leave, opened, reduced
from shell_world import World

from hftray.actors.risk import RiskShell
from hftray.catalog_rows import UserRow
from hftray.core.errors import (
    IllegalTransition,
    LedgerUnavailable,
    NotFound,
    NotRegistered,
    StaleEpoch,
)
from hftray.core.ledger import LedgerHealth
from hftray.core.orders import Approval, Denial, Leg, TradeStatus
from hftray.core.risk_view import RiskState


@pytest.fixture
async def world():
    return await World(symbols=(SYMBOL, "TCS")).open()


def restarted(world):
    """The shell as its process finds itself after a crash: built from the first arguments."""
    return RiskShell(world.run, world.build_book, world.ledger)


def records(world):
    return [(event.state, event.actor) for event in world.ledger.store.risk_events]


async def bought(world, symbol=SYMBOL):
    """A position of 20 shares at 1000; the epoch it was bought under."""
    epoch, _ = await world.desk.register(symbol)
    approval = await world.desk.reserve(entry(symbol), epoch)
    report = fill(approval.order, "1000")
    position = opened(approval.order, report)
    await world.desk.settle(report, epoch, position, None)
    return position, epoch


async def test_the_row_is_pending_in_the_ledger_when_the_approval_is_given(world):
    epoch, _ = await world.desk.register(SYMBOL)
    approval = await world.desk.reserve(entry(SYMBOL), epoch)
    assert isinstance(approval, Approval)
    row = world.ledger.store.trades[approval.order.reference].trade
    assert (row.status, row.requested_quantity, row.run_id) == (
        TradeStatus.PENDING, 20, world.run.run_id,
    )  # fmt: skip


async def test_a_denial_writes_nothing(world):
    epoch, _ = await world.desk.register(SYMBOL)
    await world.desk.change_state("kill", "enough", "anita")
    answer = await world.desk.reserve(entry(SYMBOL), epoch)
    assert answer == Denial("risk is HALTED: enough")
    assert world.ledger.store.trades == {}


async def test_without_the_ledger_nothing_is_granted_and_nothing_stays_reserved(world):
    epoch, _ = await world.desk.register(SYMBOL)
    world.ledger.away = 1
    with pytest.raises(LedgerUnavailable):
        await world.desk.reserve(entry(SYMBOL), epoch)
    view = await world.desk.view()
    assert (view.reserved, view.working_orders, view.trades_today) == (0, 0, 0)
    with pytest.raises(NotRegistered):  # the book is new: whoever asks reads the ledger first
        await world.desk.reserve(entry(SYMBOL), epoch)


async def test_settling_twice_is_settling_once(world):
    position, epoch = await bought(world)
    approval = await world.desk.reserve(leave(position, price=1010.0), epoch)
    report = fill(approval.order, "1010")
    first = await world.desk.settle(report, epoch, *reduced(position, 20))
    again = await world.desk.settle(report, epoch, *reduced(position, 20))
    assert first == again
    assert (await world.desk.view()).realised_pnl == first
    (row,) = world.ledger.store.positions.values()
    assert row.pnl == first


async def test_a_settlement_whose_answer_was_lost_is_found_by_the_new_book(world):
    position, epoch = await bought(world)
    approval = await world.desk.reserve(leave(position, price=1010.0), epoch)
    report = fill(approval.order, "1010")
    world.ledger.lost = 1
    with pytest.raises(LedgerUnavailable):
        await world.desk.settle(report, epoch, *reduced(position, 20))
    epoch, state = await world.desk.register(SYMBOL)
    assert (state.positions, state.pending) == ((), ())
    pnl = await world.desk.settle(report, epoch, *reduced(position, 20))
    assert pnl == (await world.desk.view()).realised_pnl


async def test_two_symbols_asking_at_once_never_get_more_than_there_is(world):
    limits = replace(world.rules.risk, max_symbol_exposure_percent=Decimal(70))
    world.rules = replace(world.rules, risk=limits)
    await world.restart_risk()
    epochs = {name: (await world.desk.register(name))[0] for name in world.symbols}
    answers = await asyncio.gather(
        *(world.desk.reserve(entry(name, atr=5.0), epochs[name]) for name in world.symbols)
    )
    assert all(isinstance(answer, Approval) for answer in answers)
    view = await world.desk.view()
    assert sum(a.order.quantity for a in answers) * 1005 == view.reserved <= 100_000
    assert sorted(answer.order.quantity for answer in answers) == [30, 69]


async def test_the_daily_loss_bars_entries_and_is_on_record(world):
    _, epoch = await bought(world)
    view = await world.desk.mark(at(20), {SYMBOL: D(-6000)})
    assert view.state is RiskState.REDUCING
    (event,) = world.ledger.store.risk_events
    assert (event.state, event.actor) == ("REDUCING", "risk")
    assert event.reason.startswith("daily loss")
    assert isinstance(await world.desk.reserve(entry(SYMBOL), epoch), Denial)
    await world.desk.mark(at(21), {SYMBOL: D(-7000)})
    assert len(world.ledger.store.risk_events) == 1


async def test_a_day_is_opened_once(world):
    await world.desk.open_day(DAY, at(3))
    await restarted(world).open_day(DAY, at(4))
    (started,) = world.ledger.store.sessions
    assert (started.session_day, started.opening_capital) == (DAY, 100_000)


async def test_a_restart_changes_no_figure_and_no_state(world):
    await bought(world)
    epoch, _ = await world.desk.register("TCS")
    await world.desk.reserve(entry("TCS"), epoch)
    await world.desk.change_state("kill", "enough", "anita")
    before = await world.desk.view()
    after = await restarted(world).view()
    assert replace(after, since=before.since) == before
    assert (before.open_positions, before.working_orders, before.state.value) == (1, 1, "HALTED")


async def test_a_restart_gives_no_name_twice_and_refuses_old_epochs(world):
    position, epoch = await bought(world)
    second = restarted(world)
    with pytest.raises(NotRegistered):
        await second.reserve(leave(position), epoch)
    newer, _ = await second.register(SYMBOL)
    assert newer > epoch
    with pytest.raises(StaleEpoch):
        await second.reserve(leave(position), epoch)
    first_exit = await second.reserve(leave(position), newer)
    await second.settle(fill(first_exit.order, "990"), newer, *reduced(position, 20))
    early = await second.reserve(entry(SYMBOL), newer)
    assert "no scan since risk was started" in early.reason
    await second.mark(at(30), {})
    again = await second.reserve(entry(SYMBOL), newer)
    assert again.order.reference not in {position.reference, first_exit.order.reference}


async def test_a_symbol_is_told_its_own_part_of_the_ledger_only(world):
    position, _ = await bought(world)
    _, own = await world.desk.register(SYMBOL)
    _, other = await world.desk.register("TCS")
    assert [p.reference for p in own.positions] == [position.reference]
    assert (other.positions, other.pending) == ((), ())
    with pytest.raises(NotFound):
        await world.desk.register("NOSUCH")


async def test_another_account_is_kept_over_a_restart(world):
    user = UserRow("bina", None, "Bina", None, Decimal(50_000), False, at(0))
    world.ledger.store.users["bina"] = user
    run = await world.ledger.open_run("simulation", "a test", "bina", Decimal(50_000))
    await world.desk.use_run(run)
    assert (await world.desk.view()).capital == 50_000
    assert (await restarted(world).run_state()).run == run


async def test_an_epoch_is_given_once_also_over_a_change_of_account(world):
    before, _ = await world.desk.register(SYMBOL)
    await world.restart_risk()
    after, _ = await world.desk.register(SYMBOL)
    assert after > before
    with pytest.raises(StaleEpoch):  # a symbol actor that was stopped meanwhile
        await world.desk.reserve(entry(), before)


# Kills and reductions that the ledger did not take

STOPS = pytest.mark.parametrize(
    ("verb", "state"), [("kill", RiskState.HALTED), ("reduce", RiskState.REDUCING)]
)


@pytest.fixture
async def killed(world):
    """A world whose kill was ordered while the ledger was away."""
    world.ledger.away = 1
    with pytest.raises(LedgerUnavailable):
        await world.desk.change_state("kill", "enough", "anita")
    return world


@STOPS
async def test_what_was_ordered_holds_before_it_is_on_record(world, verb, state):
    epoch, _ = await world.desk.register("TCS")
    world.ledger.away = 3
    for _ in range(2):
        with pytest.raises(LedgerUnavailable):  # it is not on record yet
            await world.desk.change_state(verb, "enough", "anita")
    view = await world.desk.mark(at(20), {})  # and still not
    assert (view.state, view.reason) == (state, "enough")
    epoch, _ = await world.desk.register("TCS")
    assert isinstance(await world.desk.reserve(entry("TCS"), epoch), Denial)
    assert records(world) == []
    assert (await world.desk.mark(at(21), {})).state is state
    await world.desk.mark(at(22), {})
    assert records(world) == [(state, "anita")]
    assert world.ledger.store.risk_events[0].time == view.since


@STOPS
async def test_what_was_ordered_while_nothing_could_be_read_holds(world, verb, state):
    position, _ = await bought(world)

    async def away(run_id):
        raise LedgerUnavailable("away")

    with pytest.MonkeyPatch.context() as dark:
        dark.setattr(world.ledger, "run_state", away)
        await world.desk.use_run(world.run)
        for _ in range(2):
            with pytest.raises(LedgerUnavailable):
                await world.desk.change_state(verb, "enough", "anita")
    epoch, _ = await world.desk.register(SYMBOL)
    assert isinstance(await world.desk.reserve(leave(position), epoch), Approval)
    assert records(world) == [(state, "anita")]  # the exit's row brought it along
    assert (await restarted(world).view()).reason == "enough"


async def test_a_kill_whose_answer_was_lost_is_recorded_once(world):
    world.ledger.lost = 1
    with pytest.raises(LedgerUnavailable):
        await world.desk.change_state("kill", "enough", "anita")
    assert (await world.desk.mark(at(20), {})).state is RiskState.HALTED
    await world.desk.change_state("kill", "enough", "anita")
    assert records(world) == [("HALTED", "anita")]


async def test_a_reduction_does_not_weaken_a_kill_that_is_not_on_record(killed):
    killed.ledger.away = 1
    with pytest.raises(LedgerUnavailable):
        await killed.desk.change_state("reduce", "carefully", "bina")
    assert (await killed.desk.mark(at(20), {})).state is RiskState.HALTED
    assert records(killed) == [("HALTED", "anita")]


async def test_a_resume_ends_a_kill_that_was_not_on_record(killed):
    view = await killed.desk.change_state("resume", "a mistake", "anita")
    assert view.state is RiskState.ACTIVE
    assert (await killed.desk.mark(at(20), {})).state is RiskState.ACTIVE
    assert records(killed) == [("HALTED", "anita"), ("ACTIVE", "anita")]


@pytest.mark.parametrize("fault", ["away", "lost"])
async def test_a_resume_that_failed_does_not_count_and_book_and_ledger_agree(killed, fault):
    setattr(killed.ledger, fault, 1)
    with pytest.raises(LedgerUnavailable):
        await killed.desk.change_state("resume", "a mistake", "anita")
    assert (await killed.desk.mark(at(20), {})).state is RiskState.HALTED
    assert (await killed.ledger.run_state(killed.run.run_id)).risk_state == "HALTED"
    assert (await killed.desk.change_state("resume", "yes", "anita")).state is RiskState.ACTIVE
    assert (await killed.ledger.run_state(killed.run.run_id)).risk_state == "ACTIVE"


async def test_a_kill_outlasts_a_change_of_account_until_it_is_on_record(killed):
    await killed.desk.use_run(killed.run)
    assert (await killed.desk.view()).state is RiskState.HALTED
    assert records(killed) == []


async def test_a_look_at_the_heartbeat_records_what_is_owed(killed):
    await killed.desk.check_heartbeat()
    assert records(killed) == [("HALTED", "anita")]


async def test_a_kill_is_recorded_although_nobody_calls_again(world):
    append, written = world.ledger.append, asyncio.Event()

    async def noticed(events, term=None):
        health = await append(events, term)
        written.set()
        return health

    world.ledger.append, world.ledger.away = noticed, 2
    desk = RiskShell(world.run, world.build_book, world.ledger, heartbeat_timeout=0.001)
    with pytest.raises(LedgerUnavailable):
        await desk.change_state("kill", "enough", "anita")
    await asyncio.wait_for(written.wait(), 10)
    assert records(world) == [("HALTED", "anita")]


# What stands against entries

FULL = LedgerHealth(waiting=5_001, impairment="5,001 events wait for the database")


async def test_an_impairment_bars_entries_until_it_is_over_and_never_exits(world):
    position, epoch = await bought(world)
    other, _ = await world.desk.register("TCS")
    view = await world.desk.mark(at(20), {}, "the feed is stale")
    assert view.reason == "impaired: the feed is stale"
    assert isinstance(await world.desk.reserve(leave(position), epoch), Approval)
    assert isinstance(await world.desk.reserve(entry("TCS"), other), Denial)
    await world.desk.mark(at(21), {})
    assert isinstance(await world.desk.reserve(entry("TCS"), other), Approval)
    assert records(world) == [("REDUCING", "risk"), ("ACTIVE", "risk")]


async def test_failing_scans_impair_until_one_succeeds(world):
    view = await world.desk.impair("5 scans in a row failed")
    assert view.state is RiskState.REDUCING
    assert (await world.desk.mark(at(20), {})).state is RiskState.ACTIVE
    assert records(world) == [("REDUCING", "engine"), ("ACTIVE", "risk")]


async def test_what_was_told_last_holds_over_a_write_that_failed(world):
    epoch, _ = await world.desk.register(SYMBOL)
    await world.desk.mark(at(20), {}, "", {"TCS": "not reconciled"})
    world.ledger.away = 1
    with pytest.raises(LedgerUnavailable):  # the book is read back from the ledger after this
        await world.desk.mark(at(21), {}, "the feed is stale")
    epoch, _ = await world.desk.register(SYMBOL)
    assert (await world.desk.view()).locks == {"TCS": "not reconciled"}
    assert isinstance(await world.desk.reserve(entry(), epoch), Denial)


async def test_a_ledger_in_trouble_bars_entries_at_once_and_its_recovery_is_noticed(world):
    epoch, _ = await world.desk.register(SYMBOL)
    world.ledger.health = FULL
    approval = await world.desk.reserve(entry(), epoch)  # granted, and the ledger said so then
    other, _ = await world.desk.register("TCS")
    answer = await world.desk.reserve(entry("TCS"), other)
    assert answer == Denial(f"impaired: {FULL.impairment}")
    assert (await world.desk.mark(at(20), {})).reason == f"impaired: {FULL.impairment}"
    report = fill(approval.order, "1000")
    position = opened(approval.order, report)
    await world.desk.settle(report, epoch, position, None)
    assert isinstance(await world.desk.reserve(leave(position), epoch), Approval)
    world.ledger.health = LedgerHealth()
    # Nothing is written any more while entries are barred: the next mark has to ask.
    assert (await world.desk.mark(at(21), {})).state is RiskState.ACTIVE
    assert isinstance(await world.desk.reserve(entry("TCS"), other), Approval)


async def test_a_ledger_that_does_not_answer_stays_in_trouble(world):
    world.ledger.health = FULL
    await world.desk.open_day(DAY.replace(day=DAY.day + 1), at(20))
    await world.desk.mark(at(20), {})
    world.ledger.health, world.ledger.away = LedgerHealth(), 1
    assert (await world.desk.mark(at(21), {})).state is RiskState.REDUCING
    assert (await world.desk.mark(at(22), {})).state is RiskState.ACTIVE


# Dead-man


class Clock:
    """Seconds that pass when told to."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


class Watched:
    """A shell with a clock of its own in a run that is meant to scan."""

    def __init__(self, world):
        self.clock = Clock()
        self.desk = RiskShell(
            world.run, world.build_book, world.ledger, heartbeat_timeout=30.0, clock=self.clock
        )

    async def after(self, seconds):
        """The state once these seconds have passed without a mark."""
        self.clock.seconds += seconds
        await self.desk.check_heartbeat()
        return (await self.desk.view()).state


@pytest.fixture
async def watched(world):
    await world.ledger.set_scanning(world.run.run_id, True)
    made = Watched(world)
    await made.desk.mark(at(20), {})
    return made


async def test_without_scans_only_exits_until_a_scan_comes(world, watched):
    assert await watched.after(29.9) is RiskState.ACTIVE
    assert await watched.after(0.1) is RiskState.REDUCING
    assert (await watched.desk.view()).reason == "impaired: no scan for 30 s"
    assert await watched.after(500) is RiskState.REDUCING
    assert (await watched.desk.mark(at(21), {})).state is RiskState.ACTIVE
    assert records(world) == [("REDUCING", "dead-man"), ("ACTIVE", "risk")]


async def test_a_pause_that_was_announced_is_no_silence(watched):
    await watched.desk.mark(at(21), {}, "", None, 60.0)
    assert await watched.after(89) is RiskState.ACTIVE
    assert await watched.after(1) is RiskState.REDUCING


async def test_a_mark_that_fails_is_a_sign_of_life_all_the_same(world, watched):
    watched.clock.seconds += 29
    world.ledger.away = 1
    with pytest.raises(LedgerUnavailable):
        await watched.desk.mark(at(21), {}, "the feed is stale")
    assert await watched.after(29) is RiskState.ACTIVE


async def test_a_stopped_engine_is_not_missed_and_has_all_the_time_to_begin(world, watched):
    await world.ledger.set_scanning(world.run.run_id, False)
    assert await watched.after(3_600) is RiskState.ACTIVE
    assert await watched.after(29) is RiskState.ACTIVE
    await world.ledger.set_scanning(world.run.run_id, True)
    assert await watched.after(29) is RiskState.ACTIVE
    assert await watched.after(1) is RiskState.REDUCING


async def test_a_change_of_account_is_a_sign_of_life(world, watched):
    watched.clock.seconds += 29
    await watched.desk.use_run(world.run)
    assert await watched.after(29) is RiskState.ACTIVE
    assert await watched.after(1) is RiskState.REDUCING


async def test_a_finished_replay_is_not_missed(world, watched):
    await world.ledger.set_scanning(world.run.run_id, False)
    await world.ledger.finish_run(world.run.run_id, at(375))
    assert await watched.after(3_600) is RiskState.ACTIVE
    assert records(world) == []


async def test_the_dead_man_weakens_no_kill_and_comes_back_after_a_resume(watched):
    await watched.desk.change_state("kill", "enough", "anita")
    assert await watched.after(60) is RiskState.HALTED
    await watched.desk.change_state("resume", "checked", "anita")
    assert await watched.after(3) is RiskState.REDUCING


async def test_the_watch_outlives_an_absent_ledger_and_ends_with_the_shell(world):
    await world.ledger.set_scanning(world.run.run_id, True)
    append, written = world.ledger.append, asyncio.Event()

    async def noticed(events, term=None):
        health = await append(events, term)
        written.set()
        return health

    world.ledger.append, world.ledger.away = noticed, 3
    desk = RiskShell(world.run, world.build_book, world.ledger, heartbeat_timeout=0.001)
    with pytest.raises(LedgerUnavailable):
        await desk.mark(at(20), {}, "the feed is stale")  # begins the watch, takes one refusal
    await asyncio.wait_for(written.wait(), 10)
    assert records(world) == [("REDUCING", "dead-man")]
    task, shell = desk._watch, weakref.ref(desk)
    del desk
    await asyncio.wait_for(task, 10)
    assert shell() is None


# Terms


async def test_a_superseded_shell_is_refused_and_begins_anew_if_it_is_still_called(world):
    position, epoch = await bought(world)
    newer = restarted(world)
    known, _ = await newer.register(SYMBOL)
    with pytest.raises(StaleEpoch):
        await world.desk.reserve(leave(position), epoch)
    assert len(world.rows()) == 1
    with pytest.raises(NotRegistered):  # what it granted before is worth nothing
        await world.desk.reserve(leave(position), epoch)
    with pytest.raises(StaleEpoch):  # now the other one is the older
        await newer.reserve(leave(position), known)
    newest, _ = await newer.register(SYMBOL)
    assert isinstance(await newer.reserve(leave(position), newest), Approval)
    assert len(world.rows()) == 2


async def test_a_shell_that_finds_itself_superseded_without_a_write_gives_no_epoch_twice(world):
    world.ledger.health = FULL
    before, _ = await world.desk.register(SYMBOL)
    await world.desk.reserve(entry(), before)  # the ledger says that it is full
    await restarted(world).view()
    with pytest.raises(StaleEpoch):
        await world.desk.mark(at(20), {})
    after, _ = await world.desk.register(SYMBOL)
    assert after > before


async def test_a_superseded_shell_that_is_called_again_watches_again(world):
    await world.ledger.set_scanning(world.run.run_id, True)
    desk = RiskShell(world.run, world.build_book, world.ledger, heartbeat_timeout=0.001)
    await desk.mark(at(20), {})
    await restarted(world).view()
    await asyncio.wait_for(desk._watch, 10)
    await desk.mark(at(21), {})
    assert not desk._watch.done()


async def test_a_write_of_unknown_outcome_ends_the_term(world):
    await world.desk.register(SYMBOL)
    term = world.ledger.store.term
    world.ledger.away = 1
    with pytest.raises(LedgerUnavailable):
        await world.desk.change_state("kill", "enough", "anita")
    await world.desk.use_run(world.run)
    assert (await world.desk.change_state("kill", "enough", "anita")).state is RiskState.HALTED
    assert world.ledger.store.term == term + 1  # should that write still come, it is refused


# Fills that a person confirms


async def test_a_confirmed_fill_is_recorded_whole_or_not_at_all(world):
    position, _ = await bought(world)
    asked = (position.reference, D(999), "read in the app")

    async def known():
        state = await world.ledger.run_state(world.run.run_id)
        return [t.status for t in state.trades_today if t.leg is Leg.MANUAL], state

    world.ledger.away = 1
    with pytest.raises(LedgerUnavailable):
        await world.desk.confirm_fill(*asked)
    assert (await known())[0] == []
    world.ledger.lost = 1  # and now it is written, and the answer is lost
    with pytest.raises(LedgerUnavailable):
        await world.desk.confirm_fill(*asked)
    statuses, state = await known()
    assert statuses == [TradeStatus.EXECUTED]
    await world.restart_risk()
    with pytest.raises(IllegalTransition, match="was confirmed before"):
        await world.desk.confirm_fill(*asked)
    view = await world.desk.view()
    assert view.realised_pnl == state.realised_total == D("20.02")  # and charges of 2 paise
    assert state.positions == (position,)
