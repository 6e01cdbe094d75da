"""The Groww client against the Groww on loopback: sessions, limits, errors and prices over HTTP."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from loopback_world import FIVE, FRIDAY, MONDAY, body, flat_day

from hftray.adapters.groww.connection import (
    Category,
    Credentials,
    GrowwConnection,
    ReadOnlyConnection,
    Urgency,
)
from hftray.adapters.groww.errors import AccessDenied, DuplicateReference, GrowwRefused
from hftray.adapters.groww.governor import Governor
from hftray.adapters.groww.master_file import MasterFile
from hftray.adapters.groww.options import GrowwOptions
from hftray.adapters.groww.source import GrowwSource
from hftray.adapters.instruments import Listings
from hftray.core.errors import BrokerUnavailable, HftrayError, NotFound, UnknownOutcome
from hftray.core.market import Candle
from hftray.layers import default_file, read_yaml
from hftray.testing.groww import Behaviour, LoopbackGroww, Market, SteppedClock
from hftray.testing.groww import Category as Counted

SHARES = ("RELIANCE", "TCS")
NOW = MONDAY + timedelta(minutes=31)  # one minute into a candle
OPTIONS = GrowwOptions("", "", "", timeout_seconds=20)


def rising(symbol: str, price: float) -> list[Candle]:
    return [
        Candle(symbol, MONDAY + FIVE * n, *_bar(price + n), volume=1000 * (n + 1))
        for n in range(72)
    ]


def _bar(price: float) -> tuple[float, float, float, float]:
    return price, price + 2, price - 2, price + 1


@pytest.fixture(scope="module")
def server() -> Iterator[LoopbackGroww]:
    """One server for all tests; its market stands half an hour after Monday's opening."""
    candles = {
        name: [*flat_day(FRIDAY, price, name), *rising(name, price)]
        for name, price in zip(SHARES, (1000.0, 3000.0), strict=True)
    }
    market = Market(candles, SteppedClock(NOW))
    with LoopbackGroww(market, behaviour=Behaviour(square_off_minutes=None)) as groww:
        yield groww


@pytest.fixture
def groww(server: LoopbackGroww) -> Iterator[LoopbackGroww]:
    server.limits.reset()
    server.world.journal.clear()
    yield server
    server.faults.clear()
    server.sessions.subscription = server.sessions.approved = True
    server.behaviour.change({"gateway_body": "json"})


Connect = Callable[..., Any]


@pytest.fixture
async def connect(groww: LoopbackGroww) -> AsyncIterator[Connect]:
    made: list[Any] = []

    def connection(kind: type = GrowwConnection, *, totp: bool = False, **changes: Any) -> Any:
        keys = groww.sessions.keys
        secret = {"totp_secret": keys.totp_secret} if totp else {"api_secret": keys.secret}

        async def credentials() -> Credentials:
            return Credentials(keys.api_key, **secret)

        options = replace(OPTIONS, base_url=groww.api, **changes)
        made.append(kind(options, credentials, governor=Governor(options.limits())))
        return made[-1]

    yield connection
    for each in made:
        await each.close()


@pytest.fixture
def source(groww: LoopbackGroww, connect: Connect, tmp_path: Path) -> GrowwSource:
    return GrowwSource(
        connect(ReadOnlyConnection),
        MasterFile(groww.instruments_url, tmp_path, groww.clock.now),
        Listings.from_mapping(read_yaml(default_file("instruments.yaml"))),
        now=groww.clock.now,
    )


async def create(connection: Any, urgency: Urgency = Urgency.ENTRY, **changes: Any) -> Any:
    order = body(price=950.0, **changes)
    return await connection.post(
        "/order/create", order, category=Category.ORDERS, urgency=urgency, patience=60
    )


def book(groww: LoopbackGroww) -> list[str]:
    return [row["order_reference_id"] for row in groww.world.book_rows()]


# Session


@pytest.mark.parametrize("totp", [False, True])
async def test_both_flows_log_in(groww: LoopbackGroww, connect: Connect, totp: bool) -> None:
    connection = connect(totp=totp)
    assert await connection.get("/user/detail", category=Category.NON_TRADING)
    assert groww.limits.highest(Counted.AUTHENTICATION, 60.0) == 1


async def test_a_wrong_secret_a_missing_approval_and_no_subscription_are_for_the_operator(
    groww: LoopbackGroww, connect: Connect
) -> None:
    groww.sessions.approved = False
    with pytest.raises(AccessDenied, match="approved for today"):
        await connect().log_in()

    async def wrong() -> Credentials:
        return Credentials(groww.sessions.keys.api_key, "wrong-secret")

    options = replace(OPTIONS, base_url=groww.api)
    connection = GrowwConnection(options, wrong, governor=Governor(options.limits()))
    with pytest.raises(AccessDenied, match="API key and its secret") as caught:
        await connection.log_in()
    assert "wrong-secret" not in str(caught.value)
    await connection.close()

    groww.sessions.approved, groww.sessions.subscription = True, False
    with pytest.raises(AccessDenied, match="subscription"):
        await connect().get(
            "/live-data/ltp",
            {"segment": "CASH", "exchange_symbols": "NSE_TCS"},
            category=Category.LIVE_DATA,
        )


@pytest.mark.parametrize("style", ["json", "envelope", "text", "empty"])
async def test_an_expired_token_is_replaced_once_for_all_and_every_order_is_placed_once(
    groww: LoopbackGroww, connect: Connect, style: str
) -> None:
    groww.behaviour.change({"gateway_body": style})
    connection = connect()
    await connection.log_in()
    minted, known = groww.sessions.minted, len(book(groww))
    groww.sessions.expire()
    await asyncio.gather(
        *(create(connection) for _ in range(4)),
        *(connection.get("/user/detail", category=Category.NON_TRADING) for _ in range(6)),
    )
    assert groww.sessions.minted == minted + 1
    assert len(book(groww)) == known + 4


# Limits


async def test_a_burst_stays_within_every_limit(groww: LoopbackGroww, connect: Connect) -> None:
    """The server counts arrivals in sliding windows; settings ask for far more than is allowed."""
    connection = connect(orders_per_second=10, live_data_per_second=10)
    quotes = {"segment": "CASH", "exchange_symbols": "NSE_TCS"}
    await asyncio.gather(
        *(create(connection, Urgency(number % 2)) for number in range(35)),
        *(
            connection.get("/live-data/ltp", quotes, category=Category.LIVE_DATA, patience=60)
            for _ in range(35)
        ),
    )
    print({name: groww.limits.highest(name) for name in (Counted.ORDERS, Counted.LIVE_DATA)})
    assert groww.limits.highest(Counted.ORDERS) <= 10
    assert groww.limits.highest(Counted.LIVE_DATA) <= 10
    assert sum(groww.limits.refused.values()) == 0


async def test_a_429_is_waited_out(groww: LoopbackGroww, connect: Connect) -> None:
    connection = connect()
    await connection.log_in()
    groww.faults.add("http_status", path="/order/create", status=429, times=2)
    known = len(book(groww))
    await create(connection, Urgency.EXIT)
    assert len(book(groww)) == known + 1
    assert groww.faults.struck["http_status"] >= 2


# Outcomes of an order


@pytest.mark.parametrize(
    ("fault", "error", "placed"),
    [
        ({"kind": "drop_reply"}, UnknownOutcome, True),
        ({"kind": "drop_request"}, UnknownOutcome, False),
        ({"kind": "html", "taken": True}, UnknownOutcome, True),
        ({"kind": "html", "status": 404}, UnknownOutcome, False),
        ({"kind": "http_status", "status": 500, "taken": True}, UnknownOutcome, True),
        ({"kind": "http_status", "status": 504}, UnknownOutcome, False),
        ({"kind": "http_status", "status": 403}, AccessDenied, False),
        ({"kind": "error", "code": "GA000", "taken": True}, UnknownOutcome, True),
        ({"kind": "error", "code": "GA003"}, UnknownOutcome, False),
        ({"kind": "error", "code": "GA001"}, GrowwRefused, False),
        ({"kind": "error", "code": "GA004"}, NotFound, False),
        ({"kind": "error", "code": "GA005"}, AccessDenied, False),
        ({"kind": "error", "code": "GA006"}, GrowwRefused, False),
        ({"kind": "error", "code": "GA007"}, DuplicateReference, False),
        ({"kind": "network_away"}, UnknownOutcome, False),
    ],
)
async def test_an_order_is_sent_once_and_its_error_is_true(
    groww: LoopbackGroww,
    connect: Connect,
    fault: dict[str, Any],
    error: type[HftrayError],
    placed: bool,
) -> None:
    connection = connect()
    await connection.log_in()
    before = len(book(groww))
    groww.faults.add(fault.pop("kind"), **({"path": "/order/create"} | fault))
    with pytest.raises(error) as caught:
        await create(connection)
    assert type(caught.value) is error
    groww.faults.clear()
    assert len(book(groww)) - before == int(placed)
    arrived = [entry for entry in groww.world.journal if entry.path.endswith("/order/create")]
    assert len(arrived) <= 1


async def test_an_answer_that_does_not_come_is_an_unknown_outcome(
    groww: LoopbackGroww, connect: Connect
) -> None:
    connection = connect(timeout_seconds=1)
    await connection.log_in()
    groww.faults.add("slow", path="/order/create", taken=True)
    with pytest.raises(UnknownOutcome, match="within 1 seconds"):
        await create(connection)


async def test_a_reference_that_was_used_is_told(groww: LoopbackGroww, connect: Connect) -> None:
    connection = connect()
    await create(connection, order_reference_id="used00000001")
    with pytest.raises(DuplicateReference):
        await create(connection, order_reference_id="used00000001")
    found = await connection.get(
        "/order/status/reference/used00000001",
        {"segment": "CASH"},
        category=Category.NON_TRADING,
        urgency=Urgency.LOOK_UP,
    )
    assert found["order_reference_id"] == "used00000001"


async def test_where_nobody_listens_nothing_was_sent(connect: Connect) -> None:
    connection = connect()
    await connection.log_in()
    gone = replace(OPTIONS, base_url="http://127.0.0.1:9/v1")  # discard: nobody listens
    away = GrowwConnection(gone, connection._session._credentials, governor=Governor({}))
    away._session = connection._session
    with pytest.raises(BrokerUnavailable, match="was not sent"):
        await create(away)
    await away.close()


@pytest.mark.parametrize("kind", ["drop_request", "drop_reply"])
async def test_a_lost_question_is_asked_once_more(
    groww: LoopbackGroww, connect: Connect, kind: str
) -> None:
    connection = connect()
    await connection.log_in()
    groww.faults.add(kind, path="/user/detail")
    assert await connection.get("/user/detail", category=Category.NON_TRADING)


# Prices


async def test_instruments_of_both_exchanges(groww: LoopbackGroww, source: GrowwSource) -> None:
    instruments = await source.instruments()
    assert set(instruments) == {*SHARES, *(f"BSE:{name}" for name in SHARES)}
    assert instruments["BSE:TCS"] == replace(
        groww.market.share("BSE", "TCS").instrument, symbol="BSE:TCS"
    )
    listing = await source.listing("TCS")
    assert listing.exchange_token == groww.market.share("NSE", "TCS").exchange_token
    assert listing.freeze_quantity == 100_000


async def test_prices_of_both_exchanges(groww: LoopbackGroww, source: GrowwSource) -> None:
    quotes = await source.quotes(["RELIANCE", "BSE:TCS"])
    assert {name: quote.price for name, quote in quotes.items()} == {
        name: groww.market.state(groww.market.share(exchange, share), groww.clock.now()).price
        for name, exchange, share in (
            ("RELIANCE", "NSE", "RELIANCE"),
            ("BSE:TCS", "BSE", "TCS"),
        )
    }
    quote = await source.quote("BSE:TCS")
    assert float(quote.last_price) == quotes["BSE:TCS"].price
    assert quote.day_volume
    assert quote.day_low
    limits = await source.circuit_limits("RELIANCE")
    assert limits.lower is not None
    assert limits.upper is not None
    assert limits.lower < 1000 < limits.upper


async def test_candles_of_today_and_of_weeks_before(
    groww: LoopbackGroww, source: GrowwSource
) -> None:
    for separator in ("T", "space"):
        groww.behaviour.change({"candle_time": separator})
        candles = await source.candles("TCS", NOW - timedelta(days=70), NOW, 5)
        closed = [candle for candle in candles if candle.time + FIVE <= NOW]
        assert closed == [*flat_day(FRIDAY, 3000.0, "TCS"), *rising("TCS", 3000.0)[:6]]
        assert candles[-1].time == MONDAY + 6 * FIVE  # the one that is forming
    assert [c.symbol for c in await source.candles("BSE:TCS", MONDAY, NOW, 15)] == ["BSE:TCS"] * 3


async def test_what_the_doctor_asks(groww: LoopbackGroww, source: GrowwSource) -> None:
    groww.faults.add("time_skew", seconds=90)
    assert (await source.profile()).nse_enabled
    assert (await source.margins()).clear_cash == 1_000_000
    assert source.clock_skew is not None
    assert source.clock_skew.total_seconds() == pytest.approx(90, abs=5)


async def test_paper_leaves_no_order_call_behind(
    groww: LoopbackGroww, connect: Connect, source: GrowwSource
) -> None:
    paper = connect(ReadOnlyConnection)
    await source.quotes(list(SHARES))
    await source.candles("TCS", MONDAY, NOW, 5)
    for path in ("/order/create", "/order/list", "/order-advance/create"):
        with pytest.raises(AccessDenied):
            await paper.get(path, {"segment": "CASH"}, category=Category.NON_TRADING)
    assert not [entry for entry in groww.world.journal if "/order" in entry.path]
    assert groww.world.journal  # it did ask for the rest


async def test_no_secret_reaches_the_journal_of_requests(
    groww: LoopbackGroww, connect: Connect
) -> None:
    await connect().log_in()
    seen = json.dumps([entry.row() for entry in groww.world.journal], default=str)
    assert groww.sessions.keys.secret not in seen
