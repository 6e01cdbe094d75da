"""pytest fixtures of a real PostgreSQL: one embedded server a session, one database a test.

Import the fixtures into a conftest.py. A test's database is a copy of a migrated template.
"""

import asyncio
import itertools
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from hftray.storage import embedded
from hftray.storage.database import connect
from hftray.storage.schema import migrate

TEMPLATE = "hftray_template"
_numbers = itertools.count(1)


async def administer(server_url: str, statement: str) -> None:
    """Run one statement outside a transaction, such as CREATE DATABASE."""
    engine = create_async_engine(server_url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()


def url_of_database(server_url: str, name: str) -> str:
    """The server's URL with another database."""
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[embedded.EmbeddedServer]:
    """A running server with a migrated template; stopped and removed after the last test."""
    # Not under pytest's own directory: that one is closed to the server's user under root.
    with tempfile.TemporaryDirectory(prefix="hftray-pg-") as directory:
        server = embedded.start(Path(directory))
        try:
            asyncio.run(administer(server.url, f"CREATE DATABASE {TEMPLATE}"))
            asyncio.run(migrate(url_of_database(server.url, TEMPLATE)))
            yield server
        finally:
            server.stop()


async def _fresh_database(server: embedded.EmbeddedServer, template: str) -> AsyncIterator[str]:
    name = f"test_{next(_numbers)}"
    await administer(server.url, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield url_of_database(server.url, name)
    await administer(server.url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest_asyncio.fixture
async def database_url(postgres_server: embedded.EmbeddedServer) -> AsyncIterator[str]:
    """The URL of a database of its own with hftray's schema, not seeded."""
    async for url in _fresh_database(postgres_server, TEMPLATE):
        yield url


@pytest_asyncio.fixture
async def empty_database_url(postgres_server: embedded.EmbeddedServer) -> AsyncIterator[str]:
    """The URL of a database of its own without any table."""
    async for url in _fresh_database(postgres_server, "template0"):
        yield url


@pytest_asyncio.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on the test's own database."""
    engine = connect(database_url)
    yield engine
    await engine.dispose()
