"""A live day through scanner and shells: it votes on what a replay of the day votes on."""

import asyncio
from datetime import timedelta

import pytest
from engine_world import at
from scan_world import LIVELY, MONDAY, CandleFeed, Market, calendar, simulated

from hftray.adapters.live_feed import LiveFeed
from hftray.adapters.paper_exchange import PaperExchange
from hftray.core.orders import Leg, TradeStatus
from hftray.core.session import SessionRules
from hftray.testing.memory_source import MemorySource

SYMBOLS = ("TCS", "ITC")
# Right at the boundary the candle is handed, a second later its successor's first price; then the
# market in memory goes to the low, the high and the close.
STEPS = (1, 74, 75, 75, 75)


class PaperBook(PaperExchange):
    """A book in memory, which closing would lose."""

    async def close(self):
        pass


class PaperMarket(Market):
    def exchange_of(self, run):
        if run.run_id not in self.books:
            self.books[run.run_id] = PaperBook(":memory:", self.instruments, slippage_bps=2.0)
        return self.books[run.run_id]


async def told():
    """Instruments, the day's session, and all candles up to its end."""
    feed = simulated(ticks=12)
    shares = {name: share for name, share in (await feed.instruments()).items() if name in SYMBOLS}
    session = calendar().session(MONDAY, shares["TCS"], SessionRules())
    candles = {name: await feed.history(name, 375 + 75, session.closes) for name in SYMBOLS}
    return shares, session, candles


async def live_day(tmp_path):
    shares, session, candles = await told()
    source = MemorySource(shares, candles, session.opens - timedelta(seconds=75))
    feed = LiveFeed(
        source, calendar(), folder=tmp_path, rules=SessionRules(), candle_settle=0.0,
    )  # fmt: skip
    market = await PaperMarket(feed, symbols=SYMBOLS, rules=LIVELY).open()
    scanner = await market.scanner()
    await feed.start(SYMBOLS, None)
    troubles, step = [], 0
    source.clock = session.opens
    while (outcome := await scanner.scan()).batch.open:
        troubles.append(outcome.trouble)
        source.move(seconds=STEPS[step % len(STEPS)])
        step += 1
    return market, [trouble for trouble in troubles if trouble]


async def replayed_day():
    shares, session, candles = await told()
    today = {name: [c for c in own if c.time >= at(0)] for name, own in candles.items()}
    before = {name: [c for c in own if c.time < at(0)] for name, own in candles.items()}
    feed = CandleFeed(shares, today, {MONDAY: session}, before)
    market = await Market(feed, symbols=SYMBOLS, rules=LIVELY).open()
    scanner = await market.scanner()
    await feed.start(SYMBOLS, None)
    while not (await scanner.scan()).batch.ended:
        pass
    return market


@pytest.fixture(scope="module")
def both_days(tmp_path_factory):
    folder = tmp_path_factory.mktemp("candles")
    return asyncio.run(live_day(folder)), asyncio.run(replayed_day())


def test_every_candle_has_one_final_vote_and_it_is_the_replays(both_days):
    (live, troubles), replay = both_days
    assert troubles == []
    votes = [
        sorted((s.symbol, s.candle_time, s.signal, s.score, s.price) for s in market.signals)
        for market in (live, replay)
    ]
    assert votes[0] == votes[1]
    assert len(votes[0]) == 75 * len(SYMBOLS)


def test_the_days_first_entries_are_decided_on_the_same_candles(both_days):
    (live, _), replay = both_days
    for symbol in SYMBOLS:
        firsts = [
            next((t.candle_time, t.side) for t in market.trades if t.symbol == symbol)
            for market in (live, replay)
        ]
        assert firsts[0] == firsts[1]


async def test_the_live_day_trades_at_ticks_and_its_books_agree(both_days):
    (live, _), _ = both_days
    done = [t for t in live.trades if t.status is TradeStatus.EXECUTED]
    legs = [t.leg for t in done]
    assert legs.count(Leg.ENTRY) == legs.count(Leg.EXIT) >= 2
    entries = [t for t in done if t.leg is Leg.ENTRY]
    assert all(t.timestamp == t.candle_time + timedelta(minutes=5, seconds=1) for t in entries)
    await live.check_books()


def test_no_entry_is_decided_on_the_candle_of_an_exit(both_days):
    (live, _), _ = both_days
    for symbol in SYMBOLS:
        own = [t for t in live.trades if t.symbol == symbol]
        exits = {t.candle_time for t in own if t.leg is Leg.EXIT}
        assert exits
        assert not exits & {t.candle_time for t in own if t.leg is Leg.ENTRY}
