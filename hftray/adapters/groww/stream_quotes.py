"""What the live feed's price messages say about each symbol, newest first and never doubtful.

Everything here is pure: no clock, no network. Prices are rupees, times timezone-aware.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import isfinite

from hftray.ports_source import Quote

# The unit of the feed's time is not documented for every message. Moments of this century are
# ten digits in seconds and thirteen in milliseconds, so the size of the number tells.
_SECONDS = (1e9, 1e10)
_MILLISECONDS = (1e12, 1e13)
# A moment later than this is a fault: taken for true, it would make every later message late.
_AHEAD = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class StreamKey:
    """How the feed names an instrument: exchange (NSE, BSE) and exchange token."""

    exchange: str
    token: str


@dataclass(frozen=True, slots=True)
class PriceUpdate:
    """One price message as it came; a field that was not sent is None.

    `price` is rupees, `stamp` the feed's own time as a number, `day_volume` the session's shares.
    """

    price: float | None
    stamp: float | None
    day_volume: float | None


class Heard(StrEnum):
    """What became of a price message."""

    NEW = "new"
    REPEATED = "repeated"  # nothing in it that was not known
    LATE = "late"  # older than what is known
    UNSOUND = "unsound"  # no price, or none that anything can cost
    UNKNOWN = "unknown"  # of an instrument nobody asked for


def moment_of(stamp: float | None, now: datetime) -> datetime | None:
    """The time a number stands for, in seconds or milliseconds; None when it can be neither."""
    if stamp is None or not isfinite(stamp):
        return None
    if _MILLISECONDS[0] <= stamp < _MILLISECONDS[1]:
        stamp /= 1000
    elif not _SECONDS[0] <= stamp < _SECONDS[1]:
        return None
    moment = datetime.fromtimestamp(stamp, UTC)
    return moment if moment <= now + _AHEAD else None


class QuoteBook:
    """The newest quote of each symbol that is watched.

    A price that is absent, zero, negative or no number never becomes a quote. What is older than
    the quote that is known is dropped, also after `forget`, so that a new connection cannot take
    a symbol back in time.
    """

    def __init__(self) -> None:
        self._symbols: dict[StreamKey, str] = {}
        self._newest: dict[str, Quote] = {}
        self._quotes: dict[str, Quote] = {}

    def watch(self, keys: Mapping[str, StreamKey]) -> None:
        """Which symbols count from now on. What is known of the others is forgotten.

        ValueError when two symbols have one key.
        """
        symbols = {key: symbol for symbol, key in keys.items()}
        if len(symbols) != len(keys):
            raise ValueError("two symbols have the same exchange token")
        moved = {name for key, name in self._symbols.items() if symbols.get(key) != name}
        for symbol in moved:
            self._newest.pop(symbol, None)
            self._quotes.pop(symbol, None)
        self._symbols = symbols

    @property
    def keys(self) -> frozenset[StreamKey]:
        """The instruments that are watched."""
        return frozenset(self._symbols)

    def take(self, key: StreamKey, update: PriceUpdate, now: datetime) -> Heard:
        """Read one message that arrived at `now`."""
        symbol = self._symbols.get(key)
        if symbol is None:
            return Heard.UNKNOWN
        price = update.price
        if price is None or not 0.0 < price < float("inf"):
            return Heard.UNSOUND
        volume = update.day_volume
        if volume is not None and not 0.0 < volume < float("inf"):
            volume = None
        quote = Quote(symbol, price, moment_of(update.stamp, now), volume, streamed=True)
        known = self._newest.get(symbol)
        if known is not None and _older(quote, known):
            return Heard.LATE
        self._newest[symbol] = self._quotes[symbol] = quote
        return Heard.REPEATED if quote == known else Heard.NEW

    def quotes(self) -> dict[str, Quote]:
        """The newest quote of each symbol that was heard of since the last `forget`."""
        return dict(self._quotes)

    def forget(self) -> None:
        """Show no quote until the next message of its symbol."""
        self._quotes.clear()


def _older(quote: Quote, known: Quote) -> bool:
    if quote.time is not None and known.time is not None and quote.time != known.time:
        return quote.time < known.time
    # Within one moment, and where no time is sent, the session's volume tells what came first.
    if quote.day_volume is not None and known.day_volume is not None:
        return quote.day_volume < known.day_volume
    return False
