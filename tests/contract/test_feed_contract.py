"""What every feed must do, whatever it is fed from. A new adapter joins by a line in FEEDS."""

from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.instruments import Listings
from hftray.adapters.live_feed import LiveFeed
from hftray.adapters.replay import ReplayFeed
from hftray.adapters.simulated_market import SimulatedFeed
from hftray.core.candles import Candles
from hftray.core.errors import NotFound
from hftray.core.market import Candle, Instrument, candle_fault, tick_fault
from hftray.core.session import IST, SessionRules
from hftray.ports import Feed, MarketBatch
from hftray.testing.memory_source import MemorySource

CONFIG = Path(__file__).parents[2] / "config"
SYMBOLS = ["TCS", "ITC"]
TCS = Instrument("TCS")
DAYS = [date(2026, 7, 30), date(2026, 7, 31), date(2026, 8, 3)]


@cache
def calendar() -> SessionCalendar:
    return SessionCalendar.from_mapping(yaml.safe_load((CONFIG / "sessions.yaml").read_text()))


@cache
def listings() -> Listings:
    return Listings.from_mapping(yaml.safe_load((CONFIG / "instruments.yaml").read_text()))


def simulated(folder: Path, now: datetime | None) -> Feed:
    return SimulatedFeed(
        listings(), calendar(), seed=5, start_day=DAYS[0], rules=SessionRules(), ticks_per_candle=2
    )


def replayed(folder: Path, now: datetime | None) -> Feed:
    for offset, symbol in enumerate(SYMBOLS):
        rows = ["timestamp,open,high,low,close,volume"]
        for day in DAYS:
            opens = datetime(day.year, day.month, day.day, 9, 15, tzinfo=IST)
            for number in range(72 if day >= date(2026, 8, 3) else 75):
                price = 100 * (offset + 1) + (number * 7 + day.day) % 13
                at = opens + timedelta(minutes=5 * number)
                rows.append(f"{at.isoformat()},{price},{price + 2},{price - 1},{price + 1},500")
        (folder / f"{symbol}.csv").write_text("\n".join(rows))
    return ReplayFeed(folder, listings(), calendar(), rules=SessionRules())


class SteppedLiveFeed(LiveFeed):
    """A live feed whose market moves a minute a poll, and overnight to the next opening."""

    def __init__(self, source: MemorySource, folder: Path) -> None:
        super().__init__(
            source, calendar(), folder=folder, rules=SessionRules(), candle_settle=0, interval=60
        )
        self.memory, self.begins = source, source.clock

    async def start(self, symbols: Sequence[str], resume_after: datetime | None) -> None:
        self.memory.clock = resume_after or self.begins
        await super().start(symbols, resume_after)

    async def poll(self) -> MarketBatch:
        clock = self.memory.clock
        session = self.session("TCS", clock.date())
        if session is not None and clock >= session.closes + timedelta(minutes=1):
            self.memory.clock = calendar().state(clock, TCS).next_change
        else:
            self.memory.move(minutes=1)
        return await super().poll()


def live(folder: Path, now: datetime | None) -> Feed:
    """Without the day's volume, for the first quote of a process says nothing of it."""
    days = [*calendar().previous_days(DAYS[0], 12), *DAYS]
    candles = {
        symbol: [candle for day in days for candle in session_candles(symbol, 100 * (n + 1), day)]
        for n, symbol in enumerate(SYMBOLS)
    }
    shares = {name: Instrument(name) for name in SYMBOLS}
    clock = now or datetime.combine(DAYS[0], time(9, 14), IST)
    return SteppedLiveFeed(MemorySource(shares, candles, clock, counted=False), folder / "candles")


def session_candles(symbol: str, price: float, day: date) -> list[Candle]:
    session = calendar().session(day, TCS, SessionRules())
    assert session is not None
    moments = (session.closes - session.opens) // timedelta(minutes=5)
    return [
        Candle(symbol, session.opens + n * timedelta(minutes=5),
               low := price + (n * 7 + day.day) % 13, low + 3, low - 1, low + 1, 500.0)
        for n in range(moments)
    ]  # fmt: skip


FEEDS: dict[str, Callable[[Path, datetime | None], Feed]] = {
    "simulated": simulated,
    "replay": replayed,
    "live": live,
}
AFTER_ALL = datetime.combine(DAYS[-1], time(20), IST)


@pytest.fixture(params=FEEDS)
def open_feed(request, tmp_path) -> Callable[..., Feed]:
    """Opens the same source again and again, as restarted processes do.

    Who asks for a range needs a live market in which it has passed: `now`.
    """
    return lambda now=None: FEEDS[request.param](tmp_path, now)


async def take(feed: Feed, count: int) -> list[MarketBatch]:
    return [await feed.poll() for _ in range(count)]


async def until_days_end(feed: Feed, days: int) -> list[MarketBatch]:
    batches = []
    while days:
        batches.append(await feed.poll())
        days -= not batches[-1].open
    return batches


async def test_time_never_goes_back_and_stands_still_only_at_a_close(open_feed):
    feed = open_feed()
    await feed.start(SYMBOLS, None)
    batches = await until_days_end(feed, 3)
    for before, after in pairwise(batches):
        assert after.now > before.now or (after.now == before.now and not after.open)
        assert before.next_change is None or before.next_change >= before.now
    assert all(batch.now.tzinfo is not None for batch in batches)
    assert feed.interval > 0


async def test_market_news_lies_inside_the_symbols_session(open_feed):
    feed = open_feed()
    await feed.start(SYMBOLS, None)
    batches = await until_days_end(feed, 3)
    ticks = candles = 0
    for batch in batches:
        assert not set(batch.ticks) & set(batch.candles)
        for symbol, tick in batch.ticks.items():
            ticks += 1
            assert tick_fault(tick) is None
            assert tick.symbol == symbol
            assert tick.time <= batch.now
            assert batch.sessions[symbol].contains(tick.time)
        for symbol, candle in batch.candles.items():
            candles += 1
            assert candle_fault(candle) is None
            assert candle.time < batch.now <= batch.sessions[symbol].closes
            assert batch.sessions[symbol].contains(candle.time)
    assert ticks or candles
    days = {day.day: day for batch in batches for day in batch.sessions.values()}
    assert sorted(days) == DAYS
    assert days[DAYS[1]].closes.time().isoformat() == "15:30:00"
    assert days[DAYS[2]].closes.time().isoformat() == "15:15:00"


async def test_a_day_ends_with_one_closed_batch_that_names_the_next_opening(open_feed):
    feed = open_feed()
    await feed.start(SYMBOLS, None)
    batches = await until_days_end(feed, 2)
    closed = [index for index, batch in enumerate(batches) if not batch.open]
    assert closed[-1] == len(batches) - 1
    assert closed[0] + 1 != closed[1]
    for index in closed:
        assert batches[index].sessions == batches[index].ticks == batches[index].candles == {}
    assert batches[closed[0]].next_change == datetime(2026, 7, 31, 9, 15, tzinfo=IST)


async def test_the_same_source_opened_twice_tells_the_same(open_feed):
    first, second = open_feed(), open_feed()
    await first.start(SYMBOLS, None)
    await second.start(SYMBOLS, None)
    assert await take(first, 200) == await take(second, 200)


@pytest.mark.parametrize("cut", [0, 1, 40, 74, 75, 149, 151, 160])
async def test_a_restart_continues_as_if_nothing_had_happened(open_feed, cut):
    whole = open_feed()
    await whole.start(SYMBOLS, None)
    seen = await take(whole, cut + 1)
    resumed = open_feed()
    await resumed.start(SYMBOLS, seen[-1].now)
    rest, again = await take(whole, 30), await take(resumed, 30)
    if again[0] == seen[-1] and not again[0].open:  # a closing batch may be told once more
        again = again[1:]
    assert again == rest[: len(again)]
    assert await resumed.history("TCS", 50, rest[5].now) == await whole.history(
        "TCS", 50, rest[5].now
    )


async def test_starting_again_on_the_same_feed_starts_anew(open_feed):
    feed = open_feed()
    await feed.start(SYMBOLS, None)
    first = await take(feed, 30)
    await feed.start(SYMBOLS, None)
    assert await take(feed, 30) == first


async def test_history_holds_closed_candles_only_oldest_first(open_feed):
    feed = open_feed()
    await feed.start(SYMBOLS, None)
    batches = await until_days_end(feed, 1)
    now = batches[-2].now
    length = timedelta(minutes=5)
    candles = await feed.history("TCS", 40, now)
    assert len(candles) == 40
    assert [c.time for c in candles] == sorted({c.time for c in candles})
    assert all(candle.symbol == "TCS" and candle_fault(candle) is None for candle in candles)
    assert now - 2 * length < candles[-1].time <= now - length
    assert await feed.history("TCS", 40, candles[-1].time + length - timedelta(seconds=1)) != (
        candles
    )
    assert await feed.history("TCS", 7, now) == candles[-7:]
    assert await feed.history("TCS", 0, now) == []


async def test_a_shorter_history_of_the_past_is_not_changed_by_the_future(open_feed):
    feed = open_feed()
    await feed.start(SYMBOLS, None)
    early = (await take(feed, 60))[-1].now
    told = await feed.history("ITC", 20)
    await take(feed, 200)
    assert await feed.history("ITC", 20, early) == told


async def test_unknown_symbols_are_named(open_feed):
    feed = open_feed()
    assert set(SYMBOLS) <= set(await feed.instruments())
    with pytest.raises(NotFound, match="NOSUCH"):
        await feed.start(["TCS", "NOSUCH"], None)
    with pytest.raises(NotFound, match="NOSUCH"):
        await feed.history("NOSUCH", 10)


async def test_instruments_and_history_can_be_asked_before_the_start(open_feed):
    feed = open_feed()
    share = (await feed.instruments())["TCS"]
    assert (share.symbol, share.exchange) == ("TCS", "NSE")
    assert share.tick_size > 0
    for candle in await feed.history("TCS", 5):
        assert candle.time.date() < DAYS[0]
    await feed.close()


@pytest.mark.parametrize("warm_up", [0, 1, 80, 10_000])
@pytest.mark.parametrize(
    ("first", "before"),
    [("09:15", "15:30"), ("00:00", "23:59"), ("10:02", "14:58"), ("09:15", "09:20")],
)
async def test_columns_are_the_history_of_a_range(open_feed, first, before, warm_up):
    feed = open_feed(AFTER_ALL)
    begin, end = (
        datetime.combine(DAYS[1], time.fromisoformat(moment), IST) for moment in (first, before)
    )
    history = await feed.history("TCS", warm_up + 75, end)
    inside = [candle for candle in history if candle.time >= begin]
    ahead = [candle for candle in history if candle.time < begin]
    expected = [*ahead[max(0, len(ahead) - warm_up) :], *inside]
    assert inside
    assert_same(await feed.columns("TCS", begin, end, warm_up), Candles.of(expected))


def assert_same(found: Candles, expected: Candles) -> None:
    for name in Candles.__slots__:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
        assert getattr(found, name).dtype == getattr(expected, name).dtype


async def test_columns_need_no_start_and_are_empty_where_nothing_trades(open_feed):
    feed = open_feed(AFTER_ALL)
    saturday = datetime(2026, 8, 1, tzinfo=IST)
    assert len(await feed.columns("ITC", saturday, saturday + timedelta(days=1))) == 0
    with pytest.raises(NotFound, match="NOBODY"):
        await feed.columns("NOBODY", saturday, saturday)


async def test_the_span_bounds_what_columns_can_bring(open_feed):
    feed = open_feed(AFTER_ALL)
    span = await feed.span("TCS")
    assert span in (None, (DAYS[0], DAYS[-1]))
