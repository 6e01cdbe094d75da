"""Rows and trades of Groww as one cumulative report."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hftray.adapters.groww.reports import Part, foreign_report, report_of, with_row, with_trades
from hftray.adapters.groww.rows import OrderRow, TradeRow, read_order, read_trade
from hftray.adapters.groww.tracked import TrackedOrder
from hftray.adapters.groww.wire import read_moment
from hftray.core.errors import DataError, RetryError
from hftray.core.orders import OrderStatus, Side
from hftray.core.session import IST

D = Decimal
NINE = datetime(2026, 11, 20, 9, 30, tzinfo=IST)
REFERENCE = "20261120E0123456789A"
ROW = OrderRow(
    order_id="GMK1",
    reference=REFERENCE,
    trading_symbol="TCS",
    exchange="NSE",
    side=Side.BUY,
    word="OPEN",
    quantity=10,
    remaining=10,
    price=D("100.00"),
    average=D("7.0"),
    time=NINE,
)
WIRE_ROW = {
    "groww_order_id": "GMK1",
    "order_reference_id": REFERENCE,
    "trading_symbol": "TCS",
    "exchange": "NSE",
    "transaction_type": "BUY",
    "order_status": "OPEN",
    "quantity": 10,
    "price": 100.0,
    "trigger_price": 0,
    "filled_quantity": 0,
    "remaining_quantity": 10,
    "average_fill_price": 7.0,
    "product": "MIS",
    "order_type": "LIMIT",
    "remark": None,
    "created_at": "2026-11-20T09:29:59",
    "exchange_time": "2026-11-20T09:30:00",
}
WIRE_TRADE = {
    "price": 99.95,
    "quantity": 4,
    "groww_trade_id": "",
    "exchange_trade_id": "T1",
    "trade_status": "EXECUTED",
    "trade_date_time": "2026-11-20T09:30:01",
}


def trade(number: int, quantity: int, price: str = "99.95") -> TradeRow:
    return TradeRow(f"T{number}", quantity, D(price), NINE + timedelta(seconds=number))


def row(word: str, filled: int, **changes) -> OrderRow:
    return replace(ROW, word=word, filled=filled, remaining=10 - filled, **changes)


def one(part: Part, **more):
    return report_of(REFERENCE, "TCS", [part], **more)


def test_rows_are_read_as_they_come_on_the_wire():
    assert read_order(WIRE_ROW) == ROW
    assert read_trade(WIRE_TRADE) == trade(1, 4)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("groww_order_id", None),
        ("order_status", ""),
        ("quantity", "ten"),
        ("quantity", 1.5),
        ("price", "a lot"),
        ("transaction_type", "HOLD"),
    ],
)
def test_a_row_that_cannot_be_read_names_the_field_and_nothing_follows_from_it(field, value):
    with pytest.raises(RetryError, match=field):
        read_order({**WIRE_ROW, field: value})


def test_a_trade_without_an_exchange_id_is_known_by_groww_s_or_not_at_all():
    assert read_trade({**WIRE_TRADE, "exchange_trade_id": "", "groww_trade_id": "G1"}).trade_id == (
        "G1"
    )
    with pytest.raises(RetryError, match="groww_trade_id"):
        read_trade({**WIRE_TRADE, "exchange_trade_id": None})


@pytest.mark.parametrize(
    "word",
    ["NEW", "ACKED", "OPEN", "TRIGGER_PENDING", "APPROVED", "CANCELLATION_REQUESTED",
     "MODIFICATION_REQUESTED", "SOMETHING_NEW"],
)  # fmt: skip
def test_these_words_and_unknown_ones_leave_an_order_working(word):
    assert one(Part(row(word, 0))).status is OrderStatus.WORKING


def test_the_ends_of_an_order():
    whole = with_trades(Part(row("EXECUTED", 10)), [trade(1, 10)])
    filled = one(whole)
    assert (filled.status, filled.filled_quantity) == (OrderStatus.FILLED, 10)
    assert (filled.average_price, filled.time) == (D("99.95"), NINE + timedelta(seconds=1))
    refused = one(with_trades(Part(row("REJECTED", 0, remark="margin is short")), []))
    assert (refused.status, refused.reason) == (OrderStatus.REJECTED, "margin is short")
    crossed = one(with_trades(Part(row("CANCELLED", 4)), [trade(1, 4)]))
    assert (crossed.status, crossed.filled_quantity) == (OrderStatus.CANCELLED, 4)
    # Refused with something filled is no refusal: the shares are there.
    assert one(with_trades(Part(row("REJECTED", 4)), [trade(1, 4)])).status is OrderStatus.CANCELLED


@pytest.mark.parametrize(
    ("word", "filled"), [("EXECUTED", 10), ("EXECUTED", 0), ("COMPLETED", 10), ("CANCELLED", 7)]
)
def test_an_order_is_not_over_before_its_trades_account_for_it(word, filled):
    part = with_trades(Part(row(word, filled)), [trade(1, 4)])
    report = one(part)
    assert (report.status, report.filled_quantity) == (OrderStatus.WORKING, 4)
    assert "trades are not told yet" in report.reason


@pytest.mark.parametrize("word", ["CANCELLED", "REJECTED"])
def test_an_end_short_of_shares_is_told_once_the_trades_were_read_after_it(word):
    before = with_trades(Part(ROW), [])
    ended = with_row(before, row(word, 0))
    assert one(ended).status is OrderStatus.WORKING
    assert "not read yet" in one(ended).reason
    late = one(with_trades(ended, [trade(1, 4)]))  # the row does not say so yet
    assert (late.status, late.filled_quantity) == (OrderStatus.CANCELLED, 4)
    none = with_row(with_trades(ended, []), row(word, 0))
    assert (one(none).status, one(none).filled_quantity) == (OrderStatus(word), 0)


def test_executed_with_shares_still_to_come_is_working():
    assert one(with_trades(Part(row("EXECUTED", 4)), [trade(1, 4)])).status is OrderStatus.WORKING


def test_the_average_price_is_that_of_the_trades():
    part = Part(read_order({**WIRE_ROW, "order_status": "EXECUTED", "filled_quantity": 10,
                            "remaining_quantity": 0}))  # fmt: skip
    part = with_trades(part, [trade(1, 4, "99.90"), trade(2, 6, "100.00")])
    assert one(part).average_price == D("99.9600")


@pytest.mark.parametrize("price", ["9995", "0.9995", "200.00", "50.00"])
def test_prices_that_cannot_be_rupees_of_this_order_are_not_booked(price):
    part = with_trades(Part(row("OPEN", 4)), [trade(1, 4)])
    with pytest.raises(DataError, match="out of line"):
        with_trades(part, [trade(1, 4), trade(2, 6, price)])
    assert part.booked == 4


def test_more_shares_than_ordered_and_a_trade_that_changes_are_not_booked():
    with pytest.raises(DataError, match="10 shares has trades of 12"):
        with_trades(Part(ROW), [trade(1, 6), trade(2, 6)])
    part = with_trades(Part(ROW), [trade(1, 6)])
    with pytest.raises(DataError, match="T1 was 6"):
        with_trades(part, [trade(1, 5)])


def test_a_trade_the_exchange_took_back_does_not_count():
    taken_back = replace(trade(2, 6), annulled=True)
    assert with_trades(Part(ROW), [trade(1, 4), taken_back]).booked == 4


def test_an_older_answer_changes_nothing():
    ended = Part(row("EXECUTED", 10))
    assert with_row(ended, row("OPEN", 10)) == ended
    assert with_row(ended, row("OPEN", 0)) == ended
    assert with_row(Part(row("OPEN", 4)), row("CANCELLED", 3)).row.word == "OPEN"
    assert with_row(Part(row("OPEN", 4)), row("CANCELLED", 4)).row.word == "CANCELLED"


def test_the_price_sent_stands_where_groww_gives_none():
    after = with_row(Part(ROW), row("EXECUTED", 10, price=None))
    assert with_trades(after, [trade(1, 10)]).booked == 10


def test_parts_add_up_to_one_order():
    first = with_trades(Part(row("EXECUTED", 10)), [trade(1, 10, "99.90")])
    second = with_trades(Part(replace(ROW, order_id="GMK2")), [trade(2, 5, "100.05")])
    report = report_of(REFERENCE, "TCS", [first, second], asked=20)
    assert (report.status, report.filled_quantity, report.quantity) == (OrderStatus.WORKING, 15, 20)
    assert report.average_price == D("99.9500")
    assert report.broker_order_id == "GMK1"
    stopped = report_of(REFERENCE, "TCS", [first], asked=20, note="the rest was not sent")
    assert (stopped.status, stopped.filled_quantity) == (OrderStatus.CANCELLED, 10)
    assert "the rest was not sent" in stopped.reason


def test_whoever_did_not_send_an_order_expects_another_part_after_a_full_one():
    order = TrackedOrder(REFERENCE, "TCS", freeze=10)
    order.take_row(0, row("EXECUTED", 10))
    order.take_trades(0, [trade(1, 10)])
    assert order.report(100.0).status is OrderStatus.WORKING
    assert order.unsure == 1
    order.take_row(1, replace(ROW, order_id="GMK2", quantity=3, word="CANCELLED"))
    assert order.unsure is None
    order.take_trades(1, [])
    ended = order.report(101.0)
    assert (ended.status, ended.filled_quantity, ended.quantity) == (OrderStatus.CANCELLED, 10, 13)


def test_whoever_sent_an_order_knows_its_last_part():
    order = TrackedOrder(REFERENCE, "TCS", freeze=10, asked=10)
    order.take_row(0, row("EXECUTED", 10))
    order.take_trades(0, [trade(1, 10)])
    assert order.report(100.0).status is OrderStatus.FILLED


def test_wrong_fills_keep_an_order_working_with_the_reason():
    order = TrackedOrder(REFERENCE, "TCS")
    order.take_row(0, row("EXECUTED", 10))
    order.take_trades(0, [trade(1, 10, "9995")])
    report = order.report(0.0)
    assert (report.status, report.filled_quantity) == (OrderStatus.WORKING, 0)
    assert "out of line" in order.fault
    order.take_trades(0, [trade(1, 10)])
    assert (order.fault, order.report(0.0).status) == ("", OrderStatus.FILLED)


@pytest.mark.parametrize(
    ("side", "average", "booked"),
    [
        (Side.BUY, "99.95", "99.95"),
        (Side.BUY, "100.00", "100.00"),
        (Side.BUY, "95.00", "95.00"),
        (Side.BUY, "94.99", "100.00"),
        (Side.BUY, "100.05", "100.00"),
        (Side.BUY, "9995", "100.00"),
        (Side.BUY, None, "100.00"),
        (Side.SELL, "100.05", "100.05"),
        (Side.SELL, "105.01", "100.00"),
        (Side.SELL, "99.95", "100.00"),
    ],
)
def test_without_trades_the_row_s_average_counts_only_where_it_can_be_right(side, average, booked):
    order = TrackedOrder(REFERENCE, "TCS", asked=10)
    price = None if average is None else D(average)
    order.take_row(0, row("EXECUTED", 10, side=side, average=price))
    assert order.report(0.0).status is OrderStatus.WORKING
    assert order.report(29.9).filled_quantity == 0
    report = order.report(30.0)
    assert (report.status, report.filled_quantity) == (OrderStatus.FILLED, 10)
    assert (report.average_price, report.time) == (D(booked), NINE)
    assert f"10 of them at {booked}" in report.unconfirmed


def test_only_what_the_trades_lack_is_taken_from_the_row():
    order = TrackedOrder(REFERENCE, "TCS", asked=10)
    order.take_row(0, row("CANCELLED", 7, average=D("100.00")))
    order.take_trades(0, [trade(1, 4, "99.90")])
    order.report(0.0)
    report = order.report(30.0)
    assert (report.status, report.filled_quantity) == (OrderStatus.CANCELLED, 7)
    assert (report.average_price, len(report.executions)) == (D("99.9429"), 1)
    order.take_trades(0, [trade(1, 4, "99.90"), trade(2, 3, "99.90")])
    told = order.report(31.0)
    assert (told.filled_quantity, told.average_price, told.unconfirmed) == (7, D("99.9"), "")


def test_an_order_that_still_works_is_not_booked_by_its_row_nor_one_without_a_limit():
    for own in (row("OPEN", 4), row("EXECUTED", 10, price=None, average=D("100.00"))):
        order = TrackedOrder(REFERENCE, "TCS", asked=10)
        order.take_row(0, own)
        order.report(0.0)
        report = order.report(1000.0)
        assert (report.status, report.filled_quantity) == (OrderStatus.WORKING, 0)
        with pytest.raises(RetryError, match="does not tell its trades"):
            order.booked(1000.0)


def test_the_patience_begins_at_the_end():
    order = TrackedOrder(REFERENCE, "TCS", asked=10)
    order.take_row(0, row("OPEN", 4))
    order.report(0.0)
    order.take_row(0, row("CANCELLED", 4))
    assert order.report(1000.0).status is OrderStatus.WORKING
    assert order.report(1030.0).filled_quantity == 4


def test_an_average_that_cannot_be_read_hides_no_order():
    assert read_order({**WIRE_ROW, "average_fill_price": "n/a"}).average is None
    assert read_order(WIRE_ROW).average == D("7.0")


def test_an_order_of_somebody_else_keeps_one_name():
    row_by_hand = replace(row("EXECUTED", 10), reference="")
    report = foreign_report("BSE:TCS", row_by_hand)
    assert report.reference == foreign_report("BSE:TCS", row_by_hand).reference == "groww:GMK1"
    assert (report.symbol, report.filled_quantity) == ("BSE:TCS", 10)
    assert report.status is OrderStatus.FILLED


@st.composite
def readings(draw):
    """An order of 10 to 60 shares that trades to its end, read in any order, rows repeated."""
    sizes = draw(st.lists(st.integers(1, 10), min_size=1, max_size=6))
    total = sum(sizes)
    trades = [trade(n, size, f"{99 + n / 20:.2f}") for n, size in enumerate(sizes)]
    states = [(sum(sizes[:n]), trades[:n]) for n in range(len(sizes) + 1)]
    seen = draw(st.lists(st.sampled_from(states), min_size=1, max_size=8))
    shuffled = [(filled, draw(st.permutations([*own, *own[:2]]))) for filled, own in seen]
    return total, [*shuffled, (total, trades)]


@given(readings())
def test_reports_only_ever_grow_whatever_order_or_repetition_rows_and_trades_come_in(story):
    total, seen = story
    order = TrackedOrder(REFERENCE, "TCS", asked=total)
    before, ended = 0, False
    for filled, trades in seen:
        word = "EXECUTED" if filled == total else "OPEN"
        own = replace(ROW, word=word, quantity=total, filled=filled, remaining=total - filled)
        order.take_row(0, own)
        order.take_trades(0, list(trades))
        report = order.report(0.0)
        assert not order.fault
        assert report.filled_quantity >= before
        assert report.filled_quantity == sum(fill.quantity for fill in report.executions)
        assert not (ended and report.status is not OrderStatus.FILLED)
        before, ended = report.filled_quantity, report.status is OrderStatus.FILLED
    assert ended
    assert before == total


@pytest.mark.parametrize(
    "value", [1764100000000000, 1764100000000000000, 10**400, "1e1000000", "soon", None, True, -1]
)
def test_what_is_no_moment_of_the_calendar_is_none(value):
    assert read_moment(value) is None


def test_a_moment_is_read_in_seconds_and_in_milliseconds():
    assert read_moment(int(NINE.timestamp())) == read_moment(NINE.timestamp() * 1000) == NINE


def test_an_order_without_parts_is_not_over():
    report = report_of(REFERENCE, "TCS", [], asked=10)
    assert (report.status, report.quantity, report.filled_quantity) == (OrderStatus.WORKING, 10, 0)
