"""Historical candles of the loopback, put together from the very ticks its orders meet.

Buckets within a day are anchored at the session's open, days, weeks and months at the calendar.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from hftray.core.session import IST
from hftray.testing.groww.market import Market
from hftray.testing.groww.price_path import PriceState
from hftray.testing.groww.shares import Share


@dataclass(frozen=True, slots=True)
class Span:
    """A candle interval: its minutes, and the most days one request may ask for."""

    minutes: int
    days: int | None


_DAY, _WEEK, _MONTH = 1440, 10_080, 43_200

# Groww's documentation of the candles call.
INTERVALS = {
    "1minute": Span(1, 30),
    "2minute": Span(2, 30),
    "3minute": Span(3, 30),
    "5minute": Span(5, 30),
    "10minute": Span(10, 90),
    "15minute": Span(15, 90),
    "30minute": Span(30, 90),
    "1hour": Span(60, 180),
    "4hour": Span(240, 180),
    "1day": Span(_DAY, 180),
    "1week": Span(_WEEK, 180),
    "1month": Span(_MONTH, 180),
}
# And of the deprecated one, by minutes.
OLD_INTERVALS = {
    "1": Span(1, 7),
    "5": Span(5, 15),
    "10": Span(10, 30),
    "60": Span(60, 150),
    "240": Span(240, 365),
    "1440": Span(_DAY, 1080),
    "10080": Span(_WEEK, None),
}


@dataclass(slots=True)
class Bar:
    """One candle; `closes` is the moment from which it cannot change any more."""

    time: datetime
    closes: datetime
    open: float
    high: float
    low: float
    close: float
    volume: int


def bars(
    market: Market, share: Share, minutes: int, first: datetime, last: datetime, now: datetime
) -> Iterator[Bar]:
    """The candles that open from `first` to `last`, both included, as far as they are known now."""
    start = _day_start(first, minutes)
    until = min(now, last + timedelta(minutes=minutes))
    for bar in _gathered(market, share, minutes, market.ticks(share, start, until)):
        if first <= bar.time <= last:
            yield bar


def _gathered(
    market: Market, share: Share, minutes: int, ticks: Iterable[PriceState]
) -> Iterator[Bar]:
    bar: Bar | None = None
    for tick in ticks:
        if bar is None or tick.time >= bar.closes:
            if bar is not None:
                yield bar
            opens, closes = _bucket(market, share, minutes, tick.time)
            price = tick.price
            bar = Bar(opens, closes, price, price, price, price, 0)
        bar.high = max(bar.high, tick.price)
        bar.low = min(bar.low, tick.price)
        bar.close = tick.price
        bar.volume += tick.volume
    if bar is not None:
        yield bar


def _bucket(
    market: Market, share: Share, minutes: int, moment: datetime
) -> tuple[datetime, datetime]:
    day = moment.date()
    if minutes == _DAY:
        return _midnight(day), _midnight(day + timedelta(days=1))
    if minutes == _WEEK:
        monday = day - timedelta(days=day.weekday())
        return _midnight(monday), _midnight(monday + timedelta(days=7))
    if minutes == _MONTH:
        following = (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        return _midnight(day.replace(day=1)), _midnight(following)
    session = market.session(share, day)
    assert session is not None  # a tick came from a session
    length = timedelta(minutes=minutes)
    opens = session.opens + (moment - session.opens) // length * length
    return opens, opens + length


def _day_start(first: datetime, minutes: int) -> datetime:
    """Just before the first tick that a candle opening at `first` may need."""
    day = first.astimezone(IST).date()
    # Times of ticks later than this count, and midnight itself has none.
    return _midnight(day) if minutes <= _DAY else _midnight(day - timedelta(days=31))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time(), IST)
