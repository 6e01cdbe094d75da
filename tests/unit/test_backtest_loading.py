"""From a feed to histories: the days asked for, warm-up before them, longer candles."""

import asyncio
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis_profiles import examples

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.instruments import Listings
from hftray.adapters.replay import ReplayFeed
from hftray.backtest.history import SymbolHistory
from hftray.backtest.loading import load_history, regrouped, require_interval
from hftray.backtest.order import BacktestOrder, BadOrder
from hftray.core.candles import Candles
from hftray.core.errors import NotFound
from hftray.core.market import Candle
from hftray.core.session import IST, SessionRules, TradingSession, trading_session
from hftray.layers import default_file, read_yaml

MONDAY = date(2026, 6, 1)
DAYS = [MONDAY + timedelta(days=number) for number in range(3)]


def hours(day: date, minutes: int) -> TradingSession:
    opens = datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
    return trading_session(day, opens, opens + timedelta(minutes=minutes), SessionRules())


def candle(session: TradingSession, place: int, price: float) -> Candle:
    opens = session.opens + timedelta(minutes=5 * place)
    return Candle(
        "TCS", opens, price, price + place % 3, price - 1, price - place % 2, 10.0 + place
    )


def slowly(
    candles: list[Candle], sessions: dict[date, TradingSession], minutes: int
) -> list[Candle]:
    """The same rule, one candle after the other."""
    groups: dict[datetime, list[Candle]] = {}
    length = timedelta(minutes=minutes)
    for one in candles:
        session = sessions.get(one.time.astimezone(IST).date())
        if session is None:
            continue
        opens = session.opens + (one.time - session.opens) // length * length
        if opens + length <= session.closes:
            groups.setdefault(opens, []).append(one)
    return [
        Candle("TCS", opens, of[0].open, max(c.high for c in of), min(c.low for c in of),
               of[-1].close, sum(c.volume for c in of))
        for opens, of in groups.items()
    ]  # fmt: skip


@st.composite
def markets(draw: st.DrawFn) -> tuple[list[Candle], dict[date, TradingSession]]:
    lengths = [draw(st.sampled_from([375, 360, 60])) for _ in DAYS]
    sessions = {day: hours(day, minutes) for day, minutes in zip(DAYS, lengths, strict=True)}
    candles = []
    for session, minutes in zip(sessions.values(), lengths, strict=True):
        places = draw(st.sets(st.integers(0, minutes // 5 - 1), max_size=minutes // 5))
        prices = st.integers(50, 90)
        candles += [candle(session, place, float(draw(prices))) for place in sorted(places)]
    closed = draw(st.sampled_from([None, *DAYS]))
    sessions.pop(closed, None)
    return candles, sessions


@settings(max_examples=examples(60))
@given(markets(), st.sampled_from([5, 10, 15, 30, 60]))
def test_longer_candles_are_those_of_a_slow_and_plain_loop(
    market: tuple[list[Candle], dict[date, TradingSession]], minutes: int
) -> None:
    candles, sessions = market
    found = regrouped(Candles.of(candles), sessions, minutes * 60)
    expected = Candles.of(slowly(candles, sessions, minutes))
    for name in Candles.__slots__:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)


@pytest.mark.parametrize("interval", [5, 10, 60])
def test_intervals_that_the_data_makes_up_are_taken(interval: int) -> None:
    require_interval(interval, 5)


@pytest.mark.parametrize(
    ("interval", "data", "allowed"),
    [(3, 5, "5, 10, 15, 30, 60"), (10, 15, "15, 30, 60"), (5, 4, "4, 60")],
)
def test_other_intervals_are_refused_with_the_allowed_ones(
    interval: int, data: int, allowed: str
) -> None:
    with pytest.raises(BadOrder, match=f"allowed are {allowed}$"):
        require_interval(interval, data)


@pytest.fixture
def feed(tmp_path: Path) -> ReplayFeed:
    """TCS on three days, the second of which ends early."""
    rows = ["timestamp,open,high,low,close,volume"]
    for day, count in zip(DAYS, (75, 40, 75), strict=True):
        for place in range(count):
            c = candle(hours(day, 375), place, 100.0)
            rows.append(f"{c.time.isoformat()},{c.open},{c.high},{c.low},{c.close},{c.volume}")
    (tmp_path / "TCS.csv").write_text("\n".join(rows))
    listings = Listings.from_mapping(read_yaml(default_file("instruments.yaml")))
    calendar = SessionCalendar.from_mapping(read_yaml(default_file("sessions.yaml")))
    return ReplayFeed(tmp_path, listings, calendar, rules=SessionRules())


def load(feed: ReplayFeed, first: date, last: date, **options: Any) -> SymbolHistory:
    wanted = BacktestOrder(
        symbols=("TCS",), roster=(), start_date=first, end_date=last,
        initial_capital=Decimal(1000),
    )  # fmt: skip
    options = {"data_minutes": 5, "interval": 5, "warm_up": 50} | options

    async def run() -> SymbolHistory:
        share = (await feed.instruments())["TCS"]
        return await load_history(feed, share, wanted, **options)

    return asyncio.run(run())


def test_the_days_asked_for_are_played_and_earlier_candles_warm_up(feed: ReplayFeed) -> None:
    history = load(feed, DAYS[1], DAYS[1])
    assert (history.start, len(history.candles)) == (50, 90)
    assert set(history.sessions) == {DAYS[1]}
    assert load(feed, DAYS[0], DAYS[2]).start == 0
    assert set(load(feed, DAYS[0], DAYS[2]).sessions) == set(DAYS)


def test_longer_candles_are_warmed_up_as_long(feed: ReplayFeed) -> None:
    history = load(feed, DAYS[1], DAYS[2], interval=15, warm_up=20)
    assert (history.start, len(history.candles)) == (20, 20 + 14 + 25)
    opens = datetime.fromtimestamp(int(history.candles.time[history.start]), IST)
    assert opens == datetime(2026, 6, 2, 9, 15, tzinfo=IST)


@pytest.mark.parametrize(
    "days", [(date(2026, 5, 1), date(2026, 5, 31)), (date(2026, 6, 4), date(2027, 1, 1))]
)
def test_days_without_candles_are_not_found_and_the_data_named(
    feed: ReplayFeed, days: tuple[date, date]
) -> None:
    with pytest.raises(NotFound, match=r"TCS .* the data covers 2026-06-01 to 2026-06-03"):
        load(feed, *days)
