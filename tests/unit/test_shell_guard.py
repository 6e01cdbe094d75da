"""SymbolShell with a guard at the broker: whatever answer is lost, no share is sold twice."""

import asyncio

import pytest
from engine_world import BUY, D, Script, at, bar, on_bar, session, tick
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from shell_world import ROSTER, World

from hftray.actors.messages import Step
from hftray.core.errors import (
    BrokerUnavailable,
    OrderRejected,
    RetryError,
    UnknownOutcome,
)
from hftray.core.orders import Leg, OrderStatus, TradeStatus
from hftray.core.rules import ExitRules, TradingRules

EXECUTED, FAILED, PENDING = TradeStatus.EXECUTED, TradeStatus.FAILED, TradeStatus.PENDING
EXIT = Leg.EXIT
DECIDING = "1000 1025 975 1000"
FLAT_BAR = "1000 1000 1000 1000"
GUARDED = TradingRules(exits=ExitRules(guard=True))


@pytest.fixture
async def world():
    return await World(rules=GUARDED).open()


async def entering(world):
    """A warm shell whose order for 20 shares is at the exchange."""
    shell = await world.begin(on_bar(1, BUY))
    await world.play(shell, bar(1, DECIDING))
    return shell


async def holding(world):
    """It has got them at 1000 on candle 2's open; its trailing stop, and its guard, are at 990."""
    shell = await entering(world)
    report = await world.play(shell, bar(2, FLAT_BAR))
    assert (report.position.quantity, report.guard.trigger) == (20, D(990))
    return shell


def restarted(world, script):
    """A new incarnation that will be warm with its first step."""
    shell = world.shell()
    shell._roster_version, shell._engine.electorate = ROSTER[0], script
    return shell


def exits(world):
    rows = [row.trade for row in world.ledger.store.trades.values()]
    return [(t.reason, t.status, t.quantity, t.price) for t in rows if t.leg is EXIT]


async def guard_of(world):
    """The stop order that works at the exchange."""
    [guard] = [r for r in await world.exchange.reports() if r.status is OrderStatus.WORKING]
    return guard


async def test_a_position_is_guarded_at_the_broker_from_the_step_of_its_fill(world):
    shell = await entering(world)
    report = await world.play(shell, bar(2, FLAT_BAR))
    guard = await guard_of(world)
    assert (guard.trigger, guard.quantity) == (D(990), 20)
    assert (report.guard.reference, report.guard.trigger) == (guard.reference, D(990))
    assert (report.phase, report.trouble, report.traded) == ("OPEN", "", True)
    assert exits(world) == [("guard", PENDING, 0, None)]
    await world.agree(shell)


async def test_the_exchange_closes_the_position_while_the_engine_is_down(world):
    shell = await holding(world)
    await world.play(shell, bar(3, "1000 1030 1000 1030"))
    assert (await guard_of(world)).trigger == D("1019.70")
    world.lost_reports = True  # it does not hear what the market did
    fresh = restarted(world, Script())
    await world.trade(fresh, tick(21, 1019.0))
    world.lost_reports = False
    report = await world.play(fresh, bar(4, "1019 1019 1019 1019"))
    assert (report.phase, report.guard, report.trouble) == ("FLAT", None, "")
    assert exits(world) == [("guard", EXECUTED, 20, D(1019))]
    state = await world.ledger.run_state(world.run.run_id)
    assert state.realised_total == (await world.desk.view()).realised_pnl > 0
    [row] = world.ledger.store.positions.values()
    assert (row.exit_reason, row.exit_price) == ("guard", D(1019))
    await world.agree(fresh)


async def test_an_exit_that_is_decided_here_leaves_in_the_same_step(world):
    shell = await holding(world)
    await world.play(shell, bar(3, FLAT_BAR))
    report = await world.play(shell, bar(4, FLAT_BAR), flatten="kill")
    assert report.phase == "EXITING"
    assert exits(world) == [
        ("guard: cancelled on request", FAILED, 0, None),
        ("kill_switch", PENDING, 0, None),
    ]
    report = await world.play(shell, bar(5, FLAT_BAR), flatten="kill")
    assert report.phase == "FLAT"
    assert exits(world)[1] == ("kill_switch", EXECUTED, 20, D(1000))
    assert world.troubles == []
    await world.agree(shell)


async def test_a_level_touched_before_the_guard_still_fills_at_that_level(world):
    """The guard lags behind the trailing stop by its step, the exit here does not."""
    world = await World(
        rules=TradingRules(exits=ExitRules(guard=True, guard_step_percent=D(5)))
    ).open()
    shell = await holding(world)
    await world.play(shell, bar(3, "1000 1020 1000 1020"))
    assert (await guard_of(world)).trigger == D(990)
    report = await world.play(shell, bar(4, "1020 1020 1000 1005"))
    assert report.phase == "FLAT"
    assert exits(world) == [
        ("guard: cancelled on request", FAILED, 0, None),
        ("trailing_stop", EXECUTED, 20, D("1009.80")),
    ]
    await world.agree(shell)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [UnknownOutcome, RetryError])
async def test_a_guard_whose_answer_is_lost_is_found_again_and_never_doubled(world, error, after):
    shell = await entering(world)
    world.broker.fail("place", error, after=after)
    for number in range(2, 10):
        report = await world.play(shell, bar(number, FLAT_BAR))
    assert (report.phase, report.trouble) == ("OPEN", "")
    assert (await guard_of(world)).trigger == D(990)
    assert [status for _, status, *_ in exits(world)].count(PENDING) == 1
    await world.agree(shell)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [UnknownOutcome, RetryError, BrokerUnavailable, OrderRejected])
async def test_a_move_whose_answer_is_lost_is_made_all_the_same(world, error, after):
    shell = await holding(world)
    await world.play(shell, bar(3, FLAT_BAR))
    world.broker.fail("amend", error, after=after)
    report = await world.play(shell, bar(4, "1000 1030 1000 1030"))
    assert report.trouble
    for number in range(5, 9):
        report = await world.play(shell, bar(number, "1030 1030 1030 1030"))
    assert (report.trouble, report.guard.trigger) == ("", D("1019.70"))
    assert (await guard_of(world)).trigger == D("1019.70")
    assert world.broker.calls.count("amend") <= 2
    await world.agree(shell)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [UnknownOutcome, RetryError])
async def test_an_exit_waits_for_a_withdrawal_whose_answer_is_lost_and_then_goes(
    world, error, after
):
    shell = await holding(world)
    await world.play(shell, bar(3, FLAT_BAR))
    world.broker.fail("cancel", error, after=after)
    report = await world.play(shell, bar(4, FLAT_BAR), flatten="kill")
    assert (report.phase, len(exits(world))) == ("OPEN", 1)
    for number in range(5, 10):
        report = await world.play(shell, bar(number, FLAT_BAR), flatten="kill")
    assert (report.phase, report.trouble) == ("FLAT", "")
    assert [(reason, quantity) for reason, _, quantity, _ in exits(world)] == [
        ("guard: cancelled on request", 0),
        ("kill_switch", 20),
    ]
    await world.agree(shell)


async def test_an_exit_while_the_guards_fate_is_unknown_waits_for_the_broker_and_no_longer(world):
    shell = await entering(world)
    world.broker.fail("place", UnknownOutcome, after=True)
    world.broker.fail("resolve", RetryError, times=2)
    await world.play(shell, bar(2, FLAT_BAR))
    for number in (3, 4):
        report = await world.play(shell, bar(number, FLAT_BAR), flatten="kill")
        assert report.trouble.startswith("outcome unknown")
        assert len(exits(world)) == 1
    for number in (5, 6, 7, 8):
        report = await world.play(shell, bar(number, FLAT_BAR), flatten="kill")
    assert (report.phase, report.trouble) == ("FLAT", "")
    assert exits(world)[1:] == [("kill_switch", EXECUTED, 20, D(1000))]
    await world.agree(shell)


async def test_a_guard_the_broker_refuses_is_shown_and_asked_for_again(world):
    shell = await entering(world)
    world.broker.fail("place", OrderRejected, times=2)
    report = await world.play(shell, bar(2, FLAT_BAR))
    assert report.trouble == "no guard at the broker: place: nothing happened"
    for number in range(3, 14):
        report = await world.play(shell, bar(number, FLAT_BAR))
    assert report.trouble == ""
    assert [status for _, status, *_ in exits(world)] == [FAILED, FAILED, PENDING]
    await world.agree(shell)


async def test_without_a_ledger_there_is_no_guard_and_the_votes_are_kept(world):
    shell = await holding(world)
    await world.exchange.cancel((await guard_of(world)).reference)
    await world.play(shell, bar(3, FLAT_BAR), look_up=True)
    await world.play(shell, bar(4, FLAT_BAR))
    world.ledger.away = 1
    report = await world.play(shell, bar(5, FLAT_BAR))
    assert report.trouble == "LedgerUnavailable: away"
    assert len(report.signals) == 1
    report = await world.play(shell, bar(6, FLAT_BAR))
    assert (report.trouble, report.guard.trigger) == ("", D(990))
    await world.agree(shell)


async def test_news_of_the_guards_fill_that_were_lost_are_looked_up(world):
    shell = await holding(world)
    await world.play(shell, bar(3, FLAT_BAR))
    world.lost_reports = True
    await world.trade(shell, tick(21, 991.0))
    await world.exchange.cancel((await guard_of(world)).reference)
    world.lost_reports = False
    report = await shell.step(Step(at(22), session(), look_up=True))
    assert (report.phase, report.guard) == ("OPEN", None)
    assert "cancelled on request" in report.trouble
    await world.agree(shell)


faults = st.lists(
    st.tuples(
        st.sampled_from(["place", "amend", "cancel", "resolve", "reserve", "settle"]),
        st.sampled_from([UnknownOutcome, RetryError, BrokerUnavailable, OrderRejected]),
        st.booleans(),
    ),
    max_size=3,
)
prices = st.sampled_from(["same", "up", "down", "through"])
steps = st.lists(st.tuples(prices, faults, st.sampled_from(["", "kill", "restart", "deaf"])),
                 min_size=3, max_size=12)  # fmt: skip
_MOVES = {"same": 0, "up": 15, "down": -6, "through": -40}
_BROKER = ("place", "amend", "cancel", "resolve")


@settings(max_examples=examples(40))
@given(steps)
def test_whatever_is_lost_the_books_agree_in_the_end(given_steps):
    asyncio.run(_storm(given_steps))


async def _storm(given_steps):
    world = await World(rules=GUARDED).open()
    script = Script({at(5 * n): BUY for n in (1, 9)})
    shell = await world.begin(script)
    price = 1000
    number = 1
    for move, broken, what in given_steps:
        for method, error, after in broken:
            certain = error in (BrokerUnavailable, OrderRejected)
            if method in _BROKER:
                if not (certain and (after or method in ("cancel", "resolve"))):
                    world.broker.fail(method, error, after=after)
            else:
                world.risk.fail(method, RetryError if certain else error, after=after)
        if what == "restart":
            shell = restarted(world, script)
        world.lost_reports = what == "deaf"
        before, price = price, max(100, price + _MOVES[move])
        candle = bar(number, f"{before} {max(before, price)} {min(before, price)} {price}")
        await world.play(shell, candle, flatten="kill" if what == "kill" else None)
        number += 1
        await bounded(world)
    world.lost_reports = False
    world.broker._faults.clear()
    world.risk._faults.clear()
    for number_after in range(number, number + 8):
        candle = bar(number_after, f"{price} {price} {price} {price}")
        report = await world.play(shell, candle, flatten="kill", look_up=True)
        await bounded(world)
    assert (report.phase, report.guard, report.trouble) == ("FLAT", None, "")
    await world.agree(shell)


async def bounded(world):
    """Never more shares sold than were bought, and never two orders that could still sell."""
    orders = await world.exchange.reports()
    rows = {ref: row.trade for ref, row in world.ledger.store.trades.items()}
    held = {Leg.ENTRY: 0, EXIT: 0}
    working = 0
    for order in orders:
        held[rows[order.reference].leg] += order.filled_quantity
        working += not order.status.terminal
    assert held[EXIT] <= held[Leg.ENTRY]
    assert working <= 1
    assert sum(row.status is PENDING for row in rows.values()) <= 1
