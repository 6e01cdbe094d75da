"""SymbolShell: whatever answer is lost, one order is sent, and ledger and exchange agree."""

import asyncio
from dataclasses import replace

import pytest
from engine_world import (
    BUY,
    SELL,
    D,
    Script,
    at,
    bar,
    on_bar,
    quiet_history,
    session,
    tick,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples
from shell_world import ROSTER, World

from hftray.actors.messages import Step
from hftray.core.errors import (
    BrokerUnavailable,
    LedgerUnavailable,
    OrderRejected,
    RetryError,
    UnknownOutcome,
)
from hftray.core.events import Decision
from hftray.core.ledger import OrderIntended
from hftray.core.orders import Leg, OrderStatus, Side, TradeStatus
from hftray.core.reconcile import compare
from hftray.core.rules import ExitRules, TradingRules

EXECUTED, FAILED, PENDING = TradeStatus.EXECUTED, TradeStatus.FAILED, TradeStatus.PENDING
ENTRY, EXIT = Leg.ENTRY, Leg.EXIT
DECIDING = "1000 1025 975 1000"  # an ATR of 50: 20 shares, as the specification sizes
FLAT_BAR = "1000 1000 1000 1000"


def anywhere(decision=BUY):
    return Script({at(5 * n): decision for n in range(60)})


async def holding(world, script=None):
    """A warm shell that bought 20 shares at 1000 on candle 2's open."""
    shell = await world.begin(script or on_bar(1, BUY))
    await world.play(shell, bar(1, DECIDING))
    report = await world.play(shell, bar(2, FLAT_BAR))
    assert report.position.quantity == 20
    return shell


@pytest.fixture
async def world():
    return await World().open()


# The plain way


async def test_a_new_shell_asks_for_history_and_roster_before_it_takes_a_step(world):
    shell = world.shell()
    step = Step(at(10), session(), candle=bar(1, DECIDING))
    first = await shell.step(step)
    assert (first.unready, first.signals, first.roster_version) == (True, (), -1)
    assert world.risk.calls == []  # and touches nothing
    assert (await shell.step(replace(step, history=quiet_history()))).unready
    assert (await shell.step(replace(step, roster=ROSTER))).unready is False
    again = await shell.step(Step(at(15), session(), candle=bar(2, FLAT_BAR)))
    assert (again.unready, again.roster_version, len(again.signals)) == (False, 7, 1)
    assert len((await shell.state())["candles"]["ints"][0]) == 60 + 2


async def test_an_entry_and_its_exit_from_signal_to_ledger(world):
    shell = await world.begin(on_bar(1, BUY))
    decided = await world.play(shell, bar(1, DECIDING))
    assert decided.signals[-1].action == "entry BUY 20"
    assert (decided.phase, decided.traded, world.rows()) == (
        "ENTERING",
        False,
        [(ENTRY, PENDING, 0)],
    )
    filled = await world.play(shell, bar(2, "1001 1002 1000 1002"))
    assert (filled.phase, filled.traded, filled.position.entry_price) == ("OPEN", True, D(1001))
    assert filled.open_pnl == D(20)
    await world.agree(shell)
    left = await world.play(shell, bar(3, "1000 1000 985 989"))
    assert (left.phase, left.position) == ("FLAT", None)
    (leaving,) = [t.trade for t in world.ledger.store.trades.values() if t.trade.leg is EXIT]
    assert (leaving.reason, leaving.price, leaving.gross_pnl) == (
        "trailing_stop", D("992.00"), D(-180),
    )  # fmt: skip
    assert leaving.pnl < leaving.gross_pnl
    await world.agree(shell)


async def test_a_denial_is_told_in_the_signal_and_leaves_nothing_behind(world):
    await world.desk.change_state("kill", "enough", "anita")
    shell = await world.begin(on_bar(1, BUY))
    report = await world.play(shell, bar(1, DECIDING))
    assert report.signals[-1].action == "denied: risk is HALTED: enough"
    assert (report.phase, report.trouble, world.rows()) == ("FLAT", "", [])


async def test_an_order_refused_by_the_exchange_is_a_failed_row(world):
    shell = await world.begin(on_bar(1, BUY))
    world.broker.fail("place", OrderRejected)
    report = await world.play(shell, bar(1, DECIDING))
    assert (report.phase, report.trouble) == ("FLAT", "")
    assert world.rows() == [(ENTRY, FAILED, 0)]
    await world.agree(shell)


async def test_an_order_nobody_takes_is_withdrawn_and_recorded(world):
    shell = await world.begin(on_bar(1, BUY))
    await world.play(shell, bar(1, DECIDING))
    for number in (2, 3, 4):
        await world.play(shell, bar(number, "1100 1100 1100 1100"))
    assert world.rows() == [(ENTRY, FAILED, 0)]
    (order,) = await world.exchange.reports()
    assert order.status.value == "CANCELLED"
    await world.agree(shell)


async def test_flatten_closes_and_bars_entries_until_a_step_comes_without_it(world):
    shell = await holding(world, anywhere())
    await world.play(shell, bar(3, FLAT_BAR), flatten="kill")
    report = await world.play(shell, bar(4, FLAT_BAR), flatten="kill")
    assert (report.phase, report.signals[-1].action) == ("FLAT", "no entry: kill")
    assert world.rows(EXIT) == [(EXIT, EXECUTED, 20)]
    report = await world.play(shell, bar(5, FLAT_BAR))
    assert report.signals[-1].action.startswith("entry BUY")


async def test_what_an_exit_waits_for_at_the_broker_is_told(world):
    shell = await holding(world)
    await world.play(shell, bar(3, FLAT_BAR), flatten="kill")
    [working] = [r for r in await world.exchange.reports() if not r.status.terminal]
    locked = replace(working, limit_price=D(950), reason="waits for a buyer")
    report = await shell.step(Step(at(21), session(), reports=(locked,), flatten="kill"))
    told = f"exit {locked.reference}: waits for a buyer"
    assert (report.phase, report.trouble) == ("EXITING", told)
    report = await world.play(shell, bar(4, FLAT_BAR), flatten="kill")
    assert (report.phase, report.trouble) == ("FLAT", "")


async def test_steps_are_taken_one_after_the_other(world):
    shell = await world.begin(anywhere())
    steps = [Step(at(5 * n + 5), session(), candle=bar(n, FLAT_BAR)) for n in (1, 2, 3)]
    reports = await asyncio.gather(*(shell.step(step) for step in steps))
    assert [len(report.signals) for report in reports] == [1, 1, 1]
    assert world.rows() == []
    await shell.step(Step(at(20), proceed=True))
    assert world.rows() == [(ENTRY, PENDING, 0)]


async def test_an_entry_waits_for_its_turn_and_is_dropped_when_that_does_not_come(world):
    shell = await world.begin(on_bar(1, BUY))
    report = await shell.step(Step(at(10), session(), candle=bar(1, DECIDING)))
    assert (report.wants_turn, report.signals[-1].action) == (True, "enter")
    report = await shell.step(Step(at(15), session(), candle=bar(2, FLAT_BAR)))
    assert (report.wants_turn, report.phase, world.rows()) == (False, "FLAT", [])
    assert (await shell.step(Step(at(15), proceed=True))).phase == "FLAT"


async def test_a_roster_that_cannot_be_used_keeps_the_voters_and_says_so(world):
    shell = await holding(world)
    bad = (8, [{"id": 1, "name": "x", "kind": "astrology", "is_active": True, "parameters": {}}])
    report = await world.play(shell, bar(3, "1000 1000 980 980"), roster=bad)
    assert "astrology" in report.trouble
    assert report.roster_version == 8  # it is not sent again and again
    assert report.phase == "FLAT"  # and the position was guarded all the same
    report = await world.play(shell, bar(4, FLAT_BAR))
    assert "astrology" in report.trouble
    report = await world.play(shell, bar(5, FLAT_BAR), roster=(9, []))
    assert (report.trouble, report.roster_version) == ("", 9)


# Lost answers


@pytest.mark.parametrize("error", [UnknownOutcome, RetryError])
async def test_an_entry_whose_answer_is_lost_after_placing_is_found_again(world, error):
    shell = await world.begin(on_bar(1, BUY))
    world.broker.fail("place", error, after=True)
    report = await world.play(shell, bar(1, DECIDING))
    assert report.trouble
    report = await world.play(shell, bar(2, FLAT_BAR))
    assert (report.trouble, report.phase) == ("", "OPEN")
    assert world.rows() == [(ENTRY, EXECUTED, 20)]
    assert len(await world.exchange.reports()) == 1
    await world.agree(shell)


async def test_an_exit_whose_answer_is_lost_after_placing_is_found_again(world):
    shell = await holding(world)
    world.broker.fail("place", UnknownOutcome, after=True)
    report = await world.play(shell, bar(3, "1000 1000 980 980"))
    assert report.trouble
    report = await world.play(shell, bar(4, "980 980 980 980"))
    assert (report.trouble, report.phase) == ("", "FLAT")
    assert world.rows(EXIT) == [(EXIT, EXECUTED, 20)]
    assert len(await world.exchange.reports()) == 2
    await world.agree(shell)


async def test_an_entry_that_was_certainly_not_placed_fails_at_once(world):
    shell = await world.begin(on_bar(1, BUY))
    world.broker.fail("place", BrokerUnavailable)
    report = await world.play(shell, bar(1, DECIDING))
    assert (report.phase, report.trouble, world.rows()) == ("FLAT", "", [(ENTRY, FAILED, 0)])
    assert await world.exchange.reports() == []
    await world.agree(shell)


async def test_an_entry_lost_before_placing_fails_when_the_look_up_finds_nothing(world):
    shell = await world.begin(on_bar(1, BUY))
    world.broker.fail("place", UnknownOutcome)
    await world.play(shell, bar(1, DECIDING))
    assert world.rows() == [(ENTRY, PENDING, 0)]  # unknown: neither failed nor sent again
    report = await world.play(shell, bar(2, FLAT_BAR))
    assert (report.phase, report.trouble) == ("FLAT", "")
    assert world.rows() == [(ENTRY, FAILED, 0)]
    (row,) = world.ledger.store.trades.values()
    assert row.trade.reason.startswith("signal: ")
    assert "never" in row.trade.reason
    (struck_out,) = await world.exchange.reports()
    assert struck_out.status is OrderStatus.REJECTED
    await world.agree(shell)


async def test_an_exit_lost_before_placing_is_sent_anew_under_another_name(world):
    shell = await holding(world)
    world.broker.fail("place", UnknownOutcome)
    await world.play(shell, bar(3, "1000 1000 980 980"))
    report = await world.play(shell, bar(4, "981 981 979 980"))
    assert report.phase == "FLAT"
    assert world.rows(EXIT) == [(EXIT, FAILED, 0), (EXIT, EXECUTED, 20)]
    await world.agree(shell)


async def test_nothing_is_done_while_the_look_up_fails_too(world):
    shell = await world.begin(anywhere())
    world.broker.fail("place", UnknownOutcome, after=True)
    world.broker.fail("resolve", RetryError, times=3)
    world.lost_reports = True
    for number in (1, 2, 3, 4):
        report = await world.play(shell, bar(number, FLAT_BAR))
        assert report.trouble.startswith("outcome unknown: ")
    assert world.broker.calls.count("place") == 1
    report = await world.play(shell, bar(5, FLAT_BAR))
    assert (report.trouble, report.phase) == ("", "OPEN")
    await world.agree(shell)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [LedgerUnavailable, UnknownOutcome, RetryError])
async def test_a_reservation_that_fails_is_sorted_out_by_the_next_step(world, error, after):
    shell = await world.begin(on_bar(1, BUY))
    world.risk.fail("reserve", error, after=after)
    report = await world.play(shell, bar(1, DECIDING))
    assert error.__name__ in report.trouble
    assert await world.exchange.reports() == []
    report = await world.play(shell, bar(2, FLAT_BAR))
    assert (report.trouble, report.phase) == ("", "FLAT")
    assert world.rows() == ([(ENTRY, FAILED, 0)] if after else [])
    await world.agree(shell)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [LedgerUnavailable, UnknownOutcome, RetryError])
@pytest.mark.parametrize("leg", [ENTRY, EXIT])
async def test_a_settlement_that_fails_is_made_good_by_the_next_step(world, leg, error, after):
    if leg is ENTRY:
        shell = await world.begin(on_bar(1, BUY))
        await world.play(shell, bar(1, DECIDING))
        candle = bar(2, FLAT_BAR)
    else:
        shell = await holding(world)
        candle = bar(3, "1000 1000 980 980")
    world.risk.fail("settle", error, after=after)
    await world.play(shell, candle)
    assert error.__name__ in world.troubles[0]
    report = await world.play(shell, bar(4, "1000 1000 1000 1000"))
    assert (report.trouble, report.phase) == ("", "OPEN" if leg is ENTRY else "FLAT")
    assert [status for _, status, _ in world.rows(leg)] == [EXECUTED]
    await world.agree(shell)


@pytest.mark.parametrize("error", [LedgerUnavailable, UnknownOutcome, RetryError])
@pytest.mark.parametrize("lost", [False, True])
async def test_a_ledger_that_fails_under_risk_leaves_no_phantom_in_the_book(world, error, lost):
    """Reserve, then settle, each while the ledger is away: book and ledger agree afterwards."""
    shell = await world.begin(anywhere())
    world.ledger.error = error
    for number in (1, 2, 3, 4):
        if number < 3:
            world.ledger.lost, world.ledger.away = int(lost), int(not lost)
        await world.play(shell, bar(number, FLAT_BAR))
    world.ledger.lost = world.ledger.away = 0
    await world.play(shell, bar(5, FLAT_BAR))
    report = await world.play(shell, bar(6, FLAT_BAR))
    assert (report.trouble, report.phase) == ("", "OPEN")
    await world.agree(shell)


# Fencing


async def test_a_superseded_shell_is_refused(world):
    first = await world.begin(anywhere())
    epoch = first._epoch
    second = await world.begin(anywhere())
    assert second._epoch > epoch
    report = await world.play(first, bar(1, DECIDING))
    assert report.trouble.startswith("StaleEpoch")
    assert world.rows() == []
    assert await world.exchange.reports() == []


async def test_a_restarted_risk_knows_no_epoch_and_the_shell_registers_anew_at_once(world):
    shell = await world.begin(anywhere())
    await world.restart_risk()  # as after a restart: the book comes from the ledger
    report = await world.play(shell, bar(1, DECIDING))
    assert (report.trouble, report.phase) == ("", "ENTERING")
    assert world.rows() == [(ENTRY, PENDING, 0)]


async def test_a_stop_touched_just_after_risk_was_restarted_is_not_lost(world):
    shell = await holding(world)
    await world.restart_risk()
    report = await world.play(shell, bar(3, "1000 1000 985 1000"))
    assert (report.trouble, report.phase) == ("", "FLAT")
    await world.agree(shell)


async def test_a_shell_that_believes_otherwise_than_the_ledger_reads_it_before_it_acts(world):
    """Its position was closed by a later incarnation, and then risk was restarted."""
    first = await holding(world, anywhere())
    second = await world.begin(Script())
    await world.play(second, bar(3, "1000 1000 980 980"))
    assert world.rows(EXIT) == [(EXIT, EXECUTED, 20)]
    await world.restart_risk()
    report = await world.play(first, bar(4, "980 980 970 970"))
    assert report.trouble.startswith("NotRegistered")
    report = await world.play(first, bar(5, "970 970 970 970"))
    assert report.trouble == ""
    assert world.rows(EXIT) == [(EXIT, EXECUTED, 20)]


async def test_a_restarted_shell_adopts_its_position_and_guards_it(world):
    await holding(world)
    second = await world.begin(Script())
    report = await world.play(second, bar(3, "1000 1000 980 980"))
    assert (report.phase, world.rows(EXIT)) == ("FLAT", [(EXIT, EXECUTED, 20)])
    await world.agree(second)


async def test_a_restarted_shell_does_not_enter_on_the_candle_of_the_last_exit(world):
    script = Script({at(0): BUY, at(5): SELL, at(10): SELL})
    shell = await world.begin(script)
    await world.play(shell, bar(0, DECIDING))
    for minute, price in [(5.5, 1001), (6, 880), (7, 880)]:
        left = await world.trade(shell, tick(minute, price))
    assert (left.phase, world.rows(EXIT)) == ("FLAT", [(EXIT, EXECUTED, 20)])
    again = world.shell()
    await again.step(
        Step(at(7.5), session(), history=[*quiet_history(), bar(0, DECIDING)], roster=ROSTER)
    )
    again._engine.electorate = script
    barred = await world.play(again, bar(1, "1001 1001 880 880"))
    assert barred.signals[-1].action == "no entry: exit on this candle"
    entered = await world.play(again, bar(2, "880 880 880 880"))
    assert entered.signals[-1].action.startswith("entry SELL")


async def test_a_restarted_shell_adopts_an_order_under_way(world):
    first = await world.begin(on_bar(1, BUY))
    await world.play(first, bar(1, DECIDING))
    second = await world.begin(Script())
    assert (await second.state())["phase"] == "ENTERING"
    report = await world.play(second, bar(2, FLAT_BAR))
    assert (report.phase, world.rows()) == ("OPEN", [(ENTRY, EXECUTED, 20)])
    await world.agree(second)


@pytest.mark.parametrize(
    ("leg", "reason"), [(Leg.MANUAL, "confirmed: in the app"), (EXIT, "settled: in the app")]
)
async def test_what_is_left_of_half_a_record_by_hand_is_waited_for_by_nobody(world, leg, reason):
    """The database got its first row, and the journal with the second was lost."""
    await holding(world)
    [entry] = (row.trade for row in world.ledger.store.trades.values())
    half = replace(
        entry, reference="half", leg=leg, side=Side.SELL, position=entry.reference, reason=reason,
        quantity=0, price=None, status=PENDING, charges=None, reserved=D(0),
    )  # fmt: skip
    await world.ledger.append([OrderIntended(half)])
    await world.restart_risk()
    assert (await world.desk.view()).working_orders == 0
    second = await world.begin(Script())
    assert (await second.state())["phase"] == "OPEN"
    state = await world.desk.run_state()
    assert [row.reference for row in state.pending] == ["half"]
    held = await world.exchange.positions()
    assert (state.under_way, compare(state, await world.exchange.reports(), held)) == ((), [])
    report = await world.play(second, bar(3, "1000 1000 980 980"))
    assert (report.phase, report.trouble) == ("FLAT", "")


async def test_a_restarted_shell_finds_what_was_filled_while_it_was_away(world):
    first = await world.begin(on_bar(1, BUY))
    await world.play(first, bar(1, DECIDING))
    absent = world.shell()  # its step is never taken, so the exchange's news is lost
    await world.play(absent, bar(2, FLAT_BAR))
    second = await world.begin(Script())
    assert (await second.state())["phase"] == "OPEN"
    await world.agree(second)


# Missed candles


async def test_a_candle_that_could_not_be_taken_is_fetched_with_the_history(world):
    """Replayed candles come once; a gap would bend every average after it."""
    shell = await holding(world)
    world.risk.fail("settle", UnknownOutcome)
    await world.play(shell, bar(3, "1000 1000 980 980"))
    world.risk.fail("register", RetryError, times=2)
    report = await world.play(shell, bar(4, FLAT_BAR))  # not taken, nor when asked again
    assert report.trouble
    assert report.unready
    step = Step(at(30), session(), candle=bar(5, FLAT_BAR))
    assert (await shell.step(step)).unready
    history = [*quiet_history(), *world.played]
    report = await shell.step(replace(step, history=history))
    assert (report.trouble, report.phase) == ("", "FLAT")
    assert len((await shell.state())["candles"]["ints"][0]) == 60 + 5


async def test_candles_are_taken_while_an_outcome_is_unknown_and_nothing_else_is_sent(world):
    shell = await world.begin(anywhere())
    world.broker.fail("place", UnknownOutcome)
    world.broker.fail("resolve", RetryError, times=5)
    for number in range(1, 7):
        report = await world.play(shell, bar(number, FLAT_BAR))
        assert (report.phase, len(report.signals)) == ("ENTERING", 1)
    assert (world.broker.calls.count("place"), world.broker.calls.count("cancel")) == (1, 0)
    report = await world.play(shell, bar(7, FLAT_BAR))
    assert (report.trouble, world.rows()[0]) == ("", (ENTRY, FAILED, 0))
    assert len((await shell.state())["candles"]["ints"][0]) == 60 + 7
    await world.agree(shell)


async def test_look_ups_grow_rarer_until_the_broker_answers(world):
    shell = await world.begin(anywhere())
    world.broker.fail("place", UnknownOutcome)
    world.broker.fail("resolve", RetryError, times=10**6)
    await world.play(shell, bar(1, DECIDING))
    looks = []
    for number in range(2, 60):
        world.seconds -= 59.5  # half a second between steps instead of a minute
        before = world.broker.calls.count("resolve")
        await world.play(shell, bar(number, FLAT_BAR))
        looks.append(world.broker.calls.count("resolve") - before)
    assert sum(looks[:4]) >= 2
    assert 1 <= sum(looks[-20:]) <= 3


async def test_a_step_that_says_recover_asks_for_history_and_reads_the_ledger_again(world):
    """Another run, or a pause in scanning: what the buffer holds is of another time."""
    shell = await holding(world)
    registered = world.risk.calls.count("register")
    step = Step(at(20), session(), candle=bar(3, FLAT_BAR), recover=True)
    assert (await shell.step(step)).unready
    report = await shell.step(replace(step, history=quiet_history(10), roster=ROSTER))
    assert (report.unready, report.phase) == (False, "OPEN")
    assert world.risk.calls.count("register") == registered + 1
    assert len((await shell.state())["candles"]["ints"][0]) == 11


BLIND = "no history: away"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tick": tick(21, 970.0)}, "trailing_stop"),
        ({"tick": tick(21, 1000.0), "flatten": "kill"}, "kill_switch"),
        ({"candle": bar(4, "1000 1000 970 990")}, "trailing_stop"),
    ],
)
@pytest.mark.parametrize("how", ["new", "told to recover"])
async def test_without_a_history_a_position_still_gets_out_and_nobody_votes(
    world, changes, reason, how
):
    shell = await holding(world)
    if how == "new":
        shell = world.shell()
    shell._engine.electorate = anywhere()
    step = Step(at(25), session(), blind=BLIND, recover=True, **changes)
    report = await shell.step(step)
    assert (report.unready, report.signals, report.trouble) == (True, (), BLIND)
    assert report.phase == ("FLAT" if step.candle else "EXITING")  # the candle has been traded
    (sent,) = [row.trade for row in world.ledger.store.trades.values() if row.trade.leg is EXIT]
    assert sent.reason == reason
    await world.trade(shell, tick(26, 990.0), blind=BLIND)
    report = await shell.step(Step(at(27), session(), tick=tick(27, 1000.0), blind=BLIND))
    assert (report.phase, report.position, report.last_price) == ("FLAT", None, 1000.0)
    assert world.rows(ENTRY) == [(ENTRY, EXECUTED, 20)]  # the script would have bought again
    report = await shell.step(
        Step(at(30), session(), candle=bar(5, FLAT_BAR), history=quiet_history(), roster=ROSTER)
    )
    assert (report.unready, report.trouble, len(report.signals)) == (False, "", 1)
    await world.agree(shell)


async def test_without_a_history_the_clock_still_ends_a_position(world):
    await holding(world)
    shell = world.shell()
    await shell.step(Step(at(20), session(), tick=tick(20, 1000.0), blind=BLIND))
    report = await shell.step(Step(session().square_off_at, session(), blind=BLIND))
    assert (report.phase, report.unready) == ("EXITING", True)


# Anything at any time

faults = st.lists(
    st.tuples(
        st.integers(1, 30),
        st.sampled_from(
            [("broker", "place"), ("broker", "resolve"), ("broker", "cancel"), ("risk", "reserve"),
             ("risk", "settle"), ("risk", "register"), ("ledger", "append"), ("shell", "restart"),
             ("risk", "restart")]
        ),
        st.sampled_from([UnknownOutcome, RetryError, LedgerUnavailable]),
        st.booleans(),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=examples(60))
@given(given_faults=faults, prices=st.lists(st.integers(980, 1020), min_size=30, max_size=30))
def test_after_any_faults_exchange_ledger_book_and_symbol_agree(given_faults, prices):
    asyncio.run(_storm(given_faults, prices))


async def _storm(given_faults, prices):
    world = await World(TradingRules(exits=ExitRules(trailing_stop_percent=0.5))).open()
    script = Script({at(5 * n): (BUY, SELL, Decision.HOLD)[n % 3] for n in range(60)})
    shell = await world.begin(script)
    for number, price in enumerate(prices, start=1):
        for when, (port, method), error, after in given_faults:
            if when != number:
                continue
            if (port, method) == ("shell", "restart"):
                shell = await world.begin(script)
            elif (port, method) == ("risk", "restart"):
                await world.restart_risk()
            elif port == "ledger":
                world.ledger.error = error
                world.ledger.lost, world.ledger.away = int(after), int(not after)
            else:
                getattr(world, port).fail(method, error, after=after)
        candle = bar(number, f"{price} {price + 3} {price - 3} {price}")
        await world.play(shell, candle)
    world.broker._faults.clear()
    world.risk._faults.clear()
    world.ledger.away = world.ledger.lost = 0
    for number in range(31, 37):  # quiet again
        report = await world.play(shell, bar(number, FLAT_BAR), flatten="end")
    assert (report.trouble, report.phase) == ("", "FLAT")
    await world.agree(shell)


async def test_ticks_reach_the_ledger_the_same_way(world):
    shell = await world.begin(on_bar(1, BUY))
    for minute in (5, 7, 10, 11):
        report = await world.trade(shell, tick(minute, 1000))
    assert (report.phase, report.position.entry_time) == ("OPEN", at(11))
    bought = report.position.quantity
    await world.trade(shell, tick(12, 980))
    report = await world.trade(shell, tick(13, 979))
    assert (report.phase, world.rows(EXIT)) == ("FLAT", [(EXIT, EXECUTED, bought)])
    await world.agree(shell)
