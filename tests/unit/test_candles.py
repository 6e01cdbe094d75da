"""Candles: buckets from the session's open, the rule for every odd tick, the ring of rows."""

import pickle
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from math import inf, nan
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from engine_world import DAY, SYMBOL, at, bar, session, tick
from hypothesis import given
from hypothesis import strategies as st

from hftray.core.candle_buffer import CandleBuffer
from hftray.core.candles import COLUMNS, Candles, ist_day
from hftray.core.market import Candle, Tick
from hftray.core.session import SessionRules, trading_session


def buffer(minutes=5, capacity=100):
    return CandleBuffer(SYMBOL, capacity, minutes)


def took(own, *ticks, hours=None):
    """Feed ticks as an engine does: close what is due, then take."""
    answers = []
    for one in ticks:
        if own.due(one.time):
            own.close_forming()
        answers.append(own.take(one, hours or session()))
    return answers


def rows(own):
    """(time, open, high, low, close, volume) of every row."""
    view = own.view()
    return list(zip(view.time.tolist(), *(getattr(view, n).tolist() for n in COLUMNS), strict=True))


def seconds(moment):
    return int(moment.timestamp())


# Buckets


@pytest.mark.parametrize(
    ("interval", "minute", "opens"),
    [
        (5, 0, 0), (5, 4.99, 0), (5, 5, 5), (5, 372, 370), (5, 374.9, 370),
        (15, 0, 0), (15, 14.9, 0), (15, 15, 15), (15, 29, 15), (15, 359, 345),
        (60, 59, 0), (60, 60, 60),
    ],
)  # fmt: skip
def test_buckets_are_anchored_at_the_sessions_open(interval, minute, opens):
    own = buffer(interval)
    assert took(own, tick(minute, 100)) == [True]
    assert own.last_time() == at(opens)


def test_a_special_session_anchors_its_own_buckets():
    evening = datetime(2026, 11, 8, 18, 7, tzinfo=UTC)
    hours = trading_session(evening.date(), evening, evening + timedelta(hours=1), SessionRules())
    own = buffer()
    took(own, Tick(SYMBOL, evening + timedelta(minutes=6), 100.0), hours=hours)
    assert own.last_time() == evening + timedelta(minutes=5)


def test_ticks_build_open_high_low_close_and_volume():
    own = buffer()
    took(own, tick(0, 100, 1), tick(1, 104, 2), tick(2, 97, 3), tick(4, 101, 4))
    assert rows(own) == [(seconds(at(0)), 100, 104, 97, 101, 10)]
    assert own.last() == Candle(SYMBOL, at(0), 100, 104, 97, 101, 10)
    assert (own.forming, own.closed_count, len(own)) == (True, 0, 1)


def test_a_tick_of_a_later_bucket_closes_the_forming_candle():
    own = buffer()
    took(own, tick(1, 100), tick(12, 105))
    assert [row[0] for row in rows(own)] == [seconds(at(0)), seconds(at(10))]
    assert own.closed_count == 1


def test_the_clock_closes_a_candle_at_its_buckets_end_not_before():
    own = buffer()
    took(own, tick(1, 100))
    assert not own.due(at(4.999))
    assert own.due(at(5))
    own.close_forming()
    assert not own.due(at(5))
    assert (own.forming, own.closed_count) == (False, 1)


# Odd ticks


def test_an_out_of_order_tick_widens_the_candle_but_does_not_move_its_close():
    own = buffer()
    took(own, tick(0, 100, 1), tick(3, 101, 1))
    assert took(own, tick(2, 90, 5), tick(1, 110, 5)) == [True, True]
    assert rows(own) == [(seconds(at(0)), 100, 110, 90, 101, 12)]
    took(own, tick(3.5, 102, 1))
    assert own.last().close == 102


def test_a_tick_at_the_same_moment_with_another_price_is_news():
    own = buffer()
    assert took(own, tick(1, 100, 1), tick(1, 101, 1)) == [True, True]
    assert (own.last().close, own.last().volume) == (101, 2)


def test_a_repeated_tick_is_rejected_and_counted():
    own = buffer()
    assert took(own, tick(1, 100, 5), tick(1, 100, 5), tick(1, 100, 5)) == [True, False, False]
    assert own.last().volume == 5
    assert own.rejections.counts == {"duplicate tick": 2}


def test_a_late_tick_never_reopens_a_closed_candle():
    own = buffer()
    took(own, tick(1, 100, 1), tick(6, 105, 1))
    before = rows(own)
    assert took(own, tick(4, 50, 9)) == [False]
    own.close_forming()
    assert took(own, tick(7, 50, 9)) == [False]  # its bucket is closed too now
    assert rows(own) == before
    assert own.rejections.counts == {"late tick for a closed candle": 2}


def test_a_tick_for_a_candle_that_came_closed_from_history_is_late():
    own = buffer()
    own.append(bar(3, "100 101 99 100"))
    assert took(own, tick(16, 100), tick(20, 100)) == [False, True]


@pytest.mark.parametrize("minutes", [-1, 375, 500])
def test_a_tick_outside_the_session_is_rejected(minutes):
    own = buffer()
    assert took(own, tick(minutes, 100)) == [False]
    assert own.rejections.counts == {"tick is outside the session": 1}
    assert len(own) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"price": nan}, "price"), ({"price": 0.0}, "price"), ({"price": -1.0}, "price"),
        ({"price": inf}, "price"), ({"volume": -1.0}, "volume"), ({"volume": nan}, "volume"),
    ],
)  # fmt: skip
def test_a_faulty_tick_is_rejected_and_counted(change, reason):
    own = buffer()
    assert took(own, replace(tick(1, 100), **change)) == [False]
    assert len(own) == 0
    assert [why.split()[0] for why in own.rejections.counts] == [reason]


def test_a_candle_that_others_began_is_taken_up_as_the_forming_one():
    own = buffer()
    own.append(bar(0, "90 90 90 90"))
    assert own.resume(Candle(SYMBOL, at(5), 100, 104, 97, 101, 10))
    assert (own.forming, own.closed_count) == (True, 1)
    assert took(own, tick(9, 105, 5), tick(8, 96, 1)) == [True, True]
    assert own.last() == Candle(SYMBOL, at(5), 100, 105, 96, 105, 16)
    assert own.due(at(10))


@pytest.mark.parametrize("begun", ["90 90 90 90", "0 0 0 0"])
def test_a_begun_candle_that_is_old_or_faulty_is_not_taken_up(begun):
    own = buffer()
    own.append(bar(1, "90 90 90 90"))
    assert not own.resume(bar(1 if begun.startswith("9") else 2, begun))
    assert (own.forming, len(own)) == (False, 1)


# Closed candles


@pytest.mark.parametrize(
    "fault",
    [
        {"open": nan}, {"high": inf}, {"low": 0.0}, {"close": -3.0}, {"high": 98.0, "low": 99.0},
        {"low": 100.5}, {"high": 100.5}, {"volume": -1.0}, {"volume": nan}, {"volume": inf},
    ],
)  # fmt: skip
def test_a_faulty_candle_never_enters_and_is_counted(fault):
    own = buffer()
    sound = Candle(SYMBOL, at(0), 100, 102, 99, 101, 10)
    assert not own.append(replace(sound, **fault))
    assert len(own) == 0
    assert sum(own.rejections.counts.values()) == 1
    assert own.append(sound)


@pytest.mark.parametrize("number", [2, 1, 0])
def test_a_candle_that_is_not_newer_is_rejected(number):
    own = buffer()
    own.append(bar(2, "100 101 99 100"))
    assert not own.append(bar(number, "50 51 49 50"))
    assert own.last().close == 100
    assert own.rejections.counts == {"candle is not newer than the one before": 1}


def test_last_of_an_empty_buffer_says_which_symbol():
    with pytest.raises(IndexError, match=SYMBOL):
        buffer().last()
    assert buffer().last_time() is None


def test_the_day_is_the_date_in_india():
    late_utc = datetime(2026, 5, 31, 20, 0, tzinfo=UTC)
    assert ist_day(late_utc) == DAY.toordinal()
    new_york = datetime(2026, 6, 1, 0, 0, tzinfo=ZoneInfo("America/New_York"))
    assert ist_day(new_york) == date(2026, 6, 1).toordinal()
    own = buffer()
    own.append(bar(0, "1 1 1 1"))
    assert own.view().day.tolist() == [DAY.toordinal()]


def test_columns_from_candles_and_their_tail():
    columns = Candles.of([bar(n, f"{n + 1} {n + 3} {n + 1} {n + 2}") for n in range(5)])
    assert len(columns) == 5
    assert columns.tail(2).close.tolist() == [5, 6]
    assert columns.tail(99).close.tolist() == [2, 3, 4, 5, 6]
    assert columns.tail(2).time.tolist() == [seconds(at(15)), seconds(at(20))]


# The ring


@given(
    capacity=st.integers(1, 12),
    steps=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 50)), max_size=80),
)
def test_the_buffer_holds_the_newest_rows_contiguously_like_a_plain_list(capacity, steps):
    own, plain = buffer(capacity=capacity), []
    moment = at(0)
    for gap, price in steps:
        candle = Candle(SYMBOL, moment + timedelta(minutes=5 * gap), price, price, price, price, 1)
        newer = not plain or candle.time > plain[-1].time
        assert own.append(candle) is newer
        if newer:
            plain.append(candle)
            moment = candle.time
        kept = plain[-capacity:]
        view = own.view()
        assert len(own) == len(view) == len(kept)
        assert view.close.tolist() == [c.close for c in kept]
        assert view.time.tolist() == [seconds(c.time) for c in kept]
        assert all(getattr(view, name).flags.c_contiguous for name in ("time", "day", *COLUMNS))
        assert view.close.dtype == np.float64
    assert sum(own.rejections.counts.values()) == len(steps) - len(plain)


ticks_of_a_day = st.lists(
    st.tuples(st.integers(-60, 400), st.integers(1, 40), st.integers(0, 5)), max_size=60
)


@given(given_ticks=ticks_of_a_day, capacity=st.integers(1, 6), interval=st.sampled_from([5, 15]))
def test_any_ticks_leave_sound_candles_in_order_and_count_every_rejection(
    given_ticks, capacity, interval
):
    own = buffer(interval, capacity)
    answers = took(own, *(tick(half / 2, price, volume) for half, price, volume in given_ticks))
    view = own.view()
    assert sum(own.rejections.counts.values()) == answers.count(False)
    assert len(own) <= capacity
    assert np.all(np.diff(view.time) > 0)
    assert np.all((view.time - seconds(at(0))) % (60 * interval) == 0)
    assert np.all((view.low <= view.open) & (view.open <= view.high))
    assert np.all((view.low <= view.close) & (view.close <= view.high))


@given(given_ticks=ticks_of_a_day, cut=st.integers(0, 60), capacity=st.integers(1, 6))
def test_a_restored_buffer_continues_like_the_one_it_was_taken_from(given_ticks, cut, capacity):
    made = [tick(half / 2, price, volume) for half, price, volume in given_ticks]
    whole, first = buffer(capacity=capacity), buffer(capacity=capacity)
    took(whole, *made)
    took(first, *made[:cut])
    second = buffer(capacity=capacity).restore(pickle.loads(pickle.dumps(first.snapshot())))
    took(second, *made[cut:])
    assert second.snapshot() == whole.snapshot()


def test_a_snapshot_is_not_changed_by_what_comes_after_it():
    own = buffer()
    took(own, tick(1, 100))
    state = own.snapshot()
    kept = pickle.dumps(state)
    took(own, tick(2, 200), tick(2, 200), tick(9, 300))
    assert pickle.dumps(state) == kept
