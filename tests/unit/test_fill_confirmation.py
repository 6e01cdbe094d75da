"""A fill that a person confirms: what it was booked wrong by is put right, and nothing else."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from risk_world import (
    CHARGES,
    DAY,
    NOW,
    D,
    Desk,
    entry,
    fill,
    leave,
    new_book,
    opened,
    reduced,
    reject,
)

from hftray.core.contract_note import contract_note
from hftray.core.errors import IllegalTransition, NotFound
from hftray.core.ledger import OrderIntended, RunState
from hftray.core.orders import Leg, OrderStatus, Side, TradeStatus

WHY = "read in the app (by a test)"
LATER = NOW + timedelta(hours=1)


class Trip:
    """An entry of 20 shares and exits of it in a book of its own, at told prices."""

    def __init__(self, side, entered):
        self.book = new_book()
        self.book.open_day(DAY, NOW)
        self.desk = Desk(self.book)
        self.held = None
        self.rows = [self._entered(side, entered)]
        self.said = []

    def _entered(self, side, price):
        order = self.desk.ask(entry(side=side)).order
        report = fill(order, price)
        self.held = opened(order, report)
        return self.book.settle(report, self.desk.epoch, self.held, None)

    def leave(self, shares, price):
        order = self.desk.ask(leave(self.held, shares)).order
        after, closed = reduced(self.held, shares)
        self.held = after
        self.rows.append(
            self.book.settle(fill(order, price), self.desk.epoch, after, closed),
        )

    def confirm(self, place, price, after=None):
        _, settled = self.book.confirm_fill(self.rows[place].reference, D(price), WHY, LATER, after)
        self.said.append(settled.trade)
        return settled.trade

    def confirm_again(self, place, price):
        """A confirmation, the first or a later one."""
        reference = self.rows[place].reference
        before = [row.reference for row in self.said if row.confirms == reference]
        return self.confirm(place, price, before[-1] if before else None)

    def restarted(self):
        """A book made from the rows alone."""
        book = new_book()
        book.recover(
            RunState(
                run=self.book.run,
                session_day=DAY,
                opening_capital=D(100_000),
                realised_total=sum((r.pnl or 0 for r in (*self.rows, *self.said)), D(0)),
                trades_today=(*self.rows, *self.said),
                positions=() if self.held is None else (self.held,),
            )
        )
        return book

    def worth(self, at):
        """Realised P&L and equity when the shares still open are marked at a price."""
        if self.held is not None:
            self.book.revalue({"INFY": self.held.gross_pnl(D(at))})
        view = self.book.view()
        return view.equity, view.realised_pnl + view.open_pnl


PAISE = st.integers(99_500, 100_500).map(lambda paise: D(paise) / 100)


@given(
    side=st.sampled_from(list(Side)),
    booked=st.tuples(PAISE, PAISE, PAISE),
    true=st.tuples(PAISE, PAISE, PAISE),
    first=st.integers(1, 20),
    exits=st.integers(0, 2),
    order=st.permutations([0, 1, 2]),
    wrong=st.lists(st.tuples(st.integers(0, 2), PAISE), max_size=4),
)
def test_the_account_is_worth_what_it_were_with_the_true_prices(
    side, booked, true, first, exits, order, wrong
):
    """After whatever was confirmed before them; also after a restart, and on the contract note."""
    # Entries fill within their limit: the band's near edge is 1005 for a BUY, 995 for a SELL.
    exits = min(exits, 2 if first < 20 else 1)
    told, right = Trip(side, booked[0]), Trip(side, true[0])
    for trip, prices in ((told, booked), (right, true)):
        for number in range(exits):
            trip.leave((first, 20 - first)[number], prices[1 + number])
    for place, price in (*wrong, *((place, true[place]) for place in order)):
        if place <= exits:
            told.confirm_again(place, price)
    assert told.worth(1_003) == right.worth(1_003)
    assert told.book.view().open_positions == right.book.view().open_positions
    note = contract_note(DAY, [*reversed(told.said), *told.rows], CHARGES)
    assert (note.net, note.drift) == (contract_note(DAY, right.rows, CHARGES).net, 0)
    told.book = told.restarted()
    assert told.worth(1_003) == right.worth(1_003)
    for place in range(exits + 1):
        row = told.confirm_again(place, true[place])  # as nothing is left to put right
        assert (row.pnl, row.charges) == (0, 0)


def test_what_was_booked_stays_and_the_difference_stands_beside_it():
    trip = Trip(Side.SELL, D(1_000))
    [booked] = trip.rows
    row = trip.confirm(0, D("995.50"))
    assert (row.status, row.leg, row.reason) == (
        TradeStatus.EXECUTED,
        Leg.MANUAL,
        f"confirmed: {WHY}",
    )
    assert (row.confirms, row.quantity, row.price) == (booked.reference, 20, D("995.50"))
    assert row.gross_pnl == D(-90)
    due = CHARGES.charges(Side.SELL, quantity=20, price=D("995.50"), day=DAY).total
    assert row.charges == due - booked.charges < 0
    assert row.pnl == D(-90) - row.charges == trip.book.view().realised_pnl
    assert trip.book.view().trades_by_symbol == {"INFY": 1}
    [open_row] = trip.book._account.holdings.values()
    assert open_row.entry == booked


def test_the_price_that_was_booked_changes_no_money():
    trip = Trip(Side.SELL, D(1_000))
    before = trip.book.view()
    row = trip.confirm(0, D(1_000))
    assert (str(row.gross_pnl), str(row.pnl), row.charges) == ("0.00", "0.00", 0)
    assert trip.book.view() == before


def test_a_fill_is_confirmed_once_unless_one_knows_of_the_confirmation_before():
    trip = Trip(Side.BUY, D(1_000))
    reference = trip.rows[0].reference
    first = trip.confirm(0, D(1_001))
    for book in (trip.book, trip.restarted()):
        assert book.view().capital == trip.book.view().capital
        with pytest.raises(IllegalTransition, match="was confirmed before"):
            book.confirm_fill(reference, D(1_002), WHY, LATER)
    second = trip.confirm(0, D(1_002), after=first.reference)
    assert second.gross_pnl == -20
    restarted = trip.restarted()
    for book in (trip.book, restarted):
        assert book.view().capital == trip.book.view().capital
        with pytest.raises(IllegalTransition, match="was confirmed before"):
            book.confirm_fill(reference, D(1_003), WHY, LATER, first.reference)
    _, third = restarted.confirm_fill(reference, D(1_003), WHY, LATER, second.reference)
    assert third.trade.gross_pnl == -20
    assert len({first.reference, second.reference, third.trade.reference}) == 3


def test_an_end_without_a_share_is_confirmed_without_a_price():
    book = new_book()
    book.open_day(DAY, NOW)
    desk = Desk(book)
    order = desk.ask(entry()).order
    book.settle(reject(order), desk.epoch, None, None)
    with pytest.raises(IllegalTransition, match="no share of order"):
        book.confirm_fill(order.reference, D(1_000), WHY, LATER)
    intended, settled = book.confirm_fill(order.reference, None, WHY, LATER)
    assert isinstance(intended, OrderIntended)
    assert (settled.trade.status, settled.trade.pnl) == (TradeStatus.FAILED, None)
    assert settled.trade.confirms == order.reference
    assert book.view().realised_pnl == 0


@pytest.mark.parametrize(
    ("price", "why"),
    [
        (None, "20 shares of order .* traded: at which price"),
        (D("1005.01"), "cannot have traded at 1005.01, its limit is 1005.00"),
    ],
)
def test_a_price_that_cannot_be_is_refused_and_changes_nothing(price, why):
    trip = Trip(Side.BUY, D(1_000))
    before = trip.book.snapshot()
    with pytest.raises(IllegalTransition, match=why):
        trip.book.confirm_fill(trip.rows[0].reference, price, WHY, LATER)
    assert trip.book.snapshot() == before


@pytest.mark.parametrize("price", ["100300", "2006", "501.5", "10.03", "0.01"])
def test_a_price_out_of_line_with_the_booked_one_is_refused_and_changes_nothing(price):
    """An exit has no limit, and paise typed for rupees are a hundred times too much."""
    trip = Trip(Side.BUY, D(1_000))
    trip.leave(20, D(1_003))
    before = trip.book.snapshot()
    with pytest.raises(IllegalTransition, match=f"at 1003: {price} is out of line"):
        trip.confirm(1, price)
    assert trip.book.snapshot() == before
    first = trip.confirm(1, D(2_005))
    with pytest.raises(IllegalTransition, match="at 1003: 2006 is out of line"):
        trip.confirm(1, D(2_006), after=first.reference)  # the booked price counts, no other


def test_an_order_of_yesterday_that_ended_today_is_none_of_the_day():
    """Neither is it one after a restart."""
    trip = Trip(Side.BUY, D(1_000))
    order = trip.desk.ask(leave(trip.held)).order
    trip.book.open_day(DAY + timedelta(days=1), LATER)
    after, closed = reduced(trip.held, 20)
    trip.book.settle(fill(order, 1_003), trip.desk.epoch, after, closed)
    with pytest.raises(NotFound, match="present trading day"):
        trip.book.confirm_fill(order.reference, D(1_002), WHY, LATER)


def test_only_orders_that_have_ended_today_can_be_confirmed():
    trip = Trip(Side.BUY, D(1_000))
    pending = trip.desk.ask(leave(trip.held)).order
    for reference in (pending.reference, "20260601E00000000000"):
        with pytest.raises(NotFound, match=reference):
            trip.book.confirm_fill(reference, D(1_000), WHY, LATER)
    report = fill(pending, 1, quantity=0, status=OrderStatus.CANCELLED)
    trip.book.settle(report, trip.desk.epoch, trip.held, None)
    trip.book.open_day(DAY + timedelta(days=1), LATER)
    with pytest.raises(NotFound):
        trip.confirm(0, D(1_000))


def test_what_a_person_recorded_has_no_fill_to_confirm():
    trip = Trip(Side.BUY, D(1_000))
    confirmed = trip.confirm(0, D(1_001))
    with pytest.raises(IllegalTransition, match="recorded by hand"):
        trip.book.confirm_fill(confirmed.reference, D(1_000), WHY, LATER)
    _, left = trip.book.settle_by_hand(trip.held, 20, D(990), WHY, LATER)
    with pytest.raises(IllegalTransition, match="recorded by hand"):
        trip.book.confirm_fill(left.trade.reference, D(991), WHY, LATER)


def test_the_contract_note_shows_the_confirmed_price():
    booked, right = Trip(Side.BUY, D(1_000)), Trip(Side.BUY, D("1001.50"))
    for trip in (booked, right):
        trip.leave(20, D(1_003))
    rows = [*booked.rows, booked.confirm(0, D("1001.50"))]
    note, expected = (contract_note(DAY, trades, CHARGES) for trades in (rows, right.rows))
    assert (note.net, note.levied, note.drift) == (expected.net, expected.levied, 0)
    unknown = [*booked.rows, replace(rows[-1], reason="recorded by hand")]
    assert contract_note(DAY, unknown, CHARGES).bought == D(20_000)
