"""How to reach PostgreSQL: the URL in its accepted forms, the engine, and what its errors mean."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from hftray.core.errors import ConfigError, LedgerUnavailable, StopError

CONNECT_TIMEOUT = 10.0  # seconds
COMMAND_TIMEOUT = 30.0  # seconds; a network that went silent must not hold a trade for ever

# Classes of SQLSTATE after which the same call may succeed: connection lost, resources exhausted,
# server going down or coming up, transaction picked as a deadlock's victim.
PASSING = ("08", "53", "57P", "40")
UNIQUE_VIOLATION = "23505"
FOREIGN_KEY_VIOLATION = "23503"
REFUSED_VALUE = ("22", "23")  # a value out of its range, a rule of the schema broken
# Wrong password, unknown role or database: somebody must change DATABASE_URL.
MISCONFIGURED = ("28", "3D")


def database_url(text: str) -> URL:
    """DATABASE_URL as an asyncpg URL; understands `postgres://` and libpq's `sslmode`.

    ConfigError when it is no PostgreSQL URL (the message shows no password).
    """
    try:
        url = make_url(text)
    except ArgumentError:
        raise ConfigError("DATABASE_URL is not a URL: postgresql://user:password@host/db") from None
    if url.drivername.partition("+")[0] not in ("postgres", "postgresql"):
        raise ConfigError(f"DATABASE_URL must begin with postgresql://, not {url.drivername}://")
    query = dict(url.query)
    if "sslmode" in query:
        query["ssl"] = query.pop("sslmode")
    return url.set(drivername="postgresql+asyncpg", query=query)


def masked(url: str | URL) -> str:
    """The URL without its password, for messages."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return "***"
    if "password" in parsed.query:
        parsed = parsed.update_query_dict({"password": "***"})
    return parsed.render_as_string(hide_password=True)


def connect(url: str | URL, *, pool_size: int = 5) -> AsyncEngine:
    """An engine for the URL. A connection is tried before it is used: a restart heals by itself."""
    return create_async_engine(
        database_url(url) if isinstance(url, str) else url,
        pool_size=pool_size,
        pool_pre_ping=True,
        connect_args={"timeout": CONNECT_TIMEOUT, "command_timeout": COMMAND_TIMEOUT},
    )


@asynccontextmanager
async def reachable(engine: AsyncEngine) -> AsyncIterator[None]:
    """Turn the driver's connection errors into LedgerUnavailable, wrong access into StopError."""
    try:
        yield
    except (OSError, TimeoutError, PoolTimeout, asyncpg.InterfaceError) as error:
        raise _unavailable(engine, error) from error
    except (DBAPIError, asyncpg.PostgresError) as error:
        state = sqlstate(error)
        lost = isinstance(error, DBAPIError) and error.connection_invalidated
        if lost or state.startswith(PASSING):
            raise _unavailable(engine, error) from error
        if state.startswith(MISCONFIGURED):
            raise StopError(f"{masked(engine.url)} refuses us: {_said(error)}") from error
        raise


def sqlstate(error: BaseException) -> str:
    """The five-letter SQLSTATE behind an error, empty when there is none."""
    origin = getattr(error, "orig", None) or error
    return getattr(origin, "sqlstate", None) or ""


def _unavailable(engine: AsyncEngine, error: BaseException) -> LedgerUnavailable:
    return LedgerUnavailable(f"PostgreSQL at {masked(engine.url)} is away: {_said(error)}")


def _said(error: BaseException) -> str:
    origin = getattr(error, "orig", None) or error
    return str(origin).strip() or type(origin).__name__
