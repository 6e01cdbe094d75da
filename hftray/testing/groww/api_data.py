"""The market data calls: quote, ltp, ohlc, candles of both generations, the instrument file."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hftray.core.errors import NotFound
from hftray.core.money import round_down_to_tick, round_up_to_tick
from hftray.core.session import IST
from hftray.testing.groww.bars import INTERVALS, OLD_INTERVALS, Bar, Span, bars
from hftray.testing.groww.price_path import PriceState
from hftray.testing.groww.shares import Share, instrument_csv
from hftray.testing.groww.wire import (
    EXCHANGES,
    SEGMENTS,
    Answer,
    Call,
    GrowwFailure,
    stamp,
    success,
)
from hftray.testing.groww.world import World

_MOST_SYMBOLS = 50
_DEPTH = 5
_DEPTH_QUANTITY = 100


def quote(world: World, call: Call) -> Answer:
    """GET /live-data/quote: everything about one share."""
    share = _share(world, call)
    state = world.market.state(share, world.market.clock.now())
    if state is None:
        raise GrowwFailure("GA004", f"no price of {share.symbol} yet")
    bids, offers = depth(state, share)
    ohlc = _ohlc(world, state)
    change = state.price - state.previous_close
    return success(
        {
            "average_price": round(state.average, 2),
            "bid_quantity": bids[0]["quantity"],
            "bid_price": bids[0]["price"],
            "offer_quantity": offers[0]["quantity"],
            "offer_price": offers[0]["price"],
            "day_change": round(change, 2),
            "day_change_perc": round(100 * change / state.previous_close, 4),
            "upper_circuit_limit": float(state.upper),
            "lower_circuit_limit": float(state.lower),
            "high_trade_range": state.day_high,
            "low_trade_range": state.day_low,
            "depth": {"buy": bids, "sell": offers},
            "ohlc": _as_text(ohlc) if world.behaviour.ohlc_as_text else ohlc,
            "last_price": state.price,
            "last_trade_quantity": state.volume,
            "last_trade_time": int(state.time.timestamp() * 1000),
            "volume": state.day_volume,
            "total_buy_quantity": sum(level["quantity"] for level in bids),
            "total_sell_quantity": sum(level["quantity"] for level in offers),
            "market_cap": None,
            "open_interest": None,
            "previous_open_interest": None,
            "oi_day_change": None,
            "oi_day_change_percentage": None,
            "implied_volatility": None,
            "week_52_high": state.day_high,
            "week_52_low": state.day_low,
        }
    )


def ltp(world: World, call: Call) -> Answer:
    """GET /live-data/ltp: last prices of up to 50 shares; unknown ones are left out."""
    return success({share.key: state.price for share, state in _asked(world, call)})


def ohlc(world: World, call: Call) -> Answer:
    """GET /live-data/ohlc: the day's figures of up to 50 shares; unknown ones are left out."""
    return success({share.key: _ohlc(world, state) for share, state in _asked(world, call)})


def candles(world: World, call: Call) -> Answer:
    """GET /historical/candles."""
    exchange = call.one_of("exchange", EXCHANGES)
    call.one_of("segment", SEGMENTS)
    name = call.value("groww_symbol")
    prefix, _, symbol = name.partition("-")
    if prefix != exchange:
        raise GrowwFailure("GA001", f"groww_symbol {name} is not of exchange {exchange}")
    share = _find(world, exchange, symbol)
    interval = call.one_of("candle_interval", tuple(INTERVALS))
    span = INTERVALS[interval]
    first, last = _period(call, span)
    separator = "T" if world.behaviour.candle_time == "T" else " "
    rows = [
        [stamp(bar.time).replace("T", separator), bar.open, bar.high, bar.low, bar.close,
         bar.volume, None]
        for bar in _known(world, share, span, first, last)
    ]  # fmt: skip
    state = world.market.state(share, world.market.clock.now())
    return success(
        {
            "candles": rows,
            "closing_price": state.price if state else None,
            "start_time": call.value("start_time"),
            "end_time": call.value("end_time"),
            "interval_in_minutes": span.minutes,
        }
    )


def candle_range(world: World, call: Call) -> Answer:
    """GET /historical/candle/range, the deprecated call: epoch seconds, six items a row."""
    share = _share(world, call)
    minutes = call.one_of("interval_in_minutes", tuple(OLD_INTERVALS), "1")
    span = OLD_INTERVALS[minutes]
    first, last = _period(call, span)
    rows = [
        [int(bar.time.timestamp()), bar.open, bar.high, bar.low, bar.close, bar.volume]
        for bar in _known(world, share, span, first, last)
    ]
    return success(
        {
            "candles": rows,
            "start_time": call.value("start_time"),
            "end_time": call.value("end_time"),
            "interval_in_minutes": span.minutes,
        }
    )


def instruments(world: World, call: Call) -> Answer:
    """GET /instruments/instrument.csv, without a token."""
    return Answer(text=instrument_csv(world.market.shares()), media_type="text/csv")


def depth(state: PriceState, share: Share) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Five levels a side around the last price, as dicts of price and quantity, best first.

    A side nobody quotes, at the end of a price band, has levels of zero.
    """
    buy, sell = [], []
    for level in range(1, _DEPTH + 1):
        away = share.tick_size * level
        low = round_down_to_tick(state.price, share.tick_size) - away
        high = round_up_to_tick(state.price, share.tick_size) + away
        buy.append(_level(low, empty=state.no_buyers or low < state.lower))
        sell.append(_level(high, empty=state.no_sellers or high > state.upper))
    return buy, sell


def _level(price: Decimal, *, empty: bool) -> dict[str, Any]:
    return {"price": 0.0 if empty else float(price), "quantity": 0 if empty else _DEPTH_QUANTITY}


def _ohlc(world: World, state: PriceState) -> dict[str, float]:
    previous = world.behaviour.ohlc_close == "previous"
    return {
        "open": state.day_open,
        "high": state.day_high,
        "low": state.day_low,
        "close": state.previous_close if previous else state.price,
    }


def _as_text(ohlc: dict[str, float]) -> str:
    # Neither quotes nor a blank after a comma: so the documentation prints it.
    return "{" + ",".join(f"{name}: {price:.2f}" for name, price in ohlc.items()) + "}"


def _asked(world: World, call: Call) -> Iterator[tuple[Share, PriceState]]:
    """The shares of exchange_symbols, comma-joined or repeated, that have a price."""
    if call.one_of("segment", SEGMENTS) != "CASH":
        raise GrowwFailure("GA006", "only segment CASH is traded here")
    names = [
        name.strip() for text in call.query.get("exchange_symbols", []) for name in text.split(",")
    ]
    if not names or not all(names):
        raise GrowwFailure("GA001", "exchange_symbols is required, such as NSE_RELIANCE")
    if len(names) > _MOST_SYMBOLS:
        raise GrowwFailure("GA001", f"exchange_symbols: at most {_MOST_SYMBOLS}, got {len(names)}")
    now = world.market.clock.now()
    known = {share.key: share for share in world.market.shares()}
    for name in names:
        share = known.get(name)
        state = None if share is None else world.market.state(share, now)
        if share is not None and state is not None:
            yield share, state


def _known(
    world: World, share: Share, span: Span, first: datetime, last: datetime
) -> Iterator[Bar]:
    now = world.market.clock.now()
    delay = timedelta(seconds=world.behaviour.candle_delay_seconds)
    for bar in bars(world.market, share, span.minutes, first, last, now):
        forming = bar.closes > now
        if world.behaviour.forming_candle if forming else bar.closes + delay <= now:
            yield bar


def _period(call: Call, span: Span) -> tuple[datetime, datetime]:
    first, last = (_moment(call, name) for name in ("start_time", "end_time"))
    if last < first:
        raise GrowwFailure("GA001", "end_time is before start_time")
    if span.days is not None and last - first > timedelta(days=span.days):
        raise GrowwFailure(
            "GA001", f"at most {span.days} days a request with candles of {span.minutes} minutes"
        )
    return first, last


def _moment(call: Call, name: str) -> datetime:
    text = call.value(name)
    if text.isascii() and text.isdigit():
        return datetime.fromtimestamp(int(text) / 1000, IST)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise GrowwFailure("GA001", f"{name} must be such as 2026-11-20 09:15:00") from None
    return moment.replace(tzinfo=IST) if moment.tzinfo is None else moment


def _share(world: World, call: Call) -> Share:
    call.one_of("segment", SEGMENTS)
    return _find(world, call.one_of("exchange", EXCHANGES), call.value("trading_symbol"))


def _find(world: World, exchange: str, symbol: str) -> Share:
    try:
        return world.market.share(exchange, symbol)
    except NotFound as error:
        raise GrowwFailure("GA004", str(error)) from error
