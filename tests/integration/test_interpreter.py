"""The backtest over the same days as the live shells play: the same trades, to the paisa."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random

import pytest
from engine_world import D, at
from risk_world import CHARGES
from scan_world import FOUR, LIVELY, MONDAY, CandleFeed, Market, calendar, simulated

from hftray.backtest.history import SymbolHistory
from hftray.backtest.play import play
from hftray.core.ledger import RunInfo
from hftray.core.orders import Leg, TradeStatus
from hftray.core.risk import RiskBook
from hftray.core.rules import ExitRules, RiskLimits, SignalRules, TradingRules
from hftray.core.session import SessionRules
from hftray.strategies.defaults import default_strategies

RUN = RunInfo(1, "simulation", "seed", "default", D(100_000))

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


def in_backtest(days, roster, rules):
    """`days`: share, sessions, candles and warm-up of each symbol; the trades and the book."""
    rows = [dict(row, id=number) for number, row in enumerate(roster, start=1)]
    histories = [
        SymbolHistory.of(share, [*warm, *candles], len(warm), sessions)
        for share, sessions, candles, warm in days
    ]
    book = RiskBook(
        run=RUN, limits=rules.risk, exits=rules.exits, charges=CHARGES,
        instruments={share.symbol: share for share, *_ in days},
    )  # fmt: skip
    outcome = play(histories, rows, rules=rules, book=book, slippage_bps=2.0)
    trips = [
        (t.closed.symbol, t.closed.side, t.closed.quantity, t.closed.entry_time,
         t.closed.entry_price, t.closed.stop_loss, t.closed.take_profit, t.closed.votes,
         t.closed.score, t.entry_charges, t.exit.timestamp, t.exit.price, t.exit.reason,
         t.exit.charges, t.exit.gross_pnl, t.exit.pnl, t.exit.reference)
        for t in outcome.trips
    ]  # fmt: skip
    return sorted(trips, key=_place), book.view()


async def live(days, roster, rules):
    """Scanner, symbol shells, risk shell, exchange and ledger over the same candles."""
    shares = {share.symbol: share for share, *_ in days}
    feed = CandleFeed(
        shares,
        {share.symbol: candles for share, _, candles, _ in days},
        days[0][1],
        {share.symbol: warm for share, *_, warm in days},
    )
    market = await Market(feed, symbols=tuple(shares), rules=rules, roster=roster).open()
    scanner = await market.scanner()
    await feed.start(list(shares), None)
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
            (entry.symbol, entry.side, leaving.quantity, entry.timestamp, entry.price,
             held.stop_loss, held.take_profit, entry.votes, entry.score,
             entry.charges, leaving.timestamp, leaving.price, leaving.reason, leaving.charges,
             leaving.gross_pnl, leaving.pnl, leaving.reference)
        )  # fmt: skip
    return sorted(trips, key=_place), await market.view()


def _place(trip):
    """Shells answer in any order within a moment."""
    return trip[10], trip[0]


@pytest.mark.parametrize("symbol", FOUR)
@pytest.mark.parametrize("name", ROSTERS)
def test_a_backtest_and_the_live_shells_make_the_same_trades(symbol, name, record_property):
    roster, rules = ROSTERS[name]
    days = [asyncio.run(history_of(symbol, DAYS))]
    assert len(days[0][2]) == 75 * DAYS
    expected, risk = asyncio.run(live(days, roster, rules))
    got, book = in_backtest(days, roster, rules)
    assert got == expected
    assert len(got) >= 4  # or the comparison says nothing
    assert book.realised_pnl == risk.realised_pnl
    assert book.capital == 100_000 + sum((trip[15] for trip in got), Decimal(0))
    record_property("trades", len(got))


@pytest.mark.parametrize("limits", [RiskLimits(), RiskLimits(max_symbol_exposure_percent=D(60))])
def test_they_agree_on_several_symbols_that_share_their_capital(limits, record_property):
    """With 60 % a symbol there is capital for two positions, so the entries' order counts."""
    roster, rules = ROSTERS["tight exits"]
    rules = replace(rules, risk=limits)
    days = [asyncio.run(history_of(symbol, DAYS)) for symbol in FOUR]
    expected, risk = asyncio.run(live(days, roster, rules))
    got, book = in_backtest(days, roster, rules)
    assert got == expected
    assert len(got) >= 40
    assert book.realised_pnl == risk.realised_pnl
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
    days = [(share, sessions, kept, warm)]
    expected, _ = asyncio.run(live(days, roster, rules))
    got, _ = in_backtest(days, roster, rules)
    assert got == expected
    assert all(trip[3].date() == trip[10].date() for trip in got)
    at_the_close = [trip for trip in got if trip[10] == sessions[trip[10].date()].closes]
    assert at_the_close
