"""The backtest's interpreter: small stories by hand, and the same days as the live shells play."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from engine_world import (
    BUY,
    DAY,
    INFY,
    SELL,
    D,
    Script,
    at,
    bar,
    on_bar,
    quiet_history,
    session,
)
from risk_world import CHARGES
from scan_world import FOUR, LIVELY, MONDAY, CandleFeed, Market, calendar, simulated

from hftray.backtest.interpreter import Interpreter
from hftray.backtest.runner import play_days
from hftray.core.engine import SymbolEngine
from hftray.core.ledger import RunInfo
from hftray.core.orders import Leg, TradeStatus
from hftray.core.risk import RiskBook
from hftray.core.rules import ExitRules, SignalRules, TradingRules
from hftray.core.session import SessionRules
from hftray.strategies.defaults import default_strategies
from hftray.strategies.ensemble import Ensemble

FLAT = "1000 1000 1000 1000"
DECIDING = "1000 1025 975 1000"  # an ATR of 50
RUN = RunInfo(1, "simulation", "seed", "default", D(100_000))


def book_of(instrument, rules, run=RUN):
    return RiskBook(
        run=run, limits=rules.risk, exits=rules.exits, charges=CHARGES,
        instruments={instrument.symbol: instrument},
    )  # fmt: skip


def interpreter(electorate, rules=None, *, history=None, slippage=0.0):
    rules = rules or TradingRules()
    engine = SymbolEngine(INFY, rules, electorate)
    engine.warm(quiet_history() if history is None else history)
    return Interpreter(engine, book_of(INFY, rules), slippage_bps=slippage)


def played(electorate, *candles, rules=None, slippage=0.0, close=True):
    """One day of these candles; its outcome."""
    made = interpreter(electorate, rules, slippage=slippage)
    made.open_session(session())
    for candle in candles:
        made.play(candle)
    if close:
        made.close_session()
    return made.outcome


def story(outcome):
    return [
        (t.closed.side.value, t.closed.quantity, t.closed.entry_price, t.exit.price, t.exit.reason)
        for t in outcome.trips
    ]


# Stories


def test_an_entry_fills_at_the_next_open_and_a_stop_at_its_level():
    outcome = played(
        on_bar(1, BUY), bar(1, DECIDING), bar(2, "1002 1002 1001 1002"), bar(3, "1001 1001 985 986")
    )
    assert story(outcome) == [("BUY", 20, D(1002), D("992.00"), "trailing_stop")]
    (trip,) = outcome.trips
    assert (trip.closed.entry_time, trip.exit.timestamp) == (at(15), at(20))
    assert trip.exit.gross_pnl == D(-200)
    assert trip.exit.pnl == D(-200) - trip.exit.charges - trip.entry_charges
    assert trip.entry_charges > 0


def test_a_gap_through_the_stop_fills_at_the_open():
    outcome = played(on_bar(1, BUY), bar(1, DECIDING), bar(2, FLAT), bar(3, "950 951 940 945"))
    assert story(outcome) == [("BUY", 20, D(1000), D(950), "trailing_stop")]


def test_a_gap_through_the_stop_that_the_candle_came_back_to_fills_at_the_open_too():
    outcome = played(on_bar(1, BUY), bar(1, DECIDING), bar(2, FLAT), bar(3, "985 995 980 994"))
    assert story(outcome) == [("BUY", 20, D(1000), D(985), "trailing_stop")]


def test_a_level_between_the_decision_and_the_entry_was_not_jumped_over():
    """Decided at 980, sold at the open of 1000, target 990: the market falls to it from above."""
    rules = TradingRules(exits=ExitRules(take_profit_atr=0.2, trailing_stop_percent=50))
    outcome = played(
        on_bar(1, SELL), bar(1, "1000 1025 975 980"), bar(2, "1000 1001 960 970"), rules=rules
    )
    assert story(outcome) == [("SELL", 20, D(1000), D(990), "take_profit")]


def test_a_short_mirrors():
    outcome = played(on_bar(1, SELL), bar(1, DECIDING), bar(2, FLAT), bar(3, "1001 1020 1000 1005"))
    assert story(outcome) == [("SELL", 20, D(1000), D(1010), "trailing_stop")]
    assert outcome.trips[0].exit.gross_pnl == D(-200)


def test_a_position_entered_in_a_candle_is_guarded_by_the_rest_of_that_candle():
    outcome = played(on_bar(1, BUY), bar(1, DECIDING), bar(2, "1000 1001 900 905"))
    assert story(outcome) == [("BUY", 20, D(1000), D(900), "stop_loss")]


def test_slippage_is_paid_on_both_sides():
    outcome = played(
        on_bar(1, BUY), bar(1, DECIDING), bar(2, FLAT), bar(3, "1000 1000 985 986"), slippage=10
    )
    assert story(outcome) == [("BUY", 20, D("1001.00"), D("990.00"), "trailing_stop")]


def test_an_entry_beyond_its_limit_is_withdrawn_after_the_patience():
    away = "1200 1200 1200 1200"
    outcome = played(on_bar(1, BUY), bar(1, DECIDING), *(bar(n, away) for n in range(2, 6)))
    assert (outcome.trips, outcome.candles) == ([], 5)


def test_a_day_ends_flat_at_the_square_off():
    rules = TradingRules(exits=ExitRules(trailing_stop_percent=50))
    candles = [bar(1, DECIDING), *(bar(n, FLAT) for n in range(2, 75))]
    outcome = played(on_bar(1, BUY), *candles, rules=rules)
    assert story(outcome) == [("BUY", 20, D(1000), D(1000), "square_off")]
    assert outcome.trips[0].exit.timestamp == at(370)
    assert [when for when, _ in outcome.curve] == [at(375)]
    assert outcome.curve[-1][1] == 100_000 + outcome.trips[0].exit.pnl


def test_the_close_ends_orders_that_were_under_way():
    rules = TradingRules(exits=ExitRules(trailing_stop_percent=50))
    bought = [bar(1, DECIDING), *(bar(n, FLAT) for n in range(2, 73)), bar(73, "995 995 995 995")]
    late_exit = played(on_bar(1, BUY), *bought[:-1], rules=rules)
    assert story(late_exit) == [("BUY", 20, D(1000), D(1000), "square_off")]
    assert late_exit.trips[0].exit.timestamp == at(375)
    made = interpreter(on_bar(2, BUY))
    made.open_session(session())
    made.play(bar(2, DECIDING))
    made.close_session()
    assert made.outcome.trips == []
    assert made._book.view().working_orders == 0


def test_no_position_stays_overnight_when_a_days_last_candles_are_missing():
    rules = TradingRules(exits=ExitRules(trailing_stop_percent=50))
    made = interpreter(on_bar(1, BUY), rules)
    made.open_session(session())
    for candle in (bar(1, DECIDING), bar(2, FLAT), bar(3, FLAT)):
        made.play(candle)
    made.close_session()
    assert story(made.outcome) == [("BUY", 20, D(1000), D(1000), "square_off")]
    assert made.outcome.trips[0].exit.timestamp == at(375)


def test_the_daily_loss_limit_ends_the_days_entries_and_the_next_day_begins_anew():
    limits = replace(TradingRules().risk, max_daily_loss_percent=D("0.1"))
    rules = TradingRules(risk=limits)
    script = Script({at(5 * n, day): BUY for n in range(60) for day in (DAY, DAY + timedelta(1))})
    made = interpreter(script, rules)
    made.open_session(session())
    made.play(bar(1, DECIDING))
    made.play(bar(2, FLAT))
    for n in range(3, 20):
        made.play(bar(n, "985 986 984 985"))
    made.close_session()
    assert len(made.outcome.trips) == 1
    tomorrow = DAY + timedelta(days=1)
    made.open_session(session(tomorrow))
    for n in range(3):
        made.play(bar(n, "985 986 984 985", day=tomorrow))
    assert made._book.view().open_positions == 1


# The same days, live

DAYS = 6
TREND = [dict(row, is_active=row["kind"] in ("supertrend", "macd", "vwap"))
         for row in default_strategies()]  # fmt: skip
ROSTERS = {
    "all eight": (default_strategies(), LIVELY),
    "trend followers": (TREND, TradingRules(signals=SignalRules(threshold=0.3))),
    "tight exits": (
        default_strategies(),
        TradingRules(
            signals=SignalRules(threshold=0.1),
            exits=ExitRules(stop_loss_atr=1.5, take_profit_atr=2.0, trailing_stop_percent=0.3),
        ),
    ),
}


async def history_of(symbol, days):
    """The symbol's share, the days' sessions, their candles, and those before them."""
    feed = simulated(ticks=12)
    share = (await feed.instruments())[symbol]
    open_days = [
        day for day in (MONDAY + timedelta(n) for n in range(2 * days)) if day.weekday() < 5
    ]
    sessions = {day: calendar().session(day, share, SessionRules()) for day in open_days[:days]}
    last = max(hours.closes for hours in sessions.values())
    candles = await feed.history(symbol, 75 * days, last)
    played_days = [c for c in candles if c.time >= at(0)]
    return share, sessions, played_days, await feed.history(symbol, 375, at(0))


def in_backtest(share, sessions, candles, warm, roster, rules):
    rows = [dict(row, id=number) for number, row in enumerate(roster, start=1)]
    engine = SymbolEngine(share, rules, Ensemble(rows, rules.signals.threshold))
    engine.warm(warm)
    made = Interpreter(engine, book_of(share, rules), slippage_bps=2.0)
    outcome = play_days(made, candles, sessions)
    trips = [
        (t.closed.side, t.closed.quantity, t.closed.entry_time, t.closed.entry_price,
         t.closed.stop_loss, t.closed.take_profit, t.closed.votes, t.closed.score,
         t.entry_charges, t.exit.timestamp, t.exit.price, t.exit.reason, t.exit.charges,
         t.exit.gross_pnl, t.exit.pnl, t.exit.reference)
        for t in outcome.trips
    ]  # fmt: skip
    return trips, made._book.view()


async def live(share, sessions, candles, warm, roster, rules):
    """Scanner, symbol shell, risk shell, exchange and ledger over the same candles."""
    feed = CandleFeed(
        {share.symbol: share}, {share.symbol: candles}, sessions, {share.symbol: warm}
    )
    market = await Market(feed, symbols=(share.symbol,), rules=rules, roster=roster).open()
    scanner = await market.scanner()
    await feed.start([share.symbol], None)
    outcome = await scanner.scan()
    while not outcome.batch.ended:
        assert outcome.trouble == {}
        outcome = await scanner.scan()
    rows = {t.reference: t for t in market.trades}
    stops = {row.position.reference: row.position for row in market.ledger.store.positions.values()}
    trips = []
    for leaving in market.trades:
        if leaving.leg is not Leg.EXIT or leaving.status is not TradeStatus.EXECUTED:
            continue
        entry, held = rows[leaving.position], stops[leaving.position]
        trips.append(
            (entry.side, leaving.quantity, entry.timestamp, entry.price,
             held.stop_loss, held.take_profit, entry.votes, entry.score,
             entry.charges, leaving.timestamp, leaving.price, leaving.reason, leaving.charges,
             leaving.gross_pnl, leaving.pnl, leaving.reference)
        )  # fmt: skip
    return trips, await market.view()


@pytest.mark.parametrize("symbol", FOUR)
@pytest.mark.parametrize("name", ROSTERS)
def test_a_backtest_and_the_live_shells_make_the_same_trades(symbol, name, record_property):
    roster, rules = ROSTERS[name]
    share, sessions, candles, warm = asyncio.run(history_of(symbol, DAYS))
    assert len(candles) == 75 * DAYS
    expected, risk = asyncio.run(live(share, sessions, candles, warm, roster, rules))
    got, book = in_backtest(share, sessions, candles, warm, roster, rules)
    assert got == expected
    assert len(got) >= 4  # or the comparison says nothing
    assert book.realised_pnl == risk.realised_pnl
    assert book.capital == 100_000 + sum((trip[14] for trip in got), Decimal(0))
    record_property("trades", len(got))


@pytest.mark.parametrize("seed", range(4))
def test_they_agree_on_days_with_missing_candles_too(seed):
    """Also where a day ends early, so that a position is still open at its close."""
    roster, rules = ROSTERS["tight exits"]
    share, sessions, candles, warm = asyncio.run(history_of(FOUR[seed], DAYS))
    chance = Random(seed)
    ends = {day: at(chance.randrange(60, 340), day) for day in list(sessions)[:-1:2]}
    kept = [
        c for c in candles
        if chance.random() > 0.1 and c.time < ends.get(c.time.date(), at(400, c.time.date()))
    ]  # fmt: skip
    rules = replace(rules, exits=ExitRules(trailing_stop_percent=20))  # positions last
    expected, _ = asyncio.run(live(share, sessions, kept, warm, roster, rules))
    got, _ = in_backtest(share, sessions, kept, warm, roster, rules)
    assert got == expected
    assert all(trip[2].date() == trip[9].date() for trip in got)
    at_the_close = [trip for trip in got if trip[9] == sessions[trip[9].date()].closes]
    assert at_the_close
