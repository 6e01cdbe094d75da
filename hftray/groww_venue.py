"""Groww as the venue of one account: keys, one connection, prices, and in live mode orders.

Paper trading gets a connection that can only read; what could place an order is never built.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from hftray.core.errors import ConfigError
from hftray.core.ledger import RunInfo
from hftray.core.market import Instrument
from hftray.core.session import IST
from hftray.exchange_data import exchange_tables
from hftray.ports import Broker, Venue
from hftray.settings import Settings

if TYPE_CHECKING:
    from hftray.adapters.groww.connection import GrowwConnection, ReadOnlyConnection
    from hftray.adapters.groww.master_file import MasterFile
    from hftray.adapters.groww.options import GrowwOptions
    from hftray.adapters.groww.session import Credentials
    from hftray.adapters.groww.source import GrowwSource
    from hftray.adapters.groww.stream import GrowwStream
    from hftray.adapters.groww.stream_quotes import StreamKey

Keys = Callable[[], Awaitable["Credentials"]]

SECRETS = {"api_key", "api_secret", "totp_secret"}


def groww_options(settings: Settings) -> "GrowwOptions":
    """The `groww` section without its secrets."""
    from hftray.adapters.groww.options import GrowwOptions

    return GrowwOptions(**settings.groww.model_dump(exclude=SECRETS | {"clock_url"}))


async def credentials_of(settings: Settings, database_url: str, user_id: str) -> "Credentials":
    """The keys of a user's account: those in the environment are the configured user's.

    Any other user trades with the keys stored for them. ConfigError when there are none, NotFound.
    """
    from hftray.adapters.groww.session import Credentials

    given = settings.groww
    if user_id == settings.storage.user_id and given.has_keys:
        return Credentials(
            _plain(given.api_key) or "", _plain(given.api_secret), _plain(given.totp_secret)
        )
    stored = await _stored(settings, database_url, user_id) if database_url else None
    if stored is None:
        raise ConfigError(
            f"user {user_id} has no Groww keys: set GROWW_API_KEY and GROWW_API_SECRET, or store "
            f"them with PATCH /api/users/{user_id}"
        )
    return Credentials(*stored)


async def _stored(settings: Settings, url: str, user_id: str) -> tuple[str, str] | None:
    from hftray.storage.catalog import Catalog
    from hftray.storage.database import connect
    from hftray.storage.secrets import SecretBox

    engine = connect(url, pool_size=1)
    try:
        box = SecretBox.open(settings.storage.data_dir)
        keys = await Catalog(engine, box).groww_credentials(user_id)
    finally:
        await engine.dispose()
    return None if keys is None else (keys.api_key, keys.api_secret)


def _plain(secret: object) -> str | None:
    return secret.get_secret_value() if secret is not None else None  # type: ignore[attr-defined]


@dataclass(slots=True)
class ExchangeClock:
    """Market time: this machine's, or that of a test exchange at `url`, asked for when wanted."""

    url: str = ""
    moment: datetime | None = None

    def now(self) -> datetime:
        """The present moment as it was known last, IST."""
        return self.moment or datetime.now(IST)

    async def asked(self) -> datetime:
        """The present moment."""
        if self.url:
            import ssl

            import httpx

            # It is asked before each scan, and reading the machine's certificates, of which http
            # on loopback needs none, takes longer than the question.
            bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            async with httpx.AsyncClient(verify=bare) as client:
                answer = (await client.get(self.url)).json()
            self.moment = datetime.fromisoformat(answer["now"])
        return self.now()


async def open_venue(
    settings: Settings,
    instruments: Mapping[str, Instrument],
    database_url: str,
    exchange: Callable[[], Broker],
    run: RunInfo,
) -> Venue:
    """Connect for the account of the run; `exchange` builds the one that paper orders go to."""
    clock = ExchangeClock(settings.groww.clock_url)
    await clock.asked()
    keys = partial(credentials_of, settings, database_url, run.user_id)
    account = hashlib.sha256(run.user_id.encode()).hexdigest()[:12]
    logins = settings.storage.data_dir / "groww" / f"logins-{account}.json"
    if run.mode == "paper":
        reader = _reading(settings, keys, clock, logins)
        source, end_stream = await _prices(settings, instruments, reader, clock)
        return Venue(exchange(), source, end_stream)
    connection = _trading(settings, keys, clock, logins)
    source, end_stream = await _prices(settings, instruments, connection, clock)
    return Venue(await _broker(settings, instruments, source, connection), source, end_stream)


async def looking_source(settings: Settings, database_url: str, user_id: str) -> "GrowwSource":
    """Prices and figures of a user's account over a connection of its own, which only reads."""
    clock = ExchangeClock(settings.groww.clock_url)
    await clock.asked()
    reader = _reading(settings, partial(credentials_of, settings, database_url, user_id), clock)
    return _source(settings, reader, clock)


def _reading(
    settings: Settings, keys: Keys, clock: ExchangeClock, logins: Path | None = None
) -> "ReadOnlyConnection":
    from hftray.adapters.groww.connection import ReadOnlyConnection
    from hftray.adapters.groww.governor import Governor

    options = groww_options(settings)
    governor = Governor(options.limits())
    return ReadOnlyConnection(options, keys, governor=governor, wall=clock.now, login_log=logins)


def _trading(
    settings: Settings, keys: Keys, clock: ExchangeClock, logins: Path
) -> "GrowwConnection":
    from hftray.adapters.groww.connection import GrowwConnection
    from hftray.adapters.groww.governor import Governor

    options = groww_options(settings)
    governor = Governor(options.limits())
    return GrowwConnection(options, keys, governor=governor, wall=clock.now, login_log=logins)


async def _prices(
    settings: Settings,
    instruments: Mapping[str, Instrument],
    connection: "GrowwConnection | ReadOnlyConnection",
    clock: ExchangeClock,
) -> tuple["GrowwSource", Callable[[], Awaitable[None]] | None]:
    """The source of prices, fed by the live feed where there is one, and what ends that."""
    stream = _stream(settings, instruments, connection, clock)
    source = _source(settings, connection, clock, stream)
    if stream is None:
        return source, None
    stream.watch({symbol: await _stream_key(source, symbol) for symbol in instruments})
    stream.start()
    return source, stream.stop


async def _broker(
    settings: Settings,
    instruments: Mapping[str, Instrument],
    source: "GrowwSource",
    connection: "GrowwConnection",
) -> Broker:
    from hftray.adapters.groww.broker import GrowwBroker

    freeze = {
        symbol: quantity
        for symbol in instruments
        if (quantity := (await source.listing(symbol)).freeze_quantity)
    }
    options = groww_options(settings)
    return GrowwBroker(connection, instruments, options, freeze_quantities=freeze)


def _source(
    settings: Settings,
    connection: "GrowwConnection | ReadOnlyConnection",
    clock: ExchangeClock,
    stream: "GrowwStream | None" = None,
) -> "GrowwSource":
    from hftray.adapters.groww.source import GrowwSource

    listings, _ = exchange_tables()
    return GrowwSource(
        connection,
        instrument_list(settings, clock),
        listings,
        stream=stream,
        now=clock.now,
        ask_time=clock.asked if clock.url else None,
    )


def _stream(
    settings: Settings,
    instruments: Mapping[str, Instrument],
    connection: "GrowwConnection | ReadOnlyConnection",
    clock: ExchangeClock,
) -> "GrowwStream | None":
    """The live feed, unless it is switched off or its libraries are not there."""
    from hftray.adapters.groww.stream import GrowwStream
    from hftray.adapters.groww.stream_state import StreamOptions, stream_available
    from hftray.adapters.groww.stream_tokens import ConnectionTokens

    if settings.groww.stream == "off" or not stream_available():
        return None
    _, calendar = exchange_tables()

    def trades(moment: datetime) -> bool:
        return any(calendar.state(moment, share).open for share in instruments.values())

    options = StreamOptions(settings.groww.stream_url)
    tokens = ConnectionTokens(connection)
    return GrowwStream(options, tokens, now=clock.now, in_session=trades)


async def _stream_key(source: "GrowwSource", symbol: str) -> "StreamKey":
    from hftray.adapters.groww.stream_quotes import StreamKey

    listing = await source.listing(symbol)
    return StreamKey(listing.exchange, listing.exchange_token)


def instrument_list(settings: Settings, clock: ExchangeClock) -> "MasterFile":
    """Groww's list of shares, kept in the data directory."""
    from hftray.adapters.groww.master_file import MasterFile

    folder = settings.storage.data_dir / "groww"
    return MasterFile(settings.groww.instruments_url, folder, clock.now)


async def tradable(settings: Settings) -> dict[str, Instrument]:
    """Every share that Groww lets us trade intraday; asks for the public list only. RetryError."""
    from hftray.adapters.groww.source import tradable_shares

    clock = ExchangeClock(settings.groww.clock_url)
    await clock.asked()
    listings, _ = exchange_tables()
    return tradable_shares(await instrument_list(settings, clock).load(), listings)
