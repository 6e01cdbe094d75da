"""Groww as a source of prices: instruments, quotes, candles, and what `hftray doctor` asks.

Symbols are hftray's: `RELIANCE` is the share on NSE, `BSE:RELIANCE` the same on BSE.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from hftray.adapters.groww.candle_spans import CandleSpan, span_of, stretches
from hftray.adapters.groww.governor import Category, Urgency
from hftray.adapters.groww.master import Listing, Master
from hftray.adapters.groww.master_file import MasterFile
from hftray.adapters.groww.streamed_quotes import QuoteStream, StreamedQuotes
from hftray.adapters.groww.tick_check import TickCheck
from hftray.adapters.groww.wire import (
    CircuitLimits,
    FullQuote,
    Margins,
    Profile,
    read_candles,
    read_last_prices,
    read_margins,
    read_profile,
    read_quote,
)
from hftray.adapters.instruments import Listings
from hftray.core.errors import NotFound, RejectError, RetryError
from hftray.core.market import Candle, Instrument
from hftray.core.session import IST
from hftray.observe import logger
from hftray.ports_source import Quote

log = logger("groww.source")

_SYMBOLS_A_CALL = 50
# How often the stream is held against polled prices (market seconds).
_CHECK_SECONDS = 30.0
# Seconds a candle call may wait for its turn: warming up many shares takes that long.
_CANDLE_PATIENCE = 120.0


class Questions(Protocol):
    """What the source needs of a connection; one that can only read has it, too."""

    @property
    def clock_skew(self) -> timedelta | None:
        """How far Groww's clock is ahead of ours."""
        ...

    @property
    def token_expiry(self) -> datetime | None:
        """When the access token ends."""
        ...

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        category: Category,
        urgency: Urgency = Urgency.DATA,
        patience: float | None = None,
    ) -> Any:
        """The payload of an answer."""
        ...

    async def close(self) -> None:
        """Release sockets."""
        ...


class GrowwSource:
    """`ports_source.MarketSource` over a connection and the instrument list.

    `listings` says which tick sizes are to be expected and which shares have derivatives where
    the instrument list does not; `now` is market time as it is known, the
    wall clock unless given; `ask_time` asks for it where it is told by others.
    """

    def __init__(
        self,
        connection: Questions,
        master: MasterFile,
        listings: Listings,
        *,
        stream: QuoteStream | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(IST),
        ask_time: Callable[[], Awaitable[datetime]] | None = None,
    ) -> None:
        self._connection = connection
        self._master = master
        self._listings = listings
        self._stream = StreamedQuotes(stream)
        self._now = now
        self._ask_time = ask_time
        self._check_at: datetime | None = None
        self._gone: set[str] = set()  # asked for and not listed
        self._ticks = TickCheck(listings)
        self._tradable: tuple[Master, dict[str, Instrument]] | None = None

    @property
    def clock_skew(self) -> timedelta | None:
        """How far Groww's clock is ahead of ours by its last answer; None before the first."""
        return self._connection.clock_skew

    @property
    def token_expiry(self) -> datetime | None:
        """When the access token ends; None without one, or where Groww did not say."""
        return self._connection.token_expiry

    async def market_time(self) -> datetime:
        """The present moment, IST."""
        moment = self._now() if self._ask_time is None else await self._ask_time()
        return moment.astimezone(IST)

    async def instruments(self) -> dict[str, Instrument]:
        """Every share that can be traded intraday, on NSE and BSE. BrokerUnavailable."""
        master = await self._master.load()
        if self._tradable is None or self._tradable[0] is not master:
            self._tradable = (master, tradable_shares(master, self._listings))
        return dict(self._tradable[1])

    async def listing(self, symbol: str) -> Listing:
        """How a share is listed: exchange token, lot, freeze quantity. NotFound."""
        listing = (await self._master.load()).shares.get(symbol)
        if listing is None:
            raise NotFound(f"{symbol} is not in Groww's instrument list")
        return listing

    async def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The newest price of each symbol: streamed where the stream is to be trusted, else polled.

        A symbol that is not listed (any more) is left out. RetryError when a price has to be
        polled and cannot be, RejectError when Groww refuses.
        """
        listings = await self._listed(symbols)
        found = self._stream.newest(symbols)
        checking = bool(found) and self._check_is_due()
        wanted = [listing for listing in listings if checking or listing.symbol not in found]
        try:
            polled = await self._poll(wanted)
        except (RetryError, RejectError):
            if any(listing.symbol not in found for listing in listings):
                raise
            log.warning("the stream could not be checked against polled prices")
            return found
        if checking:
            self._stream.check(polled)
            found = self._stream.newest(symbols)
        self._ticks.look(polled, await self._master.load())
        return {symbol: Quote(symbol, price) for symbol, price in polled.items()} | found

    async def candles(
        self, symbol: str, first: datetime, before: datetime, minutes: int
    ) -> list[Candle]:
        """Groww's candles that open from `first` on and before `before`, oldest first.

        The last may still be forming. RetryError, NotFound, ConfigError for a length Groww has not.
        """
        span = span_of(minutes)
        listing = await self.listing(symbol)
        found: dict[datetime, Candle] = {}
        for start, end in stretches(first.astimezone(IST), before.astimezone(IST), span):
            for candle in await self._candles(listing, start, end, span):
                if first <= candle.time < before:
                    found[candle.time] = candle
        return [found[time] for time in sorted(found)]

    async def quote(self, symbol: str, *, urgency: Urgency = Urgency.DATA) -> FullQuote:
        """Everything the quote call says of one share. RetryError, NotFound."""
        listing = await self.listing(symbol)
        payload = await self._connection.get(
            "/live-data/quote",
            {
                "exchange": listing.exchange,
                "segment": "CASH",
                "trading_symbol": listing.trading_symbol,
            },
            category=Category.LIVE_DATA,
            urgency=urgency,
        )
        return read_quote(payload)

    async def circuit_limits(self, symbol: str) -> CircuitLimits:
        """Today's price band of a share. RetryError, NotFound."""
        return (await self.quote(symbol)).limits

    async def profile(self) -> Profile:
        """Whose account it is; the cheapest check of a token. RetryError, AccessDenied."""
        return read_profile(await self._account("/user/detail"))

    async def margins(self) -> Margins:
        """The account's money. RetryError, AccessDenied."""
        return read_margins(await self._account("/margins/detail/user"))

    async def require_access(self) -> None:
        """Whether Groww takes our keys. AccessDenied, ConfigError; RetryError when it is away."""
        await self.profile()

    async def close(self) -> None:
        """Release the connection."""
        await self._connection.close()

    async def _listed(self, symbols: Sequence[str]) -> list[Listing]:
        shares = (await self._master.load()).shares
        gone = set(symbols) - shares.keys()
        if gone - self._gone:
            log.warning("not in Groww's instrument list", symbols=sorted(gone))
        self._gone = gone
        return [shares[symbol] for symbol in symbols if symbol in shares]

    async def _account(self, path: str) -> Any:
        return await self._connection.get(
            path, category=Category.NON_TRADING, urgency=Urgency.LOOK_UP
        )

    async def _poll(self, listings: Sequence[Listing]) -> dict[str, float]:
        polled: dict[str, float] = {}
        for start in range(0, len(listings), _SYMBOLS_A_CALL):
            some = {listing.key: listing.symbol for listing in listings[start:][:_SYMBOLS_A_CALL]}
            # ltp and not ohlc: whether ohlc's close is today's last price or yesterday's close is
            # not documented. One comma-joined value, as in the documentation's samples.
            payload = await self._connection.get(
                "/live-data/ltp",
                {"segment": "CASH", "exchange_symbols": ",".join(some)},
                category=Category.LIVE_DATA,
            )
            prices = read_last_prices(payload)
            polled |= {some[key]: price for key, price in prices.items() if key in some}
        return polled

    async def _candles(
        self, listing: Listing, start: datetime, end: datetime, span: CandleSpan
    ) -> list[Candle]:
        try:
            payload = await self._connection.get(
                "/historical/candles",
                {
                    "exchange": listing.exchange,
                    "segment": "CASH",
                    "groww_symbol": listing.groww_symbol,
                    "start_time": f"{start:%Y-%m-%d %H:%M:%S}",
                    "end_time": f"{end:%Y-%m-%d %H:%M:%S}",
                    "candle_interval": span.name,
                },
                category=Category.HISTORICAL,
                patience=_CANDLE_PATIENCE,
            )
        except NotFound:
            # The share is known, so this says that the stretch holds nothing (a listing is young).
            log.info("no candles", symbol=listing.symbol, since=f"{start:%Y-%m-%d}")
            return []
        return read_candles(payload, listing.symbol)

    def _check_is_due(self) -> bool:
        now = self._now()
        if self._check_at is not None and now < self._check_at:
            return False
        self._check_at = now + timedelta(seconds=_CHECK_SECONDS)
        return True


def tradable_shares(master: Master, listings: Listings) -> dict[str, Instrument]:
    """The shares of a list that may be traded intraday, by our symbol."""
    return {
        symbol: _instrument(listing, listings)
        for symbol, listing in master.shares.items()
        if listing.why_not_intraday() is None
    }


def _instrument(listing: Listing, listings: Listings) -> Instrument:
    known = listings.shares.get(listing.trading_symbol)
    if listing.derivatives is None and known is not None:
        return Instrument(listing.symbol, listing.exchange, listing.tick_size, known.derivatives)
    return listing.instrument()
