from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from risk_world import (
    DAY,
    INSTRUMENTS,
    NOW,
    RUN,
    Desk,
    entry,
    fill,
    leave,
    new_book,
    opened,
    reduced,
    reject,
)

from hftray.core.errors import IllegalTransition, NotFound, StaleEpoch
from hftray.core.ledger import RunInfo, RunState
from hftray.core.orders import (
    Approval,
    Denial,
    Leg,
    OrderStatus,
    Side,
    TradeStatus,
    order_reference,
)
from hftray.core.rules import RiskLimits
from hftray.layers import load
from hftray.wiring import build_book

D = Decimal


@pytest.fixture
def book():
    book = new_book()
    book.open_day(DAY, NOW)
    return book


@pytest.fixture
def desk(book):
    return Desk(book)


# What an approval holds


def test_an_entry_is_sized_named_and_reserved_at_its_limit_price(book, desk):
    approval = desk.ask(entry())
    order = approval.order
    assert order.quantity == 20  # the specification's example
    assert order.reference == order_reference(RUN.run_id, DAY, "INFY", Leg.ENTRY, 1)
    assert order.limit_price == D("1005.00")
    record = book.trade_record(approval)
    assert record.status is TradeStatus.PENDING
    assert record.reserved == book.view().reserved == D(20_100)
    assert (record.run_id, record.user_id, record.sequence) == (7, "local", 1)


def test_a_short_is_bounded_below_and_reserved_at_the_upper_edge(book, desk):
    order = desk.ask(entry(side=Side.SELL)).order
    assert order.limit_price == D("995.00")
    assert book.view().reserved == 20 * D("1005.00")


def test_an_exit_has_no_limit_price_and_reserves_nothing(book, desk):
    held = desk.buy()
    approval = desk.ask(leave(held))
    assert approval.order.limit_price is None
    assert approval.order.side is Side.SELL
    assert book.trade_record(approval).position == held.reference
    assert book.view().reserved == 0


def test_each_order_of_a_day_has_its_own_reference(desk):
    first = desk.ask(entry()).order
    desk.book.settle(reject(first), desk.epoch, None, None)
    second = desk.ask(entry()).order
    assert second.reference == order_reference(RUN.run_id, DAY, "INFY", Leg.ENTRY, 2)


# Limits: the last that passes and the first that does not


def _spent_trades(count, limits):
    book = new_book(limits)
    book.open_day(DAY, NOW)
    desk = Desk(book)
    for _ in range(count):
        desk.sell(desk.buy(price=10.0, atr=200.0), "10")
    return book, desk


@pytest.mark.parametrize(
    "limits",
    [RiskLimits(max_trades_per_symbol_day=3), RiskLimits(max_trades_per_day=3)],
    ids=["symbol", "global"],
)
@pytest.mark.parametrize(("done", "granted"), [(2, True), (3, False)])
def test_trade_limits(limits, done, granted):
    _, desk = _spent_trades(done, limits)
    answer = desk.ask(entry(price=10.0))
    assert isinstance(answer, Approval) is granted
    if not granted:
        assert answer.reason.startswith("trades: 3")


def test_the_symbol_limit_leaves_other_symbols_free_and_the_global_one_does_not():
    book, _ = _spent_trades(3, RiskLimits(max_trades_per_symbol_day=3))
    assert isinstance(Desk(book, "TCS").ask(entry("TCS")), Approval)
    book, _ = _spent_trades(3, RiskLimits(max_trades_per_day=3))
    assert isinstance(Desk(book, "TCS").ask(entry("TCS")), Denial)


def test_default_trade_limits_are_50_a_symbol_and_500_in_all():
    assert RiskLimits().max_trades_per_symbol_day == 50
    assert RiskLimits().max_trades_per_day == 500


@pytest.mark.parametrize(("short_of", "reached"), [(D("0.01"), False), (D(0), True)])
def test_daily_loss_is_reached_at_exactly_5_percent_of_opening_capital(
    book, desk, short_of, reached
):
    desk.buy()
    paid = -book.view().open_pnl  # the entry's charges count
    gross = -(D(5_000) - paid - short_of)
    change = book.mark({"INFY": gross}, NOW)
    assert (book.view().state == "REDUCING") is reached
    assert (change is not None) is reached
    answer = Desk(book, "TCS").ask(entry("TCS"))
    assert isinstance(answer, Denial) is reached
    if change is not None:
        assert (change.run_id, change.state, change.time) == (7, "REDUCING", NOW)
        assert "daily loss: 5000.00" in change.reason
        assert book.mark({}, NOW) is None  # told once


def test_a_realised_daily_loss_stops_entries_before_the_next_mark(book, desk):
    desk.sell(desk.buy(), "700")
    assert book.view().realised_today < -5_000
    assert "daily loss" in desk.ask(entry()).reason


def test_a_second_entry_in_a_symbol_is_refused_while_one_works_or_is_open(desk):
    order = desk.ask(entry()).order
    assert "working order" in desk.ask(entry()).reason
    report = fill(order, "1000")
    desk.book.settle(report, desk.epoch, opened(order, report), None)
    assert "position" in desk.ask(entry()).reason


@pytest.mark.parametrize(("price", "granted"), [(24_875.0, True), (24_876.0, False)])
def test_an_entry_of_no_share_is_refused_for_its_size(desk, price, granted):
    # 25 % of 1,00,000 carries one share whose limit price, 0.5 % above, is at most 25,000.
    answer = desk.ask(entry(price=price))
    assert isinstance(answer, Approval) is granted
    if not granted:
        assert answer.reason.startswith("size")


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_an_entry_needs_a_price(desk, price):
    assert "price" in desk.ask(entry(price=price)).reason


def test_leverage_multiplies_what_may_be_deployed():
    limits = RiskLimits(
        leverage=D(5), max_symbol_exposure_percent=D(1_000), risk_per_trade_percent=D(100)
    )
    book = new_book(limits)
    book.open_day(DAY, NOW)
    order = Desk(book).ask(entry(price=100.0, atr=0.1)).order
    assert order.quantity == 500_000 // D("100.5")
    assert book.view().free < D("100.5")


def test_profit_of_the_day_backs_no_new_exposure_and_a_loss_takes_it_away(book, desk):
    desk.sell(desk.buy(), "1100")
    assert book.view().free == book.view().opening_capital == 100_000
    desk.sell(desk.buy(), "800")
    assert book.view().free == book.view().capital < 100_000


# States


@pytest.mark.parametrize("stop", ["kill", "reduce"])
def test_exits_pass_in_every_state_and_entries_do_not(book, desk, stop):
    held = desk.buy()
    change = getattr(book, stop)("operator's wish", NOW, "me")
    assert (change.actor, change.reason) == ("me", "operator's wish")
    assert "operator's wish" in Desk(book, "TCS").ask(entry("TCS")).reason
    assert isinstance(desk.ask(leave(held)), Approval)


def test_states_change_only_as_the_table_says(book):
    assert book.resume("", NOW) is None
    assert book.reduce("faults", NOW).state == "REDUCING"
    assert book.reduce("faults", NOW) is None
    assert book.kill("stop", NOW).state == "HALTED"
    assert book.kill("stop", NOW) is None
    assert book.reduce("faults", NOW) is None
    assert book.resume("checked", NOW).state == "ACTIVE"


def _lose_five_percent(book, desk):
    held = desk.buy()
    book.mark({"INFY": -6_000.0}, NOW)
    desk.sell(held, "995")


@pytest.mark.parametrize(
    ("stop", "tomorrow"),
    [
        (lambda book, desk: _lose_five_percent(book, desk), "ACTIVE"),
        (lambda book, desk: book.reduce("faults", NOW), "REDUCING"),
        (lambda book, desk: book.kill("stop", NOW), "HALTED"),
    ],
    ids=["daily loss", "faults", "kill"],
)
def test_only_a_daily_loss_ends_with_the_day(book, desk, stop, tomorrow):
    stop(book, desk)
    assert book.view().state != "ACTIVE"
    events = book.open_day(DAY + timedelta(days=1), NOW)
    assert book.view().state == tomorrow
    states = [event.state for event in events[1:]]
    assert states == (["ACTIVE"] if tomorrow == "ACTIVE" else [])


def test_a_new_day_opens_with_the_present_capital_and_counts_from_zero(book, desk):
    row = desk.sell(desk.buy(), "1010")
    tomorrow = DAY + timedelta(days=1)
    (started,) = book.open_day(tomorrow, NOW)
    assert (started.session_day, started.opening_capital) == (tomorrow, D(100_000) + row.pnl)
    view = book.view()
    assert (view.trades_today, view.realised_today, view.realised_pnl) == (0, 0, row.pnl)
    assert isinstance(desk.ask(entry(day=tomorrow)), Approval)


def test_a_day_opens_once_and_never_goes_back(book, desk):
    desk.buy()
    before = book.snapshot()
    assert book.open_day(DAY, NOW) == ()
    assert book.snapshot() == before
    with pytest.raises(IllegalTransition, match="lies before"):
        book.open_day(DAY - timedelta(days=1), NOW)


def test_no_order_outside_the_open_day():
    desk = Desk(new_book())
    assert "not open" in desk.ask(entry()).reason


def test_a_locked_symbol_takes_no_entry_but_an_exit(book, desk):
    held = desk.buy()
    other = Desk(book, "TCS")
    book.mark({}, NOW, locks={"INFY": "not reconciled", "TCS": "not reconciled"})
    assert isinstance(desk.ask(leave(held)), Approval)
    assert other.ask(entry("TCS")).reason == "TCS is locked: not reconciled"
    assert book.view().locks == {"INFY": "not reconciled", "TCS": "not reconciled"}


# Late decisions


def late(desk, age):
    """The answer to an entry decided that long before the market's present time."""
    return desk.ask(replace(entry(desk.symbol), time=NOW - age))


@pytest.mark.parametrize("limit", [timedelta(minutes=6), timedelta(minutes=16)])
def test_an_entry_decided_too_long_before_the_newest_mark_is_refused(limit):
    book = new_book(max_intent_age=limit)
    book.open_day(DAY, NOW)
    desk = Desk(book)
    book.mark({}, NOW)
    assert "too late" in late(desk, limit + timedelta(seconds=1)).reason
    assert isinstance(late(desk, limit), Approval)


def test_one_candle_and_the_clocks_tolerance_are_not_too_late_with_any_settings():
    settings = load(flags={"signals.candle_minutes": 15}, environment={}).settings
    book = build_book(settings, INSTRUMENTS, RUN, 0)
    book.open_day(DAY, NOW)
    desk = Desk(book)
    book.mark({}, NOW)
    assert isinstance(late(desk, timedelta(minutes=16, seconds=1)), Denial)
    assert isinstance(late(desk, timedelta(minutes=16)), Approval)


def test_two_databases_on_one_account_name_their_orders_differently():
    settings = load(environment={}).settings

    def reference(mode, database):
        run = replace(RUN, mode=mode)
        book = build_book(settings, INSTRUMENTS, run, 0, database=database)
        book.open_day(DAY, NOW)
        return Desk(book).ask(entry()).order.reference

    first = reference("live", "of May")
    assert first != reference("live", "of June")
    assert first == reference("live", "of May")  # a restart finds its own
    assert reference("replay", "of May") == reference("replay", "of June")


def test_an_exit_is_never_too_late(book, desk):
    held = desk.buy()
    book.mark({}, NOW + timedelta(hours=2))
    assert isinstance(desk.ask(leave(held)), Approval)


def test_peoples_clocks_do_not_make_an_entry_late(book, desk):
    tomorrow = NOW + timedelta(days=1)
    book.kill("enough", tomorrow)
    book.resume("checked", tomorrow)
    book.impair("no scan", tomorrow)
    book.mark({}, NOW)
    assert isinstance(late(desk, timedelta(0)), Approval)


def test_a_market_that_begins_again_earlier_makes_no_entry_late(book, desk):
    book.mark({}, NOW + timedelta(hours=2))
    book.mark({}, NOW)
    assert isinstance(late(desk, timedelta(0)), Approval)


def test_a_recovered_book_goes_by_the_ledgers_time_until_the_first_mark(book):
    book.recover(RunState(RUN, session_day=DAY, market_time=NOW + timedelta(hours=2)))
    assert "too late" in late(Desk(book), timedelta(0)).reason


def test_locks_are_replaced_as_a_whole_and_kept_when_nothing_is_said_of_them(book):
    other = Desk(book, "TCS")
    book.mark({}, NOW, locks={"TCS": "not reconciled"})
    book.mark({}, NOW)
    assert isinstance(other.ask(entry("TCS")), Denial)
    book.mark({}, NOW, locks={"ITC": "not reconciled"})
    assert isinstance(other.ask(entry("TCS")), Approval)
    assert book.view().locks == {"ITC": "not reconciled"}


# Exits


@pytest.mark.parametrize(("quantity", "granted"), [(1, True), (20, True), (21, False), (-1, False)])
def test_an_exit_takes_at_most_what_is_open(desk, quantity, granted):
    held = desk.buy()
    assert isinstance(desk.ask(leave(held, quantity)), Approval) is granted


def test_an_exit_needs_a_position_of_its_own_and_no_other_exit(desk):
    held = desk.buy()
    elsewhere = replace(held, symbol="TCS")
    assert "no position" in Desk(desk.book, "TCS").ask(leave(elsewhere)).reason
    assert "not the open" in desk.ask(leave(replace(held, reference="other"))).reason
    assert "does not close" in desk.ask(leave(replace(held, side=Side.SELL))).reason
    desk.ask(leave(held))
    assert "working already" in desk.ask(leave(held)).reason


def test_a_guard_and_an_exit_are_never_alive_at_once(book, desk):
    held = desk.buy()
    stop = replace(leave(held), reason="guard", stop=True, limit_price=D("970"))
    assert "trigger" in desk.ask(stop).reason
    guard = desk.ask(replace(stop, trigger=D("980")))
    assert (guard.order.stop, guard.order.trigger) == (True, D("980"))
    assert guard.order.limit_price == D("970")
    assert book.trade_record(guard).guards
    assert "working already" in desk.ask(leave(held)).reason
    assert "working already" in desk.ask(replace(stop, trigger=D("985"))).reason
    book.settle(fill(guard.order, 1, 0, OrderStatus.CANCELLED), desk.epoch, held, None)
    leaving = desk.ask(leave(held))
    assert not leaving.order.stop
    assert "working already" in desk.ask(replace(stop, trigger=D("980"))).reason
    assert leaving.order.reference != guard.order.reference


# Fencing


def test_a_stale_incarnation_is_refused_and_changes_nothing(book, desk):
    order = desk.ask(entry()).order
    newer = book.register("INFY")
    before = book.snapshot()
    with pytest.raises(StaleEpoch):
        book.reserve(entry(), desk.epoch)
    report = fill(order, "1000")
    with pytest.raises(StaleEpoch):
        book.settle(report, desk.epoch, opened(order, report), None)
    assert book.snapshot() == before
    assert book.settle(report, newer, opened(order, report), None).quantity == 20
    with pytest.raises(StaleEpoch):  # a repeated report too
        book.settle(report, desk.epoch, opened(order, report), None)


def test_epochs_of_a_book_before_the_restart_stay_refused(desk):
    restarted = new_book(epoch_floor=1_000)
    restarted.open_day(DAY, NOW)
    assert restarted.register("INFY") > 1_000
    with pytest.raises(StaleEpoch):
        restarted.reserve(entry(), desk.epoch)


def test_an_unknown_symbol_cannot_register(book):
    with pytest.raises(NotFound, match="WIPRO"):
        book.register("WIPRO")


# Settling


def test_a_round_trip_is_net_of_both_legs_charges(book, desk):
    held = desk.buy(price=1_000.0)
    bought = book.view()
    assert (bought.deployed, bought.reserved) == (D(20_000), 0)
    assert bought.equity == 100_000 + bought.open_pnl
    assert bought.open_pnl < 0  # the entry's charges
    row = desk.sell(held, "1010")
    assert row.gross_pnl == 200
    assert row.pnl == 200 - row.charges + bought.open_pnl
    assert book.view().capital == book.view().equity == 100_000 + row.pnl
    assert book.view().deployed == 0


@pytest.mark.parametrize("side", list(Side))
def test_a_trip_passed_through_leaves_the_book_as_its_orders_would(side):
    """Terms as they are granted; then sequences, counts, capital as after both settlements."""
    slow, fast = new_book(), new_book()
    for book in (slow, fast):
        book.open_day(DAY, NOW)
    epoch = slow.register("INFY")
    for price, left in ((1_000.0, 990), (995.0, 1_010)):
        terms = fast.terms("INFY", side, price, 50.0)
        approval = slow.reserve(entry(side=side, price=price), epoch)
        granted = slow.trade_record(approval)
        assert terms == (granted.requested_quantity, granted.limit_price,
                         granted.reserved / granted.requested_quantity)  # fmt: skip
        report = fill(approval.order, price)
        held = opened(approval.order, report)
        slow.settle(report, epoch, after=held, closed=None)
        approval = slow.reserve(leave(held), epoch)
        row = slow.settle(fill(approval.order, left), epoch, after=None, closed=held)
        assert row.sequence == fast.next_sequence("INFY", Leg.EXIT)
        fast.pass_trips("INFY", 1, row.pnl)
        assert fast.view() == slow.view()
        assert fast.next_sequence("INFY", Leg.ENTRY) == slow.next_sequence("INFY", Leg.ENTRY)
    assert fast.terms("INFY", side, 1e9, 50.0) is None
    fast.kill("told", NOW)
    assert fast.terms("INFY", side, 1_000.0, 50.0) is None


def test_a_short_gains_when_the_price_falls(desk):
    held = desk.buy(side=Side.SELL)
    assert desk.sell(held, "990").gross_pnl == 200


def test_an_entry_row_carries_its_charges_and_no_pnl(desk):
    order = desk.ask(entry()).order
    report = fill(order, "1000.50")
    row = desk.book.settle(report, desk.epoch, opened(order, report), None)
    assert (row.status, row.price, row.broker_order_id) == (
        TradeStatus.EXECUTED, D("1000.50"), "B1",
    )  # fmt: skip
    assert row.charges > 0
    assert (row.gross_pnl, row.pnl) == (None, None)


def test_an_order_without_a_share_fails_and_gives_money_and_trade_back(book, desk):
    order = desk.ask(entry()).order
    row = book.settle(reject(order), desk.epoch, None, None)
    assert (row.status, row.quantity, row.charges) == (TradeStatus.FAILED, 0, None)
    assert row.reason == "signal: circuit"
    view = book.view()
    assert (view.reserved, view.trades_today, view.free) == (0, 0, 100_000)


def test_a_partial_fill_keeps_its_shares_and_releases_the_rest(book, desk):
    order = desk.ask(entry()).order
    report = fill(order, "1000", quantity=5, status=OrderStatus.CANCELLED)
    row = book.settle(report, desk.epoch, opened(order, report), None)
    assert (row.quantity, row.requested_quantity) == (5, 20)
    view = book.view()
    assert (view.deployed, view.reserved, view.trades_today) == (5_000, 0, 1)


def test_settling_twice_is_settling_once(book, desk):
    held = desk.buy()
    order = desk.ask(leave(held)).order
    report = fill(order, "1010")
    after, closed = reduced(held, 20)
    row = book.settle(report, desk.epoch, after, closed)
    before = book.snapshot()
    assert book.settle(report, desk.epoch, after, closed) == row
    assert book.snapshot() == before


def test_reports_that_do_not_fit_are_refused_and_change_nothing(book, desk):
    order = desk.ask(entry()).order
    whole = fill(order, "1000")
    before = book.snapshot()
    for report, after, message in [
        (fill(order, "1000", status=OrderStatus.WORKING), None, "not finished"),
        (fill(order, "1000", quantity=21), None, "21 of 20"),
        (fill(order, "0"), opened(order, whole), "at no price"),
        (whole, None, "20 shares stay open"),  # the symbol says it holds nothing
    ]:
        with pytest.raises(IllegalTransition, match=message):
            book.settle(report, desk.epoch, after, None)
    assert book.snapshot() == before
    unknown = new_book()
    with pytest.raises(NotFound):
        unknown.settle(whole, 1, None, None)


def test_a_partial_exit_keeps_its_part_of_mark_and_charges(book, desk):
    held = desk.buy()
    book.mark({"INFY": D(200), "TCS": D(999)}, NOW)  # TCS has no position
    assert book.view().open_pnl == 200 - D("24.94")  # the charges of buying 20,000
    row = desk.sell(held, "1010", quantity=5)
    assert row.gross_pnl == 50
    assert row.pnl == 50 - row.charges - D("6.23")  # 24.94 less 18.71 that stay
    view = book.view()
    assert view.deployed == 15_000
    assert view.open_pnl == 150 - D("18.71")


# Recovery


def test_recovery_refuses_another_runs_state(book):
    foreign = RunInfo(8, "live", "groww", "local", D(1))
    with pytest.raises(IllegalTransition, match="run 8"):
        book.recover(RunState(foreign))


def test_a_position_without_its_entry_row_recovers_with_the_same_figures(book, desk):
    held = desk.buy()
    fresh = new_book()
    fresh.recover(RunState(RUN, session_day=DAY, opening_capital=D(100_000), positions=(held,)))
    assert fresh.view().deployed == book.view().deployed
    assert fresh.view().equity == book.view().equity
    assert Desk(fresh).sell(held, "1010").pnl == desk.sell(held, "1010").pnl


def test_a_daily_loss_recovered_from_the_ledger_still_ends_with_the_day(book, desk):
    _lose_five_percent(book, desk)
    view = book.view()
    fresh = new_book()
    fresh.recover(
        RunState(RUN, session_day=DAY, risk_state=view.state.value, risk_reason=view.reason)
    )
    assert fresh.view().state == "REDUCING"
    fresh.open_day(DAY + timedelta(days=1), NOW)
    assert fresh.view().state == "ACTIVE"
