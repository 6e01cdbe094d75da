"""EngineShell: start, stop, kill, change of account, the end of a replay, and scans that fail."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from engine_world import at, session
from scan_world import FOUR, LIVELY, PATIENCE, CandleFeed, Market, Stepped, simulated

from hftray.actors.loop import backoff
from hftray.catalog_rows import UserRow
from hftray.core.errors import (
    IllegalTransition,
    LedgerUnavailable,
    NotFound,
    NotHeld,
    RetryError,
    UnknownOutcome,
)
from hftray.core.orders import Leg, Order, Side, TradeStatus
from hftray.core.risk_view import RiskState

TWO = ("TCS", "ITC")


@pytest.fixture(autouse=True)
def _no_pause_after_failures(monkeypatch):
    monkeypatch.setattr("hftray.actors.loop.backoff", lambda failures: 0.0)


class House:
    """An engine over a market that moves scan by scan."""

    def __init__(self, market, engine):
        self.market, self.engine, self.feed = market, engine, market.feed

    @property
    def status(self):
        return self.engine._status()

    async def scans(self, count):
        await self.feed.pass_scans(count)

    async def until_held(self):
        """Scan until a position is open."""
        for _ in range(300):
            await self.scans(1)
            if self.status["open_positions"]:
                return
        raise AssertionError("the day opened no position")

    async def stop(self):
        """Stop; the loop is in the middle of a scan and finishes it."""
        await self.feed.idle()
        stopping = asyncio.create_task(self.engine.stop())
        await self.feed.allow(1)
        return await asyncio.wait_for(stopping, PATIENCE)

    async def held(self):
        state = await self.market.ledger.run_state(self.market.run.run_id)
        return [(p.symbol, p.quantity, p.reference) for p in state.positions]


@pytest.fixture
async def house(request):
    """A lively simulated day of four shares, or the test's own, not started."""
    symbols = getattr(request, "param", FOUR)
    market = await Market(Stepped(simulated()), symbols=symbols, rules=LIVELY).open()
    made = House(market, market.engine())
    yield made
    loop_task = made.engine._loop._task
    if loop_task is not None:
        loop_task.cancel()
        await asyncio.wait([loop_task])


# Start and stop


async def test_status_before_and_while_scanning(house):
    status = house.status
    assert (status["running"], status["scans"], status["mode"]) == (False, 0, "simulation")
    started = await house.engine.start()
    assert started["running"] is True
    await house.scans(3)
    status = house.status
    assert (status["running"], status["scans"], status["symbols"]) == (True, 3, list(FOUR))
    assert status["session"]["open"] is True
    assert status["session"]["market_time"] == at(2)
    assert status["capital"] == status["equity"] == 100_000
    assert status["risk_state"] == "ACTIVE"
    assert (status["degraded"], status["note"]) == ([], "")


async def test_a_second_start_changes_nothing(house):
    await house.engine.start()
    await house.scans(2)
    loop_task = house.engine._loop._task
    again = await house.engine.start()
    assert (again["running"], again["scans"]) == (True, 2)
    assert house.engine._loop._task is loop_task
    assert (await house.engine.start("default"))["scans"] == 2  # the user it scans for already


async def test_stop_really_stops_and_a_second_stop_changes_nothing(house):
    await house.engine.start()
    await house.scans(2)
    stopped = await house.stop()
    assert (stopped["running"], stopped["scans"]) == (False, 3)
    await house.feed.allow(5)
    await asyncio.sleep(0)
    again = await house.engine.stop()
    assert (again["running"], again["scans"]) == (False, 3)


async def test_stopping_what_never_started_is_fine(house):
    assert (await house.engine.stop())["running"] is False


async def test_stop_and_start_keep_positions_and_repeat_no_candle(house):
    await house.engine.start()
    await house.until_held()
    await house.stop()
    held = await house.held()
    assert held
    scans = house.status["scans"]
    await house.engine.start()
    await house.scans(1)
    assert await house.held() == held
    assert house.status["session"]["market_time"] == at(scans)  # a tick a minute from 09:15
    await house.scans(30)
    assert house.status["degraded"] == []
    await house.market.check_books()


async def test_a_restarted_engine_finds_run_and_positions_in_the_ledger(house):
    await house.engine.start()
    await house.until_held()
    await house.stop()
    held = await house.held()
    second = House(house.market, house.market.engine())
    await second.engine.start()
    await second.scans(1)
    assert await second.held() == held
    assert second.status["open_positions"] == len(held)
    await second.stop()


@pytest.mark.parametrize("house", [TWO], indirect=True)
async def test_stops_and_starts_in_the_middle_of_candles_change_no_vote_and_no_trade(house):
    plain = await Market(simulated(), symbols=TWO, rules=LIVELY).open()
    scanner = await plain.scanner()
    await plain.feed.start(TWO, None)
    while (await scanner.scan()).batch.open:
        pass
    await house.engine.start()
    for scans in (3, 8, 27, 64, 81):
        await house.scans(scans)
        await house.stop()  # after one scan more
        await house.engine.start()
    await house.scans(376 - 3 - 8 - 27 - 64 - 81 - 5)
    assert house.status["session"]["open"] is False
    assert by_candle(house.market) == by_candle(plain)
    assert len(plain.trades) >= 8
    assert [(t.reference, t.price, t.timestamp, t.pnl) for t in house.market.trades] == [
        (t.reference, t.price, t.timestamp, t.pnl) for t in plain.trades
    ]


def by_candle(market):
    return {(s.symbol, s.candle_time): (s.votes, s.price, s.action) for s in market.signals}


async def test_a_process_that_comes_back_goes_on_scanning_unless_it_was_stopped(house):
    await house.engine.start()
    await house.scans(3)
    house.engine._loop._task.cancel()  # the process dies in the middle of a scan
    second = House(house.market, house.market.engine())
    await second.engine.rejoin()
    await second.scans(2)
    assert (second.status["running"], second.status["scans"]) == (True, 2)
    await second.stop()
    third = house.market.engine()
    await third.rejoin()
    assert third.running is False


@pytest.mark.parametrize("house", [TWO], indirect=True)
async def test_a_day_through_the_engine_ends_flat_with_every_candle_recorded_once(house):
    await house.engine.start()
    await house.scans(376)
    assert house.status["session"]["open"] is False
    assert (house.status["open_positions"], house.status["degraded"]) == (0, [])
    assert len(house.market.signals) == 75 * len(TWO)
    executed = [t.leg for t in house.market.trades if t.status is TradeStatus.EXECUTED]
    assert executed.count(Leg.ENTRY) == executed.count(Leg.EXIT) > 0
    await house.market.check_books()


async def test_a_strategy_switched_off_is_gone_from_the_next_signal(house):
    await house.engine.start()
    await house.scans(6)
    assert "rsi" in house.engine._signals.latest["TCS"]["votes"]
    store = house.market.ledger.store
    row = next(row for row in store.strategies.values() if row.kind == "rsi")
    store.strategies[row.id] = replace(row, is_active=False)
    store.roster_version += 1
    await house.engine.strategies_changed()
    await house.feed.idle()
    await house.scans(2)  # the scan under way had read the strategies already
    votes = house.engine._signals.latest["TCS"]["votes"]
    assert "rsi" not in votes
    assert "macd" in votes


# Kill and resume


async def test_kill_flattens_everything_and_forbids_entries_until_resume(house):
    await house.engine.start()
    await house.until_held()
    status = await house.engine.kill("enough", "anita")
    assert status["risk_state"] == "HALTED"
    await house.scans(4)
    assert await house.held() == []
    last = house.market.trades[-1]
    assert (last.leg, last.reason) == (Leg.EXIT, "kill_switch")
    entries = [t for t in house.market.trades if t.leg is Leg.ENTRY]
    await house.scans(50)
    assert [t for t in house.market.trades if t.leg is Leg.ENTRY] == entries
    await house.engine.resume("calm again", "anita")
    assert house.status["risk_state"] == "ACTIVE"
    await house.until_held()
    states = [(e.state, e.reason, e.actor) for e in house.market.ledger.store.risk_events]
    assert states == [("HALTED", "enough", "anita"), ("ACTIVE", "calm again", "anita")]
    await house.market.check_books()


async def test_kill_while_stopped_scans_until_all_is_flat(house):
    await house.engine.start()
    await house.until_held()
    await house.stop()
    scans = house.status["scans"]
    killed = await house.engine.kill("enough", "anita")
    assert killed["running"] is True
    house.market.risk.fail("run_state", LedgerUnavailable)  # a bad moment to stop by a fault
    await house.feed.allow(50)
    await ended(house)
    assert await house.held() == []
    assert (house.status["running"], house.status["note"]) == (False, "")
    assert house.status["scans"] < scans + 10


async def test_a_start_during_the_flattening_of_a_kill_keeps_the_engine_scanning(house):
    await house.engine.start()
    await house.until_held()
    await house.stop()
    await house.engine.kill("enough", "anita")
    assert (await house.engine.start())["running"] is True
    await house.scans(10)
    assert await house.held() == []
    assert house.status["running"] is True


async def test_kill_while_stopped_and_flat_starts_nothing(house):
    killed = await house.engine.kill("enough", "anita")
    assert (killed["running"], killed["risk_state"]) == (False, "HALTED")
    _, picture = await house.engine.snapshot()
    assert picture["risk"]["state"] == "HALTED"
    await house.engine.start()
    await house.scans(50)
    assert house.market.trades == []


async def test_a_kill_while_a_stop_is_under_way_still_closes_everything(house):
    await house.engine.start()
    await house.until_held()
    await house.feed.idle()
    stopping = asyncio.create_task(house.engine.stop())
    await asyncio.sleep(0)  # the loop is told to end, and is still in its last scan
    killing = asyncio.create_task(house.engine.kill("enough", "anita"))
    await house.feed.allow(10)
    await stopping
    assert (await killing)["running"] is True
    await ended(house)
    assert await house.held() == []


@pytest.mark.parametrize("error", [LedgerUnavailable, UnknownOutcome])
async def test_a_kill_that_cannot_be_recorded_is_obeyed_and_recorded_later(house, error):
    await house.engine.start()
    await house.until_held()
    house.market.risk.fail("change_state", error, times=4)
    status = await house.engine.kill("enough", "anita")
    assert any("not on record yet" in line for line in status["degraded"])
    entries = [t for t in house.market.trades if t.leg is Leg.ENTRY]
    await house.scans(8)
    assert await house.held() == []
    assert [t for t in house.market.trades if t.leg is Leg.ENTRY] == entries
    states = [(e.state, e.reason) for e in house.market.ledger.store.risk_events]
    assert ("HALTED", "enough") in states
    assert house.status["risk_state"] == "HALTED"
    assert house.status["degraded"] == []


# Accounts


def add_user(market, name):
    user = UserRow(name, None, name, None, Decimal(50_000), False, at(0))
    market.ledger.store.users[name] = user


async def test_another_user_is_refused_while_positions_are_open(house):
    add_user(house.market, "bina")
    await house.engine.start()
    await house.until_held()
    scanning = asyncio.create_task(house.engine.start("bina", Decimal(50_000)))
    await house.feed.allow(1)
    with pytest.raises(IllegalTransition, match="positions are open in"):
        await scanning
    assert (house.status["user_id"], house.status["running"]) == ("default", True)
    await house.scans(1)


async def test_an_engine_that_has_not_scanned_yet_knows_of_open_positions_too(house):
    add_user(house.market, "bina")
    await house.engine.start()
    await house.until_held()
    await house.stop()
    fresh = house.market.engine()
    with pytest.raises(IllegalTransition, match="positions are open in"):
        await fresh.start("bina", Decimal(50_000))
    assert fresh.running is False


async def test_another_user_gets_a_run_and_an_account_of_his_own(house):
    add_user(house.market, "bina")
    await house.engine.start()
    await house.scans(3)
    changing = asyncio.create_task(house.engine.start("bina", Decimal(50_000)))
    await house.feed.allow(1)
    status = await changing
    assert (status["user_id"], status["running"]) == ("bina", True)
    assert status["run_id"] != house.market.run.run_id
    await house.until_held()
    assert house.status["initial_capital"] == 50_000
    (entry, *_) = [t for t in house.market.trades if t.run_id == status["run_id"]]
    assert entry.user_id == "bina"


async def test_the_first_users_run_is_continued_when_he_comes_back(house):
    add_user(house.market, "bina")
    await house.engine.start()
    await house.scans(3)
    for user in ("bina", "default"):
        changing = asyncio.create_task(house.engine.start(user, Decimal(50_000)))
        await house.feed.allow(1)
        status = await changing
    assert (status["user_id"], status["run_id"]) == ("default", house.market.run.run_id)
    await house.scans(2)
    assert house.status["session"]["market_time"] > at(3)
    assert house.status["initial_capital"] == 100_000


@pytest.mark.parametrize("actor", ["risk", "broker"])
async def test_a_change_of_user_that_got_stuck_trades_for_nobody_until_it_is_repeated(house, actor):
    add_user(house.market, "bina")
    await house.engine.start()
    await house.scans(2)
    getattr(house.market, actor).fail("use_run", UnknownOutcome)
    changing = asyncio.create_task(house.engine.start("bina", Decimal(50_000)))
    await house.feed.allow(1)
    with pytest.raises(UnknownOutcome):
        await changing
    assert house.status["running"] is False
    status = await house.engine.start("bina", Decimal(50_000))
    await house.until_held()
    traded = {t.run_id for t in house.market.trades}
    assert traded == {status["run_id"]} != {house.market.run.run_id}
    book = house.market.books[status["run_id"]]
    assert {r.reference for r in await book.reports()} == {t.reference for t in house.market.trades}


async def test_an_engine_that_comes_back_stopped_knows_whose_account_it_is(house):
    add_user(house.market, "bina")
    changing = asyncio.create_task(house.engine.start("bina", Decimal(50_000)))
    await house.feed.allow(1)
    await changing
    await house.stop()
    await house.engine.kill("enough", "anita")
    second = house.market.engine()
    await second.rejoin()
    status = second._status()
    assert (status["user_id"], status["running"]) == ("bina", False)
    assert status["risk_state"] == "HALTED"


async def test_an_unknown_user_is_refused_and_the_old_one_goes_on(house):
    await house.engine.start()
    await house.scans(3)
    changing = asyncio.create_task(house.engine.start("nobody", Decimal(1)))
    await house.feed.allow(1)
    with pytest.raises(NotFound):
        await changing
    assert house.status["user_id"] == "default"
    await house.engine.start()
    await house.scans(2)
    assert house.status["running"] is True


# A replay


async def replay_house(days_candles=40):
    """One symbol's morning as closed candles."""
    source = await Market(simulated(), symbols=("TCS",)).open()
    history = await source.feed.history("TCS", 375, at(0))
    played = await source.feed.history("TCS", days_candles, at(5 * days_candles))
    feed = CandleFeed(source.instruments, {"TCS": played}, {session().day: session()},
                      {"TCS": history})  # fmt: skip
    market = await Market(feed, symbols=("TCS",), rules=LIVELY).open()
    return House(market, market.engine())


async def ended(house):
    await asyncio.wait_for(asyncio.wait([house.engine._loop._task]), PATIENCE)


async def test_a_replay_that_ends_finishes_its_run_and_stops_by_itself():
    house = await replay_house()
    await house.engine.start()
    await ended(house)
    status = house.status
    assert (status["running"], status["note"]) == (False, "replay ended")
    assert status["session"]["ended"] is True
    assert status["scans"] == 40 + 1 + 1
    _, picture = await house.engine.snapshot()
    assert picture["status"]["running"] is False
    assert list(house.market.ledger.store.finished) == [house.market.run.run_id]
    assert len(house.market.signals) == 40
    assert (await house.engine.stop())["running"] is False


async def test_starting_again_after_the_end_plays_the_same_again_as_a_new_run():
    house = await replay_house()
    await house.engine.start()
    await ended(house)
    first = list(house.market.signals)
    status = await house.engine.start()
    assert status["run_id"] != house.market.run.run_id
    await ended(house)
    second = list(house.market.signals)[len(first) :]
    assert [replace(s, action="") for s in second] == [replace(s, action="") for s in first]
    runs = {t.run_id for t in house.market.trades}
    assert len(runs) == 2
    by_run = [
        [(t.side, t.leg, t.quantity, t.price, t.reason, t.timestamp) for t in house.market.trades
         if t.run_id == run]
        for run in sorted(runs)
    ]  # fmt: skip
    assert by_run[0] == by_run[1] != []


async def test_kill_after_the_end_begins_no_new_run():
    house = await replay_house(3)
    await house.engine.start()
    await ended(house)
    status = await house.engine.kill("late", "anita")
    assert (status["running"], status["run_id"]) == (False, house.market.run.run_id)
    assert len(house.market.ledger.store.runs) == 1


async def test_a_ledger_that_is_away_at_the_end_gets_the_end_afterwards():
    house = await replay_house(3)
    plain = house.market.ledger.finish_run
    away = [LedgerUnavailable, LedgerUnavailable]

    async def finish(run_id, time):
        if away:
            raise away.pop()("away")
        await plain(run_id, time)

    house.market.ledger.finish_run = finish
    await house.engine.start()
    await ended(house)
    assert (house.status["note"], away) == ("replay ended", [])
    assert list(house.market.ledger.store.finished) == [house.market.run.run_id]


# Scans that fail


async def test_scans_that_fail_in_a_row_bar_entries_and_are_told(house):
    await house.engine.start()
    await house.scans(1)
    house.market.risk.fail("mark", RetryError, times=150)
    await house.scans(1)
    assert house.status["risk_state"] == "ACTIVE"
    assert house.status["degraded"][0].startswith("1 scans in a row failed: mark")
    await house.scans(149)
    (event,) = house.market.ledger.store.risk_events
    assert event.state == "REDUCING"
    assert "2 scans in a row failed" in event.reason
    assert house.status["risk_state"] == "REDUCING"
    assert house.market.trades == []
    await house.scans(1)  # the first that succeeds lifts it
    status = house.status
    assert (status["risk_state"], status["degraded"], status["note"]) == ("ACTIVE", [], "")
    await house.until_held()


async def test_risk_hears_of_the_failures_even_if_it_was_away_itself(house):
    await house.engine.start()
    await house.scans(1)
    house.market.risk.fail("mark", RetryError, times=3)
    house.market.risk.fail("impair", RetryError)
    await house.scans(3)
    assert (await house.market.view()).state is RiskState.REDUCING


async def test_a_daily_routine_goes_on_while_the_strategies_cannot_be_read(house):
    await house.engine.start()
    await house.scans(2)

    async def away(_):
        raise LedgerUnavailable("away")

    house.market.ledger.roster = away
    await house.engine.strategies_changed()
    await house.scans(5)
    assert (house.status["scans"], house.status["degraded"]) == (7, [])


async def test_a_ledger_that_is_away_at_the_start_is_waited_for(house):
    house.market.risk.fail("run_state", LedgerUnavailable)
    await house.engine.start()
    await house.scans(2)
    assert (house.status["running"], house.status["scans"]) == (True, 2)


async def test_a_fault_stops_the_engine_with_a_note_and_it_can_be_started_again(house):
    await house.engine.start()
    await house.scans(1)
    house.market.risk.fail("mark", ZeroDivisionError)
    await house.feed.allow(1)
    await ended(house)
    assert house.status["running"] is False
    assert "engine stopped by a fault: ZeroDivisionError" in house.status["note"]
    _, picture = await house.engine.snapshot()
    assert picture["status"]["running"] is False
    assert (await house.engine.stop())["running"] is False
    assert (await house.engine.start())["running"] is True
    await house.scans(2)
    assert house.status["note"] == ""


async def test_stop_does_not_wait_out_the_pause_after_a_failure(house, monkeypatch):
    monkeypatch.setattr("hftray.actors.loop.backoff", lambda failures: 600.0)
    await house.engine.start()
    await house.scans(1)
    house.market.risk.fail("mark", RetryError)
    await house.feed.allow(1)
    known, _ = await house.engine.snapshot()
    await house.engine.snapshot(known, PATIENCE)
    assert house.status["degraded"]
    await asyncio.wait_for(house.engine.stop(), 2)


def test_the_pause_after_failures_grows_to_a_bound_and_never_overflows():
    waits = [backoff(n) for n in range(1, 12)]
    assert waits == sorted(waits)
    assert waits[0] < 0.5
    assert backoff(10_000) == waits[-1] <= 5


# Holding the ledger against the broker's book


async def test_nothing_is_opened_before_the_books_were_compared(house):
    house.market.broker.fail("reports", RetryError, times=10**6)
    await house.engine.start()
    await house.scans(50)
    assert house.market.trades == []
    assert any("not compared with the broker" in line for line in house.status["degraded"])
    house.market.broker._faults.clear()
    house.engine._loop.reconciler._due = 0.0  # it is asked again after a second
    await house.until_held()
    assert house.status["degraded"] == []


async def test_a_foreign_position_locks_its_symbol_until_it_is_gone(house):
    foreign = Order("BYHAND1", "TCS", "NSE", Leg.ENTRY, Side.BUY, 7, at(0))
    await house.engine.start()
    await house.scans(1)
    await house.market.exchange.place(foreign)
    await house.scans(5)
    kinds = [line.split(": ")[:2] for line in house.status["degraded"]]
    assert kinds == [["TCS", "unknown order"], ["TCS", "foreign position"]]
    _, picture = await house.engine.snapshot()
    assert set(picture["risk"]["locks"]) == {"TCS"}
    await house.scans(100)
    assert {t.symbol for t in house.market.trades} == set(FOUR) - {"TCS"}


async def test_a_broker_that_is_slow_to_show_its_book_holds_up_no_scan(house):
    await house.engine.start()
    await house.scans(2)
    answer = asyncio.Event()
    plain = house.market.exchange.reports

    async def slow():
        await answer.wait()
        return await plain()

    house.market.exchange.reports = slow
    await house.scans(40)
    assert house.status["scans"] == 42
    answer.set()
    await house.scans(3)
    assert house.status["degraded"] == []


async def test_what_was_filled_in_an_answer_that_got_lost_is_asked_for(house):
    await house.engine.start()
    house.engine._loop.reconciler._interval = 10**6
    for _ in range(300):
        await house.scans(1)
        if any(r.phase == "ENTERING" for r in house.engine._loop.scanner.crew.reports.values()):
            break
    house.market.broker.fail("on_market", UnknownOutcome, after=True)
    await house.scans(2)
    assert house.status["open_positions"] >= 1
    await house.market.check_books()


async def test_a_fill_whose_report_was_lost_is_found_by_comparing(house):
    await house.engine.start()
    plain = house.market.exchange.on_market

    async def loses_every_report(batch):
        await plain(batch)
        return []

    house.market.exchange.on_market = loses_every_report
    await house.until_held()
    await house.market.check_books()


# The picture


async def test_a_snapshot_waits_for_a_newer_one(house):
    version, picture = await house.engine.snapshot()
    assert picture["status"]["running"] is False
    waiting = asyncio.create_task(house.engine.snapshot(version))
    await asyncio.sleep(0)
    assert not waiting.done()
    await house.engine.start()
    newer, picture = await waiting
    assert newer > version
    assert picture["status"]["running"] is True
    same, _ = await house.engine.snapshot(known=10**6, patience=0.001)
    assert same >= newer


async def test_the_picture_shows_signals_positions_and_risk(house):
    await house.engine.start()
    await house.until_held()
    _, picture = await house.engine.snapshot()
    assert picture["run_id"] == house.market.run.run_id
    assert set(picture["latest"]) == set(FOUR)
    times = [row["timestamp"] for row in picture["signals"]]
    assert times == sorted(times, reverse=True)
    (row, *_) = picture["positions"]
    assert (row["symbol"], row["quantity"], row["reference"]) in await house.held()
    sign = 1 if row["side"] == "BUY" else -1
    assert (row["best_price"] - float(row["trailing_stop"])) * sign > 0
    assert picture["risk"]["open_positions"] == len(picture["positions"])


async def test_the_signal_log_is_bounded(house):
    small = House(house.market, house.market.engine(signal_log=7))
    await small.engine.start()
    await small.scans(10)
    _, picture = await small.engine.snapshot()
    assert len(picture["signals"]) == 7
    await small.stop()


async def test_candles_and_symbols_are_the_feeds(house):
    assert set(await house.engine.known_symbols()) > set(FOUR)
    candles = await house.engine.candles("SBIN", 100)  # not one of the traded
    assert len(candles) == 100
    with pytest.raises(NotFound):
        await house.engine.candles("NOSUCH", 1)


# Positions that the broker does not hold


async def test_a_position_is_settled_only_when_the_broker_does_not_hold_it(house, monkeypatch):
    await house.engine.start()
    await house.until_held()
    (symbol, quantity, reference), *others = await house.held()
    price = house.market.ledger.store.positions[reference].position.entry_price
    asked = (symbol, price, "closed in the app", "api")
    with pytest.raises(IllegalTransition, match=f"holds all {quantity} shares of {symbol}"):
        await house.engine.settle(*asked)

    everything = house.market.exchange.positions
    sent = len(await house.market.exchange.reports())

    async def without():
        return [held for held in await everything() if held.symbol != symbol]

    monkeypatch.setattr(house.market.exchange, "positions", without)
    made = await house.engine.settle(*asked)
    assert (made["symbol"], made["quantity"], made["left"]) == (symbol, quantity, 0)
    assert made["reason"] == "settled: closed in the app (by api)"
    assert await house.held() == others
    with pytest.raises(NotFound):
        await house.engine.settle(*asked)
    row = house.market.ledger.store.positions[reference]
    assert (row.exit_price, row.exit_reason) == (price, made["reason"])
    await house.scans(3)
    shown = {held["reference"] for held in house.engine._picture.shown["positions"]}
    assert reference not in shown
    exits = [t for t in house.market.trades if t.position == reference]
    assert [t.reference for t in exits] == [made["reference"]]
    known = {report.reference for report in await house.market.exchange.reports()}
    assert made["reference"] not in known
    assert len(known) >= sent


# Fills that the broker does not tell


async def test_a_fill_in_doubt_locks_until_a_person_confirms_it(house, monkeypatch):
    await house.engine.start()
    await house.until_held()
    (symbol, _, reference), *_ = await house.held()
    row = next(t for t in house.market.trades if t.reference == reference)
    price = row.price - row.side.sign
    asked = (reference, price, "read in the app", "api")
    with pytest.raises(IllegalTransition, match="not in doubt: the books agree"):
        await house.engine.confirm(*asked)

    changes = otherwise_told(house.market.exchange, reference, monkeypatch)
    changes["unconfirmed"] = "by its row"
    house.engine._loop.reconciler.hurry()
    await house.scans(3)
    assert f"{symbol}: unconfirmed fill: order {reference}: by its row" in house.status["degraded"]
    before = await house.held()
    made = await house.engine.confirm(*asked)
    assert (made["order"], made["price"], made["booked_price"]) == (reference, price, row.price)
    assert made["reason"] == "confirmed: read in the app (by api)"
    assert [reference for *_, reference in await house.held()] == [r for *_, r in before]
    await house.scans(3)
    assert house.status["degraded"] == []
    with pytest.raises(IllegalTransition, match="was confirmed before"):
        await house.engine.confirm(*asked)
    with pytest.raises(NotFound, match="no order X1 in the present"):
        await house.engine.confirm("X1", price, "read in the app", "api")


async def test_trades_that_contradict_what_a_person_confirmed_are_confirmed_in_its_place(
    house, monkeypatch
):
    """They tell what was booked at first: the lock ends, and no money is left over."""
    await house.engine.start()
    await house.until_held()
    (symbol, _, reference), *_ = await house.held()
    row = next(t for t in house.market.trades if t.reference == reference)
    changes = otherwise_told(house.market.exchange, reference, monkeypatch)
    changes["unconfirmed"] = "by its row"
    wrong = row.price - row.side.sign
    first = await house.engine.confirm(reference, wrong, "read in the app", "api")
    changes.clear()
    house.engine._loop.reconciler.hurry()
    await house.scans(3)
    assert f"{symbol}: price differs: order {reference} has" in house.status["degraded"][0]
    with pytest.raises(IllegalTransition, match=f"filled at {row.price}, its trades say so"):
        await house.engine.confirm(reference, wrong, "read again", "api")
    second = await house.engine.confirm(reference, row.price, "read again", "api")
    assert first["pnl"] + second["pnl"] == 0 != first["pnl"]
    await house.scans(3)
    assert house.status["degraded"] == []
    with pytest.raises(IllegalTransition, match=f"was confirmed before, at {row.price}"):
        await house.engine.confirm(reference, row.price, "read again", "api")


def otherwise_told(exchange, reference, monkeypatch):
    """What is put in here changes what the exchange tells of the order."""
    changes, reports, report = {}, exchange.reports, exchange.report

    def changed(told):
        return replace(told, **changes) if told.reference == reference else told

    async def all_told():
        return [changed(told) for told in await reports()]

    async def one_told(wanted):
        return changed(await report(wanted))

    monkeypatch.setattr(exchange, "reports", all_told)
    monkeypatch.setattr(exchange, "report", one_told)
    return changes


async def test_a_position_that_is_not_there_is_shown_and_locked_and_left_once_it_is_seen(
    house, monkeypatch
):
    await house.engine.start()
    await house.until_held()
    held = {symbol for symbol, *_ in await house.held()}

    async def none():
        return []

    monkeypatch.setattr(house.market.exchange, "positions", none)
    house.market.broker.fail("place", NotHeld, times=10_000)
    await house.engine.kill("drill", "a test")
    await house.scans(30)
    failed = [t for t in house.market.trades if t.leg is Leg.EXIT]
    assert {t.status for t in failed} == {TradeStatus.FAILED}
    assert len(held) <= len(failed) <= 5 * len(held)  # of thirty scans
    for symbol in held:
        assert any(f"{symbol}: " in told for told in house.status["degraded"])
        assert "by the ledger it should be" in (await house.market.view()).locks[symbol]

    monkeypatch.undo()
    house.market.broker._faults.clear()
    await house.scans(6)
    assert await house.held() == []
    assert house.status["degraded"] == []
