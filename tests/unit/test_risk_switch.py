"""Who reduces, who lifts it again, and what a restarted book makes of the newest record."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from risk_world import DAY, NOW, RUN, Desk, entry, leave, new_book

from hftray.core.ledger import RunState
from hftray.core.orders import Approval, Denial
from hftray.core.risk_switch import DAILY_LOSS, IMPAIRED
from hftray.core.risk_view import RiskState

TOMORROW = DAY + timedelta(days=1)


@pytest.fixture
def book():
    return opened()


def opened():
    book = new_book()
    book.open_day(DAY, NOW)
    return book


def recovered(book, *positions):
    """What a restarted process makes of the newest record of the state."""
    view, fresh = book.view(), new_book()
    fresh.recover(
        RunState(
            RUN,
            session_day=view.session_day,
            opening_capital=view.opening_capital,
            positions=positions,
            risk_state=view.state.value,
            risk_reason=view.reason,
            risk_since=view.since,
            risk_sequence=book.snapshot()["switch"]["sequence"],
        )
    )
    return fresh


# Impairments


def test_an_impairment_reduces_and_its_end_lifts_that_both_on_record(book):
    change = book.mark({}, NOW, impairment="the journal is full")
    assert (change.state, change.actor) == ("REDUCING", "risk")
    assert change.reason == "impaired: the journal is full"
    assert "the journal is full" in Desk(book).ask(entry()).reason
    later = NOW + timedelta(seconds=5)
    lifted = book.mark({}, later)
    assert (lifted.state, lifted.actor, lifted.time) == ("ACTIVE", "risk", later)
    assert lifted.reason == "impairment over: the journal is full"
    assert isinstance(Desk(book).ask(entry()), Approval)
    assert book.view().since == later


def test_an_impairment_that_goes_on_is_one_record_whatever_its_words(book):
    assert book.mark({}, NOW, impairment="5,001 events wait") is not None
    assert book.mark({}, NOW, impairment="5,020 events wait") is None
    assert book.impair("3 scans failed", NOW) is None
    assert book.view().state is RiskState.REDUCING


def test_an_impairment_told_between_marks_is_lifted_by_the_next(book):
    assert book.impair("no scan for 31 s", NOW, "dead-man").actor == "dead-man"
    assert book.mark({}, NOW).state == "ACTIVE"


def test_whoever_resumes_while_it_is_impaired_gets_no_entries_and_the_next_mark_reduces_again(book):
    book.mark({}, NOW, impairment="the journal is full")
    assert book.resume("I know better", NOW, "anita").state == "ACTIVE"
    assert Desk(book).ask(entry()).reason == "impaired: the journal is full"
    assert book.mark({}, NOW, impairment="the journal is full").state == "REDUCING"


@pytest.mark.parametrize("order", ["reduce", "kill"])
def test_an_order_given_while_it_is_impaired_outlives_the_impairment(book, order):
    book.mark({}, NOW, impairment="the journal is full")
    assert getattr(book, order)("a look at it first", NOW, "anita") is not None
    assert book.mark({}, NOW) is None
    assert book.view().reason == "a look at it first"


@pytest.mark.parametrize("words", ["impaired: my foot hurts", "daily loss looks near"])
def test_words_of_an_order_that_sound_automatic_do_not_make_it_so(book, words):
    book.reduce(words, NOW, "anita")
    again = book.reduce(words, NOW, "anita")
    assert again is None
    for one in (book, recovered(book)):
        assert one.mark({}, NOW) is None
        one.open_day(TOMORROW, NOW)
        assert one.view().state is RiskState.REDUCING
        assert words in one.view().reason


# Together with the daily loss


LOSS = {"INFY": -6_000}  # six percent of the capital


@pytest.fixture
def losing(book):
    """A book with a position that may lose."""
    Desk(book).buy()
    return book


def test_the_daily_loss_takes_over_from_an_impairment_and_stays_when_that_is_over(losing):
    losing.impair("no scan", NOW)
    assert losing.mark(LOSS, NOW, impairment="no scan").reason.startswith(DAILY_LOSS)
    assert losing.mark(LOSS, NOW) is None
    assert losing.mark({"INFY": 0}, NOW) is None  # for the day, even if prices come back
    assert isinstance(Desk(losing, "TCS").ask(entry("TCS")), Denial)


def test_an_impairment_that_ends_with_the_loss_reached_leaves_the_loss_in_force(losing):
    losing.impair("no scan", NOW)
    assert losing.mark(LOSS, NOW).reason.startswith(DAILY_LOSS)
    assert losing.view().state is RiskState.REDUCING


def test_a_new_day_lifts_the_loss_but_not_what_impairs(losing):
    losing.mark(LOSS, NOW, impairment="the journal is full")
    assert losing.view().reason.startswith(DAILY_LOSS)
    _, change = losing.open_day(TOMORROW, NOW)
    assert change.reason == "impaired: the journal is full"
    assert losing.mark({"INFY": 0}, NOW).state == "ACTIVE"


def test_an_impairment_is_no_matter_of_days(book):
    book.mark({}, NOW, impairment="the journal is full")
    assert len(book.open_day(TOMORROW, NOW)) == 1
    assert book.view().reason.startswith(IMPAIRED)


# Exits

STATES = {
    "active": lambda book: None,
    "loss": lambda book: book.mark(LOSS, NOW),
    "reduce": lambda book: book.reduce("careful", NOW),
    "kill": lambda book: book.kill("stop", NOW),
}


@pytest.mark.parametrize(
    ("state", "impairment", "lock"),
    list(product(STATES, ["", "the journal is full"], [{}, {"INFY": "not reconciled"}])),
)
def test_nothing_ever_stands_against_an_exit(book, state, impairment, lock):
    desk = Desk(book)
    held = desk.buy()
    STATES[state](book)
    book.mark({}, NOW, impairment=impairment, locks=lock)
    assert book.view().state.entries_barred == (state != "active" or bool(impairment))
    assert isinstance(desk.ask(leave(held)), Approval)


# Any sequence

texts = st.sampled_from(["", "the journal is full", "no scan for 31 s"])
reasons = st.one_of(st.sampled_from(["enough", "impaired", "daily loss"]), st.text(max_size=20))
steps = st.one_of(
    st.tuples(st.just("mark"), texts, st.sampled_from([0, -6_000])),
    st.tuples(st.just("impair"), texts.filter(bool)),
    st.tuples(st.sampled_from(["reduce", "kill", "resume"]), reasons),
    st.tuples(st.just("day")),
)
lives = st.lists(steps, max_size=12)


def take(book, step):
    """Carry one step out; the changes it made."""
    match step:
        case "mark", text, loss:
            changes = [book.mark({"INFY": loss}, NOW, impairment=text)]
        case ("day",):
            changes = book.open_day(book.view().session_day + timedelta(days=1), NOW)[1:]
        case verb, reason:
            changes = [getattr(book, verb)(reason, NOW)]
    return [change for change in changes if change is not None]


def standing(book):
    """What the record must tell of the state."""
    view = book.view()
    return view.state, view.reason, view.since


@given(past=lives, future=lives, text=texts)
def test_a_book_recovered_from_the_newest_record_goes_on_as_the_one_before(past, future, text):
    book = opened()
    held = Desk(book).buy()
    for step in past:
        take(book, step)
    fresh = recovered(book, held)
    assert standing(fresh) == standing(book)
    for one in (book, fresh):
        one.bar(text)  # as the shell tells a new book what it knows
    for step in [*future, ("mark", "", 0), ("day",), ("mark", "", 0)]:
        assert take(fresh, step) == take(book, step)
    assert standing(fresh) == standing(book)


@given(lives)
def test_only_resume_lifts_what_somebody_ordered(past):
    book, ordered = opened(), False
    Desk(book).buy()
    for step in past:
        changes = take(book, step)
        if step[0] in ("reduce", "kill"):
            ordered = ordered or bool(changes)
        elif step[0] == "resume":
            ordered = False
        else:
            assert not (ordered and changes)
        assert not ordered or book.view().state.entries_barred


@given(lives)
def test_every_record_is_one_change_and_the_newest_is_the_state(past):
    book = opened()
    Desk(book).buy()
    last = ("ACTIVE", "", None)
    for step in past:
        changes = take(book, step)
        assert len(changes) <= 1
        for change in changes:
            assert (change.state, change.reason) != last[:2]
            last = (change.state, change.reason, change.time)
        assert standing(book) == last


def test_changes_that_are_alike_are_told_apart_also_after_a_restart(book):
    """A batch of candles that comes once more leaves market time where it is."""
    changes = []
    for _ in range(2):
        changes += [book.mark({}, NOW, impairment="no scan"), book.mark({}, NOW)]
    book = recovered(book)
    changes += [book.mark({}, NOW, impairment="no scan"), book.mark({}, NOW)]
    assert len({change.event_id for change in changes}) == 6
