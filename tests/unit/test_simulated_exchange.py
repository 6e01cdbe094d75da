"""The simulated exchange: when orders trade, at what price, and what survives a crash."""

import sqlite3
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal

import pytest

from hftray.adapters.exchange_book import ExchangeBook
from hftray.adapters.exchange_entry import BookEntry
from hftray.adapters.simulated_exchange import SimulatedExchange
from hftray.core.errors import OrderRejected
from hftray.core.market import Candle, Instrument, Tick
from hftray.core.orders import Execution, Leg, Order, OrderStatus, Side
from hftray.core.session import IST, SessionRules, trading_session
from hftray.ports import MarketBatch

SHARES = {name: Instrument(name, tick_size=Decimal("0.05")) for name in ("TCS", "ITC")}
OPEN = datetime(2026, 11, 20, 9, 15, tzinfo=IST)
CLOSE = datetime(2026, 11, 20, 15, 15, tzinfo=IST)
ENTRY = Order("E1", "TCS", "NSE", Leg.ENTRY, Side.BUY, 10, OPEN)
EXIT = replace(ENTRY, reference="X1", leg=Leg.EXIT, side=Side.SELL)


def exchange(path="…", **options) -> SimulatedExchange:
    return SimulatedExchange(":memory:" if path == "…" else path, SHARES, **options)


def sessions(day: date) -> dict:
    shift = day - OPEN.date()
    today = trading_session(day, OPEN + shift, CLOSE + shift, SessionRules())
    return dict.fromkeys(SHARES, today)


def tick(minute: int, price: float, symbol: str = "TCS") -> MarketBatch:
    now = OPEN + timedelta(minutes=minute)
    trade = Tick(symbol, now, price, 100)
    return MarketBatch(now=now, open=True, sessions=sessions(now.date()), ticks={symbol: trade})


def bar(number: int, opened: float, high: float, low: float, close: float) -> MarketBatch:
    time = OPEN + timedelta(minutes=5 * (number - 1))
    now = time + timedelta(minutes=5)
    candle = Candle("TCS", time, opened, high, low, close, 100)
    return MarketBatch(now=now, open=True, sessions=sessions(now.date()), candles={"TCS": candle})


def closed(now: datetime = CLOSE) -> MarketBatch:
    return MarketBatch(now=now, open=False)


async def test_an_order_trades_at_the_tick_after_the_one_it_was_decided_on():
    broker = exchange(slippage_bps=10)
    await broker.on_market(tick(0, 100.0))
    assert (await broker.place(ENTRY)).status is OrderStatus.WORKING
    assert await broker.on_market(tick(1, 55.0, "ITC")) == []
    [report] = await broker.on_market(tick(2, 101.0))
    assert (report.status, report.average_price) == (OrderStatus.FILLED, Decimal("101.15"))
    assert report.time == OPEN + timedelta(minutes=2)
    assert await broker.on_market(tick(3, 102.0)) == []


async def test_with_candles_an_order_trades_at_the_next_open():
    broker = exchange()
    await broker.on_market(bar(1, 100, 101, 99, 100))
    await broker.place(replace(ENTRY, time=OPEN + timedelta(minutes=5)))
    [report] = await broker.on_market(bar(2, 100.5, 103, 98, 102))
    assert report.average_price == Decimal("100.50")


async def test_a_touched_level_trades_inside_the_candle_that_touched_it():
    broker = exchange()
    await broker.on_market(bar(1, 100, 101, 99, 100))
    await broker.on_market(bar(2, 99, 100, 94, 96))
    stop = replace(EXIT, time=OPEN + timedelta(minutes=10), trigger=Decimal("95.00"))
    report = await broker.place(stop)
    assert (report.status, report.average_price) == (OrderStatus.FILLED, Decimal("95.00"))
    assert await broker.on_market(bar(3, 96, 97, 95, 96)) == []


async def test_a_level_the_market_jumped_over_trades_at_the_open():
    broker = exchange()
    await broker.on_market(bar(1, 100, 101, 99, 100))
    await broker.on_market(bar(2, 93, 97, 92, 96))
    stop = replace(EXIT, time=OPEN + timedelta(minutes=10), trigger=Decimal("95.00"))
    assert (await broker.place(stop)).average_price == Decimal("93.00")


async def test_a_level_touched_in_the_candle_of_the_entry_is_judged_from_the_entry():
    # The close before (90) lies under the stop (95), the entry at the open (100) above it.
    broker = exchange()
    await broker.on_market(bar(1, 91, 92, 89, 90))
    await broker.place(replace(ENTRY, time=OPEN + timedelta(minutes=5)))
    [entered] = await broker.on_market(bar(2, 100, 101, 94, 96))
    assert entered.average_price == Decimal("100.00")
    stop = replace(EXIT, time=OPEN + timedelta(minutes=10), trigger=Decimal("95.00"))
    assert (await broker.place(stop)).average_price == Decimal("95.00")


async def test_without_a_candle_a_triggered_order_waits_for_the_next_price():
    broker = exchange()
    await broker.on_market(tick(0, 100.0))
    report = await broker.place(replace(EXIT, trigger=Decimal("99.00")))
    assert report.status is OrderStatus.WORKING
    [filled] = await broker.on_market(tick(1, 98.0))
    assert filled.average_price == Decimal("98.00")


@pytest.mark.parametrize("end", [closed(), tick(24 * 60, 120.0)], ids=["closed", "next day"])
async def test_the_sessions_end_fills_exits_at_the_last_price_and_withdraws_entries(end):
    broker = exchange()
    await broker.on_market(tick(0, 100.0))
    await broker.place(replace(ENTRY, limit_price=Decimal("50.00")))
    await broker.place(replace(EXIT, limit_price=Decimal("200.00")))
    assert await broker.on_market(tick(1, 101.0)) == []
    reports = {report.reference: report for report in await broker.on_market(end)}
    assert reports["E1"].status is OrderStatus.CANCELLED
    assert reports["E1"].filled_quantity == 0
    assert reports["X1"].status is OrderStatus.FILLED
    assert reports["X1"].average_price == Decimal("101.00")


async def test_an_exit_decided_on_the_last_candle_still_goes_that_day():
    broker = exchange()
    last = bar(72, 100, 101, 99, 100.5)
    assert last.now == CLOSE
    await broker.on_market(last)
    await broker.place(replace(EXIT, time=CLOSE))
    [report] = await broker.on_market(closed())
    assert (report.status, report.average_price) == (OrderStatus.FILLED, Decimal("100.50"))


async def test_a_symbols_session_may_end_before_the_markets():
    broker = exchange()
    await broker.on_market(tick(0, 100.0))
    await broker.place(EXIT)
    others = {"ITC": sessions(OPEN.date())["ITC"]}
    batch = MarketBatch(now=CLOSE, open=True, sessions=others)
    [report] = await broker.on_market(batch)
    assert report.average_price == Decimal("100.00")


async def test_after_the_close_an_exit_goes_at_the_last_price_and_an_entry_is_withdrawn():
    broker = exchange()
    await broker.on_market(tick(0, 100.0))
    await broker.on_market(closed())
    left = await broker.place(replace(EXIT, time=CLOSE))
    assert (left.status, left.average_price) == (OrderStatus.FILLED, Decimal("100.00"))
    entered = await broker.place(replace(ENTRY, time=CLOSE))
    assert (entered.status, entered.filled_quantity) == (OrderStatus.CANCELLED, 0)


async def test_a_partial_fill_is_completed_at_the_following_step():
    broker = exchange(partial_fill_rate=1.0)
    await broker.on_market(tick(0, 100.0))
    await broker.place(ENTRY)
    [first] = await broker.on_market(tick(1, 100.0))
    assert first.status is OrderStatus.WORKING
    assert 0 < first.filled_quantity < 10
    [second] = await broker.on_market(tick(2, 110.0))
    assert (second.status, second.filled_quantity) == (OrderStatus.FILLED, 10)
    paid = sum(fill.price * fill.quantity for fill in second.executions)
    assert second.average_price == pytest.approx(paid / 10, abs=Decimal("0.0001"))
    assert len({fill.trade_id for fill in second.executions}) == 2


@pytest.mark.parametrize(
    "order",
    [
        replace(ENTRY, symbol="NONE"),
        replace(ENTRY, quantity=0),
        replace(ENTRY, limit_price=Decimal(0)),
    ],
)
async def test_a_bad_order_is_refused_every_time_and_stays_in_the_book(order):
    broker = exchange()
    for _ in range(2):
        with pytest.raises(OrderRejected):
            await broker.place(order)
    report = await broker.report(order.reference)
    assert report is not None
    assert report.status is OrderStatus.REJECTED
    assert report.reason


async def test_the_book_survives_a_crash_at_any_point(tmp_path):
    # One life without interruption, one that is thrown away and reopened after every call.
    steps = [tick(minute, 100.0 + minute) for minute in range(1, 4)] + [closed()]
    orders = [ENTRY, replace(EXIT, limit_price=Decimal("150"))]
    options = {"slippage_bps": 5.0, "partial_fill_rate": 1.0, "seed": 4}
    steady = exchange(tmp_path / "steady.db", **options)
    await steady.on_market(tick(0, 100.0))
    for order in orders:
        await steady.place(order)
    shaken = exchange(tmp_path / "shaken.db", **options)
    await shaken.on_market(tick(0, 100.0))
    for order in orders:
        await shaken.place(order)
    for step in steps:
        shaken = exchange(tmp_path / "shaken.db", **options)  # the old one is never closed
        news = await shaken.on_market(step)
        assert news == await steady.on_market(step)
        assert await shaken.on_market(step) == news  # whoever asks again has lost them
        shaken = exchange(tmp_path / "shaken.db", **options)
        assert await shaken.on_market(step) == news  # passed again after a restart
    assert await shaken.reports() == await steady.reports()
    assert {r.status for r in await shaken.reports()} == {OrderStatus.FILLED}


async def test_a_market_without_working_orders_writes_nothing(tmp_path):
    path = tmp_path / "book.db"
    broker = exchange(path)
    await broker.on_market(tick(0, 100.0))
    await broker.place(ENTRY)
    await broker.on_market(tick(1, 100.0))
    size = path.with_name("book.db-wal").stat().st_size
    for minute in range(2, 50):
        await broker.on_market(tick(minute, 100.0))
    assert path.with_name("book.db-wal").stat().st_size == size


async def test_an_order_of_a_symbol_that_is_no_longer_traded_is_left_alone(tmp_path):
    broker = exchange(tmp_path / "book.db")
    await broker.on_market(tick(0, 100.0))
    await broker.place(ENTRY)
    await broker.close()
    smaller = SimulatedExchange(tmp_path / "book.db", {"ITC": SHARES["ITC"]})
    assert await smaller.on_market(tick(1, 100.0)) == []
    report = await smaller.report("E1")
    assert report is not None
    assert report.status is OrderStatus.WORKING


async def test_of_two_processes_with_one_book_none_undoes_what_the_other_answered(tmp_path):
    dying, starting = exchange(tmp_path / "book.db"), exchange(tmp_path / "book.db")
    await starting.resolve("E1", "TCS")
    with pytest.raises(OrderRejected, match="E1"):
        await dying.place(ENTRY)
    await dying.on_market(tick(0, 100.0))
    assert await dying.on_market(tick(1, 100.0)) == []
    await dying.place(EXIT)
    resolved = await starting.resolve("X1", "TCS")
    assert resolved.status is OrderStatus.WORKING
    assert await dying.place(EXIT) == resolved


DEALINGS = {
    "place": lambda broker, _: broker.place(ENTRY),
    "place another": lambda broker, _: broker.place(EXIT),
    "cancel": lambda broker, _: broker.cancel("E1"),
    "resolve": lambda broker, _: broker.resolve("E1", "TCS"),
    "resolve another": lambda broker, _: broker.resolve("X1", "TCS"),
    "trade": lambda broker, minute: broker.on_market(tick(minute, 100.0 + minute)),
    "end": lambda broker, _: broker.on_market(closed()),
}


async def dealing(name: str, broker: SimulatedExchange, minute: int) -> None:
    with suppress(OrderRejected):
        await DEALINGS[name](broker, minute)


@pytest.mark.parametrize(
    ("late", "parts"), [(2, 0.0), (2, 1.0), (4, 1.0)], ids=["late", "late, in parts", "in parts"]
)
@pytest.mark.parametrize("second", DEALINGS)
@pytest.mark.parametrize("first", DEALINGS)
async def test_a_stopped_process_that_wakes_undoes_nothing(tmp_path, first, second, late, parts):
    old = exchange(tmp_path / "book.db", partial_fill_rate=parts)
    await old.on_market(tick(0, 100.0))
    await old.place(ENTRY)
    new = exchange(tmp_path / "book.db", partial_fill_rate=parts)
    await new.on_market(tick(1, 101.0, "ITC"))
    await dealing(first, new, 3)
    ended = [report for report in await new.reports() if report.status.terminal]
    await dealing(second, old, late)
    for report in ended:
        assert await new.report(report.reference) == report
    for end in (tick(5, 105.0), closed(CLOSE + timedelta(minutes=5))):
        await new.on_market(end)
    reports = await new.reports()
    assert await old.reports() == reports
    net = Counter()
    for report in reports:
        assert report.status.terminal  # also what only the other one had in mind
        assert report.filled_quantity == sum(fill.quantity for fill in report.executions) <= 10
        assert (report.status is OrderStatus.FILLED) == (report.filled_quantity == 10)
        net["TCS"] += report.filled_quantity * (1 if report.reference == "E1" else -1)
    held = {position.symbol: position.quantity for position in await new.positions()}
    assert held == {symbol: shares for symbol, shares in net.items() if shares}


async def test_what_another_process_did_is_news_at_the_next_step(tmp_path):
    old, new = exchange(tmp_path / "book.db"), exchange(tmp_path / "book.db")
    await new.on_market(tick(0, 100.0))
    await new.place(ENTRY)
    await new.on_market(tick(1, 100.0, "ITC"))
    [filled] = await old.on_market(tick(2, 100.0))
    assert await new.on_market(tick(3, 100.0)) == [filled]
    assert await new.on_market(tick(4, 100.0)) == []


async def test_what_is_written_until_nobody_else_can_write_is_seen(tmp_path, monkeypatch):
    broker, book = exchange(tmp_path / "book.db"), ExchangeBook(tmp_path / "book.db")
    await broker.on_market(tick(0, 100.0))
    await broker.place(ENTRY)
    alone = broker._book.alone

    def at_last():
        book.write([replace(entry, status=OrderStatus.CANCELLED) for entry in book.working()])
        return alone()

    monkeypatch.setattr(broker._book, "alone", at_last)
    [report] = await broker.on_market(tick(1, 100.0))
    assert (report.status, report.filled_quantity) == (OrderStatus.CANCELLED, 0)


async def test_a_batch_repeated_tells_of_the_market_not_of_what_was_asked_for_since():
    broker = exchange()
    await broker.on_market(tick(0, 100.0))
    await broker.place(ENTRY)
    with pytest.raises(OrderRejected):
        await broker.place(replace(EXIT, quantity=0))
    assert await broker.on_market(tick(0, 100.0)) == []


def test_an_ended_order_stays_as_it_is_in_the_book(tmp_path):
    book = ExchangeBook(tmp_path / "book.db")
    ended = BookEntry(ENTRY, OPEN, OrderStatus.CANCELLED)
    book.write([ended])
    fill = Execution("E1-1", 10, Decimal(100), OPEN)
    book.write([replace(ended, status=OrderStatus.FILLED, executions=(fill,))])
    assert book.find("E1") == ended
    assert book.positions() == []


def test_the_book_refuses_what_was_withdrawn_since_it_was_looked_for(tmp_path):
    book, other = ExchangeBook(tmp_path / "book.db"), ExchangeBook(tmp_path / "book.db")
    assert book.find("E1") is None
    other.withdraw("E1", "TCS", OPEN)
    with pytest.raises(OrderRejected, match="E1"):
        book.write([BookEntry(EXIT, OPEN), BookEntry(ENTRY, OPEN)])
    assert book.working() == []  # all of the entries or none


async def test_a_given_up_order_is_refused_before_the_market_has_shown_itself():
    broker = exchange()
    gone = await broker.resolve("E1", "TCS")
    assert gone.time is None
    assert await broker.reports() == [gone]
    with pytest.raises(OrderRejected):
        await broker.place(replace(ENTRY, trigger=Decimal("99.00")))


async def test_reports_are_of_the_markets_day_and_of_what_still_works():
    broker = exchange()
    next_day = OPEN + timedelta(days=1)
    await broker.on_market(tick(0, 100.0))
    await broker.place(ENTRY)
    await broker.resolve("LOST", "TCS")
    await broker.on_market(tick(1, 100.0))
    await broker.place(replace(EXIT, limit_price=Decimal("500")))
    assert [r.reference for r in await broker.reports()] == ["E1", "X1", "LOST"]
    await broker.on_market(tick(24 * 60, 100.0, "ITC"))
    assert await broker.reports() == []  # the exit went at the close
    await broker.place(replace(ENTRY, reference="E2", time=next_day))
    assert [r.reference for r in await broker.reports()] == ["E2"]
    await broker.on_market(tick(2, 100.0))  # another run begins with the first day again
    assert [r.reference for r in await broker.reports()] == ["E1", "X1", "E2", "LOST"]


@pytest.mark.parametrize(
    ("deals", "shares", "entered_at"),
    [
        ([(10, "100"), (20, "103")], 30, "102"),
        ([(10, "100"), (-10, "110"), (5, "120")], 5, "120"),
        ([(10, "100"), (-4, "90")], 6, "100"),
        ([(-10, "100"), (4, "90")], -6, "100"),
        ([(10, "100"), (-15, "90")], -5, "90"),
        ([(10, "100"), (-10, "90")], None, None),
    ],
)
async def test_a_position_is_entered_at_the_mean_price_since_it_was_flat(deals, shares, entered_at):
    broker = exchange()
    for minute, (signed, price) in enumerate(deals):
        side = Side.BUY if signed > 0 else Side.SELL
        time = OPEN + timedelta(minutes=2 * minute)
        await broker.place(
            replace(ENTRY, reference=f"R{minute}", side=side, quantity=abs(signed), time=time)
        )
        await broker.on_market(tick(2 * minute + 1, float(price)))
    held = {p.symbol: (p.quantity, p.average_price) for p in await broker.positions()}
    assert held == ({} if shares is None else {"TCS": (shares, Decimal(entered_at))})


async def test_a_book_from_before_positions_were_counted_is_counted_once(tmp_path):
    broker = exchange(tmp_path / "book.db")
    await broker.place(ENTRY)
    await broker.on_market(tick(1, 100.0))
    before = await broker.positions()
    await broker.close()
    with sqlite3.connect(tmp_path / "book.db") as book:
        book.execute("DROP TRIGGER count_holdings")
        book.execute("DROP TABLE holdings")
    for _ in range(2):
        broker = exchange(tmp_path / "book.db")
        assert await broker.positions() == before != []
        await broker.close()


# Stop orders

STOP = replace(EXIT, time=OPEN + timedelta(minutes=5), stop=True, trigger=Decimal("95.00"))


@pytest.mark.parametrize(
    ("candle", "limit", "fills"),
    [
        ((99, 100, 95.05, 97), None, None),
        ((99, 100, 95, 97), None, "95.00"),
        ((99, 100, 90, 97), "94.00", "95.00"),
        ((94.5, 96, 90, 91), "94.00", "94.50"),  # the market had jumped over it
        ((92, 93, 90, 91), None, "92.00"),
        ((92, 93, 90, 91), "94.00", None),  # and over its limit
    ],
)
async def test_a_stop_order_trades_inside_the_candle_that_reaches_it(candle, limit, fills):
    broker = exchange()
    await broker.on_market(bar(1, 100, 101, 99, 100))
    limit_price = None if limit is None else Decimal(limit)
    placed = await broker.place(replace(STOP, limit_price=limit_price))
    assert placed.status is OrderStatus.WORKING
    news = await broker.on_market(bar(2, *candle))
    assert [report.average_price for report in news] == ([] if fills is None else [Decimal(fills)])


async def test_what_trades_at_a_stop_order_is_what_trades_at_a_touched_level():
    """One price rule: a stop at the exchange, or the engine's own exit at the same level."""
    for candle in [(99, 100, 94, 96), (94, 96, 93, 95), (95, 95, 95, 95)]:
        resting, touched = exchange(slippage_bps=3), exchange(slippage_bps=3)
        for broker in (resting, touched):
            await broker.on_market(bar(1, 100, 101, 99, 100))
        await resting.place(STOP)
        [report] = await resting.on_market(bar(2, *candle))
        await touched.on_market(bar(2, *candle))
        other = replace(STOP, stop=False, time=OPEN + timedelta(minutes=10))
        assert report.average_price == (await touched.place(other)).average_price


async def test_a_moved_stop_order_is_not_held_against_the_step_before_its_move():
    broker = exchange()
    await broker.on_market(bar(1, 100, 101, 99, 100))
    await broker.place(STOP)
    high = bar(2, 100, 110, 98, 110)
    assert await broker.on_market(high) == []
    await broker.amend("X1", trigger=Decimal("105.00"), limit_price=None)
    assert await broker.on_market(high) == []  # the scan is repeated
    [report] = await broker.on_market(bar(3, 110, 110, 104, 104))
    assert report.average_price == Decimal("105.00")


async def test_a_stop_order_drops_out_when_the_session_ends_unless_it_was_reached():
    broker = exchange()
    await broker.on_market(tick(0, 100.0))
    reached = replace(STOP, reference="X2", limit_price=Decimal("94.00"), time=OPEN)
    await broker.place(replace(STOP, trigger=Decimal("80.00"), time=OPEN))
    await broker.place(reached)
    assert await broker.on_market(tick(1, 90.0)) == []
    ended = {report.reference: report for report in await broker.on_market(closed())}
    assert (ended["X1"].status, ended["X1"].reason) == (OrderStatus.CANCELLED, "session ended")
    assert (ended["X2"].status, ended["X2"].average_price) == (OrderStatus.FILLED, Decimal(90))
    late = await broker.place(replace(STOP, reference="X3", time=CLOSE))
    assert late.status is OrderStatus.CANCELLED


async def test_a_stop_order_needs_a_trigger():
    broker = exchange()
    for trigger in (None, Decimal(0)):
        with pytest.raises(OrderRejected, match="trigger"):
            await broker.place(replace(STOP, trigger=trigger))


async def test_a_book_of_an_earlier_version_is_read_on(tmp_path):
    path = tmp_path / "book.db"
    old = exchange(path)
    await old.on_market(tick(0, 100.0))
    await old.place(ENTRY)
    before = await old.reports()
    await old.close()
    with sqlite3.connect(path) as file:
        for column in ("stop", "triggered"):
            file.execute(f"ALTER TABLE orders DROP COLUMN {column}")
    file.close()
    broker = exchange(path)
    assert await broker.reports() == before
    await broker.place(replace(STOP, time=OPEN))
    await broker.on_market(tick(1, 94.0))
    assert {r.reference: r.status for r in await broker.reports()} == {
        "E1": OrderStatus.FILLED,
        "X1": OrderStatus.FILLED,
    }
