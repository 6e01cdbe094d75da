"""Paper trading cannot place an order: not by what it sends, and not by what it holds.

A busy morning is traded on paper through the venue as it is built for a paper system, connected to
a Groww on loopback, with every request that leaves this process written down.
"""

import asyncio
import types
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import httpx
import pytest
from live_world import DAY, SYMBOLS, GrowwDay, generated, moments
from scan_world import LIVELY, Market

from hftray import groww_venue, layers
from hftray.adapters.groww.broker import GrowwBroker
from hftray.adapters.groww.connection import GrowwConnection
from hftray.adapters.groww.errors import AccessDenied
from hftray.adapters.groww.order_calls import OrderCalls
from hftray.adapters.live_feed import LiveFeed
from hftray.adapters.paper_exchange import PaperExchange
from hftray.core.candles import Candles
from hftray.core.ledger import RunInfo
from hftray.core.orders import Leg, TradeStatus
from hftray.core.session import SessionRules
from hftray.exchange_data import exchange_tables
from hftray.ports import Venue
from hftray.venues import build_broker

SEED = 11
SHARES = SYMBOLS[:4]
RUN = RunInfo(1, "paper", "groww", "default", Decimal(100_000))
CAN_TRADE = (GrowwConnection, GrowwBroker, OrderCalls)
LEAVES = (str, bytes, int, float, Decimal, type, types.ModuleType, types.NoneType)
QUESTIONS = ("/v1/live-data/", "/v1/historical/", "/v1/positions/", "/v1/margins/detail/user")


class VenueMarket(Market):
    """An account that trades at a given venue."""

    venue: Venue

    async def venue_of(self, run: RunInfo) -> Venue:
        return self.venue


def settings_of(world: GrowwDay, folder: Any, mode: str) -> Any:
    environment = world.environment() | {"HFTRAY_DATA_DIR": str(folder)}
    return layers.load(flags={"mode": mode, "symbols": SHARES}, environment=environment).settings


async def open_venue(world: GrowwDay, folder: Any, mode: str) -> Venue:
    """The venue as wiring opens it."""
    settings = settings_of(world, folder, mode)
    instruments = await groww_venue.tradable(settings)
    exchange = partial(build_broker, settings, instruments, "paper-1.sqlite")
    return await groww_venue.open_venue(
        settings, instruments, "", exchange, replace(RUN, mode=mode)
    )


def objects(root: object) -> Iterator[object]:
    """Everything that can be reached from an object: attributes, items, what functions enclose."""
    seen, todo = {id(root)}, [root]
    while todo:
        thing = todo.pop()
        yield thing
        for held in parts(thing):
            if id(held) not in seen and not isinstance(held, LEAVES):
                seen.add(id(held))
                todo.append(held)


def parts(thing: Any) -> Iterator[object]:
    if isinstance(thing, dict):
        yield from thing.keys()
        yield from thing.values()
    elif isinstance(thing, list | tuple | set | frozenset):
        yield from thing
    elif isinstance(thing, types.MethodType):
        yield from (thing.__self__, thing.__func__)
    elif isinstance(thing, types.FunctionType):
        yield from (cell.cell_contents for cell in thing.__closure__ or ())
        yield from thing.__defaults__ or ()
    elif isinstance(thing, partial):
        yield from (thing.func, thing.args, thing.keywords)
    else:
        yield from getattr(thing, "__dict__", {}).values()
        slots = {name for kind in type(thing).__mro__ for name in vars(kind).get("__slots__", ())}
        yield from (getattr(thing, name, None) for name in slots)


def of_ours(thing: object) -> bool:
    return type(thing).__module__.startswith("hftray.adapters.groww")


class Played:
    """What a morning on paper sent, what of it arrived, and what was traded."""

    def __init__(self, sent: list[httpx.Request], journal: list[Any], trades: list[Any]) -> None:
        self.sent, self.journal, self.trades = sent, journal, trades


@pytest.fixture(scope="module")
def candles() -> dict[str, Candles]:
    return generated(SHARES, DAY, SEED)


@pytest.fixture(scope="module")
def played(candles: dict[str, Candles], tmp_path_factory: pytest.TempPathFactory) -> Played:
    with pytest.MonkeyPatch.context() as patch:
        sent: list[httpx.Request] = []
        send = httpx.AsyncHTTPTransport.handle_async_request

        async def watched(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
            sent.append(request)
            return await send(self, request)

        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", watched)
        world = GrowwDay(candles, DAY)
        return asyncio.run(paper_morning(world, tmp_path_factory.mktemp("paper"), sent))


async def paper_morning(world: GrowwDay, folder: Any, sent: list[httpx.Request]) -> Played:
    async with world.groww:
        venue = await open_venue(world, folder, "paper")
        _, calendar = exchange_tables()
        assert venue.source is not None
        feed = LiveFeed(venue.source, calendar, folder=folder / "c", rules=SessionRules())
        market = VenueMarket(feed, symbols=SHARES, rules=LIVELY)
        market.venue = venue
        await market.open()
        scanner = await market.scanner()
        await feed.start(SHARES, None)
        until = world.opens.replace(hour=12, minute=30)
        for moment in moments(world.opens, until):
            world.clock.to(moment)
            await scanner.scan()
            await scanner.scan()
        journal = [(entry.method, entry.path) for entry in world.groww.world.journal]
        trades = market.trades
        await market.broker.close()
        return Played(sent, journal, trades)


def test_a_busy_morning_on_paper_sends_nothing_but_questions(played: Played) -> None:
    done = [trade for trade in played.trades if trade.status is TradeStatus.EXECUTED]
    print(f"{len(done)} paper trades, {len(played.sent)} requests")
    assert {Leg.ENTRY, Leg.EXIT} == {trade.leg for trade in done}
    assert len(done) > 15
    for request in played.sent:
        assert request.url.host == "127.0.0.1"
        path = request.url.path
        if path.startswith(("/_test/", "/instruments/")):
            continue
        if request.method == "POST":
            assert path == "/v1/token/api/access"
        else:
            assert request.method == "GET"
            assert path.startswith(QUESTIONS), path


def test_no_request_to_an_order_path_reaches_groww(played: Played) -> None:
    assert len(played.journal) > 100
    assert [call for call in played.journal if "/order" in call[1]] == []


async def test_the_paper_venue_holds_nothing_that_could_place_an_order(
    candles: dict[str, Candles], tmp_path: Any
) -> None:
    world = GrowwDay(candles, DAY)
    async with world.groww:
        venue = await open_venue(world, tmp_path / "paper", "paper")
        held = list(objects(venue))
        assert isinstance(venue.broker, PaperExchange)
        assert [thing for thing in held if isinstance(thing, CAN_TRADE)] == []
        assert [thing for thing in held if of_ours(thing) and hasattr(thing, "post")] == []
        clients = [thing for thing in held if isinstance(thing, httpx.AsyncClient)]
        assert clients  # it does ask for prices
        before = len(world.groww.world.journal)
        for client in clients:
            for path in ("order/create", "order/modify", "order/cancel"):
                with pytest.raises(AccessDenied):
                    await client.post(f"{world.groww.api}/{path}", json={})
        assert len(world.groww.world.journal) == before
        await venue.close()


async def test_the_search_for_such_objects_finds_them_in_a_live_venue(
    candles: dict[str, Candles], tmp_path: Any
) -> None:
    world = GrowwDay(candles, DAY)
    async with world.groww:
        venue = await open_venue(world, tmp_path / "live", "live")
        held = list(objects(venue))
        for kind in CAN_TRADE:
            assert any(isinstance(thing, kind) for thing in held), kind
        await venue.close()
