"""RiskShell: every grant is in the ledger before it is given, and a restart changes no answer."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from engine_world import DAY, SYMBOL, D, at
from risk_world import entry, fill, leave, opened, reduced
from shell_world import World

from hftray.actors.risk import RiskShell
from hftray.core.errors import LedgerUnavailable, NotFound, NotRegistered, StaleEpoch
from hftray.core.orders import Approval, Denial, TradeStatus
from hftray.core.risk_view import RiskState
from hftray.ports_catalog import UserRow


@pytest.fixture
async def world():
    return await World(symbols=(SYMBOL, "TCS")).open()


def restarted(world):
    """The shell as its process finds itself after a crash: built from the first arguments."""
    return RiskShell(world.run, world.build_book, world.ledger)


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
    await world.desk.use_run(world.run)
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
    assert await restarted(world).view() == before
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
