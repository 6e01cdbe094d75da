"""Orders at Groww when nothing goes wrong: splitting, restarts, foreign orders, circuit limits.

What every broker must do is in tests/contract/test_broker_contract.py, faults are in
test_groww_broker_faults.py.
"""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from groww_broker_world import BUY, EXIT, OPEN, groww_world

from hftray.adapters.groww import holdings
from hftray.adapters.groww.governor import Urgency
from hftray.core.errors import BrokerUnavailable, OrderRejected, UnknownOutcome
from hftray.core.ledger import RunInfo, RunState
from hftray.core.orders import OrderStatus, Side
from hftray.core.reconcile import compare, locks

pytestmark = pytest.mark.usefixtures("impatient")

D = Decimal
RUN = RunInfo(1, "live", "groww", "default", D(100_000))
NOTHING = RunState(RUN, session_day=OPEN.date())


@pytest.fixture
async def world():
    async with groww_world() as made:
        await made.trade(100.0)
        yield made


async def test_what_is_sent_is_an_intraday_limit_order_for_the_day(world):
    await world.broker.place(replace(BUY, limit_price=D("100.57")))
    assert world.requests("/order/create") == [
        {
            "trading_symbol": "TCS",
            "quantity": 10,
            "price": 100.5,
            "trigger_price": None,
            "validity": "DAY",
            "exchange": "NSE",
            "segment": "CASH",
            "product": "MIS",
            "order_type": "LIMIT",
            "transaction_type": "BUY",
            "order_reference_id": BUY.reference,
        }
    ]


async def test_an_exit_is_priced_a_percent_beyond_the_last_price(world):
    world.hold()
    await world.broker.place(EXIT)
    [sent] = world.requests("/order/create")
    assert (sent["price"], sent["order_type"]) == (99.0, "LIMIT")


async def test_without_a_quote_an_exit_is_priced_by_the_feed(world):
    world.hold()
    await world.trade(104.0)
    world.groww.faults.add("http_status", path="/live-data/quote", status=503, times=None)
    await world.broker.place(EXIT)
    [sent] = world.requests("/order/create")
    assert sent["price"] == 103.0  # 102.96, rounded towards the last price


async def test_without_any_price_an_exit_is_not_sent(world):
    world.hold()
    await world.reopen()
    world.groww.faults.add("http_status", path="/live-data/quote", status=503, times=None)
    with pytest.raises(BrokerUnavailable, match="TCS"):
        await world.broker.place(EXIT)
    assert world.requests("/order/create") == []


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (replace(BUY, quantity=0), "quantity 0"),
        (replace(BUY, symbol="NOSUCH"), "NOSUCH"),
        (replace(BUY, reference="short"), "short"),
        (replace(BUY, limit_price=D("0.01")), "limit price"),
    ],
)
async def test_an_order_that_cannot_be_right_is_not_sent(world, order, message):
    with pytest.raises(OrderRejected, match=message):
        await world.broker.place(order)
    assert world.requests("/order/create") == []


async def test_a_share_on_bse_is_the_twin_with_the_exchange_in_its_name(world):
    order = replace(BUY, symbol="BSE:TCS", exchange="BSE")
    placed = await world.broker.place(order)
    [sent] = world.requests("/order/create")
    assert (sent["exchange"], sent["trading_symbol"], placed.symbol) == ("BSE", "TCS", "BSE:TCS")
    [told] = await world.trade(100.0, "BSE:TCS")
    await world.reopen()
    assert await world.broker.reports() == [told]
    [held] = await world.broker.positions()
    assert (held.symbol, held.quantity) == ("BSE:TCS", 10)


@pytest.fixture
def urgencies(world):
    """The urgency of every call that the broker makes."""
    urgencies = []
    calls = world.broker._calls
    ask, post = calls._ask, calls._post

    async def watched_ask(path, params, urgency, *more):
        urgencies.append(urgency)
        return await ask(path, params, urgency, *more)

    async def watched_post(path, body, urgency):
        urgencies.append(urgency)
        return await post(path, body, urgency)

    calls._ask, calls._post = watched_ask, watched_post
    return urgencies


async def test_calls_for_an_exit_go_before_others(world, urgencies):
    world.hold()
    world.groww.faults.add("drop_reply", path="/order/create")
    await world.broker.place(EXIT)
    await world.broker.resolve(EXIT.reference, "TCS")
    await world.broker.cancel(EXIT.reference)
    assert set(urgencies) == {Urgency.EXIT}
    assert len(urgencies) >= 6
    urgencies.clear()
    await world.broker.place(BUY)
    await world.broker.cancel(BUY.reference)
    assert set(urgencies) == {Urgency.ENTRY}


async def test_exits_go_before_guards_but_for_one_that_is_withdrawn(world, urgencies):
    guard = replace(EXIT, stop=True, trigger=D("95.00"))
    await world.broker.place(guard)
    await world.broker.amend(guard.reference, trigger=D("97.00"), limit_price=None)
    await world.broker.place(guard)
    assert set(urgencies) == {Urgency.ENTRY}
    assert len(urgencies) >= 6
    urgencies.clear()
    await world.broker.cancel(guard.reference)
    assert set(urgencies) == {Urgency.EXIT}


# Exits of what is not there


@pytest.mark.parametrize(
    ("held", "side", "told"),
    [
        (0, Side.SELL, "holds none of TCS"),
        (-10, Side.SELL, "holds none of TCS"),
        (9, Side.SELL, "holds 9, not 10, of TCS"),
        (0, Side.BUY, "holds none of TCS"),
        (10, Side.BUY, "holds none of TCS"),
        (-9, Side.BUY, "holds 9, not 10, of TCS"),
    ],
)
async def test_an_exit_of_more_than_the_broker_holds_is_not_sent(world, held, side, told):
    if held:
        world.hold(held)
    world.hold(side.sign * -10, "BSE")
    with pytest.raises(OrderRejected, match=f"{EXIT.reference}: .*{told}.*settle by hand"):
        await world.broker.place(replace(EXIT, side=side))
    assert world.requests("/order/create") == []


async def test_a_position_closed_by_hand_is_not_closed_again(world):
    await world.broker.place(BUY)
    await world.trade(100.0)
    world.by_hand("SELL", 10, price=99.0)
    await world.trade(100.0)
    with pytest.raises(OrderRejected, match="closed elsewhere"):
        await world.broker.place(EXIT)
    assert await world.broker.positions() == []


@pytest.mark.parametrize(("kind", "settings"), [
    ("http_status", {"status": 503}), ("html", {}), ("error", {"code": "GA001"}),
    ("error", {"code": "GA005"}), ("slow", {"seconds": 4.0}),
])  # fmt: skip
async def test_an_exit_is_sent_when_the_positions_cannot_be_read(
    world, kind, settings, monkeypatch
):
    monkeypatch.setattr(holdings, "EXIT_PATIENCE", 0.2)
    world.groww.faults.add(kind, path="/positions/user", times=None, **settings)
    assert (await world.broker.place(EXIT)).status is OrderStatus.WORKING


async def test_an_exit_that_was_sent_is_returned_though_nothing_is_held_any_more(world):
    world.hold()
    placed = await world.broker.place(EXIT)
    [sold] = await world.trade(100.0)
    await world.reopen()
    assert sold.reference == placed.reference
    assert await world.broker.place(EXIT) == sold


# Names that are taken


@pytest.mark.parametrize(
    "changes",
    [{"side": "SELL"}, {"quantity": 9}, {"exchange": "BSE"}, {"quantity": 10, "price": 90.0}],
    ids=["side", "quantity", "exchange", "the same"],
)
@pytest.mark.parametrize("listed", [True, False])
async def test_another_order_under_our_reference_is_not_taken_for_ours(world, changes, listed):
    other = {"quantity": 10, "order_reference_id": BUY.reference, **changes}
    if not listed:  # so that it shows by Groww's refusal of the name
        world.groww.faults.add("lookup_delay", path="/order/list", times=None)
    world.by_hand(**other)
    if "price" in changes:
        assert (await world.broker.place(BUY)).limit_price == D("90.0")
        return
    with pytest.raises(OrderRejected, match=f"{BUY.reference} names another order"):
        await world.broker.place(BUY)
    assert len(world.groww.world.book_rows()) == 1
    world.groww.faults.clear()
    [foreign] = await world.broker.reports()  # so nobody withdraws it
    assert foreign.reference.startswith("groww:")


async def test_the_parts_of_an_order_are_known_as_its_own_again():
    async with groww_world(freeze=10) as world:
        await world.trade(100.0)
        await world.broker.place(replace(BUY, quantity=25))
        await world.reopen()
        world.seconds += 60
        placed = await world.broker.place(replace(BUY, quantity=25))
        assert placed.quantity == 25
        with pytest.raises(OrderRejected, match="names another order"):
            await world.broker.place(replace(BUY, quantity=15))


# Parts


async def test_above_the_freeze_quantity_an_order_is_several():
    async with groww_world(freeze=10) as world:
        await world.trade(100.0)
        placed = await world.broker.place(replace(BUY, quantity=25))
        sent = world.requests("/order/create")
        assert [body["quantity"] for body in sent] == [10, 10, 5]
        assert len({body["order_reference_id"] for body in sent}) == 3
        assert sent[0]["order_reference_id"] == BUY.reference
        assert (placed.quantity, placed.status) == (25, OrderStatus.WORKING)
        [told] = await world.trade(100.0)
        assert (told.status, told.filled_quantity) == (OrderStatus.FILLED, 25)
        assert len(told.executions) == 3
        await world.reopen()
        assert await world.broker.reports() == [told]
        [held] = await world.broker.positions()
        assert held.quantity == 25


async def test_a_part_that_is_refused_ends_the_order_with_those_before_it():
    async with groww_world(freeze=10, behaviour={"refusals": "error"}) as world:
        await world.trade(100.0)
        world.groww.faults.add("error", path="/order/create", nth=2, code="GA006")
        placed = await world.broker.place(replace(BUY, quantity=25))
        assert (placed.status, placed.quantity) == (OrderStatus.WORKING, 25)
        assert len(world.requests("/order/create")) == 2
        [told] = await world.trade(100.0)
        assert (told.status, told.filled_quantity) == (OrderStatus.CANCELLED, 10)
        assert "the rest was not sent" in told.reason


async def test_all_parts_are_withdrawn():
    async with groww_world(freeze=10) as world:
        await world.trade(100.0)
        await world.broker.place(replace(BUY, quantity=25, limit_price=D("90.00")))
        cancelled = await world.broker.cancel(BUY.reference)
        assert (cancelled.status, cancelled.filled_quantity) == (OrderStatus.CANCELLED, 0)
        assert all(row["order_status"] == "CANCELLED" for row in world.groww.world.book_rows())


async def test_a_new_process_looks_for_the_part_after_a_full_one_before_an_order_is_over():
    async with groww_world(freeze=10) as world:
        await world.trade(100.0)
        world.groww.faults.add("drop_request", path="/order/create", nth=2)
        with pytest.raises(UnknownOutcome):
            await world.broker.place(replace(BUY, quantity=25))
        await world.reopen()
        [told] = await world.trade(100.0)
        assert (told.status, told.filled_quantity) == (OrderStatus.WORKING, 10)
        assert await world.broker.resolve(BUY.reference, "TCS") is None
        world.seconds += 60
        ended = await world.broker.resolve(BUY.reference, "TCS")
        assert (ended.status, ended.filled_quantity) == (OrderStatus.FILLED, 10)


# A new process


async def test_a_new_process_tells_everything_of_today_that_traded_or_ended(world):
    await world.broker.place(BUY)
    [filled] = await world.trade(100.0)
    resting = replace(EXIT, limit_price=D("150.00"))
    await world.broker.place(resting)
    await world.reopen()
    assert await world.trade(100.0) == [filled]
    assert await world.trade(100.0) == []
    [sold] = await world.trade(151.0)
    assert (sold.reference, sold.status) == (resting.reference, OrderStatus.FILLED)


async def test_a_new_process_finds_an_order_that_no_list_shows_by_its_reference(world):
    await world.broker.place(BUY)
    await world.reopen()
    world.groww.faults.add("lookup_delay", path="/order/list", times=None)
    report = await world.broker.report(BUY.reference)
    assert report.status is OrderStatus.WORKING
    assert await world.broker.resolve(BUY.reference, "TCS") == report
    assert (await world.broker.cancel(BUY.reference)).status is OrderStatus.CANCELLED


async def test_the_list_is_read_once_and_then_only_what_works(world):
    await world.broker.place(replace(BUY, limit_price=D("90.00")))
    world.groww.world.journal.clear()
    for _ in range(3):
        await world.trade(100.0)
    paths = [entry.path for entry in world.groww.world.journal]
    assert len(paths) == 3  # one call a step, none for trades that nobody made
    await world.broker.cancel(BUY.reference)
    world.groww.world.journal.clear()
    for _ in range(3):
        await world.trade(100.0)
    assert world.groww.world.journal == []


@pytest.mark.parametrize("size", [25, 50])
async def test_every_page_of_the_list_is_read_and_no_more(size):
    async with groww_world(behaviour={"order_page_size": size}) as world:
        for _ in range(60):
            world.by_hand()
        world.groww.world.journal.clear()
        assert len(await world.broker.reports()) == 60
        pages = sum(entry.path == "/v1/order/list" for entry in world.groww.world.journal)
        assert pages == {25: 3, 50: 2}[size]


async def test_a_page_that_is_exactly_full_is_followed_by_an_empty_one():
    async with groww_world() as world:
        for _ in range(50):
            world.by_hand()
        assert len(await world.broker.reports()) == 50


# Not ours


async def test_an_order_placed_by_hand_locks_its_symbol(world):
    world.by_hand()
    [report] = await world.broker.reports()
    assert (report.symbol, report.status) == ("TCS", OrderStatus.WORKING)
    assert locks(compare(NOTHING, [report], [])).keys() == {"TCS"}
    await world.trade(100.0)
    await world.reopen()
    [filled] = await world.broker.reports()
    assert (filled.reference, filled.filled_quantity) == (report.reference, 5)
    assert locks(compare(NOTHING, [filled], await world.broker.positions())).keys() == {"TCS"}


async def test_foreign_orders_of_other_listings_are_named_by_them(world):
    world.by_hand(exchange="BSE")
    [report] = await world.broker.reports()
    assert report.symbol == "BSE:TCS"


async def test_only_intraday_shares_of_the_day_count(world):
    world.groww.account.set_foreign_position("TCS", 7, 100.0, product="CNC")
    assert await world.broker.positions() == []
    world.groww.account.set_foreign_position("TCS", -3, 100.0)
    [held] = await world.broker.positions()
    assert (held.symbol, held.quantity) == ("TCS", -3)
    world.by_hand(product="CNC")
    assert await world.broker.reports() == []


# Circuit limits


async def test_a_short_locked_at_the_upper_circuit_waits_there_and_nothing_is_sent_twice():
    async with groww_world(band_percent=10, derivatives=False) as world:
        short = replace(BUY, side=Side.SELL)
        await world.trade(100.0)
        await world.broker.place(short)
        await world.trade(100.0)
        await world.trade(115.0)  # the band ends at 110
        cover = replace(EXIT, side=Side.BUY)
        placed = await world.broker.place(cover)
        assert world.requests("/order/create")[-1]["price"] == 110.0
        assert placed.status is OrderStatus.WORKING
        assert "upper circuit limit 110" in placed.reason
        assert placed.limit_price == D("110.00")
        for _ in range(3):
            assert await world.trade(115.0) == []
        assert await world.broker.place(cover) == placed
        assert len(world.requests("/order/create")) == 2
        [bought] = await world.trade(108.0)
        assert (bought.status, bought.filled_quantity) == (OrderStatus.FILLED, 10)
        assert await world.broker.positions() == []


async def test_an_entry_outside_the_circuit_band_is_refused_before_it_is_sent():
    async with groww_world(band_percent=10, derivatives=False) as world:
        await world.trade(100.0)
        with pytest.raises(OrderRejected, match=BUY.reference):
            await world.broker.place(replace(BUY, limit_price=D("80.00")))
        assert world.requests("/order/create") == []


# Withdrawing


async def test_a_withdrawal_that_takes_its_time_is_unknown_until_it_is_confirmed():
    async with groww_world(behaviour={"cancel_seconds": 10.0}) as world:
        await world.trade(100.0)
        await world.broker.place(replace(BUY, limit_price=D("90.00")))
        with pytest.raises(UnknownOutcome, match=BUY.reference):
            await world.broker.cancel(BUY.reference)
        working = await world.broker.resolve(BUY.reference, "TCS")
        assert working.status is OrderStatus.WORKING
        [told] = await world.trade(100.0)
        assert (told.status, told.filled_quantity) == (OrderStatus.CANCELLED, 0)


async def test_a_fill_that_crosses_a_withdrawal_counts():
    async with groww_world(behaviour={"cancel_seconds": 20.0}) as world:
        await world.trade(100.0)
        await world.broker.place(replace(BUY, limit_price=D("90.00")))
        with pytest.raises(UnknownOutcome):
            await world.broker.cancel(BUY.reference)
        [told] = await world.trade(89.0)
        assert (told.status, told.filled_quantity) == (OrderStatus.FILLED, 10)
        assert await world.broker.cancel(BUY.reference) == told


async def test_withdrawing_what_has_just_filled_returns_the_fill(world):
    await world.broker.place(BUY)
    world.step(100.0)  # nobody has told the broker
    ended = await world.broker.cancel(BUY.reference)
    assert (ended.status, ended.filled_quantity) == (OrderStatus.FILLED, 10)


async def test_reports_carry_the_time_of_the_trade_and_not_of_the_look(world):
    await world.broker.place(BUY)
    due = world.groww.market.next_tick(world.groww.clock.now())
    world.step(100.0)
    await world.trade(100.0)
    [report] = await world.broker.reports()
    assert report.time == due
    assert report.time.utcoffset() == timedelta(hours=5, minutes=30)
    assert report.executions[0].time == due
