"""A position that the broker does not hold: what is still tried, and how a person settles it."""

import pytest
from engine_world import BUY, D, bar, on_bar
from shell_world import World

from hftray.core.errors import IllegalTransition, LedgerUnavailable, NotFound, NotHeld
from hftray.core.orders import Leg, OrderStatus, TradeStatus
from hftray.core.rules import ExitRules, TradingRules

EXECUTED, FAILED = TradeStatus.EXECUTED, TradeStatus.FAILED
EXIT = Leg.EXIT
DECIDING = "1000 1025 975 1000"
FLAT_BAR = "1000 1000 1000 1000"
BELOW = "900 900 900 900"  # under every stop
GUARDED = TradingRules(exits=ExitRules(guard=True))
WHY = "closed in the app (by api)"


async def holding(rules=None):
    """A shell that holds 20 shares, bought at 1000 on candle 2's open."""
    world = await World(**({} if rules is None else {"rules": rules})).open()
    shell = await world.begin(on_bar(1, BUY))
    await world.play(shell, bar(1, DECIDING))
    report = await world.play(shell, bar(2, FLAT_BAR))
    assert report.position.quantity == 20
    return world, shell


@pytest.fixture
async def lost():
    """The same, and the broker refuses its exits: it holds none."""
    world, shell = await holding()
    world.broker.fail("place", NotHeld, times=1000)
    await world.play(shell, bar(3, BELOW))
    return world, shell


def exits(world):
    return world.rows(EXIT)


def found_again(world):
    world.broker._faults.clear()


# What is still tried


async def test_refused_exits_are_tried_ever_more_rarely_and_the_status_says_why(lost):
    world, shell = lost
    assert len(exits(world)) == 1
    for number in range(4, 64):
        report = await world.play(shell, bar(number, BELOW))
        assert (report.phase, "nothing happened" in report.trouble) == ("OPEN", True)
        assert report.absent == report.trouble
    assert 3 <= len(exits(world)) <= 7
    assert {status for _, status, _ in exits(world)} == {FAILED}


async def test_an_exit_is_tried_at_once_when_the_broker_was_seen_to_hold_it(lost):
    world, shell = lost
    found_again(world)
    await world.play(shell, bar(4, BELOW))
    assert len(exits(world)) == 1
    report = await world.play(shell, bar(5, BELOW), holding="")
    assert (report.phase, report.absent) == ("FLAT", "")
    await world.agree(shell)


async def test_a_kill_tries_once_more_and_not_again(lost):
    world, shell = lost
    for number in (4, 5, 6):
        await world.play(shell, bar(number, BELOW), flatten="kill")
    assert len(exits(world)) == 2


async def test_a_new_process_tries_once_and_rests_again(lost):
    world, _ = lost
    fresh = await world.begin(on_bar(99, BUY))
    for number in (4, 5, 6):
        await world.play(fresh, bar(number, BELOW))
    assert len(exits(world)) == 2


async def test_the_next_position_is_not_judged_by_the_one_before(lost):
    world, shell = lost
    await world.desk.settle_by_hand(shell.symbol, 20, D(950), WHY)
    found_again(world)
    shell._engine.electorate = on_bar(6, BUY)
    await world.play(shell, bar(4, FLAT_BAR), recover=True)
    for number, prices in ((5, FLAT_BAR), (6, DECIDING), (7, FLAT_BAR)):
        report = await world.play(shell, bar(number, prices))
    assert (report.phase, report.absent) == ("OPEN", "")
    report = await world.play(shell, bar(8, BELOW))
    assert report.phase == "FLAT"


async def test_a_guard_of_what_is_not_there_is_withdrawn_and_none_is_placed():
    world, shell = await holding(GUARDED)
    report = await world.play(shell, bar(3, FLAT_BAR), holding="quantity differs")
    assert report.guard is None
    for number in range(4, 12):
        report = await world.play(shell, bar(number, FLAT_BAR))
        assert report.guard is None
    working = [r for r in await world.exchange.reports() if r.status is OrderStatus.WORKING]
    assert working == []
    await world.play(shell, bar(12, FLAT_BAR), holding="")
    for number in range(13, 17):
        report = await world.play(shell, bar(number, FLAT_BAR))
    assert report.guard is not None
    await world.agree(shell)


# Settled by a person


@pytest.mark.parametrize("left", [0, 8])
async def test_what_a_person_settles_is_an_exit_without_an_order(lost, left):
    world, shell = lost
    orders = await world.exchange.reports()
    trade = await world.desk.settle_by_hand(shell.symbol, 20 - left, D(950), WHY)
    assert (trade.status, trade.quantity, trade.price) == (EXECUTED, 20 - left, D(950))
    assert (trade.reason, trade.gross_pnl) == (f"settled: {WHY}", D(-50) * (20 - left))
    assert trade.pnl < trade.gross_pnl  # the broker's charges
    found_again(world)
    report = await world.play(shell, bar(4, FLAT_BAR), recover=True)
    assert (report.phase, report.absent) == (("OPEN", "") if left else ("FLAT", ""))
    assert (report.position.quantity if left else report.position) == (left or None)
    assert await world.exchange.reports() == orders
    state = await world.ledger.run_state(world.run.run_id)
    assert [p.quantity for p in state.positions] == ([left] if left else [])
    view = await world.desk.view()
    assert view.realised_pnl == state.realised_total == trade.pnl
    assert view.open_positions == len(state.positions)


async def test_whoever_believed_in_the_position_cannot_act_on_it_any_more():
    world, shell = await holding()
    await world.desk.settle_by_hand(shell.symbol, 20, D(950), WHY)
    report = await world.play(shell, bar(3, BELOW))  # it would leave now
    assert "StaleEpoch" in report.trouble
    report = await world.play(shell, bar(4, BELOW))
    assert report.phase == "FLAT"
    assert exits(world) == [(EXIT, EXECUTED, 20)]


async def test_nothing_is_settled_while_an_order_is_under_way_nor_more_than_is_open():
    world, shell = await holding(GUARDED)
    with pytest.raises(IllegalTransition, match="is under way"):
        await world.desk.settle_by_hand(shell.symbol, 20, D(950), WHY)
    world, shell = await holding()
    with pytest.raises(IllegalTransition, match="21 is not within the 20"):
        await world.desk.settle_by_hand(shell.symbol, 21, D(950), WHY)
    with pytest.raises(NotFound, match="no open position in TCS"):
        await world.desk.settle_by_hand("TCS", 20, D(950), WHY)
    assert exits(world)[1:] == []


@pytest.mark.parametrize("price", ["95000", "9.5"])
async def test_a_price_that_is_none_of_the_share_is_refused_and_changes_nothing(price):
    world, shell = await holding()
    with pytest.raises(IllegalTransition, match="out of line"):
        await world.desk.settle_by_hand(shell.symbol, 20, D(price), WHY)
    assert exits(world) == []
    assert await world.desk.settle_by_hand(shell.symbol, 20, D(950), WHY)


async def test_a_settlement_is_recorded_whole_or_not_at_all():
    world, shell = await holding()
    world.ledger.away = 1
    with pytest.raises(LedgerUnavailable):
        await world.desk.settle_by_hand(shell.symbol, 20, D(950), WHY)
    assert exits(world) == []
    world.ledger.lost = 1  # and now it is written, and the answer is lost
    with pytest.raises(LedgerUnavailable):
        await world.desk.settle_by_hand(shell.symbol, 20, D(950), WHY)
    assert exits(world) == [(EXIT, EXECUTED, 20)]
    await world.restart_risk()
    with pytest.raises(NotFound):
        await world.desk.settle_by_hand(shell.symbol, 20, D(950), WHY)
    state = await world.ledger.run_state(world.run.run_id)
    assert (state.positions, state.pending) == ((), ())
