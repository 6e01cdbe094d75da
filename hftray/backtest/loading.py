"""Histories out of a feed: the days to play, what warms the voters up, candles of any length.

Longer candles are made from the data's own ones. They begin at the session's open, as live; one
that the session's end would cut short is left out, as it is in a replay of such a file.
"""

from collections.abc import Sequence
from datetime import date, datetime, time, timedelta

import numpy as np

from hftray.backtest.history import SymbolHistory
from hftray.backtest.order import INTERVALS, BacktestOrder, BadOrder
from hftray.core.candles import Candles, Ints
from hftray.core.errors import NotFound
from hftray.core.market import Instrument
from hftray.core.session import IST, TradingSession
from hftray.core.symbols import alternatives
from hftray.ports import Feed


def require_interval(interval: int, data_minutes: int) -> None:
    """BadOrder unless candles of the data's length make up those of the interval."""
    allowed = sorted({data_minutes, *(m for m in INTERVALS if m % data_minutes == 0)})
    if interval not in allowed:
        raise BadOrder(
            "interval",
            f"{interval} minutes cannot be made from candles of {data_minutes}; "
            f"allowed are {', '.join(map(str, allowed))}",
        )


async def require_symbols(feed: Feed, symbols: Sequence[str]) -> dict[str, Instrument]:
    """The instruments of these symbols. NotFound names those that the feed does not know."""
    known = await feed.instruments()
    missing = [symbol for symbol in symbols if symbol not in known]
    if missing:
        raise NotFound(f"symbol {', '.join(missing)}: {alternatives(missing, known)}")
    return {symbol: known[symbol] for symbol in symbols}


async def load_history(
    feed: Feed,
    instrument: Instrument,
    order: BacktestOrder,
    *,
    data_minutes: int,
    interval: int,
    warm_up: int,
) -> SymbolHistory:
    """One symbol's candles of the order's days, behind up to `warm_up` earlier ones.

    `data_minutes` is how long the feed's candles are, `interval` how long the history's shall be.
    NotFound when no candle falls on those days.
    """
    symbol = instrument.symbol
    opens = datetime.combine(order.start_date, time(), IST)
    closes = datetime.combine(order.end_date + timedelta(days=1), time(), IST)
    candles = await feed.columns(symbol, opens, closes, warm_up * (interval // data_minutes))
    days = [date.fromordinal(day) for day in np.unique(candles.day).tolist()]
    sessions = {day: hours for day in days if (hours := feed.session(symbol, day)) is not None}
    candles = regrouped(candles, sessions, interval * 60)
    start = int(candles.time.searchsorted(opens.timestamp()))
    if start == len(candles):
        raise NotFound(await _nothing(feed, symbol, order))
    played = {day: hours for day, hours in sessions.items() if day >= order.start_date}
    return SymbolHistory(instrument, candles, start, played)


def regrouped(candles: Candles, sessions: dict[date, TradingSession], seconds: int) -> Candles:
    """Candles of that many seconds, counted from each session's open; days without one are left.

    A group takes its first open, last close, extremes and summed volume of the candles there are.
    """
    hours = {day.toordinal(): session for day, session in sessions.items()}
    candles = candles.rows(np.isin(candles.day, list(hours)))
    if not len(candles):
        return candles
    opens = _of_day(candles.day, {day: hours[day].opens for day in hours})
    closes = _of_day(candles.day, {day: hours[day].closes for day in hours})
    begins = opens + (candles.time - opens) // seconds * seconds
    whole = begins + seconds <= closes
    candles, begins = candles.rows(whole), begins[whole]
    if np.array_equal(begins, candles.time):
        return candles
    firsts = np.flatnonzero(np.diff(begins, prepend=-1))
    lasts = np.append(firsts[1:], len(candles)) - 1
    return Candles(
        time=begins[firsts],
        day=candles.day[firsts],
        open=candles.open[firsts],
        high=np.maximum.reduceat(candles.high, firsts),
        low=np.minimum.reduceat(candles.low, firsts),
        close=candles.close[lasts],
        volume=np.add.reduceat(candles.volume, firsts),
    )


def _of_day(days: Ints, moments: dict[int, datetime]) -> Ints:
    """Each row's moment of its day, in epoch seconds."""
    known, places = np.unique(days, return_inverse=True)
    return np.array([int(moments[day].timestamp()) for day in known.tolist()])[places]


async def _nothing(feed: Feed, symbol: str, order: BacktestOrder) -> str:
    span = await feed.span(symbol)
    has = f"the data covers {span[0]} to {span[1]}" if span else "the market was closed"
    return f"no candles of {symbol} from {order.start_date} to {order.end_date}: {has}"
