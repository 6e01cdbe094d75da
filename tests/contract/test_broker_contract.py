"""What every broker must do. A new adapter joins with a line in BROKERS or WORLDS.

A broker under test comes with a market that the test drives: `trade(price)` lets one share trade
and returns the reports that changed, `reopen()` is the same broker seen from a new process,
`give_up(reference)` asks what became of an order until the broker is certain.

Groww cannot promise two things that a simulated exchange can, since nothing about an order can be
left with it but the order: a new process does not know which news the old one told, and cannot bar
a reference that was given up. Where a test asks for those it skips and says so; what holds there
instead is in test_groww_broker.py.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from groww_broker_world import GrowwWorld, groww_world

from hftray.adapters.paper_exchange import PaperExchange
from hftray.adapters.simulated_exchange import SimulatedExchange
from hftray.core.errors import NotFound, OrderRejected
from hftray.core.market import Instrument, Tick
from hftray.core.orders import BrokerPosition, Leg, Order, OrderReport, OrderStatus, Side
from hftray.core.session import IST, SessionRules, trading_session
from hftray.ports import Broker, MarketBatch
from hftray.testing.faulty_broker import FaultyBroker

SHARE = Instrument("TCS", tick_size=Decimal("0.10"))
OPEN = datetime(2026, 11, 20, 9, 15, tzinfo=IST)
TODAY = trading_session(OPEN.date(), OPEN, OPEN + timedelta(hours=6), SessionRules())
BUY = Order("20261120E0000000001", "TCS", "NSE", Leg.ENTRY, Side.BUY, 10, OPEN)
SELL = replace(BUY, reference="20261120X0000000001", leg=Leg.EXIT, side=Side.SELL)
# A broker may refuse an exit of what it does not hold; an entry opens a short.
SHORT = replace(BUY, reference="20261120E0000000002", side=Side.SELL)
# Stop orders that the market reaches when it moves by five rupees from 100.
STOP_BELOW = replace(SELL, stop=True, trigger=Decimal("95.00"), limit_price=Decimal("94.00"))
STOP_ABOVE = replace(
    STOP_BELOW, side=Side.BUY, trigger=Decimal("105.00"), limit_price=Decimal("106.00")
)


@dataclass
class World:
    """A broker and the market it trades on."""

    open_broker: Callable[[], Broker]
    broker: Broker
    minute: int = 0
    batch: MarketBatch | None = None

    async def trade(self, price: float) -> list[OrderReport]:
        now = OPEN + timedelta(minutes=self.minute)
        self.minute += 1
        ticks = {"TCS": Tick("TCS", now, price, 100)}
        self.batch = MarketBatch(now=now, open=True, sessions={"TCS": TODAY}, ticks=ticks)
        return await self.broker.on_market(self.batch)

    async def ask_again(self) -> list[OrderReport]:
        """The news of the last trade, for someone who lost the answer."""
        return await self.broker.on_market(self.batch)

    async def reopen(self) -> None:
        self.broker = self.open_broker()

    async def give_up(self, reference: str) -> OrderReport | None:
        return await self.broker.resolve(reference, "TCS")


def simulated(folder: Path) -> Callable[[], Broker]:
    return lambda: SimulatedExchange(folder / "book.db", {"TCS": SHARE}, slippage_bps=2.0)


def simulated_in_parts(folder: Path) -> Callable[[], Broker]:
    return lambda: SimulatedExchange(folder / "book.db", {"TCS": SHARE}, partial_fill_rate=1.0)


def paper(folder: Path) -> Callable[[], Broker]:
    return lambda: PaperExchange(folder / "book.db", {"TCS": SHARE}, slippage_bps=2.0)


def faultless(folder: Path) -> Callable[[], Broker]:
    return lambda: FaultyBroker(simulated_in_parts(folder)(), folder / "faults")


BROKERS = {
    "simulated": simulated,
    "simulated, partial fills": simulated_in_parts,
    "faulty, without faults": faultless,
    "paper": paper,
}


@asynccontextmanager
async def _local(name: str, folder: Path) -> AsyncIterator[World]:
    open_broker = BROKERS[name](folder)
    yield World(open_broker, open_broker())


def groww(_folder: Path) -> AbstractAsyncContextManager[GrowwWorld]:
    # The exits of this contract are market orders in a market that leaps by ten percent.
    return groww_world(exit_band_percent=Decimal(20))


def groww_in_parts(_folder: Path) -> AbstractAsyncContextManager[GrowwWorld]:
    behaviour = {"partial_fill_rate": 1.0}
    return groww_world(exit_band_percent=Decimal(20), behaviour=behaviour)


WORLDS = {
    **{name: partial(_local, name) for name in BROKERS},
    "groww": groww,
    "groww, partial fills": groww_in_parts,
}


@pytest.fixture(params=WORLDS)
async def world(request, tmp_path) -> AsyncIterator[World | GrowwWorld]:
    async with WORLDS[request.param](tmp_path) as made:
        await made.trade(100.0)
        yield made


async def test_an_order_is_known_from_the_moment_it_is_placed(world):
    placed = await world.broker.place(BUY)
    assert (placed.reference, placed.symbol, placed.quantity) == (BUY.reference, "TCS", 10)
    assert placed.broker_order_id
    assert await world.broker.report(BUY.reference) == placed
    assert placed in await world.broker.reports()


async def test_an_unknown_reference_is_none_and_cannot_be_cancelled(world):
    assert await world.broker.report("NOSUCH") is None
    with pytest.raises(NotFound):
        await world.broker.cancel("NOSUCH")


async def test_placing_twice_is_placing_once(world):
    first = await world.broker.place(BUY)
    assert await world.broker.place(BUY) == first
    await world.trade(100.0)
    await world.trade(100.0)
    again = await world.broker.place(BUY)
    assert (again.status, again.filled_quantity) == (OrderStatus.FILLED, 10)
    await world.trade(100.0)
    [only] = await world.broker.reports()
    assert only.filled_quantity == 10


async def test_a_fill_is_complete_on_the_tick_and_adds_up(world):
    await world.broker.place(BUY)
    await world.trade(100.0)
    await world.trade(100.3)
    report = await world.broker.report(BUY.reference)
    assert report.status is OrderStatus.FILLED
    assert sum(fill.quantity for fill in report.executions) == report.filled_quantity == 10
    assert len({fill.trade_id for fill in report.executions}) == len(report.executions)
    assert all(fill.price % SHARE.tick_size == 0 for fill in report.executions)
    paid = sum(fill.price * fill.quantity for fill in report.executions)
    assert abs(report.average_price * 10 - paid) < Decimal("0.01")
    assert all(fill.time > BUY.time for fill in report.executions)
    assert report.time.tzinfo is not None


async def test_reports_are_cumulative_and_only_told_when_something_changed(world):
    await world.broker.place(BUY)
    told = []
    for _ in range(5):
        told += await world.trade(100.0)
    amounts = [report.filled_quantity for report in told]
    assert amounts == sorted(set(amounts))
    assert amounts[-1] == 10
    for earlier, later in pairwise(told):
        assert later.executions[: len(earlier.executions)] == earlier.executions


@pytest.mark.parametrize("restarts", [False, True])
async def test_news_that_were_lost_are_told_again_and_fill_nothing_twice(world, restarts):
    if restarts and isinstance(world, GrowwWorld):
        pytest.skip("a new process tells every order of the day once more, not only the last news")
    await world.broker.place(BUY)
    amounts = []
    for _ in range(3):
        told = await world.trade(100.0)
        if restarts:
            await world.reopen()
        assert await world.ask_again() == told
        amounts += [report.filled_quantity for report in told]
    assert amounts == sorted(set(amounts))
    assert _held(await world.broker.positions()) == {"TCS": amounts[-1]} == {"TCS": 10}


@pytest.mark.parametrize(
    ("order", "limit", "outside", "inside"),
    [(BUY, "99.00", 99.1, 98.9), (SHORT, "101.00", 100.9, 101.2)],
)
async def test_a_limit_is_respected(world, order, limit, outside, inside):
    order = replace(order, limit_price=Decimal(limit))
    await world.broker.place(order)
    assert await world.trade(outside) == []
    await world.trade(inside)
    await world.trade(inside)
    report = await world.broker.report(order.reference)
    assert report.status is OrderStatus.FILLED
    for fill in report.executions:
        assert (order.limit_price - fill.price) * order.side.sign >= 0


async def test_a_cancelled_order_never_trades_again(world):
    await world.broker.place(replace(BUY, limit_price=Decimal("50.00")))
    cancelled = await world.broker.cancel(BUY.reference)
    assert (cancelled.status, cancelled.filled_quantity) == (OrderStatus.CANCELLED, 0)
    assert await world.trade(40.0) == []
    assert await world.broker.report(BUY.reference) == cancelled
    assert await world.broker.cancel(BUY.reference) == cancelled


async def test_cancelling_a_finished_order_returns_it_as_it_is(world):
    await world.broker.place(BUY)
    await world.trade(100.0)
    await world.trade(100.0)
    finished = await world.broker.report(BUY.reference)
    assert finished.status is OrderStatus.FILLED
    assert await world.broker.cancel(BUY.reference) == finished


async def test_what_was_filled_before_a_cancel_is_kept(world):
    await world.broker.place(BUY)
    [first] = await world.trade(100.0)
    cancelled = await world.broker.cancel(BUY.reference)
    assert cancelled.filled_quantity == first.filled_quantity
    assert cancelled.executions == first.executions
    assert cancelled.status.terminal


async def test_a_new_process_finds_the_same_book_and_goes_on(world):
    await world.broker.place(BUY)
    await world.broker.place(replace(SHORT, limit_price=Decimal("500.00")))
    await world.trade(100.0)
    before = await world.broker.reports()
    await world.reopen()
    assert await world.broker.reports() == before
    assert await world.broker.place(BUY) in before
    await world.trade(100.0)
    report = await world.broker.report(BUY.reference)
    assert (report.status, report.filled_quantity) == (OrderStatus.FILLED, 10)


async def test_a_rejected_order_raises_and_stays_rejected(world):
    bad = replace(BUY, quantity=-1)
    for _ in range(2):
        with pytest.raises(OrderRejected, match=BUY.reference):
            await world.broker.place(bad)
    assert await world.trade(100.0) == []


async def test_an_order_that_came_is_resolved_to_its_report(world):
    await world.broker.place(BUY)
    assert await world.broker.resolve(BUY.reference, "TCS") == await world.broker.report(
        BUY.reference
    )
    await world.trade(100.0)
    await world.trade(100.0)
    resolved = await world.broker.resolve(BUY.reference, "TCS")
    assert (resolved.status, resolved.filled_quantity) == (OrderStatus.FILLED, 10)
    assert await world.broker.place(BUY) == resolved


@pytest.mark.parametrize("restarts", [False, True])
async def test_an_order_that_comes_after_it_was_given_up_is_refused(world, restarts):
    if restarts and isinstance(world, GrowwWorld):
        pytest.skip("Groww keeps no given-up references; the ledger's FAILED row bars sending one")
    await world.trade(100.0)
    gone = await world.give_up(BUY.reference)
    assert (gone.reference, gone.symbol, gone.status) == (
        BUY.reference,
        "TCS",
        OrderStatus.REJECTED,
    )
    assert gone.filled_quantity == 0
    assert gone.reason
    if restarts:
        await world.reopen()
    for _ in range(2):
        with pytest.raises(OrderRejected, match=BUY.reference):
            await world.broker.place(BUY)
    assert await world.trade(100.0) == []
    assert await world.broker.resolve(BUY.reference, "TCS") == gone
    assert await world.broker.report(BUY.reference) == gone
    assert await world.broker.cancel(BUY.reference) == gone
    assert await world.broker.reports() == [gone]
    assert await world.broker.positions() == []


@pytest.mark.parametrize(
    ("stop", "short_of_it", "reached"), [(STOP_BELOW, 95.1, 95.0), (STOP_ABOVE, 104.9, 105.0)]
)
async def test_a_stop_order_rests_until_its_trigger_is_reached(world, stop, short_of_it, reached):
    placed = await world.broker.place(stop)
    assert (placed.status, placed.trigger) == (OrderStatus.WORKING, stop.trigger)
    for price in (100.0, short_of_it, 100.0):
        assert await world.trade(price) == []
    await world.reopen()
    assert await world.broker.place(stop) == placed
    await world.trade(reached)
    await world.trade(reached)
    report = await world.broker.report(stop.reference)
    assert (report.status, report.filled_quantity) == (OrderStatus.FILLED, 10)
    assert all((stop.limit_price - fill.price) * stop.side.sign >= 0 for fill in report.executions)


async def test_a_stop_order_that_was_jumped_over_fills_at_the_price_there_is(world):
    await world.broker.place(STOP_BELOW)
    await world.trade(94.5)
    await world.trade(94.5)
    report = await world.broker.report(STOP_BELOW.reference)
    assert report.status is OrderStatus.FILLED
    assert Decimal("94.00") <= report.average_price <= Decimal("94.50")


async def test_a_stop_order_jumped_over_beyond_its_limit_waits_for_the_limit(world):
    await world.broker.place(STOP_BELOW)
    await world.trade(90.0)
    assert (await world.broker.report(STOP_BELOW.reference)).filled_quantity == 0
    await world.reopen()
    await world.trade(97.0)  # its trigger was reached once, so it needs that no more
    await world.trade(97.0)
    assert (await world.broker.report(STOP_BELOW.reference)).status is OrderStatus.FILLED


async def test_a_moved_stop_order_waits_for_its_new_trigger(world):
    await world.broker.place(STOP_BELOW)
    for _ in range(2):  # twice is once
        moved = await world.broker.amend(
            STOP_BELOW.reference, trigger=Decimal("98.00"), limit_price=Decimal("97.00")
        )
        assert (moved.status, moved.trigger, moved.filled_quantity) == (
            OrderStatus.WORKING,
            Decimal("98.00"),
            0,
        )
    await world.reopen()
    assert await world.broker.report(STOP_BELOW.reference) == moved
    assert await world.broker.place(STOP_BELOW) == moved
    assert moved in await world.broker.reports()
    await world.trade(98.5)
    assert (await world.broker.report(STOP_BELOW.reference)).filled_quantity == 0
    await world.trade(97.9)
    await world.trade(97.9)
    report = await world.broker.report(STOP_BELOW.reference)
    assert (report.status, report.filled_quantity) == (OrderStatus.FILLED, 10)
    assert report.average_price >= Decimal("97.00")


async def test_what_cannot_be_moved(world):
    to = {"trigger": Decimal("98.00"), "limit_price": None}
    with pytest.raises(NotFound):
        await world.broker.amend("NOSUCH", **to)
    await world.broker.place(BUY)
    with pytest.raises(OrderRejected, match=BUY.reference):
        await world.broker.amend(BUY.reference, **to)
    await world.broker.place(STOP_BELOW)
    with pytest.raises(OrderRejected, match=STOP_BELOW.reference):
        await world.broker.amend(STOP_BELOW.reference, trigger=Decimal(-1), limit_price=None)
    stands = await world.broker.report(STOP_BELOW.reference)
    assert (stands.status, stands.trigger) == (OrderStatus.WORKING, STOP_BELOW.trigger)
    cancelled = await world.broker.cancel(STOP_BELOW.reference)
    assert await world.broker.amend(STOP_BELOW.reference, **to) == cancelled


async def test_a_stop_order_that_has_triggered_is_not_moved_any_more(world):
    await world.broker.place(STOP_BELOW)
    await world.trade(94.9)
    begun = await world.broker.report(STOP_BELOW.reference)
    assert begun.filled_quantity > 0
    assert begun == await world.broker.amend(
        STOP_BELOW.reference, trigger=Decimal("98.00"), limit_price=None
    )


async def test_a_stop_order_that_is_cancelled_keeps_what_it_filled_and_never_fills_more(world):
    await world.broker.place(STOP_BELOW)
    await world.trade(94.9)
    begun = await world.broker.report(STOP_BELOW.reference)
    cancelled = await world.broker.cancel(STOP_BELOW.reference)
    assert cancelled.status.terminal
    assert (cancelled.filled_quantity, cancelled.executions) == (
        begun.filled_quantity,
        begun.executions,
    )
    await world.trade(94.9)
    assert await world.broker.report(STOP_BELOW.reference) == cancelled


async def test_positions_are_what_was_bought_less_what_was_sold(world):
    assert await world.broker.positions() == []
    await world.broker.place(replace(BUY, quantity=30))
    [begun] = await world.trade(100.0)
    assert _held(await world.broker.positions()) == {"TCS": begun.filled_quantity}
    await world.trade(101.0)
    entry = await world.broker.report(BUY.reference)
    await world.broker.place(SELL)
    await world.trade(90.0)
    await world.trade(90.0)
    [left] = await world.broker.positions()
    assert (left.symbol, left.quantity) == ("TCS", 20)
    assert left.average_price in (None, entry.average_price)
    await world.reopen()
    assert await world.broker.positions() == [left]


async def test_shares_sold_short_count_below_zero_and_a_flat_symbol_not_at_all(world):
    await world.broker.place(SHORT)
    await world.trade(100.0)
    await world.trade(100.0)
    assert _held(await world.broker.positions()) == {"TCS": -10}
    await world.broker.place(BUY)
    await world.trade(100.0)
    await world.trade(100.0)
    assert await world.broker.positions() == []


async def test_closing_releases_the_broker(world):
    await world.broker.place(BUY)
    await world.broker.close()
    await world.reopen()
    assert await world.broker.report(BUY.reference) is not None


def _held(positions: list[BrokerPosition]) -> dict[str, int]:
    return {held.symbol: held.quantity for held in positions}
