"""Ledger against broker: consistent books agree, and each single change is called by its name."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hftray.core.errors import IllegalTransition
from hftray.core.ledger import RunInfo, RunState, TradeRecord
from hftray.core.money import PAISA
from hftray.core.orders import (
    BrokerPosition,
    Leg,
    OrderReport,
    OrderStatus,
    Side,
    TradeStatus,
    order_reference,
)
from hftray.core.position import Position
from hftray.core.reconcile import (
    Difference,
    Discrepancy,
    compare,
    confirmed_price,
    locks,
    to_look_up,
    to_recover,
    to_withdraw,
)
from hftray.core.session import IST

TODAY = date(2026, 11, 20)
NOW = datetime(2026, 11, 20, 11, 0, tzinfo=IST)
RUN = RunInfo(3, "simulation", "a test", "default", Decimal(100_000))
SYMBOLS = ("TCS", "ITC", "SBIN")
PRICE = Decimal("100.05")


@dataclass
class Books:
    """What the ledger and the broker hold, changed together or, by a test, apart."""

    trades: list[TradeRecord] = field(default_factory=list)
    positions: list[Position] = field(default_factory=list)
    reports: dict[str, OrderReport] = field(default_factory=dict)
    net: dict[str, int] = field(default_factory=dict)

    def trade(
        self, symbol: str, leg: Leg, side: Side, asked: int, *, filled: int, status: TradeStatus
    ) -> TradeRecord:
        """A ledger row of its own reference; what it filled is at the broker."""
        number = len(self.trades)
        row = TradeRecord(
            reference=order_reference(RUN.run_id, TODAY, symbol, leg, number),
            run_id=RUN.run_id,
            user_id="default",
            symbol=symbol,
            exchange="NSE",
            side=side,
            leg=leg,
            requested_quantity=asked,
            reason="a test",
            timestamp=NOW,
            session_day=TODAY,
            quantity=filled if status is TradeStatus.EXECUTED else 0,
            price=PRICE if status is TradeStatus.EXECUTED else None,
            status=status,
        )
        self.trades.append(row)
        self.net[symbol] = self.net.get(symbol, 0) + side.sign * filled
        return row

    def told(self, row: TradeRecord, status: OrderStatus, filled: int) -> None:
        """The broker's report of that row."""
        self.reports[row.reference] = report(
            row.reference, row.symbol, status, filled, row.requested_quantity
        )

    def executed(self, symbol: str, leg: Leg, side: Side, asked: int, filled: int) -> TradeRecord:
        row = self.trade(symbol, leg, side, asked, filled=filled, status=TradeStatus.EXECUTED)
        self.told(row, OrderStatus.FILLED if filled == asked else OrderStatus.CANCELLED, filled)
        return row

    def holding(self, symbol: str, side: Side, quantity: int) -> None:
        """An open position, entered by an order of more shares than are left of it."""
        entry = self.executed(symbol, Leg.ENTRY, side, quantity + 3, quantity + 3)
        self.executed(symbol, Leg.EXIT, side.opposite, quantity + 3, 3)
        level = Decimal(1)
        self.positions.append(
            Position(
                entry.reference, symbol, side, quantity, PRICE, NOW, TODAY, level, level, 100.0
            )
        )

    def find(self, skip: tuple[str, ...] = ()) -> list[Difference]:
        """What `compare` says of them."""
        state = RunState(
            run=RUN,
            session_day=TODAY,
            trades_today=tuple(self.trades),
            pending=tuple(t for t in self.trades if t.status is TradeStatus.PENDING),
            positions=tuple(self.positions),
        )
        held = [BrokerPosition(name, shares) for name, shares in self.net.items() if shares]
        return compare(state, self.reports.values(), held, skip=skip)

    def kinds(self) -> list[Discrepancy]:
        """The kinds of what `compare` says."""
        return [difference.kind for difference in self.find()]

    def of(self, status: TradeStatus) -> list[TradeRecord]:
        """Rows of that status, those by hand aside."""
        return [t for t in self.trades if t.status is status and t.leg is not Leg.MANUAL]


def report(
    reference: str,
    symbol: str,
    status: OrderStatus,
    filled: int,
    quantity: int,
    time: datetime | None = NOW,
) -> OrderReport:
    price = PRICE if filled else None
    return OrderReport(reference, symbol, status, "B1", quantity, filled, price, time)


@st.composite
def consistent(draw: st.DrawFn) -> Books:
    """Books of a day on which nothing went wrong, with orders under way."""
    books = Books()
    for symbol in SYMBOLS:
        side = draw(st.sampled_from(list(Side)))
        shares = draw(st.integers(1, 50))
        for _ in range(draw(st.integers(0, 2))):  # round trips
            books.executed(symbol, Leg.ENTRY, side, shares + 1, shares)
            books.executed(symbol, Leg.EXIT, side.opposite, shares, shares)
        if (ended := draw(st.sampled_from([None, "unsent", "REJECTED", "CANCELLED"]))) is not None:
            row = books.trade(symbol, Leg.ENTRY, side, shares, filled=0, status=TradeStatus.FAILED)
            if ended != "unsent":
                books.told(row, OrderStatus(ended), 0)
        if draw(st.booleans()):  # by hand: the broker knows nothing of it
            hand = books.executed(symbol, Leg.MANUAL, side, shares, shares)
            del books.reports[hand.reference]
            books.net[symbol] -= side.sign * shares
        held = draw(st.booleans())
        if held:
            books.holding(symbol, side, shares)
        way = draw(st.sampled_from([None, "sent", "arrived"]))
        if way is not None:
            leg, to = (Leg.EXIT, side.opposite) if held else (Leg.ENTRY, side)
            filled = draw(st.integers(0, shares - 1)) if way == "arrived" else 0
            row = books.trade(symbol, leg, to, shares, filled=filled, status=TradeStatus.PENDING)
            if way == "arrived":
                books.told(row, OrderStatus.WORKING, filled)
    return books


def pick(data: st.DataObject, rows: list[TradeRecord]) -> TradeRecord:
    assume(rows)
    return data.draw(st.sampled_from(rows))


@given(consistent())
def test_consistent_books_agree(books):
    assert books.find() == []


@given(consistent(), st.data())
def test_what_an_order_under_way_fills_while_the_books_are_read_is_no_difference(books, data):
    row = pick(data, books.of(TradeStatus.PENDING))
    known = books.reports.get(row.reference)
    left = row.requested_quantity - (known.filled_quantity if known else 0)
    books.net[row.symbol] += row.side.sign * data.draw(st.integers(0, left))
    assert books.find() == []


@given(consistent(), st.data(), st.sampled_from(["FILLED", "CANCELLED", "REJECTED"]))
def test_an_order_that_ended_at_the_broker_only_is_a_missing_fill(books, data, end):
    row = pick(data, books.of(TradeStatus.PENDING))
    before = books.reports.get(row.reference)
    already = before.filled_quantity if before else 0
    filled = row.requested_quantity if end == "FILLED" else already
    books.told(row, OrderStatus(end), filled)
    books.net[row.symbol] += row.side.sign * (filled - already)
    [only] = books.find()
    assert (only.kind, only.reference) == (Discrepancy.MISSING_FILL, row.reference)
    assert only.certain
    assert to_recover([only]) == {row.symbol}
    assert locks([only]) == {}


@given(consistent(), st.sampled_from(SYMBOLS), st.booleans())
def test_a_live_order_that_the_ledger_does_not_have_is_unknown(books, symbol, traded):
    status = OrderStatus.FILLED if traded else OrderStatus.WORKING
    books.reports["GHOST"] = report("GHOST", symbol, status, 7 * traded, 7)
    [only] = books.find()
    assert (only.kind, only.symbol, only.certain) == (Discrepancy.UNKNOWN_ORDER, symbol, False)
    assert "GHOST" in locks([only])[symbol]


@given(consistent(), st.data(), st.booleans())
def test_an_order_that_lives_after_it_failed_is_unknown(books, data, traded):
    row = pick(data, books.of(TradeStatus.FAILED))
    books.told(row, OrderStatus.FILLED if traded else OrderStatus.WORKING, 1 * traded)
    [only] = books.find()
    assert (only.kind, only.reference) == (Discrepancy.UNKNOWN_ORDER, row.reference)


@pytest.mark.parametrize(
    "ghost",
    [
        report("GHOST", "TCS", OrderStatus.REJECTED, 0, 7),
        report("GHOST", "TCS", OrderStatus.CANCELLED, 0, 7),
        report("GHOST", "TCS", OrderStatus.FILLED, 7, 7, NOW - timedelta(days=1)),
    ],
    ids=["refused", "withdrawn", "of yesterday"],
)
def test_a_strange_order_that_changes_nothing_today_is_no_difference(ghost):
    assert Books(reports={"GHOST": ghost}).find() == []


def test_a_strange_order_of_yesterday_that_still_works_is_unknown():
    ghost = report("GHOST", "TCS", OrderStatus.WORKING, 0, 7, NOW - timedelta(days=1))
    assert Books(reports={"GHOST": ghost}).kinds() == [Discrepancy.UNKNOWN_ORDER]


@given(consistent(), st.data(), st.booleans())
def test_an_executed_order_the_broker_has_less_of_is_lost(books, data, forgotten):
    row = pick(data, books.of(TradeStatus.EXECUTED))
    if forgotten:
        del books.reports[row.reference]
    else:
        books.told(row, OrderStatus.CANCELLED, row.quantity - 1)
    [only] = books.find()
    assert (only.kind, only.reference) == (Discrepancy.LOST_ORDER, row.reference)
    assert not only.certain


@given(consistent(), st.data(), st.integers(0, 5))
def test_an_executed_order_that_went_on_at_the_broker_differs_in_quantity(books, data, more):
    row = pick(data, books.of(TradeStatus.EXECUTED))
    status = OrderStatus.FILLED if more else OrderStatus.WORKING
    books.told(row, status, row.quantity + more)
    [only] = books.find()
    assert (only.kind, only.reference) == (Discrepancy.QUANTITY_DIFFERS, row.reference)


@pytest.mark.parametrize(
    ("ten_thousandths", "differs"), [(99, False), (-99, False), (100, True), (-100, True)]
)
@given(books=consistent(), data=st.data())
def test_prices_may_differ_by_less_than_a_paisa(ten_thousandths, differs, books, data):
    row = pick(data, books.of(TradeStatus.EXECUTED))
    price = PRICE + Decimal(ten_thousandths) / 10_000
    books.reports[row.reference] = replace(books.reports[row.reference], average_price=price)
    assert books.kinds() == [Discrepancy.PRICE_DIFFERS] * differs


@given(consistent(), st.sampled_from(SYMBOLS), st.integers(1, 100), st.sampled_from(list(Side)))
def test_shares_the_ledger_cannot_explain_differ(books, symbol, more, side):
    own = [row for row in books.of(TradeStatus.PENDING) if row.symbol == symbol]
    if any(row.side is side for row in own):
        more += own[0].requested_quantity  # beyond all that may still be filled
    books.net[symbol] = books.net.get(symbol, 0) + side.sign * more
    [only] = books.find()
    flat = not own and all(held.symbol != symbol for held in books.positions)
    expected = Discrepancy.FOREIGN_POSITION if flat else Discrepancy.QUANTITY_DIFFERS
    assert (only.kind, only.symbol, only.reference) == (expected, symbol, "")
    assert f"{books.net[symbol]:+}" in locks([only])[symbol]


def test_a_position_the_broker_does_not_hold_differs_in_quantity():
    books = Books()
    books.holding("TCS", Side.SELL, 10)
    books.net.clear()
    [only] = books.find()
    assert only.kind is Discrepancy.QUANTITY_DIFFERS
    assert only.detail == "the broker holds +0 shares, by the ledger it should be -10"


@given(consistent(), st.data())
def test_a_symbol_that_is_skipped_differs_in_nothing(books, data):
    row = pick(data, books.of(TradeStatus.EXECUTED))
    books.told(row, OrderStatus.WORKING, row.quantity + 1)
    books.reports["GHOST"] = report("GHOST", row.symbol, OrderStatus.WORKING, 0, 7)
    books.net[row.symbol] += 1_000
    assert books.find()
    assert books.find(skip=(row.symbol,)) == []


def test_a_lock_tells_everything_about_its_symbol():
    books = Books()
    row = books.executed("TCS", Leg.ENTRY, Side.BUY, 10, 10)
    books.told(row, OrderStatus.CANCELLED, 4)
    found = books.find()
    assert [d.kind for d in found] == [Discrepancy.LOST_ORDER, Discrepancy.FOREIGN_POSITION]
    assert locks(found) == {
        "TCS": (
            f"lost order: order {row.reference} has 10 at 100.05 in the ledger, at the broker it "
            "is CANCELLED with 4 of 10 at 100.05; foreign position: the broker holds +10 shares, "
            "by the ledger it should be +0"
        )
    }


# Guards


def guarded(books: Books, **changes: object) -> TradeRecord:
    """A long of 10 shares whose guard is PENDING in the ledger."""
    books.holding("TCS", Side.BUY, 10)
    row = books.trade("TCS", Leg.EXIT, Side.SELL, 10, filled=0, status=TradeStatus.PENDING)
    books.trades[-1] = replace(row, reason="guard", **changes)
    return books.trades[-1]


@pytest.mark.parametrize("filled", [0, 4])
def test_a_guard_that_works_differs_in_nothing(filled):
    books = Books()
    row = guarded(books)
    books.told(row, OrderStatus.WORKING, filled)
    books.net["TCS"] -= filled
    assert books.find() == []


@pytest.mark.parametrize("status", [OrderStatus.FILLED, OrderStatus.CANCELLED])
def test_a_guard_that_has_ended_at_the_broker_repairs_itself(status):
    books = Books()
    row = guarded(books)
    filled = 10 if status is OrderStatus.FILLED else 0
    books.told(row, status, filled)
    books.net["TCS"] -= filled
    [found] = books.find()
    assert (found.kind, found.certain) == (Discrepancy.MISSING_FILL, True)
    assert to_recover([found]) == {"TCS"}


@pytest.mark.parametrize("sold_there", [0, 10])
def test_a_guard_that_the_broker_does_not_list_is_looked_up(sold_there):
    """Its book was lost, or it is another day's: what it sold is not known yet."""
    books = Books()
    guarded(books)
    books.net["TCS"] -= sold_there
    found = books.find()
    assert [difference.kind for difference in found] == [Discrepancy.MISSING_GUARD]
    assert (to_look_up(found), to_recover(found), locks(found)) == ({"TCS"}, set(), {})
    assert books.find(skip=("TCS",)) == []


@pytest.mark.parametrize(
    ("net", "short", "fleeting"), [(0, True, True), (4, True, True), (-10, True, False),
                                   (20, False, False)]
)  # fmt: skip
def test_a_guard_does_not_hide_that_its_position_is_gone(net, short, fleeting):
    books = Books()
    books.told(guarded(books), OrderStatus.WORKING, 0)
    books.net["TCS"] = net
    [found] = books.find()
    assert (found.kind, found.short, found.fleeting) == (
        Discrepancy.QUANTITY_DIFFERS, short, fleeting,
    )  # fmt: skip


def test_what_was_settled_by_hand_is_known_to_no_broker():
    books = Books()
    row = books.trade("TCS", Leg.EXIT, Side.SELL, 10, filled=0, status=TradeStatus.EXECUTED)
    books.trades[-1] = replace(row, reason="settled: closed in the app")
    assert books.find() == []


# Confirmed by a person


def confirmation(
    books: Books, row: TradeRecord, price: Decimal | None, number: int = 1
) -> TradeRecord:
    """A person's word for what the row filled at."""
    by_hand = replace(
        row, reference=f"{row.reference}M{number}", leg=Leg.MANUAL, price=price,
        reason="confirmed: read in the app", position=row.reference, sequence=number,
    )  # fmt: skip
    books.trades.append(by_hand)
    return by_hand


def doubted(books: Books, row: TradeRecord) -> OrderReport:
    """The broker does not tell the row's trades."""
    told = books.reports[row.reference] = replace(
        books.reports[row.reference], unconfirmed="unconfirmed: by the row alone"
    )
    return told


@given(books=consistent(), data=st.data(), paise=st.integers(-500, 500))
def test_a_confirmed_fill_locks_no_more_whatever_it_was_booked_at(books, data, paise):
    row = pick(data, books.of(TradeStatus.EXECUTED))
    report, price = doubted(books, row), PRICE + Decimal(paise) / 100
    assert books.kinds() == [Discrepancy.UNCONFIRMED_FILL]
    assert confirmed_price(row, [], report, price) == price
    # A new process may presume another price than the one that was booked.
    presumed = replace(report, average_price=PRICE + 1)
    assert confirmed_price(row, [], presumed, price) == price
    confirmation(books, row, price)
    books.reports[row.reference] = presumed
    assert books.find() == []
    books.reports[row.reference] = report
    assert books.find() == []
    # The trades can be read after all, and say what the person said, or something else.
    books.reports[row.reference] = replace(report, unconfirmed="", average_price=price)
    assert books.find() == []
    other = replace(report, unconfirmed="", average_price=price + PAISA)
    books.reports[row.reference] = other
    assert books.kinds() == [Discrepancy.PRICE_DIFFERS]


@given(books=consistent(), data=st.data(), more=st.integers(1, 9))
def test_a_confirmation_says_nothing_of_the_quantity(books, data, more):
    row = pick(data, books.of(TradeStatus.EXECUTED))
    report = doubted(books, row)
    confirmation(books, row, PRICE)
    books.reports[row.reference] = replace(report, filled_quantity=row.quantity + more)
    assert books.kinds() == [Discrepancy.QUANTITY_DIFFERS]


def test_an_end_without_a_share_is_confirmed_without_a_price():
    books = Books()
    row = books.trade("TCS", Leg.ENTRY, Side.BUY, 10, filled=0, status=TradeStatus.FAILED)
    books.told(row, OrderStatus.CANCELLED, 0)
    report = doubted(books, row)
    assert books.kinds() == [Discrepancy.UNCONFIRMED_FILL]
    assert confirmed_price(row, [], report, None) is None
    confirmation(books, row, None)
    assert books.find() == []


def test_a_persons_price_may_not_contradict_the_trades_and_theirs_is_taken():
    books = Books()
    row = books.executed("TCS", Leg.ENTRY, Side.BUY, 10, 10)
    mean = PRICE + Decimal("0.2033")
    report = replace(books.reports[row.reference], average_price=mean)
    assert confirmed_price(row, [], report, PRICE + Decimal("0.20")) == mean
    for price in (PRICE, None):
        with pytest.raises(IllegalTransition, match=f"filled at {mean}, its trades say so"):
            confirmed_price(row, [], report, price)


def test_what_is_not_in_doubt_is_not_confirmed():
    books = Books()
    row = books.executed("TCS", Leg.ENTRY, Side.BUY, 10, 10)
    report = books.reports[row.reference]
    with pytest.raises(IllegalTransition, match="not in doubt: the books agree on it"):
        confirmed_price(row, [], report, PRICE)
    with pytest.raises(IllegalTransition, match="not in doubt: lost order"):
        confirmed_price(row, [], None, PRICE)
    more = replace(report, filled_quantity=11, unconfirmed="by the row alone")
    with pytest.raises(IllegalTransition, match="not in doubt: quantity differs"):
        confirmed_price(row, [], more, PRICE)


@given(books=consistent(), data=st.data(), shift=st.sampled_from([PAISA, -PAISA, PRICE / 2]))
def test_trades_that_contradict_a_confirmation_are_confirmed_in_its_place(books, data, shift):
    """They may tell what was booked at first, or a third price."""
    row = pick(data, books.of(TradeStatus.EXECUTED))
    report = doubted(books, row)
    first = confirmation(books, row, PRICE + shift)
    with pytest.raises(IllegalTransition, match=f"was confirmed before, at {PRICE + shift}"):
        confirmed_price(row, [first], report, PRICE)
    for told in (PRICE, PRICE + 2 * shift):
        books.reports[row.reference] = readable = replace(
            report, unconfirmed="", average_price=told
        )
        assert books.kinds() == [Discrepancy.PRICE_DIFFERS]
        with pytest.raises(IllegalTransition, match=f"filled at {told}, its trades say so"):
            confirmed_price(row, [first], readable, PRICE + shift)
        assert confirmed_price(row, [first], readable, told) == told
        second = confirmation(books, row, told, 2)
        assert books.find() == []
        with pytest.raises(IllegalTransition, match=f"was confirmed before, at {told}"):
            confirmed_price(row, [first, second], readable, told)
        books.trades.remove(second)


def test_a_price_that_an_app_cut_off_to_the_paisa_agrees_with_its_trades():
    books = Books()
    row = books.executed("TCS", Leg.ENTRY, Side.BUY, 10, 10)
    report = doubted(books, row)
    word = confirmation(books, row, Decimal("1001.20"))
    books.net["TCS"] = 0
    mean = Decimal("1001.2075")
    books.reports[row.reference] = told = replace(report, unconfirmed="", average_price=mean)
    assert books.find() == []
    with pytest.raises(IllegalTransition, match=r"was confirmed before, at 1001\.20"):
        confirmed_price(row, [word], told, Decimal("1001.20"))
    # And the other way round: the trades can be read before the person has said a word.
    assert confirmed_price(row, [], told, Decimal("1001.20")) == mean


def test_a_confirmation_of_which_only_the_first_half_was_recorded_says_nothing():
    books = Books()
    row = books.executed("TCS", Leg.ENTRY, Side.BUY, 10, 10)
    report = doubted(books, row)
    half = confirmation(books, row, None)
    books.net["TCS"] = 0
    books.trades[-1] = replace(half, status=TradeStatus.PENDING)
    assert books.kinds() == [Discrepancy.UNCONFIRMED_FILL]
    books.reports[row.reference] = replace(report, unconfirmed="")
    assert books.find() == []


def test_an_exit_that_the_broker_does_not_list_yet_is_waited_for():
    books = Books()
    guarded(books)
    books.trades[-1] = replace(books.trades[-1], reason="stop_loss")
    assert books.find() == []


@pytest.mark.parametrize(
    ("status", "filled", "withdrawn"),
    [
        (OrderStatus.WORKING, 0, True),
        (OrderStatus.WORKING, 3, True),
        (OrderStatus.FILLED, 10, False),
    ],
)
def test_an_order_of_ours_that_lives_on_after_its_end_is_withdrawn(status, filled, withdrawn):
    """A guard that was given up for lost and shows up all the same would open a position."""
    books = Books()
    row = guarded(books)
    books.trades[-1] = replace(row, status=TradeStatus.FAILED, reason="guard: never came")
    books.told(row, status, filled)
    books.net["TCS"] -= filled
    found = books.find()
    assert found[0].kind is Discrepancy.UNKNOWN_ORDER
    assert to_withdraw(found) == ([row.reference] if withdrawn else [])
    assert set(locks(found)) == {"TCS"}
    books.told(row, OrderStatus.CANCELLED, 0)
    books.net["TCS"] += filled
    assert books.find() == []


def test_an_order_that_is_not_ours_is_left_alone():
    books = Books()
    books.reports["A-PERSONS"] = report("A-PERSONS", "ITC", OrderStatus.WORKING, 0, 5)
    found = books.find()
    assert [difference.kind for difference in found] == [Discrepancy.UNKNOWN_ORDER]
    assert to_withdraw(found) == []
