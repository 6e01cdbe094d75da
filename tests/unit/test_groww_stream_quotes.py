"""What the live feed's messages become: quotes, or nothing."""

import struct
from datetime import UTC, datetime, timedelta

import pytest

from hftray.adapters.groww.stream_pace import ConnectPace
from hftray.adapters.groww.stream_quotes import (
    Heard,
    PriceUpdate,
    QuoteBook,
    StreamKey,
    moment_of,
)
from hftray.adapters.groww.stream_state import StreamOptions
from hftray.adapters.groww.stream_wire import (
    orders_subject,
    price_subject,
    read_order_id,
    read_price,
)
from hftray.core.errors import DataError
from hftray.testing.groww.feed_messages import LivePrice, OrderNews

NOW = datetime(2026, 11, 26, 5, 0, tzinfo=UTC)
TCS, ITC = StreamKey("NSE", "11536"), StreamKey("BSE", "500875")


def stamp(seconds: float = 0.0) -> float:
    return (NOW + timedelta(seconds=seconds)).timestamp() * 1000


def book() -> QuoteBook:
    book = QuoteBook()
    book.watch({"TCS": TCS, "ITC": ITC})
    return book


def double(number: int, value: float) -> bytes:
    return bytes([number << 3 | 1]) + struct.pack("<d", value)


def price_message(*fields: bytes) -> bytes:
    body = b"".join(fields)
    return bytes([4 << 3 | 2, len(body)]) + body


def test_a_price_message_is_read_from_its_bytes() -> None:
    sent = b"\x0a\x04ABCD" + price_message(double(1, 1.79e12), double(6, 250), double(13, 1400.5))

    assert read_price(sent) == PriceUpdate(price=1400.5, stamp=1.79e12, day_volume=250)


def test_a_field_that_was_not_sent_is_absent_and_not_zero() -> None:
    assert read_price(price_message(double(6, 250))) == PriceUpdate(None, None, 250)


def test_fields_nobody_knows_are_ignored() -> None:
    unknown = bytes([0xFA, 0x07, 2]) + b"??"  # field 127, two bytes

    assert read_price(price_message(double(13, 10.0)) + unknown).price == 10.0


def test_a_message_about_depth_has_no_price() -> None:
    assert read_price(bytes([5 << 3 | 2, 9]) + double(1, 1.79e12)).price is None


def test_bytes_that_are_no_message_are_a_data_error() -> None:
    with pytest.raises(DataError, match="4 bytes"):
        read_price(b"\xff\xff\xff\xff")


def test_order_news_name_the_order() -> None:
    news = OrderNews("GMK1", "EXECUTED", "SELL", "LIMIT", "NSE", "INE0", 5, filled=5, price=10.5)

    assert read_order_id(news.encode()) == "GMK1"
    assert read_order_id(b"") is None


def test_subjects() -> None:
    assert price_subject(TCS) == "/ld/eq/nse/price.11536"
    assert price_subject(ITC) == "/ld/eq/bse/price.500875"
    assert orders_subject("S1") == "stocks/order/updates.apex.S1"


def test_a_price_becomes_a_quote_with_its_time_and_volume() -> None:
    quotes = book()

    assert quotes.take(TCS, PriceUpdate(100.5, stamp(-2), 900.0), NOW) is Heard.NEW

    quote = quotes.quotes()["TCS"]
    assert (quote.price, quote.day_volume, quote.streamed) == (100.5, 900.0, True)
    assert quote.time == NOW - timedelta(seconds=2)


@pytest.mark.parametrize("price", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_a_price_nothing_can_cost_never_becomes_a_quote(price: float | None) -> None:
    quotes = book()
    quotes.take(TCS, PriceUpdate(100.5, stamp(-2), 900.0), NOW)

    assert quotes.take(TCS, PriceUpdate(price, stamp(-1), 950.0), NOW) is Heard.UNSOUND
    assert quotes.quotes()["TCS"].price == 100.5


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (stamp(), NOW),
        (stamp() / 1000, NOW),  # seconds
        (stamp(3600), None),  # in the future: everything after it would be late
        (stamp() * 1000, None),  # microseconds
        (0.0, None),
        (float("nan"), None),
        (None, None),
    ],
)
def test_the_unit_of_a_time_is_told_by_its_size(sent: float, expected: datetime | None) -> None:
    assert moment_of(sent, NOW) == expected


def test_repeated_and_late_messages_change_nothing() -> None:
    quotes = book()
    newest = PriceUpdate(101.0, stamp(-1), 950.0)
    quotes.take(TCS, PriceUpdate(100.5, stamp(-2), 900.0), NOW)
    quotes.take(TCS, newest, NOW)

    assert quotes.take(TCS, newest, NOW) is Heard.REPEATED
    assert quotes.take(TCS, PriceUpdate(100.5, stamp(-2), 900.0), NOW) is Heard.LATE
    assert quotes.take(TCS, PriceUpdate(99.0, stamp(-1), 940.0), NOW) is Heard.LATE  # same moment
    assert quotes.take(TCS, PriceUpdate(98.0, None, 930.0), NOW) is Heard.LATE  # by volume
    assert quotes.quotes()["TCS"].price == 101.0


def test_a_forgotten_quote_is_not_shown_but_still_bars_older_ones() -> None:
    quotes = book()
    quotes.take(TCS, PriceUpdate(101.0, stamp(-1), 950.0), NOW)

    quotes.forget()
    assert quotes.quotes() == {}
    assert quotes.take(TCS, PriceUpdate(100.5, stamp(-2), 900.0), NOW) is Heard.LATE
    assert quotes.quotes() == {}
    assert quotes.take(TCS, PriceUpdate(101.0, stamp(-1), 950.0), NOW) is Heard.REPEATED
    assert quotes.quotes()["TCS"].price == 101.0


def test_symbols_that_are_no_longer_watched_are_forgotten() -> None:
    quotes = book()
    quotes.take(TCS, PriceUpdate(101.0, stamp(), 950.0), NOW)

    quotes.watch({"ITC": ITC})

    assert quotes.quotes() == {}
    assert quotes.take(TCS, PriceUpdate(101.0, stamp(), 950.0), NOW) is Heard.UNKNOWN


def test_two_symbols_cannot_share_a_token() -> None:
    with pytest.raises(ValueError, match="same exchange token"):
        QuoteBook().watch({"TCS": TCS, "INFY": TCS})


def test_a_zero_price_of_the_loopback_is_absent_on_the_wire() -> None:
    assert read_price(LivePrice(NOW, None, 5).encode()) == PriceUpdate(None, stamp(), 5)


def pace(chance: float = 0.0) -> ConnectPace:
    return ConnectPace(StreamOptions("ws://x", connects_an_hour=3), lambda: chance)


def test_pauses_double_up_to_the_longest_and_vary_downwards() -> None:
    steady, varied = pace(), pace(chance=1.0)
    seen = []
    for _ in range(10):
        for own in (steady, varied):
            own.ended(timedelta(0), heard=False)
        seen.append(steady.pause())
        assert varied.pause() == steady.pause() / 2

    assert seen == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert steady.pause(hopeless=True) == 300


def test_only_a_feed_that_brought_prices_for_long_clears_the_record() -> None:
    own = pace()
    for lasted, heard, expected in [(0, False, 2), (3600, False, 4), (30, True, 8), (60, True, 2)]:
        own.ended(timedelta(seconds=lasted), heard)
        assert own.pause() == expected


def test_no_sliding_hour_holds_more_attempts_than_allowed() -> None:
    own = pace()
    for minutes in (0, 10, 20):
        assert own.until_allowed(NOW + timedelta(minutes=minutes)) == 0
        own.attempt(NOW + timedelta(minutes=minutes))

    assert own.until_allowed(NOW + timedelta(minutes=30)) == 30 * 60
    assert own.until_allowed(NOW + timedelta(minutes=60)) == 0
