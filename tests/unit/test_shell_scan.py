"""Scanner: a simulated day in one process, and scans in which something is slow or away."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from engine_world import at, bar, session, tick
from risk_world import new_book
from scan_world import FOUR, LIVELY, PATIENCE, CandleFeed, Market, StubRisk, StubSymbol, simulated
from shell_world import Faulty, FaultyLedger

from hftray.actors.outbox import OUTBOX_LIMIT, Outbox
from hftray.actors.scan import Scanner
from hftray.actors.symbol import SymbolShell
from hftray.core.errors import LedgerUnavailable, NotFound, RetryError, UnknownOutcome
from hftray.core.events import Decision, Signal
from hftray.core.ledger import SignalRecorded
from hftray.core.orders import Leg, Order, OrderReport, OrderStatus, Side, TradeStatus
from hftray.core.risk import RiskBook
from hftray.ports import MarketBatch

# A whole day, four symbols, five ticks a candle


@pytest.fixture(scope="module")
def played_day():
    """One simulated day, played once for the tests that look at its record."""

    async def play():
        market = await Market(simulated(), rules=LIVELY).open()
        scanner = await market.scanner()
        await market.feed.start(FOUR, None)
        outcomes = [await scanner.scan()]
        while outcomes[-1].batch.open:
            outcomes.append(await scanner.scan())
        return market, scanner, outcomes

    return asyncio.run(play())


def test_a_day_has_every_scan_and_no_trouble(played_day):
    _, scanner, outcomes = played_day
    assert len(outcomes) == 75 * 5 + 1
    assert [outcome.trouble for outcome in outcomes if outcome.trouble] == []
    assert (scanner.outbox.waiting, scanner.outbox.dropped, scanner.crew.conflated) == (0, 0, 0)


def test_every_closed_candle_is_recorded_once_as_a_final_signal(played_day):
    market, _, outcomes = played_day
    seen = [s for outcome in outcomes for s in outcome.signals if s.final]
    assert len(seen) == 75 * len(FOUR)
    assert sorted(seen, key=repr) == sorted(market.signals, key=repr)
    for name in FOUR:
        times = sorted(s.candle_time for s in market.signals if s.symbol == name)
        assert times == [at(5 * n) for n in range(75)]


def test_every_tick_was_voted_on_as_well(played_day):
    _, _, outcomes = played_day
    indicative = [s for outcome in outcomes for s in outcome.signals if not s.final]
    assert len(indicative) == 75 * 5 * len(FOUR)


def test_the_day_trades_and_ends_flat(played_day):
    market, scanner, _ = played_day
    legs = [t.leg for t in market.trades if t.status is TradeStatus.EXECUTED]
    assert legs.count(Leg.ENTRY) == legs.count(Leg.EXIT) >= 4
    assert all(report.position is None for report in scanner.crew.reports.values())
    assert all(row.closed_at is not None for row in market.ledger.store.positions.values())


async def test_the_books_agree_at_the_end_of_the_day(played_day):
    market, scanner, _ = played_day
    view = await market.view()
    pnl = sum((t.pnl for t in market.trades if t.pnl is not None), Decimal(0))
    assert view.realised_pnl == pnl != 0
    assert (view.open_positions, view.reserved, view.deployed) == (0, 0, 0)
    assert scanner.view.capital == 100_000 + pnl


def test_no_entry_in_the_last_thirty_minutes_and_no_order_after_the_close(played_day):
    market, _, _ = played_day
    for trade in market.trades:
        if trade.leg is Leg.ENTRY:
            assert trade.candle_time + timedelta(minutes=5) < at(345)
        assert at(0) <= trade.timestamp <= at(370)


def test_the_best_price_of_every_position_is_recorded_as_it_improves(played_day):
    market, _, outcomes = played_day
    for row in market.ledger.store.positions.values():
        held = row.position
        prices = [
            outcome.batch.ticks[held.symbol].price
            for outcome in outcomes
            if held.symbol in outcome.batch.ticks
            and held.entry_time <= outcome.batch.now <= row.closed_at
        ]
        best = max if held.side.value == "BUY" else min
        # the fill's own tick and slippage bound it from one side, the last tick from the other
        reachable = {best(prices), best(prices[:-1], default=None), float(held.entry_price)}
        assert held.best_price in reachable
    assert any(name.split(":")[1] == "mark" for name in market.ledger.store.applied)


def test_the_equity_curve_has_a_point_every_five_minutes_and_follows_the_money(played_day):
    market, _, _ = played_day
    points = list(market.ledger.store.equity.values())
    assert [point.time for point in points] == [at(5 * n) for n in range(75)]
    assert all(p.equity - p.capital == p.open_pnl for p in points)
    assert all(p.capital == 100_000 + p.realised_pnl for p in points)
    assert len({point.equity for point in points}) > 10


async def test_two_days_open_two_sessions_and_carry_the_capital_over():
    market = await Market(simulated(ticks=1), symbols=("TCS",), rules=LIVELY).open()
    scanner = await market.scanner()
    await market.feed.start(("TCS",), None)
    closed = 0
    while closed < 2:
        closed += not (await scanner.scan()).batch.open
    first, second = market.ledger.store.sessions
    assert second.session_day - first.session_day == timedelta(days=1)
    ended = sum((t.pnl or 0 for t in market.trades if t.session_day == first.session_day), 0)
    assert second.opening_capital == 100_000 + ended
    assert len(market.signals) == 150


# Faults in a scan


async def day_with(away=()):
    """A day of one tick a candle; in the scans of these numbers the scanner's ledger is away."""
    symbols = ("TCS", "ITC")
    market = await Market(simulated(ticks=1), symbols=symbols, rules=LIVELY).open()
    ledger = Faulty(market.ledger)
    scanner = await market.scanner(ledger=ledger)
    await market.feed.start(symbols, None)
    for number in range(76):
        if number in away:
            ledger.fail("append", LedgerUnavailable)
        await scanner.scan()
        assert (scanner.outbox.waiting > 1) == (
            number in away
        )  # an equity point may wait for the next
    return market, scanner


async def test_a_ledger_that_is_away_for_some_scans_gets_everything_afterwards():
    plain, _ = await day_with()
    market, scanner = await day_with(away=range(3, 12))
    assert (scanner.outbox.waiting, scanner.outbox.dropped) == (0, 0)
    assert sorted(market.signals, key=repr) == sorted(plain.signals, key=repr)
    assert market.ledger.store.equity == plain.ledger.store.equity
    assert [t.reference for t in market.trades] == [t.reference for t in plain.trades]


@pytest.mark.parametrize("error", [LedgerUnavailable, RetryError])
async def test_what_waits_is_kept_whatever_way_the_ledger_is_away(error):
    ledger = FaultyLedger()
    scanner, _, _ = await stub_scanner(ledger=ledger)
    ledger.error, ledger.away = error, 2
    for number in range(3):
        await scanner.scan()
        assert scanner.outbox.waiting == ((number + 1) * 2 if number < 2 else 0)
    assert len(ledger.store.signals) == 6
    assert scanner.outbox.dropped == 0


async def test_a_full_outbox_drops_the_oldest_and_counts_them(monkeypatch):
    monkeypatch.setattr("hftray.actors.outbox.OUTBOX_LIMIT", 5)
    ledger = FaultyLedger()
    scanner, _, _ = await stub_scanner(ledger=ledger, count=8)
    ledger.away = 4
    for _ in range(4):
        await scanner.scan()
    assert (scanner.outbox.waiting, scanner.outbox.dropped) == (5, 3)
    await scanner.scan()
    assert (scanner.outbox.waiting, scanner.outbox.dropped) == (0, 3)
    assert len(ledger.store.signals) == 10 - 3
    assert OUTBOX_LIMIT == 20_000


@pytest.mark.parametrize("error", [RetryError, UnknownOutcome])
async def test_a_candle_is_played_even_if_the_broker_or_risk_was_away_when_it_came(error):
    """Replayed candles come once: the scan that failed is made again with the same batch."""
    scanner, symbols, market = await stub_scanner(ledger=FaultyLedger())
    market.fail("on_market", error)
    with pytest.raises(error):
        await scanner.scan()
    for _ in range(3):
        await scanner.scan()
    candles = [step.candle.time for step in symbols["TCS"].steps]
    assert candles == [at(0), at(5), at(10)]


async def test_a_faulty_symbol_is_told_and_does_not_disturb_the_others():
    scanner, symbols, _ = await stub_scanner(ledger=FaultyLedger())
    symbols["TCS"].fault = RetryError("actor is dead")
    outcome = await scanner.scan()
    assert outcome.trouble == {"TCS": "actor is dead"}
    assert [signal.symbol for signal in outcome.signals] == ["ITC"]
    symbols["TCS"].fault = None
    assert (await scanner.scan()).trouble == {}


# Slow symbols


class TickFeed:
    """Ticks for everybody, one a poll."""

    interval = 60.0

    def __init__(self, names, closing=()):
        self.number, self.names, self.closing = -1, names, closing

    async def poll(self):
        self.number += 1
        now = at(self.number)
        if self.number in self.closing:
            return MarketBatch(now, open=False)
        ticks = {name: tick(self.number, 100 + self.number) for name in self.names}
        return MarketBatch(
            now, open=True, sessions=dict.fromkeys(self.names, session()), ticks=ticks
        )


class Quiet:
    """A broker in whose book nothing happens, unless told."""

    def __init__(self):
        self.news, self.faults, self.asked = [], [], []
        self.free = asyncio.Event()
        self.free.set()

    def fail(self, _, error):
        self.faults.append(error)

    async def on_market(self, batch):
        self.asked.append(batch.now)
        if self.faults:
            raise self.faults.pop()("away")
        await self.free.wait()
        told, self.news = self.news, []
        return told


def stub_view():
    book: RiskBook = new_book()
    return book.view()


async def stub_scanner(*, ledger=None, feed=None, timeout=5.0, count=6):
    names = ("TCS", "ITC")
    symbols = {name: StubSymbol(name) for name in names}
    broker = Quiet()
    if feed is None:
        candles = {name: [bar(n, "100 101 99 100") for n in range(count)] for name in names}
        feed = CandleFeed(dict.fromkeys(names), candles, {session().day: session()})
    ledger = ledger or FaultyLedger()
    run = await ledger.open_run("simulation", "x", "default", Decimal(1000))
    outbox = Outbox(ledger, run.run_id, equity_interval=10**6)
    outbox._equity_at = at(0)  # the equity curve is another test's matter
    scanner = Scanner(
        feed=feed, broker=broker, risk=StubRisk(stub_view()), symbols=symbols, outbox=outbox,
        history=10, timeout=timeout, tolerance=60.0, pause=lambda batch: 2.5,
    )  # fmt: skip
    return scanner, symbols, broker


async def test_a_busy_symbol_does_not_delay_the_others_and_gets_the_newest_tick_when_free():
    feed = TickFeed(("TCS", "ITC"))
    scanner, symbols, _ = await stub_scanner(feed=feed, timeout=0.001)
    slow, quick = symbols["TCS"], symbols["ITC"]
    slow.free.clear()
    first = await scanner.scan()
    assert first.trouble == {"TCS": "busy"}
    for _ in range(3):
        outcome = await scanner.scan()
        assert [signal.symbol for signal in outcome.signals] == ["ITC"]
    assert (len(slow.steps), len(quick.steps), scanner.crew.conflated) == (1, 4, 3)
    slow.free.set()
    await asyncio.sleep(0)  # the step that was waiting ends between two scans
    outcome = await scanner.scan()
    assert [step.tick.price for step in slow.steps] == [100, 104]
    assert scanner.crew.conflated == 3
    assert outcome.trouble == {}
    told = [(signal.symbol, signal.timestamp) for signal in outcome.signals]
    assert sorted(told) == [("ITC", at(4)), ("TCS", at(0)), ("TCS", at(4))]


async def test_the_report_of_a_symbol_that_gets_ready_during_a_scan_is_not_lost():
    feed = TickFeed(("TCS", "ITC"))
    scanner, symbols, _ = await stub_scanner(feed=feed, timeout=0.001)
    slow, quick = symbols["TCS"], symbols["ITC"]
    slow.free.clear()
    await scanner.scan()
    plain = quick.step

    async def frees_the_other(step):
        slow.free.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return await plain(step)

    quick.step = frees_the_other
    outcome = await scanner.scan()
    told = [(signal.symbol, signal.timestamp) for signal in outcome.signals]
    assert sorted(told) == [("ITC", at(1)), ("TCS", at(0))]
    assert outcome.trouble == {}


async def test_a_busy_symbol_is_owed_its_fills():
    feed = TickFeed(("TCS", "ITC"))
    scanner, symbols, broker = await stub_scanner(feed=feed, timeout=0.001)
    symbols["TCS"].free.clear()
    await scanner.scan()
    fills = [OrderReport(f"R{n}", "TCS", OrderStatus.FILLED, "B", 1) for n in (1, 2)]
    for fill in fills:
        broker.news = [fill]
        await scanner.scan()
    symbols["TCS"].free.set()
    await asyncio.sleep(0)
    await scanner.scan()
    assert list(symbols["TCS"].steps[-1].reports) == fills
    await scanner.scan()
    assert symbols["TCS"].steps[-1].reports == ()


async def test_a_slow_broker_delays_nobodys_step():
    scanner, symbols, broker = await stub_scanner(feed=TickFeed(("TCS", "ITC")), timeout=0.001)
    broker.free.clear()
    outcome = await scanner.scan()
    assert outcome.trouble == {"broker": "busy"}
    await scanner.scan()
    assert [len(shell.steps) for shell in symbols.values()] == [2, 2]
    assert broker.asked == [at(0)]  # one question at a time, however long it takes
    broker.news = [OrderReport("R1", "TCS", OrderStatus.FILLED, "B1", 1)]
    broker.free.set()
    outcome = await scanner.scan()
    assert outcome.trouble == {}
    assert broker.asked == [at(0), at(2)]
    assert [report.reference for report in symbols["TCS"].steps[-1].reports] == ["R1"]


async def test_a_broker_that_is_away_keeps_no_tick_from_the_symbols():
    scanner, symbols, broker = await stub_scanner(feed=TickFeed(("TCS", "ITC")))
    broker.fail("on_market", RetryError)
    assert (await scanner.scan()).trouble == {"broker": "away"}
    assert [step.tick.price for step in symbols["TCS"].steps] == [100]
    assert (await scanner.scan()).trouble == {}


async def test_a_closed_candle_is_waited_for_however_slow_the_symbol():
    scanner, symbols, _ = await stub_scanner(timeout=0.001)
    slow = symbols["TCS"]
    slow.free.clear()
    scan = asyncio.create_task(scanner.scan())
    done, _ = await asyncio.wait([scan], timeout=0.02)
    assert not done
    slow.free.set()
    outcome = await scan
    assert outcome.trouble == {}
    assert len(outcome.signals) == 2


async def test_a_symbol_still_busy_from_a_batch_without_candles_misses_no_candle():
    candles = {"TCS": [bar(0, "100 101 99 100")], "ITC": [bar(0, "100 101 99 100")]}
    feed = CandleFeed(dict.fromkeys(candles), candles, {session().day: session()})
    feed.batches.insert(0, MarketBatch(at(1), open=False))
    scanner, symbols, _ = await stub_scanner(feed=feed, timeout=0.001)
    slow = symbols["TCS"]
    slow.free.clear()
    await scanner.scan()
    scan = asyncio.create_task(scanner.scan())
    await asyncio.wait([scan], timeout=0.02)
    slow.free.set()
    await scan
    assert [step.candle is not None for step in slow.steps] == [False, True]


async def test_a_flat_symbol_is_spared_the_candles_of_others_but_not_news_of_its_own():
    candles = {
        "TCS": [bar(n, "100 101 99 100") for n in range(4)],
        "ITC": [bar(0, "100 101 99 100")],
    }
    feed = CandleFeed(dict.fromkeys(candles), candles, {session().day: session()})
    scanner, symbols, broker = await stub_scanner(feed=feed)
    await scanner.scan()
    await scanner.scan()
    assert [len(symbols[name].steps) for name in ("TCS", "ITC")] == [2, 1]
    broker.news = [OrderReport("R1", "ITC", OrderStatus.FILLED, "B1", 1)]
    await scanner.scan()
    assert [len(symbols[name].steps) for name in ("TCS", "ITC")] == [3, 2]
    scanner.rejoined()
    await scanner.scan()
    await scanner.scan()  # the closing batch is for everybody
    assert [len(symbols[name].steps) for name in ("TCS", "ITC")] == [5, 4]


class LiveMarket:
    """Batches of a market that goes on by itself, as they are given."""

    interval = 1.0

    def __init__(self, *batches):
        self.batches = list(batches)

    async def poll(self):
        return self.batches.pop(0)


def live_batch(minute, *, ticks=(), candles=(), **changes):
    names = ("TCS", "ITC")
    return MarketBatch(
        at(minute), open=True, sessions=dict.fromkeys(names, session()), live=True,
        ticks={name: tick(minute, 100) for name in ticks},
        candles={name: bar(0, "100 101 99 100") for name in candles}, **changes,
    )  # fmt: skip


async def test_a_live_candle_of_one_symbol_keeps_no_tick_from_the_others():
    feed = LiveMarket(live_batch(5.1, ticks=("ITC",), candles=("TCS",)))
    scanner, symbols, _ = await stub_scanner(feed=feed)
    await scanner.scan()
    assert symbols["TCS"].steps[0].candle == bar(0, "100 101 99 100")
    assert symbols["ITC"].steps[0].tick == tick(5.1, 100)


async def test_a_live_candle_waits_for_no_slow_symbol_and_reaches_it_when_it_is_free():
    feed = LiveMarket(
        live_batch(4.9, ticks=("TCS", "ITC")),
        live_batch(5.1, candles=("TCS", "ITC")),
        live_batch(5.2, ticks=("TCS", "ITC")),
        live_batch(5.3, ticks=("TCS", "ITC")),
    )
    scanner, symbols, _ = await stub_scanner(feed=feed, timeout=0.001)
    slow = symbols["TCS"]
    slow.free.clear()
    for _ in range(2):
        assert "TCS" in (await scanner.scan()).trouble
    slow.free.set()
    await asyncio.sleep(0)
    await scanner.scan()
    await scanner.scan()
    news = [(step.candle is not None, step.tick is not None) for step in slow.steps]
    assert news == [(False, True), (True, False), (False, True)]
    assert len(symbols["ITC"].steps) == 4


async def test_a_live_candle_that_a_failed_scan_left_comes_with_the_next_batch():
    feed = LiveMarket(live_batch(5.1, candles=("TCS",)), live_batch(5.2, ticks=("TCS", "ITC")))
    scanner, symbols, _ = await stub_scanner(feed=feed)
    risk_away, scanner._mark = scanner._mark, _away
    with pytest.raises(RetryError):
        await scanner.scan()
    scanner._mark = risk_away
    outcome = await scanner.scan()
    assert outcome.batch.now == at(5.2)
    (step,) = symbols["TCS"].steps
    assert (step.candle is not None, step.tick) == (True, None)
    assert symbols["ITC"].steps[0].tick == tick(5.2, 100)


async def _away(*_):
    raise RetryError("away")


async def test_a_live_candle_does_not_wait_for_a_slow_broker(monkeypatch):
    monkeypatch.setattr("hftray.actors.scan.MATCHING", 0.001)
    scanner, symbols, market = await stub_scanner(
        feed=LiveMarket(live_batch(5.1, candles=("TCS",)))
    )
    market.free.clear()
    outcome = await asyncio.wait_for(scanner.scan(), PATIENCE)
    assert outcome.trouble == {"broker": "busy"}
    assert symbols["TCS"].steps[0].candle is not None


async def test_symbols_hear_whose_candle_is_still_to_come_and_who_missed_some():
    feed = LiveMarket(
        live_batch(5.1, awaiting=frozenset({"TCS"})), live_batch(9, missed=frozenset({"ITC"}))
    )
    scanner, symbols, _ = await stub_scanner(feed=feed)
    await scanner.scan()
    assert [symbols[name].steps[0].awaiting for name in ("TCS", "ITC")] == [True, False]
    await scanner.scan()
    assert [symbols[name].steps[1].recover for name in ("TCS", "ITC")] == [False, True]


async def test_entries_wait_for_everybodys_exits_and_go_in_the_symbols_order():
    """What risk has left for whom must not depend on which process was quicker."""
    scanner, symbols, _ = await stub_scanner()
    log = []
    for symbol in symbols.values():
        symbol.log, symbol.wants_turn = log, True
    slow = symbols["TCS"]
    slow.free.clear()
    scan = asyncio.create_task(scanner.scan())
    await asyncio.wait([scan], timeout=0.02)
    assert log == [("TCS", "step"), ("ITC", "step")]  # the quick one does not go ahead
    slow.free.set()
    outcome = await scan
    assert log[2:] == [("TCS", "turn"), ("ITC", "turn")]
    assert len(outcome.signals) == 2  # each symbol's newest report counts, once


# What a scan tells the symbols


async def test_flatten_is_sent_while_risk_is_halted_and_taken_back_on_resume():
    feed = TickFeed(("TCS", "ITC"))
    scanner, symbols, _ = await stub_scanner(feed=feed)
    active = scanner._risk.view
    await scanner.scan()
    scanner._risk.halt()
    await scanner.scan()
    await scanner.scan()
    scanner._risk.view = active
    await scanner.scan()
    await scanner.scan()
    assert [step.flatten for step in symbols["TCS"].steps] == [None, None, "kill", "kill", None]


async def test_the_roster_is_sent_to_whoever_has_another_version():
    feed = TickFeed(("TCS", "ITC"))
    scanner, symbols, _ = await stub_scanner(feed=feed)
    await scanner.scan()
    scanner.crew.roster = (4, [])
    await scanner.scan()
    assert [step.roster for step in symbols["TCS"].steps] == [None, (4, [])]


@pytest.mark.parametrize("method", ["history", "forming"])
@pytest.mark.parametrize("error", [RetryError, NotFound])
async def test_a_kill_closes_what_is_open_though_no_history_is_to_be_had(method, error):
    feed = simulated()
    market = await Market(feed, rules=LIVELY).open()
    scanner = await market.scanner()
    await feed.start(FOUR, None)
    while not any(report.position for report in scanner.crew.reports.values()):
        await scanner.scan()
    market.shells = {
        name: SymbolShell(share, market.rules, market.risk, market.broker)
        for name, share in market.instruments.items()
    }
    market.feed = Faulty(feed)
    market.feed.fail(method, error, times=10**4)
    again = await market.scanner()
    again.rejoined()
    again.kill = "operator"
    entries = [trade for trade in market.trades if trade.leg is Leg.ENTRY]
    for _ in range(5):
        outcome = await again.scan()
        assert set(outcome.trouble) == set(FOUR)
        assert all(why.startswith("no history: ") for why in outcome.trouble.values())
        assert outcome.signals == []
    assert not any(report.position for report in again.crew.reports.values())
    assert [trade for trade in market.trades if trade.leg is Leg.ENTRY] == entries
    market.feed.heal()
    assert (await again.scan()).trouble == {}
    await market.check_books()


async def test_recover_is_sent_once_to_everybody():
    feed = TickFeed(("TCS", "ITC"))
    scanner, symbols, _ = await stub_scanner(feed=feed)
    scanner.rejoined()
    await scanner.scan()
    await scanner.scan()
    assert [step.recover for step in symbols["TCS"].steps] == [True, False]


async def test_recover_is_sent_again_to_whoever_did_not_answer():
    scanner, symbols, _ = await stub_scanner(feed=TickFeed(("TCS", "ITC")))
    scanner.crew.recover = {"TCS"}
    symbols["TCS"].fault = RetryError("actor is dead")
    await scanner.scan()
    symbols["TCS"].fault = None
    await scanner.scan()
    await scanner.scan()
    assert [step.recover for step in symbols["TCS"].steps] == [True, True, False]
    assert [step.recover for step in symbols["ITC"].steps] == [False, False, False]


# What a scan doubts


async def test_risk_hears_why_nothing_should_be_opened_and_when_the_next_mark_comes():
    scanner, _, _ = await stub_scanner(feed=TickFeed(("TCS", "ITC")))
    await scanner.scan()
    assert scanner._risk.doubts == ("", {}, 2.5)
    scanner.impairment, scanner.locks = "not compared yet", {"TCS": "foreign position"}
    await scanner.scan()
    assert scanner._risk.doubts == ("not compared yet", {"TCS": "foreign position"}, 2.5)


class TimedFeed:
    """Ticks of TCS: (now, time of the tick) a poll, in minutes."""

    def __init__(self, *moments):
        self.moments = list(moments)

    async def poll(self):
        now, stamped = self.moments.pop(0)
        ticks = {"TCS": tick(stamped, 100 + now)}
        return MarketBatch(at(now), open=True, sessions={"TCS": session()}, ticks=ticks)


async def test_a_clock_that_goes_back_costs_one_scan():
    scanner, symbols, _ = await stub_scanner(feed=TimedFeed((5, 5), (3, 3), (4, 4)))
    await scanner.scan()
    with pytest.raises(RetryError, match="clock went back"):
        await scanner.scan()
    await scanner.scan()
    assert [step.now for step in symbols["TCS"].steps] == [at(5), at(4)]


async def test_a_tick_from_the_future_is_no_news():
    scanner, symbols, _ = await stub_scanner(feed=TimedFeed((5, 5), (6, 60)))
    await scanner.scan()
    outcome = await scanner.scan()
    assert "ahead of the clock" in outcome.trouble["TCS"]
    assert [step.tick and step.tick.price for step in symbols["TCS"].steps] == [105, None]


async def test_prices_that_stay_away_are_told_and_every_symbol_has_its_step():
    feed = TickFeed(("TCS", "ITC"))
    scanner, symbols, broker = await stub_scanner(feed=feed)
    plain = feed.poll

    async def poll():
        return replace(await plain(), ticks={}, fault="no quotes: away")

    feed.poll = poll
    assert (await scanner.scan()).trouble == {"feed": "no quotes: away"}
    assert [(step.now, step.tick) for step in symbols["TCS"].steps] == [(at(0), None)]
    assert broker.asked == [at(0)]


async def test_a_day_is_opened_once_and_not_while_the_market_is_closed():
    feed = TickFeed(("TCS", "ITC"), closing=(0, 3))
    scanner, _, _ = await stub_scanner(feed=feed)
    days = scanner._risk.days
    seen = []
    for _ in range(5):
        await scanner.scan()
        seen.append(len(days))
    assert seen == [0, 1, 1, 1, 1]


def test_signals_have_one_name_a_candle():
    signal = Signal("TCS", Decision.HOLD, 0, {}, 1.0, at(0), at(5), final=True)
    again = Signal("TCS", Decision.BUY, 1, {}, 2.0, at(0), at(6), final=True)
    assert SignalRecorded(1, signal).event_id == SignalRecorded(1, again).event_id


async def test_a_guard_that_came_or_went_has_acted_and_lost_news_of_it_are_looked_up():
    scanner, symbols, broker = await stub_scanner(feed=TickFeed(("TCS", "ITC")))
    await scanner.scan()
    for number, name in enumerate(["X1", "X1", "X2"]):
        scanner.crew.acted.clear()
        symbols["TCS"].guard = Order(name, "TCS", "NSE", Leg.EXIT, Side.SELL, 1, at(0), stop=True)
        await scanner.scan()
        assert scanner.crew.acted == ({"TCS"} if number != 1 else set())
    broker.fail("on_market", RetryError)
    await scanner.scan()
    assert [name for name in symbols if symbols[name].steps[-1].look_up] == ["TCS"]


@pytest.fixture(scope="module")
def guarded_day():
    """The same day with a guard at the exchange for each position, which follows every tick."""

    async def play():
        exits = replace(LIVELY.exits, guard=True, guard_step_percent=Decimal(0))
        market = await Market(simulated(), rules=replace(LIVELY, exits=exits)).open()
        scanner = await market.scanner()
        await market.feed.start(FOUR, None)
        outcomes = [await scanner.scan()]
        while outcomes[-1].batch.open:
            outcomes.append(await scanner.scan())
        return market, outcomes

    return asyncio.run(play())


def test_a_day_with_guards_leaves_at_the_same_levels(guarded_day, played_day):
    """The exchange closes at the tick that reaches the level, the engine at the one after it."""
    guarded, outcomes = guarded_day
    assert [outcome.trouble for outcome in outcomes if outcome.trouble] == []
    trades = [t for t in guarded.trades if t.status is TradeStatus.EXECUTED]
    leaving = [t for t in trades if t.leg is Leg.EXIT]
    by_guard = [t for t in leaving if t.reason == "guard"]
    assert len(by_guard) > 3
    assert len(leaving) == len([t for t in trades if t.leg is Leg.ENTRY])
    withdrawn = [t for t in guarded.trades if t.status is TradeStatus.FAILED]
    assert {t.reason for t in withdrawn} == {"guard: cancelled on request"}
    assert len(withdrawn) == len(leaving) - len(by_guard)
    first = min(by_guard, key=lambda t: t.timestamp)
    market, *_ = played_day
    [same] = [t for t in market.trades if t.leg is Leg.EXIT and t.position == first.position]
    assert first.timestamp < same.timestamp
    assert same.reason in ("stop_loss", "trailing_stop")
