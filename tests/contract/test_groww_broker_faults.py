"""What the Groww broker does about each way in which Groww can fail; the list is complete for the
loopback's faults that concern orders. In every case the exchange has the order at most once.
"""

import asyncio
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import httpx
import pytest
from groww_broker_world import BUY, EXIT, INSTRUMENTS, OPEN, groww_world
from risk_world import CHARGES

from hftray.core.errors import (
    BrokerUnavailable,
    ConfigError,
    DataError,
    NotFound,
    OrderRejected,
    RetryError,
    UnknownOutcome,
)
from hftray.core.ledger import RunInfo, RunState, TradeRecord
from hftray.core.orders import Leg, OrderIntent, OrderReport, OrderStatus, Side, TradeStatus
from hftray.core.position import Position
from hftray.core.reconcile import compare, confirmed_price, locks
from hftray.core.risk_records import approved, finished

pytestmark = pytest.mark.usefixtures("impatient")

D = Decimal
CREATE = "/order/create"
LOOK_UP = "/order/status/reference/*"
RUN = RunInfo(1, "live", "groww", "default", D(100_000))
NOTHING = RunState(RUN, session_day=OPEN.date())


@pytest.fixture
async def world():
    async with groww_world() as made:
        await made.trade(100.0)
        yield made
        references = Counter(row["order_reference_id"] for row in made.groww.world.book_rows())
        assert all(count == 1 for count in references.values())


def sent(world) -> int:
    return len(world.requests(CREATE))


# An order whose answer is lost


TAKEN = {
    "the answer is dropped": ("drop_reply", {}),
    "500, and it was taken": ("http_status", {"status": 500, "taken": True}),
    "504, and it was taken": ("http_status", {"status": 504, "taken": True}),
    "an HTML page, and it was taken": ("html", {"taken": True}),
    "an HTML page with 200, and it was taken": ("html", {"status": 200, "taken": True}),
    "GA000, and it was taken": ("error", {"code": "GA000", "taken": True}),
    "GA003, and it was taken": ("error", {"code": "GA003", "taken": True}),
    "GA007, and it was taken": ("error", {"code": "GA007", "taken": True}),
}
NOT_TAKEN = {
    "the request is dropped": ("drop_request", {}),
    "500, and it was not taken": ("http_status", {"status": 500}),
    "an HTML page, and it was not taken": ("html", {}),
    "GA000, and it was not taken": ("error", {"code": "GA000"}),
    "GA003, and it was not taken": ("error", {"code": "GA003"}),
}


@pytest.mark.parametrize("fault", TAKEN)
@pytest.mark.parametrize("order", [BUY, EXIT], ids=["entry", "exit"])
async def test_an_order_that_was_taken_is_found_at_once_by_its_reference(world, fault, order):
    world.hold()
    kind, settings = TAKEN[fault]
    world.groww.faults.add(kind, path=CREATE, **settings)
    placed = await world.broker.place(order)
    assert (placed.status, placed.reference) == (OrderStatus.WORKING, order.reference)
    assert sent(world) == 1
    [told] = await world.trade(100.0)
    assert (told.status, told.filled_quantity) == (OrderStatus.FILLED, 10)


@pytest.mark.parametrize("fault", NOT_TAKEN)
async def test_an_order_without_a_trace_is_given_up_after_the_patience_and_not_before(world, fault):
    kind, settings = NOT_TAKEN[fault]
    world.groww.faults.add(kind, path=CREATE, **settings)
    with pytest.raises(UnknownOutcome, match=BUY.reference):
        await world.broker.place(BUY)
    with pytest.raises(UnknownOutcome, match="sent before"):
        await world.broker.place(BUY)  # never again, while nobody knows
    world.seconds = 59.9
    assert await world.broker.resolve(BUY.reference, "TCS") is None
    world.seconds = 60.0
    gone = await world.broker.resolve(BUY.reference, "TCS")
    assert (gone.status, gone.quantity) == (OrderStatus.REJECTED, 10)
    assert "never reached the exchange" in gone.reason
    assert sent(world) == 1


async def test_look_ups_that_lag_behind_are_waited_for(world):
    world.groww.faults.add("drop_reply", path=CREATE)
    delays = [world.groww.faults.add("lookup_delay", path=p, times=None)
              for p in (LOOK_UP, "/order/list", "/order/detail/*")]  # fmt: skip
    with pytest.raises(UnknownOutcome):
        await world.broker.place(BUY)
    world.seconds = 30.0
    assert await world.broker.resolve(BUY.reference, "TCS") is None
    for delay in delays:
        world.groww.faults.clear(delay)
    found = await world.broker.resolve(BUY.reference, "TCS")
    assert found.status is OrderStatus.WORKING
    [told] = await world.trade(100.0)
    assert told.status is OrderStatus.FILLED
    assert sent(world) == 1


async def test_the_list_has_the_last_word_before_an_order_is_given_up(world):
    world.groww.faults.add("drop_reply", path=CREATE)
    world.groww.faults.add("lookup_delay", path=LOOK_UP, times=None)
    with pytest.raises(UnknownOutcome):
        await world.broker.place(BUY)
    found = await world.give_up(BUY.reference)
    assert found.status is OrderStatus.WORKING


async def test_patience_runs_only_while_look_ups_are_answered(world):
    world.groww.faults.add("drop_reply", path=CREATE)
    away = world.groww.faults.add("http_status", path="/order/[dls]*", status=503, times=None)
    delay = world.groww.faults.add("lookup_delay", path="/order/[dls]*", times=None)
    with pytest.raises(UnknownOutcome):
        await world.broker.place(BUY)
    world.seconds = 1000.0
    with pytest.raises(RetryError):
        await world.broker.resolve(BUY.reference, "TCS")
    world.groww.faults.clear(away)
    assert await world.broker.resolve(BUY.reference, "TCS") is None  # a minute from now on
    world.seconds = 1059.0
    assert await world.broker.resolve(BUY.reference, "TCS") is None
    world.groww.faults.clear(delay)
    assert (await world.broker.resolve(BUY.reference, "TCS")).status is OrderStatus.WORKING


@pytest.mark.parametrize("taken", [True, False])
async def test_the_time_of_sending_does_not_count(world, taken):
    slow = world.groww.faults.add("slow", path=CREATE)
    if not taken:
        world.groww.faults.add("error", path=CREATE, code="GA003")
    placing = asyncio.create_task(world.broker.place(BUY))
    while not world.requests(CREATE):
        await asyncio.sleep(0.01)
    for world.seconds in (0.0, 1000.0):
        assert await world.broker.resolve(BUY.reference, "TCS") is None
    world.groww.faults.release(slow)
    if taken:
        assert (await placing).status is OrderStatus.WORKING
        return
    with pytest.raises(UnknownOutcome):
        await placing
    assert await world.broker.resolve(BUY.reference, "TCS") is None  # a minute from now on
    assert (await world.give_up(BUY.reference)).status is OrderStatus.REJECTED


async def test_an_answer_that_comes_too_late_is_looked_up():
    async with groww_world(timeout_seconds=0.5) as world:
        await world.trade(100.0)
        world.groww.faults.add("slow", path=CREATE, taken=True)
        placed = await world.broker.place(BUY)
        assert placed.status is OrderStatus.WORKING
        assert sent(world) == 1


async def test_an_order_that_shows_up_after_it_was_given_up_is_withdrawn_and_locks_its_symbol():
    async with groww_world(timeout_seconds=0.5) as world:
        await world.trade(100.0)
        slow = world.groww.faults.add("slow", path=CREATE)
        order = replace(BUY, limit_price=D("90.00"))
        with pytest.raises(UnknownOutcome):
            await world.broker.place(order)
        assert (await world.give_up(order.reference)).status is OrderStatus.REJECTED
        world.groww.faults.release(slow)  # only now it reaches the book
        while not world.groww.world.book_rows():
            await asyncio.sleep(0.01)
        [alive] = await world.broker.reports()
        assert (alive.reference, alive.status) == (order.reference, OrderStatus.WORKING)
        assert locks(compare(NOTHING, [alive], [])).keys() == {"TCS"}
        assert [row["order_status"] for row in world.groww.world.book_rows()] == ["CANCELLED"]
        [ended] = await world.broker.reports()
        assert (ended.status, ended.filled_quantity) == (OrderStatus.CANCELLED, 0)


async def test_a_new_process_counts_the_patience_from_its_first_look_up(world):
    world.groww.faults.add("drop_request", path=CREATE)
    with pytest.raises(UnknownOutcome):
        await world.broker.place(BUY)
    world.seconds = 59.0
    await world.reopen()
    assert (await world.give_up(BUY.reference)).status is OrderStatus.REJECTED
    assert world.seconds == 119.0


# GA007


async def test_a_reference_that_groww_knows_already_returns_the_order_it_has(world):
    await world.broker.place(BUY)
    await world.reopen()
    world.groww.faults.add("lookup_delay", path="/order/list")  # so that it is sent again
    placed = await world.broker.place(BUY)
    assert placed.status is OrderStatus.WORKING
    assert sent(world) == 2  # the second one was answered GA007
    assert len(world.groww.world.book_rows()) == 1


async def test_a_duplicate_that_nobody_can_find_is_unknown_and_not_sent_again(world):
    world.groww.faults.add("error", path=CREATE, code="GA007")
    with pytest.raises(UnknownOutcome):
        await world.broker.place(BUY)
    assert await world.broker.resolve(BUY.reference, "TCS") is None
    assert sent(world) == 1


# Refusals


@pytest.mark.parametrize("code", ["GA001", "GA004", "GA006"])
async def test_a_refusal_is_a_refusal(world, code):
    world.groww.faults.add("error", path=CREATE, code=code)
    with pytest.raises(OrderRejected, match=BUY.reference):
        await world.broker.place(BUY)
    assert await world.broker.reports() == []


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("error", {"code": "GA005"}),
        ("http_status", {"status": 403}),
        ("http_status", {"status": 429, "times": None}),
    ],
)
async def test_access_denied_and_rate_limits_took_nothing(world, kind, settings, monkeypatch):
    monkeypatch.setattr("hftray.adapters.groww.connection._PATIENCE", dict.fromkeys(range(4), 0.2))
    world.groww.faults.add(kind, path=CREATE, **settings)
    with pytest.raises(BrokerUnavailable):
        await world.broker.place(BUY)
    assert world.groww.world.book_rows() == []
    assert await world.broker.report(BUY.reference) is None


@pytest.mark.parametrize("refusals", ["later", "reply"])
async def test_what_the_exchange_refuses_is_reported_with_its_reason(refusals):
    async with groww_world(behaviour={"refusals": refusals}) as world:
        await world.trade(100.0)
        world.groww.market.relist("TCS", buy_allowed=False)
        placed = await world.broker.place(BUY)
        if refusals == "later":
            assert placed.status is OrderStatus.WORKING
            [placed] = await world.trade(100.0)
        assert (placed.status, placed.filled_quantity) == (OrderStatus.REJECTED, 0)
        assert "BUY is blocked for TCS" in placed.reason
        assert await world.broker.place(BUY) == placed
        assert sent(world) == 1


# Fills


async def test_trades_that_are_listed_twice_count_once(world):
    world.groww.faults.add("duplicate_trades", path="/order/trades/*", times=None)
    await world.broker.place(BUY)
    [told] = await world.trade(100.0)
    assert (told.filled_quantity, len(told.executions)) == (10, 1)


async def test_the_average_price_of_the_row_is_not_used_where_there_are_trades(world):
    world.groww.faults.add("wrong_average", path="/order/*", times=None, percent=900.0)
    await world.broker.place(BUY)
    [told] = await world.trade(100.3)
    assert told.average_price == D("100.3")
    assert (await world.broker.reports())[0].average_price == D("100.3")


async def test_a_partial_fill_is_told_and_the_rest_later(world):
    world.groww.faults.add("partial_fills", path="TCS")
    await world.broker.place(BUY)
    [first] = await world.trade(100.0)
    [second] = await world.trade(100.2)
    assert [(r.status, r.filled_quantity) for r in (first, second)] == [
        (OrderStatus.WORKING, 5),
        (OrderStatus.FILLED, 10),
    ]
    assert second.average_price == D("100.1")


async def test_a_fill_that_shows_late_is_told_when_it_shows(world):
    world.groww.faults.add("late_fills", path="TCS", seconds=20.0)
    await world.broker.place(BUY)
    assert await world.trade(100.0) == []
    assert await world.trade(100.0) == []
    [told] = await world.trade(100.0)
    assert (told.status, told.filled_quantity) == (OrderStatus.FILLED, 10)


class Tampering(httpx.AsyncHTTPTransport):
    """Changes a value that Groww tells under a name, or the `whole` payload that has it."""

    def __init__(self, name, change, *, whole=False):
        super().__init__(verify=False)  # no certificates are read for a server without one
        self.name, self.change, self.whole = name, change, whole

    async def handle_async_request(self, request):
        response = await super().handle_async_request(request)
        body = httpx.Response(200, content=await response.aread()).json()
        payload = body.get("payload")
        if self.change and isinstance(payload, dict) and self.name in payload:
            if self.whole:
                body["payload"] = self.change(payload)
            else:
                payload[self.name] = self.change(payload[self.name])
        return httpx.Response(200, json=body)


async def tampered(world, change):
    transport = Tampering("trade_list", change)
    world.broker = world.open_broker(transport)
    await world.broker.place(BUY)
    return transport


async def test_an_order_is_not_over_before_its_trades_are_told_and_no_price_is_made_up(world):
    transport = await tampered(world, lambda rows: [])
    assert await world.trade(100.0) == []
    report = await world.broker.report(BUY.reference)
    assert (report.status, report.filled_quantity) == (OrderStatus.WORKING, 0)
    assert "10 shares are filled" in report.reason
    world.seconds = 15.0
    with pytest.raises(RetryError, match="trades"):
        await world.broker.report(BUY.reference)
    with pytest.raises(RetryError, match="trades"):
        await world.trade(100.0)
    transport.change = None
    [told] = await world.trade(100.0)
    assert (told.status, told.average_price) == (OrderStatus.FILLED, D("100.0"))


@pytest.mark.parametrize("order", [BUY, EXIT], ids=["entry", "exit"])
async def test_shares_that_the_row_of_a_withdrawn_order_does_not_tell_yet_are_counted(world, order):
    world.hold()
    world.groww.faults.add("partial_fills", path="TCS")
    away = {"limit_price": D("90.00") if order is BUY else D("110.00")}

    def behind(row):
        return {**row, "filled_quantity": 0, "remaining_quantity": row["quantity"]}

    world.broker = world.open_broker(Tampering("filled_quantity", behind, whole=True))
    await world.broker.place(replace(order, **away))
    world.step(89.0 if order is BUY else 111.0)
    ended = await world.broker.cancel(order.reference)
    assert (ended.status, ended.filled_quantity) == (OrderStatus.CANCELLED, 5)


@pytest.mark.parametrize("order", [BUY, EXIT], ids=["entry", "exit"])
async def test_an_end_without_a_share_is_not_told_while_trades_cannot_be_read(world, order):
    world.hold()
    away = {"limit_price": D("90.00") if order is BUY else D("110.00")}
    await world.broker.place(replace(order, **away))
    broken = world.groww.faults.add("http_status", path="/order/trades/*", status=503, times=None)
    with pytest.raises(RetryError):
        await world.broker.cancel(order.reference)
    with pytest.raises(RetryError):
        await world.trade(100.0)
    world.groww.faults.clear(broken)
    [told] = await world.trade(100.0)
    assert (told.status, told.filled_quantity) == (OrderStatus.CANCELLED, 0)


async def test_prices_in_paise_are_not_booked_and_bar_the_symbol(world):
    transport = await tampered(world, lambda rows: [{**r, "price": r["price"] * 100} for r in rows])
    with pytest.raises(RetryError, match="out of line"):
        await world.trade(100.0)
    for ask in (world.broker.report, world.broker.cancel):
        with pytest.raises(DataError, match="paise"):
            await ask(BUY.reference)
    with pytest.raises(DataError):
        await world.broker.resolve(BUY.reference, "TCS")
    [report] = await world.broker.reports()  # the comparison of the books goes on
    assert (report.status, report.average_price) == (OrderStatus.WORKING, None)
    transport.change = None
    [told] = await world.trade(100.0)
    assert (told.status, told.average_price) == (OrderStatus.FILLED, D("100.0"))


def entry_row(report: OrderReport) -> TradeRecord:
    """The ledger's row of BUY after its report."""
    intent = OrderIntent("TCS", Leg.ENTRY, Side.BUY, 100.0, OPEN, "signal", OPEN.date())
    pending = approved(
        intent,
        RUN,
        INSTRUMENTS["TCS"],
        sequence=1,
        quantity=10,
        limit_price=None,
        reserved=D(0),
    )
    return replace(finished(pending, report, None, CHARGES), reference=BUY.reference)


def open_position(row: TradeRecord) -> Position:
    prices = {name: D(100) for name in ("entry_price", "stop_loss", "take_profit")}
    return Position(
        row.reference, "TCS", Side.BUY, 10, **prices, entry_time=OPEN, session_day=OPEN.date(),
        best_price=100.0,
    )  # fmt: skip


UNREADABLE = {
    "never told": lambda rows: [],
    "without a price": lambda rows: [{**row, "price": None} for row in rows],
    "without a time": lambda rows: [
        {**row, "trade_date_time": None, "created_at": None} for row in rows
    ],
    "in paise": lambda rows: [{**row, "price": row["price"] * 100} for row in rows],
}


@pytest.mark.parametrize("damage", UNREADABLE)
async def test_a_fill_whose_trades_cannot_be_had_is_booked_by_the_row_and_locks(world, damage):
    transport = await tampered(world, UNREADABLE[damage])
    for world.seconds in (0.0, 29.9):
        with suppress(RetryError):
            assert await world.trade(100.0) == []
    world.seconds = 30.0
    [told] = await world.trade(100.0)
    assert (told.status, told.filled_quantity) == (OrderStatus.FILLED, 10)
    assert (told.average_price, told.executions) == (D("100.0"), ())
    assert "unconfirmed" in told.unconfirmed
    assert await world.broker.report(BUY.reference) == told
    assert await world.broker.resolve(BUY.reference, "TCS") == told

    [report] = await world.broker.reports()  # the books are compared all the same
    row = entry_row(told)
    assert (row.status, row.quantity) == (TradeStatus.EXECUTED, 10)
    assert row.reason.startswith("signal: unconfirmed")
    known = replace(NOTHING, trades_today=(row,))
    assert "unconfirmed fill" in locks(compare(known, [report], []))["TCS"]
    assert confirmed_price(row, [], report, D("100.20")) == D("100.20")
    by_hand = replace(
        row, reference="M1", leg=Leg.MANUAL, price=D("100.20"), position=row.reference,
        reason="confirmed: read in the app",
    )  # fmt: skip
    books = replace(known, trades_today=(row, by_hand), positions=(open_position(row),))
    assert compare(books, [report], await world.broker.positions()) == []

    transport.change = None  # and now the trades can be read
    [confirmed] = await world.broker.reports()
    assert (confirmed.filled_quantity, confirmed.unconfirmed) == (10, "")
    assert len(confirmed.executions) == 1
    held = await world.broker.positions()
    books = replace(known, positions=(open_position(row),))
    assert compare(books, [confirmed], held) == []


async def test_trades_that_show_later_and_differ_are_told_and_lock_on(world, caplog):
    transport = await tampered(world, lambda rows: [])
    await world.trade(100.0)
    world.seconds = 30.0
    [told] = await world.trade(100.0)
    row = entry_row(told)
    transport.change = lambda rows: [{**row, "price": row["price"] + 0.3} for row in rows]
    [later] = await world.broker.reports()
    assert (told.average_price, later.average_price) == (D("100.0"), D("100.3"))
    assert "the trades differ from what was booked by the row" in caplog.text
    found = compare(replace(NOTHING, trades_today=(row,)), [later], [])
    assert "price differs" in locks(found)["TCS"]


async def test_an_end_without_a_share_is_believed_when_the_trades_cannot_be_had(world):
    await world.broker.place(replace(BUY, limit_price=D("90.00")))
    world.groww.faults.add("http_status", path="/order/trades/*", status=503, times=None)
    with pytest.raises(RetryError):
        await world.broker.cancel(BUY.reference)
    with pytest.raises(RetryError):
        await world.trade(100.0)
    world.seconds = 30.0
    [told] = await world.trade(100.0)
    assert (told.status, told.filled_quantity) == (OrderStatus.CANCELLED, 0)
    assert "unconfirmed" in told.unconfirmed
    world.groww.world.journal.clear()
    assert await world.trade(100.0) == []  # only a comparison asks for them again
    assert world.groww.world.journal == []


async def test_news_of_one_order_do_not_wait_for_another_s_missing_trades(world):
    other = replace(EXIT, symbol="BSE:TCS", exchange="BSE")
    world.hold(exchange="BSE")
    await tampered(world, lambda rows: [r for r in rows if r["exchange"] == "BSE"])
    await world.broker.place(other)
    [told] = await world.trade(100.0)
    assert (told.symbol, told.status) == ("BSE:TCS", OrderStatus.FILLED)


@pytest.mark.parametrize("field", ["transaction_type", "quantity", "order_status"])
async def test_a_row_of_somebody_else_that_cannot_be_read_hides_no_other(world, field):
    await world.broker.place(BUY)
    world.by_hand()

    def damaged(rows):
        return [r if r["order_reference_id"] == BUY.reference else {**r, field: None} for r in rows]

    world.broker = world.open_broker(Tampering("order_list", damaged))
    [own] = await world.broker.reports()
    assert own.reference == BUY.reference


@pytest.mark.parametrize(
    "damage",
    [lambda row: "row", lambda row: {**row, "exchange_time": 1764100000000000000}],
    ids=["no object", "nanoseconds"],
)
async def test_a_row_of_somebody_else_out_of_all_bounds_hides_no_other(world, damage):
    await world.broker.place(BUY)
    world.by_hand()

    def damaged(rows):
        return [r if r["order_reference_id"] == BUY.reference else damage(r) for r in rows]

    world.broker = world.open_broker(Tampering("order_list", damaged))
    assert BUY.reference in [report.reference for report in await world.broker.reports()]


@pytest.mark.parametrize("product", [None, "INTRADAY"])
async def test_an_order_with_our_reference_is_ours_whatever_its_product(world, product):
    await world.broker.place(BUY)
    damage = Tampering("order_list", lambda rows: [{**row, "product": product} for row in rows])
    world.broker = world.open_broker(damage)
    [own] = await world.broker.reports()
    assert own.reference == BUY.reference


async def test_a_trade_that_is_no_object_is_asked_for_again(world):
    transport = await tampered(world, lambda rows: ["row"])
    with pytest.raises(RetryError, match="not an object"):
        await world.trade(100.0)
    transport.change = None
    [told] = await world.trade(100.0)
    assert told.filled_quantity == 10


async def test_a_position_that_cannot_be_read_matters_unless_it_is_of_another_product(world):
    await world.broker.place(BUY)
    await world.trade(100.0)
    world.groww.account.set_foreign_position("TCS", 7, 100.0, product="CNC")

    def damaged(product):
        return lambda rows: [
            {**row, "quantity": "?"} if row["product"] == product else row for row in rows
        ]

    world.broker = world.open_broker(Tampering("positions", damaged("CNC")))
    [held] = await world.broker.positions()
    assert (held.symbol, held.quantity) == ("TCS", 10)
    world.broker = world.open_broker(Tampering("positions", damaged("MIS")))
    with pytest.raises(RetryError, match="quantity"):
        await world.broker.positions()


async def test_a_row_of_ours_that_cannot_be_read_lets_nobody_believe_the_list(world):
    await world.broker.place(BUY)
    damage = Tampering("order_list", lambda rows: [{**row, "quantity": None} for row in rows])
    world.broker = world.open_broker(damage)
    with pytest.raises(RetryError, match="quantity"):
        await world.broker.reports()


# Questions that are refused


@pytest.mark.parametrize("code", ["GA001", "GA006"])
@pytest.mark.parametrize("path", ["/order/list", "/order/detail/*", "/order/trades/*"])
async def test_a_question_that_is_refused_can_be_asked_again(world, path, code):
    await world.broker.place(BUY)
    world.broker = world.open_broker()
    world.step(100.0)  # it fills, and nobody has told the broker
    refused = world.groww.faults.add("error", path=path, code=code, times=None)
    asked = world.broker.reports() if path.endswith("list") else world.broker.report(BUY.reference)
    with pytest.raises(RetryError, match=code):
        await asked
    world.groww.faults.clear(refused)
    report = await world.broker.report(BUY.reference)
    assert (report.status, report.filled_quantity) == (OrderStatus.FILLED, 10)


async def test_a_list_that_is_not_found_is_empty(world):
    world.groww.faults.add("error", path="/positions/user", code="GA004", times=None)
    world.groww.faults.add("error", path="/order/list", code="GA004", times=None)
    world.broker = world.open_broker()
    assert await world.broker.positions() == []
    assert await world.broker.reports() == []
    assert await world.trade(100.0) == []


@pytest.mark.parametrize("code", ["GA001", "GA005"])
async def test_positions_that_are_refused_are_not_none(world, code):
    world.groww.faults.add("error", path="/positions/user", code=code)
    with pytest.raises(BrokerUnavailable, match=code):
        await world.broker.positions()


# Withdrawing


@pytest.mark.parametrize("kind", ["drop_reply", "html", "http_status"])
async def test_a_withdrawal_whose_answer_is_lost_is_looked_at(world, kind):
    settings = {} if kind == "drop_reply" else {"taken": True}
    await world.broker.place(replace(BUY, limit_price=D("90.00")))
    world.groww.faults.add(kind, path="/order/cancel", **settings)
    assert (await world.broker.cancel(BUY.reference)).status is OrderStatus.CANCELLED
    assert len(world.requests("/order/cancel")) == 1


async def test_a_withdrawal_that_never_arrived_is_unknown_and_can_be_asked_again(world):
    await world.broker.place(replace(BUY, limit_price=D("90.00")))
    world.groww.faults.add("drop_request", path="/order/cancel")
    with pytest.raises(UnknownOutcome):
        await world.broker.cancel(BUY.reference)
    assert (await world.broker.resolve(BUY.reference, "TCS")).status is OrderStatus.WORKING
    assert (await world.broker.cancel(BUY.reference)).status is OrderStatus.CANCELLED


@pytest.mark.parametrize("code", ["GA004", "GA006"])
async def test_a_withdrawal_that_is_refused_leaves_the_order_as_it_is(world, code):
    await world.broker.place(replace(BUY, limit_price=D("90.00")))
    world.groww.faults.add("error", path="/order/cancel", code=code)
    with pytest.raises(UnknownOutcome):
        await world.broker.cancel(BUY.reference)
    [row] = world.groww.world.book_rows()
    assert row["order_status"] == "ACKED"
    assert (await world.broker.cancel(BUY.reference)).status is OrderStatus.CANCELLED


# All away


async def test_without_a_network_nothing_is_known_and_nothing_is_lost(world):
    await world.broker.place(replace(BUY, limit_price=D("95.00")))
    away = world.groww.faults.add("network_away")
    for call in (
        world.broker.reports(),
        world.broker.positions(),
        world.broker.resolve(EXIT.reference, "TCS"),
        world.trade(94.0),
    ):
        with pytest.raises(RetryError):
            await call
    with pytest.raises((UnknownOutcome, BrokerUnavailable)):
        await world.broker.place(EXIT)
    world.groww.faults.clear(away)
    [told] = await world.trade(100.0)  # it filled while we were away
    assert (told.reference, told.filled_quantity) == (BUY.reference, 10)
    assert len(world.groww.world.book_rows()) == 1


async def test_an_entry_is_not_sent_before_the_day_s_orders_are_known_and_an_exit_is(world):
    world.hold()
    await world.reopen()
    world.groww.faults.add("http_status", path="/order/list", status=503, times=None)
    with pytest.raises(BrokerUnavailable, match="not sent"):
        await world.broker.place(BUY)
    assert sent(world) == 0
    assert (await world.broker.place(EXIT)).status is OrderStatus.WORKING


async def test_a_token_that_expires_between_orders_is_renewed_and_nothing_is_sent_twice(world):
    world.hold()
    await world.broker.place(BUY)
    world.groww.sessions.expire()
    assert (await world.broker.place(EXIT)).status is OrderStatus.WORKING
    assert len(world.groww.world.book_rows()) == 2


@pytest.mark.parametrize("missing", [ConfigError, NotFound])
async def test_keys_that_are_gone_end_nothing(world, missing, monkeypatch):
    async def credentials():
        raise missing("no user u with keys")

    monkeypatch.setattr("groww_broker_world._credentials", credentials)
    world.broker = world.open_broker()
    for call in (world.trade(100.0), world.broker.positions(), world.broker.report(BUY.reference)):
        with pytest.raises(BrokerUnavailable, match="no user u"):
            await call
    with pytest.raises(BrokerUnavailable, match="no user u"):
        await world.broker.place(EXIT)


@pytest.mark.parametrize("body", ["json", "envelope", "text", "empty"])
async def test_429_is_waited_for_and_the_order_goes_out_once(body):
    async with groww_world(behaviour={"gateway_body": body}) as world:
        await world.trade(100.0)
        world.groww.faults.add("http_status", path=CREATE, status=429)
        assert (await world.broker.place(BUY)).status is OrderStatus.WORKING
        assert len(world.groww.world.book_rows()) == 1
