"""Quotes, candles and the account through Groww's calls, on a scripted Groww."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from groww_world import FakeGroww, connected, failure, ok, wall
from hypothesis import given
from hypothesis import strategies as st
from virtual_time import run

from hftray.adapters.groww.candle_spans import SPANS, stretches
from hftray.adapters.groww.connection import ReadOnlyConnection
from hftray.adapters.groww.master_file import MasterFile
from hftray.adapters.groww.source import GrowwSource
from hftray.adapters.instruments import Listings
from hftray.core.errors import BrokerUnavailable, ConfigError, NotFound
from hftray.core.market import Candle
from hftray.core.session import IST
from hftray.layers import default_file, read_yaml
from hftray.ports_source import Quote

HEADER = "exchange,exchange_token,trading_symbol,groww_symbol,segment,series,tick_size"
LISTED = [
    f"{exchange},{1000 + n},{symbol},{exchange}-{symbol},CASH,EQ,0.10"
    for exchange in ("NSE", "BSE")
    for n, symbol in enumerate(["RELIANCE", "TCS", "M&M", *(f"S{n}" for n in range(120))])
]


@cache
def shipped() -> Listings:
    return Listings.from_mapping(read_yaml(default_file("instruments.yaml")))


def instrument_file(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="\n".join([HEADER, *LISTED]))


class Stream:
    def __init__(self) -> None:
        self.quotes: dict[str, Quote] = {}

    def newest(self) -> Mapping[str, Quote]:
        return self.quotes


class World:
    """A source over a scripted Groww that keeps what it was asked."""

    def __init__(self, folder: Path, answer: Callable[[httpx.Request], Any]) -> None:
        self.groww = FakeGroww(answer)
        self.stream = Stream()
        self._folder = folder

    def source(self, now: Callable[[], datetime] = wall) -> GrowwSource:
        file = httpx.MockTransport(instrument_file)
        return GrowwSource(
            connected(self.groww, kind=ReadOnlyConnection),
            MasterFile("https://assets.test/i.csv", self._folder, now, transport=file),
            shipped(),
            stream=self.stream,
            now=now,
        )

    def asked(self, path: str) -> list[dict[str, str]]:
        return [
            dict(request.url.params)
            for request in self.groww.seen
            if request.url.path == f"/v1{path}"
        ]


def prices(request: httpx.Request) -> httpx.Response:
    names = request.url.params["exchange_symbols"].split(",")
    return ok({name: 1000.0 + place for place, name in enumerate(names)})


def test_quotes_are_polled_fifty_a_call_and_keep_our_names(tmp_path: Path) -> None:
    world = World(tmp_path, prices)
    symbols = ["RELIANCE", "BSE:RELIANCE", "M&M", *(f"S{n}" for n in range(110))]
    quotes = run(in_loop(world, lambda source: source.quotes(symbols)))

    calls = world.asked("/live-data/ltp")
    assert [len(call["exchange_symbols"].split(",")) for call in calls] == [50, 50, 13]
    assert calls[0]["exchange_symbols"].startswith("NSE_RELIANCE,BSE_RELIANCE,NSE_M&M,NSE_S0,")
    assert {call["segment"] for call in calls} == {"CASH"}
    assert set(quotes) == set(symbols)
    assert quotes["BSE:RELIANCE"] == Quote("BSE:RELIANCE", 1001.0)


async def in_loop(world: World, work: Callable[[GrowwSource], Any]) -> Any:
    return await work(world.source())


def test_prices_that_cannot_be_used_are_left_out(tmp_path: Path) -> None:
    answer = {"NSE_RELIANCE": "2500.50", "NSE_TCS": None, "NSE_S0": 0, "NSE_S1": -1, "NSE_X": 5}
    world = World(tmp_path, lambda _: ok(answer))
    symbols = ["RELIANCE", "TCS", "S0", "S1", "S2"]
    quotes = run(in_loop(world, lambda source: source.quotes(symbols)))
    assert quotes == {"RELIANCE": Quote("RELIANCE", 2500.5)}


def test_a_symbol_that_is_not_listed_keeps_no_quote_from_the_others(tmp_path: Path) -> None:
    world = World(tmp_path, prices)
    quotes = run(in_loop(world, lambda source: source.quotes(["TCS", "BSE:NOPE"])))
    assert set(quotes) == {"TCS"}
    with pytest.raises(NotFound, match="BSE:NOPE"):
        run(in_loop(world, lambda source: source.listing("BSE:NOPE")))


def test_streamed_quotes_come_first_and_the_rest_is_polled(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _: ok({"NSE_TCS": 2999.0, "NSE_RELIANCE": 1400.0}))
    streamed = Quote("TCS", 3000.0, wall_at(0), 5000.0, streamed=True)
    world.stream.quotes = {"TCS": streamed, "S9": Quote("S9", 1.0)}

    async def scene() -> list[Any]:
        source = world.source()
        return [await source.quotes(["TCS", "RELIANCE"]) for _ in range(3)]

    for quotes in run(scene()):
        assert quotes == {"TCS": streamed, "RELIANCE": Quote("RELIANCE", 1400.0)}
    asked = [call["exchange_symbols"] for call in world.asked("/live-data/ltp")]
    # The first call also holds the stream against polled prices; the next ones need not yet.
    assert asked == ["NSE_TCS,NSE_RELIANCE", "NSE_RELIANCE", "NSE_RELIANCE"]


def wall_at(seconds: float) -> datetime:
    return datetime(2026, 11, 26, 9, 30, tzinfo=IST) + timedelta(seconds=seconds)


def test_a_stream_that_goes_silent_about_a_share_is_not_believed(tmp_path: Path) -> None:
    price = {"NSE_TCS": 3000.0, "NSE_RELIANCE": 1400.0}
    world = World(tmp_path, lambda _: ok(price))
    clock = [wall_at(0)]

    async def scene() -> None:
        source = world.source(lambda: clock[0])

        async def look(seconds: float) -> dict[str, tuple[float, bool]]:
            clock[0] = wall_at(seconds)
            quotes = await source.quotes(["TCS", "RELIANCE"])
            return {name: (quote.price, quote.streamed) for name, quote in quotes.items()}

        def stream(tcs: float, reliance: float) -> None:
            world.stream.quotes = {
                "TCS": Quote("TCS", tcs, streamed=True),
                "RELIANCE": Quote("RELIANCE", reliance, streamed=True),
            }

        stream(3000.0, 1400.0)
        assert await look(0) == {"TCS": (3000.0, True), "RELIANCE": (1400.0, True)}
        price.update(NSE_TCS=3010.0)  # the stream tells of RELIANCE only
        stream(3000.0, 1401.0)
        assert (await look(31))["TCS"] == (3000.0, True)  # once may be a matter of moments
        price.update(NSE_TCS=3011.0)
        stream(3000.0, 1402.0)
        assert await look(62) == {"TCS": (3011.0, False), "RELIANCE": (1402.0, True)}
        price.update(NSE_TCS=3012.0)
        assert (await look(63))["TCS"] == (3012.0, False)  # polled each time now
        stream(3013.0, 1402.0)
        assert (await look(64))["TCS"] == (3013.0, True)

    run(scene())


def test_without_a_way_to_ask_the_stream_alone_serves(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _: httpx.Response(503))
    world.stream.quotes = {"TCS": Quote("TCS", 3000.0, streamed=True)}

    async def scene() -> None:
        source = world.source()
        assert await source.quotes(["TCS"]) == world.stream.quotes
        with pytest.raises(BrokerUnavailable):
            await source.quotes(["TCS", "RELIANCE"])

    run(scene())


# Candles


def candle_rows(
    request: httpx.Request, first: datetime, until: datetime, minutes: int
) -> list[list[Any]]:
    """Candles between both ends of a request, both included, as a lenient server would."""
    start, end = (
        datetime.fromisoformat(request.url.params[name]).replace(tzinfo=IST)
        for name in ("start_time", "end_time")
    )
    rows = []
    moment = first
    while moment < until:
        if start <= moment <= end:
            price = 100.0 + len(rows) % 7
            rows.append(
                [f"{moment:%Y-%m-%dT%H:%M:%S}", price, price + 1, price - 1, price, 10, None]
            )
        moment += timedelta(minutes=minutes)
    return rows


def test_candles_of_a_long_stretch_come_without_gaps_or_doubles(tmp_path: Path) -> None:
    begin = datetime(2026, 9, 10, 0, 0, tzinfo=IST)
    world = World(
        tmp_path,
        lambda request: ok({"candles": candle_rows(request, begin, wall_at(1800), 5)}),
    )
    first, before = begin + timedelta(days=1), wall_at(0)
    candles = run(in_loop(world, lambda source: source.candles("BSE:TCS", first, before, 5)))

    times = [candle.time for candle in candles]
    expected = int((before - first) / timedelta(minutes=5))
    assert times == [first + timedelta(minutes=5 * n) for n in range(expected)]
    assert {candle.symbol for candle in candles} == {"BSE:TCS"}
    calls = world.asked("/historical/candles")
    assert len(calls) == 3
    assert calls[0] == {
        "exchange": "BSE",
        "segment": "CASH",
        "groww_symbol": "BSE-TCS",
        "start_time": "2026-09-11 00:00:00",
        "end_time": "2026-10-10 00:00:00",
        "candle_interval": "5minute",
    }


@given(
    minutes=st.sampled_from(sorted(SPANS)),
    days=st.floats(0.001, 900),
    start=st.integers(0, 2000).map(lambda days: wall_at(0) - timedelta(days=days)),
)
def test_stretches_cover_everything_within_the_documented_span(
    minutes: int, days: float, start: datetime
) -> None:
    first, before = start, start + timedelta(days=days)
    parts = list(stretches(first, before, SPANS[minutes]))
    assert parts[0][0] == first
    assert parts[-1][1] == before
    assert all(one[1] == next_[0] for one, next_ in pairwise(parts))
    longest = timedelta(days={1: 30, 2: 30, 3: 30, 5: 30}.get(minutes, 90 if minutes < 60 else 180))
    assert all(timedelta(0) < end - begin <= longest for begin, end in parts)


def test_candle_rows_are_read_in_every_documented_form(tmp_path: Path) -> None:
    rows = [
        ["2026-11-26T09:20:00", 100, 102, 99, 101, 500, None],
        ["2026-11-26 09:15:00", "100.05", "101", "99.95", "100.5", None],
        [int(wall_at(0).timestamp()), 101.0, 101.0, 101.0, 101.0, 0, 0],
        ["2026-11-26T09:20:00", 100, 102, 99, 101, 500, None],  # twice
        ["2026-11-26T09:25:00", 100, None, 99, 101, 5, None],  # no high
        ["2026-11-26T09:35:00", 100, 99, 101, 100, 5, None],  # high below low
        ["soon", 1, 1, 1, 1, 1, None],
        "not a row",
    ]
    answer = {"candles": rows, "closing_price": 1, "interval_in_minutes": 5, "new_key": {}}
    world = World(tmp_path, lambda _: ok(answer))
    first = datetime(2026, 11, 26, tzinfo=IST)
    candles = run(in_loop(world, lambda source: source.candles("TCS", first, wall_at(9e3), 5)))
    assert candles == [
        Candle("TCS", wall_at(-900), 100.05, 101.0, 99.95, 100.5, 0.0),
        Candle("TCS", wall_at(-600), 100.0, 102.0, 99.0, 101.0, 500.0),
        Candle("TCS", wall_at(0), 101.0, 101.0, 101.0, 101.0, 0.0),
    ]


@pytest.mark.parametrize("payload", [{"candles": [["x"]]}, {"candles": {}}, [], {"candles": "a"}])
def test_candles_that_cannot_be_read_are_asked_for_again(tmp_path: Path, payload: Any) -> None:
    world = World(tmp_path, lambda _: ok(payload))
    with pytest.raises(BrokerUnavailable, match="candles"):
        run(in_loop(world, lambda source: source.candles("TCS", wall_at(0), wall_at(600), 5)))


def test_a_stretch_without_candles_is_empty(tmp_path: Path) -> None:
    answers = iter([failure(404, "GA004"), ok({"candles": None}), ok({"candles": []})])
    world = World(tmp_path, lambda _: next(answers))
    first = wall_at(0) - timedelta(days=80)
    found = run(in_loop(world, lambda source: source.candles("TCS", first, wall_at(0), 5)))
    assert found == []


def test_a_candle_length_that_groww_has_not_is_told(tmp_path: Path) -> None:
    world = World(tmp_path, prices)
    with pytest.raises(ConfigError, match=r"7 is not one of Groww's: 1, 2, 3, 5"):
        run(in_loop(world, lambda source: source.candles("TCS", wall_at(0), wall_at(9), 7)))


# Quote, account

QUOTE = {
    "last_price": 1400.1,
    "last_trade_time": int(wall_at(0).timestamp() * 1000),
    "volume": 123456,
    "bid_price": 1400.0,
    "bid_quantity": 5,
    "offer_price": 0,
    "offer_quantity": 0,
    "upper_circuit_limit": "1540.10",
    "lower_circuit_limit": 1260.1,
    "implied_volatility": None,
    "something_new": [1, 2],
}


@pytest.mark.parametrize(
    "ohlc",
    [
        {"open": 1390.5, "high": 1401, "low": "1380.25", "close": 1388},
        "{open: 1390.50,high: 1401.00,low: 1380.25,close: 1388.00}",
        '{"open": 1390.5, "high": 1401.0, "low": 1380.25, "close": 1388.0}',
        "{'open': '1390.5', 'high': '1401', 'low': '1380.25'}",
    ],
)
def test_a_quote_is_read_with_its_ohlc_as_object_or_as_text(tmp_path: Path, ohlc: Any) -> None:
    world = World(tmp_path, lambda _: ok({**QUOTE, "ohlc": ohlc}))
    quote = run(in_loop(world, lambda source: source.quote("M&M")))

    assert world.asked("/live-data/quote") == [
        {"exchange": "NSE", "segment": "CASH", "trading_symbol": "M&M"}
    ]
    assert quote.last_price == Decimal("1400.1")
    assert quote.time == wall_at(0)
    assert quote.limits.upper == Decimal("1540.10")
    assert quote.limits.lower == Decimal("1260.1")
    assert (quote.bid_price, quote.offer_price) == (Decimal("1400.0"), None)  # no seller
    assert (quote.day_open, quote.day_high, quote.day_low) == (
        Decimal("1390.5"), Decimal("1401"), Decimal("1380.25"),
    )  # fmt: skip


def test_a_quote_without_its_extras_still_has_a_price(tmp_path: Path) -> None:
    world = World(tmp_path, lambda _: ok({"last_price": 5}))
    quote = run(in_loop(world, lambda source: source.quote("TCS")))
    assert (quote.last_price, quote.limits.upper, quote.time) == (Decimal(5), None, None)


@pytest.mark.parametrize("payload", [{}, {"last_price": None}, {"last_price": 0}, []])
def test_a_quote_without_a_price_is_none(tmp_path: Path, payload: Any) -> None:
    world = World(tmp_path, lambda _: ok(payload))
    with pytest.raises(BrokerUnavailable):
        run(in_loop(world, lambda source: source.quote("TCS")))


def test_profile_and_margins(tmp_path: Path) -> None:
    answers = {
        "/v1/user/detail": {"ucc": "123", "nse_enabled": True, "active_segments": ["CASH"]},
        "/v1/margins/detail/user": {
            "clear_cash": "100000.55",
            "net_margin_used": 10,
            "equity_margin_details": {"mis_balance_available": 90000.5, "mis_margin_used": None},
        },
    }
    world = World(tmp_path, lambda request: ok(answers[request.url.path]))

    async def scene() -> tuple[Any, Any]:
        source = world.source()
        return await source.profile(), await source.margins()

    profile, margins = run(scene())
    assert (profile.nse_enabled, profile.bse_enabled) == (True, False)
    assert profile.segments == ("CASH",)
    assert margins.clear_cash == Decimal("100000.55")
    assert margins.intraday_available == Decimal("90000.5")
    assert margins.intraday_used is None


def test_a_tick_size_out_of_line_is_logged_once_a_day(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """All shares are listed with a step of 0.10: right from 1,000 to 5,000 rupees."""
    world = World(tmp_path, lambda _: ok({"NSE_TCS": 3000.0, "NSE_RELIANCE": 900.0}))
    caplog.set_level(logging.WARNING, "hftray")

    async def scene() -> None:
        source = world.source()
        for _ in range(3):
            await source.quotes(["TCS", "RELIANCE"])

    run(scene())
    (told,) = [r.getMessage() for r in caplog.records if "price band" in r.getMessage()]
    assert '"symbol": "RELIANCE"' in told
    assert '"expected": "0.05"' in told


def test_market_time_is_the_given_clock_in_ist(tmp_path: Path) -> None:
    world = World(tmp_path, prices)
    moment = run(in_loop(world, lambda source: source.market_time()))
    assert moment == wall_at(0)
    assert moment.utcoffset() == timedelta(hours=5, minutes=30)
