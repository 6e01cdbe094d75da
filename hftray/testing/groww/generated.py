"""Candles of hftray's generated market, for a loopback that needs no market data files."""

from collections.abc import Sequence
from datetime import date, datetime, time

from hftray.adapters.calendar import SessionCalendar
from hftray.adapters.instruments import Listings
from hftray.adapters.simulated_market import SimulatedFeed
from hftray.core.candles import Candles
from hftray.core.session import IST, SessionRules
from hftray.layers import default_file, read_yaml


async def generated_candles(
    symbols: Sequence[str], first: date, last: date, *, seed: int = 0, candle_minutes: int = 5
) -> dict[str, Candles]:
    """The candles of every session from one day to another, both included. NotFound, ConfigError.

    A pure function of its arguments; needs the published calendar, which takes about a second.
    """
    feed = SimulatedFeed(
        Listings.from_mapping(read_yaml(default_file("instruments.yaml"))),
        SessionCalendar.from_mapping(read_yaml(default_file("sessions.yaml"))),
        seed=seed,
        start_day=first,
        rules=SessionRules(),
        candle_minutes=candle_minutes,
    )
    begin, end = (
        datetime.combine(day, moment, IST) for day, moment in ((first, time.min), (last, time.max))
    )
    return {symbol: await feed.columns(symbol, begin, end) for symbol in symbols}
