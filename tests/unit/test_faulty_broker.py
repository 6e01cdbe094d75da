"""The broker that fails on demand: each fault does what its name says, once."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from hftray.adapters.simulated_exchange import SimulatedExchange
from hftray.core.errors import BrokerUnavailable, OrderRejected, UnknownOutcome
from hftray.core.market import Instrument, Tick
from hftray.core.orders import Leg, Order, OrderReport, OrderStatus, Side
from hftray.core.session import IST, SessionRules, trading_session
from hftray.ports import MarketBatch
from hftray.testing.faulty_broker import TIMED, Fault, FaultyBroker
from hftray.testing.faulty_broker import injected as happened
from hftray.testing.faulty_broker import order_fault as order

OPEN = datetime(2026, 11, 20, 9, 15, tzinfo=IST)
TODAY = trading_session(OPEN.date(), OPEN, OPEN + timedelta(hours=6), SessionRules())
BUY = Order("20261120E0000000001", "TCS", "NSE", Leg.ENTRY, Side.BUY, 10, OPEN)
LONG = 60_000  # milliseconds: no test waits for them


@pytest.fixture
def exchange():
    shares = {"TCS": Instrument("TCS", tick_size=Decimal("0.10"))}
    return SimulatedExchange(":memory:", shares, partial_fill_rate=1.0)


@pytest.fixture
def tokens(tmp_path):
    return tmp_path / "faults"


@pytest.fixture
def broker(exchange, tokens):
    return FaultyBroker(exchange, tokens)


async def trade(broker: FaultyBroker, minute: int) -> list[OrderReport]:
    now = OPEN + timedelta(minutes=minute)
    tick = Tick("TCS", now, 100.0, 100)
    return await broker.on_market(
        MarketBatch(now=now, open=True, sessions={"TCS": TODAY}, ticks={"TCS": tick})
    )


@pytest.mark.parametrize(
    ("fault", "error", "arrives"),
    [
        (Fault.DROP_REPLY, UnknownOutcome, OrderStatus.WORKING),
        (Fault.LOST_REQUEST, UnknownOutcome, None),
        (Fault.UNAVAILABLE, BrokerUnavailable, None),
        (Fault.REJECT, OrderRejected, OrderStatus.REJECTED),
    ],
)
async def test_a_failed_place_leaves_at_the_exchange_what_its_fault_says(
    broker, exchange, tokens, fault, error, arrives
):
    order(tokens, fault, 1)
    with pytest.raises(error):
        await broker.place(BUY)
    there = await exchange.report(BUY.reference)
    assert (there and there.status) == arrives
    assert happened(tokens) == {fault: 1}
    if arrives is not OrderStatus.REJECTED:
        assert (await broker.place(BUY)).status is OrderStatus.WORKING  # the token is used up


async def test_a_lost_answer_is_lost_when_it_was_a_refusal_too(broker, tokens):
    order(tokens, Fault.DROP_REPLY, 1)
    with pytest.raises(UnknownOutcome):
        await broker.place(replace(BUY, quantity=-1))


async def test_an_order_that_the_exchange_has_is_not_refused_afterwards(broker, tokens):
    placed = await broker.place(BUY)
    order(tokens, Fault.REJECT, 1)
    assert await broker.place(BUY) == placed


async def test_a_late_request_is_under_way_until_it_arrives(broker, exchange, tokens):
    order(tokens, Fault.LATE_ACCEPT, 1, LONG)
    sending = asyncio.create_task(broker.place(BUY))
    await until(lambda: happened(tokens))
    assert await exchange.report(BUY.reference) is None
    sending.cancel()


async def test_a_late_request_that_was_given_up_meanwhile_is_refused(broker, tokens):
    order(tokens, Fault.LATE_ACCEPT, 1, 1)
    sending = asyncio.create_task(broker.place(BUY))
    await until(lambda: happened(tokens))
    gone = await broker.resolve(BUY.reference, "TCS")
    assert gone.status is OrderStatus.REJECTED
    with pytest.raises(OrderRejected):
        await sending
    assert await trade(broker, 1) == []


async def test_a_late_answer_is_of_an_order_that_arrived_at_once(broker, exchange, tokens):
    order(tokens, Fault.LATE_REPLY, 1, LONG)
    sending = asyncio.create_task(broker.place(BUY))
    await until(lambda: happened(tokens))
    assert (await exchange.report(BUY.reference)).status is OrderStatus.WORKING
    assert not sending.done()
    sending.cancel()


@pytest.mark.parametrize("fault", [Fault.LATE_ACCEPT, Fault.LATE_REPLY])
async def test_who_is_patient_gets_the_answer(broker, tokens, fault):
    order(tokens, fault, 1, 1)
    assert (await broker.place(BUY)).status is OrderStatus.WORKING


async def test_a_duplicated_fill_comes_twice_and_older_news_after_the_newer(broker, tokens):
    await broker.place(BUY)
    [part] = await trade(broker, 1)
    order(tokens, Fault.DUPLICATE_FILL, 1)
    full, again = await trade(broker, 2)
    assert full == again
    assert full.filled_quantity > part.filled_quantity
    assert await trade(broker, 3) == [part]
    assert await trade(broker, 4) == []


async def test_the_news_of_an_orders_end_are_lost_and_only_a_look_up_finds_it(broker, tokens):
    order(tokens, Fault.LOSE_REPORT, 1)
    await broker.place(BUY)
    [part] = await trade(broker, 1)
    assert part.status is OrderStatus.WORKING  # not an end, so nothing is lost yet
    assert await trade(broker, 2) == []
    assert await trade(broker, 3) == []
    assert (await broker.report(BUY.reference)).status is OrderStatus.FILLED
    assert happened(tokens) == {Fault.LOSE_REPORT: 1}


async def test_in_the_dark_nothing_but_the_markets_news_comes_through(broker, exchange, tokens):
    await broker.place(BUY)
    order(tokens, Fault.DARK, 1, LONG)
    calls = [
        lambda: broker.report(BUY.reference),
        lambda: broker.reports(),
        lambda: broker.resolve(BUY.reference, "TCS"),
        lambda: broker.positions(),
        lambda: broker.cancel(BUY.reference),
        lambda: broker.place(replace(BUY, reference="20261120E0000000002")),
    ]
    for call in calls:
        with pytest.raises(BrokerUnavailable):
            await call()
    assert len(await trade(broker, 1)) == 1
    assert [r.reference for r in await exchange.reports()] == [BUY.reference]


async def test_the_dark_ends(broker, tokens):
    order(tokens, Fault.DARK, 1, 1)
    with pytest.raises(BrokerUnavailable):
        await broker.reports()
    await asyncio.sleep(0.002)  # what is tested is the time
    assert await broker.reports() == []


async def test_tokens_are_used_in_their_order_by_the_first_call_they_suit(broker, tokens):
    order(tokens, Fault.LOST_REQUEST, 2)
    order(tokens, Fault.UNAVAILABLE, 1)
    order(tokens, Fault.DUPLICATE_FILL, 0)
    with pytest.raises(BrokerUnavailable):
        await broker.place(BUY)
    with pytest.raises(UnknownOutcome):
        await broker.place(BUY)
    assert happened(tokens) == {Fault.UNAVAILABLE: 1, Fault.LOST_REQUEST: 1}
    await broker.place(BUY)
    assert len(await trade(broker, 1)) == 2


async def test_one_token_is_one_fault_however_many_brokers_look_at_it(exchange, tokens):
    brokers = [FaultyBroker(exchange, tokens) for _ in range(4)]
    for number in range(3):
        order(tokens, Fault.UNAVAILABLE, number)
    answers = await asyncio.gather(*(b.place(BUY) for b in brokers), return_exceptions=True)
    assert sum(isinstance(answer, BrokerUnavailable) for answer in answers) == 3
    assert happened(tokens) == {Fault.UNAVAILABLE: 3}


@pytest.mark.parametrize("kind", list(Fault))
def test_a_token_says_how_long_where_that_means_something(tmp_path, kind):
    fits, does_not = (5, 0) if kind in TIMED else (0, 5)
    assert kind in order(tmp_path, kind, 7, fits).name
    with pytest.raises(ValueError, match=kind):
        order(tmp_path, kind, 8, does_not)


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("fault", "error", "stands"),
    [
        (Fault.DROP_REPLY, UnknownOutcome, "98"),
        (Fault.LOST_REQUEST, UnknownOutcome, "95"),
        (Fault.UNAVAILABLE, BrokerUnavailable, "95"),
        (Fault.REJECT, OrderRejected, "95"),
    ],
)
async def test_a_failed_move_of_a_stop_order_leaves_at_the_exchange_what_its_fault_says(
    broker, exchange, tokens, fault, error, stands
):
    stop = replace(BUY, leg=Leg.EXIT, side=Side.SELL, stop=True, trigger=Decimal(95))
    await broker.place(stop)
    order(tokens, fault, 1)
    with pytest.raises(error):
        await broker.amend(BUY.reference, trigger=Decimal(98), limit_price=None)
    assert (await exchange.report(BUY.reference)).trigger == Decimal(stands)
    moved = await broker.amend(BUY.reference, trigger=Decimal(98), limit_price=None)
    assert moved.trigger == Decimal(98)
