"""Paper fills: at ticks only, whatever a candle shows of the past."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from engine_world import DAY, SYMBOL, at, bar, session, tick

from hftray.adapters.paper_exchange import PaperExchange
from hftray.core.market import Instrument
from hftray.core.orders import Leg, Order, OrderStatus, Side
from hftray.ports import MarketBatch

BUY = Order("20260601E0000000001", SYMBOL, "NSE", Leg.ENTRY, Side.BUY, 10, at(5.1))
STOP = replace(BUY, reference="20260601X0000000001", leg=Leg.EXIT, side=Side.SELL,
               trigger=Decimal("950"))  # fmt: skip


@pytest.fixture
def exchange(tmp_path):
    return PaperExchange(tmp_path / "book.db", {SYMBOL: Instrument(SYMBOL)})


def told(minute, *, trade=None, candle=None):
    return MarketBatch(
        now=at(minute), open=True, sessions={SYMBOL: session(DAY)}, live=True,
        ticks={} if trade is None else {SYMBOL: trade},
        candles={} if candle is None else {SYMBOL: candle},
    )  # fmt: skip


async def filled(exchange, batch):
    return [(r.status, r.average_price) for r in await exchange.on_market(batch)]


async def test_an_order_never_fills_at_the_open_of_a_past_candle(exchange):
    await exchange.on_market(told(5, trade=tick(5, 1000)))
    await exchange.place(BUY)
    assert await filled(exchange, told(5.2, candle=bar(0, "900 1000 900 990"))) == []
    fills = await filled(exchange, told(5.3, trade=tick(5.3, 1001)))
    assert fills == [(OrderStatus.FILLED, Decimal(1001))]


async def test_a_level_inside_a_past_candle_fills_at_the_next_price(exchange):
    await exchange.on_market(told(5, trade=tick(5, 1000)))
    await exchange.on_market(told(5.1, candle=bar(0, "1000 1000 940 1000")))
    report = await exchange.place(replace(STOP, time=at(5.1)))
    assert report.status is OrderStatus.WORKING
    fills = await filled(exchange, told(5.2, trade=tick(5.2, 998)))
    assert fills == [(OrderStatus.FILLED, Decimal(998))]


async def test_a_candle_newer_than_any_tick_is_a_price_at_its_close(exchange):
    await exchange.on_market(told(4.9, trade=tick(4.9, 1000)))
    await exchange.place(replace(BUY, time=at(4.95)))
    batch = told(5.1, candle=bar(0, "900 1000 900 995"))
    assert await filled(exchange, batch) == [(OrderStatus.FILLED, Decimal(995))]
    assert await filled(exchange, batch) == [(OrderStatus.FILLED, Decimal(995))]  # told again
    assert len(await exchange.positions()) == 1


async def test_the_same_candle_twice_is_no_second_price(exchange):
    batch = told(5.1, candle=bar(0, "900 1000 900 995"))
    await exchange.on_market(batch)
    await exchange.place(replace(BUY, time=at(5.1)))
    again = replace(batch, now=batch.now + timedelta(seconds=5))
    assert await filled(exchange, again) == []
