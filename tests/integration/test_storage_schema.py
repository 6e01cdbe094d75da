"""Migrations and seeding on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from hftray.core.errors import ConfigError, SchemaError, StopError
from hftray.storage.database import connect, database_url, masked
from hftray.storage.ledger import PostgresLedger
from hftray.storage.schema import migrate, seed
from hftray.storage.tables import metadata
from hftray.strategies.defaults import default_strategies

STRATEGIES = default_strategies()


@pytest.fixture
async def empty(empty_database_url: str) -> AsyncIterator[AsyncEngine]:
    engine = connect(empty_database_url)
    yield engine
    await engine.dispose()


async def run(engine: AsyncEngine, statement: str) -> list[tuple[object, ...]]:
    async with engine.begin() as connection:
        result = await connection.execute(text(statement))
        return [tuple(row) for row in result] if result.returns_rows else []


async def test_models_and_migrations_agree(engine: AsyncEngine) -> None:
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(
                MigrationContext.configure(
                    sync, opts={"compare_type": True, "compare_server_default": True}
                ),
                metadata,
            )
        )
    assert differences == []


async def test_the_specification_s_columns_are_there(engine: AsyncEngine) -> None:
    rows = await run(
        engine,
        "SELECT table_name || '.' || column_name, data_type FROM information_schema.columns "
        "WHERE table_name IN ('users', 'strategies', 'trades')",
    )
    types = dict(rows)
    for column in ("trades.price", "trades.pnl", "users.initial_capital"):
        assert types[column] == "numeric"
    for column in ("trades.timestamp", "users.created_at", "strategies.created_at"):
        assert types[column] == "timestamp with time zone"
    assert types["strategies.parameters"] == "jsonb"


async def test_starts_at_the_same_time_migrate_once(empty_database_url: str) -> None:
    revisions = await asyncio.gather(*(migrate(empty_database_url) for _ in range(4)))
    assert len(set(revisions)) == 1
    assert await migrate(empty_database_url) == revisions[0]


async def test_a_newer_schema_is_refused_and_left_alone(engine: AsyncEngine) -> None:
    await run(engine, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaError, match=r"9999.*newer"):
        await migrate(engine.url.render_as_string(hide_password=False))
    assert await run(engine, "SELECT version_num FROM alembic_version") == [("9999",)]


async def test_foreign_tables_are_refused(empty: AsyncEngine, empty_database_url: str) -> None:
    await run(empty, "CREATE TABLE trades (secret text)")
    with pytest.raises(SchemaError, match="trades"):
        await migrate(empty_database_url)
    assert await run(empty, "SELECT to_regclass('users')") == [(None,)]


async def test_the_defaults_are_seeded_once_in_a_database_s_life(engine: AsyncEngine) -> None:
    firsts = await asyncio.gather(*(seed(engine, STRATEGIES) for _ in range(3)))
    assert sorted(firsts) == [False, False, True]
    names = await run(engine, "SELECT name FROM strategies ORDER BY id")
    assert names == [(row["name"],) for row in STRATEGIES]
    assert len(names) == 7
    await run(engine, "DELETE FROM strategies")
    await run(engine, "DELETE FROM users")
    assert not await seed(engine, STRATEGIES)
    assert await run(engine, "SELECT id FROM users") == []
    assert await run(engine, "SELECT id FROM strategies") == []


async def test_the_default_user_has_the_configured_capital(engine: AsyncEngine) -> None:
    await seed(engine, [], user_id="default", initial_capital=Decimal("250000.50"))
    rows = await run(engine, "SELECT id, initial_capital FROM users")
    assert rows == [("default", Decimal("250000.50"))]


async def test_a_known_roster_is_not_read_before_the_seed_and_is_after(
    engine: AsyncEngine,
) -> None:
    ledger = PostgresLedger(engine)
    before = await ledger.roster(0)
    assert before is not None
    assert before[1] == []
    await seed(engine, STRATEGIES)
    after = await ledger.roster(before[0])
    assert after is not None
    assert len(after[1]) == 7


async def test_an_unreachable_server_is_named_without_its_password() -> None:
    with pytest.raises(StopError, match="DATABASE_URL") as caught:
        await migrate("postgresql://trader:hunter2@127.0.0.1:1/market")
    assert "127.0.0.1:1/market" in str(caught.value)
    assert "hunter2" not in str(caught.value)


async def test_a_missing_database_is_not_mistaken_for_an_absent_server(
    empty_database_url: str,
) -> None:
    with pytest.raises(StopError, match="no_such_database"):
        await migrate(str(empty_database_url).replace("/test_", "/no_such_database_"))


@pytest.mark.parametrize(
    "text",
    [
        "postgres://u:p@db.example/market?sslmode=require",
        "postgresql://u:p@db.example/market?ssl=require",
        "postgresql+psycopg2://u:p@db.example/market?sslmode=require",
    ],
)
def test_the_usual_forms_of_a_url_are_understood(text: str) -> None:
    url = database_url(text)
    assert url.drivername == "postgresql+asyncpg"
    assert dict(url.query) == {"ssl": "require"}
    assert masked(url) == "postgresql+asyncpg://u:***@db.example/market?ssl=require"


@pytest.mark.parametrize("text", ["hunter2", "postgresql://db/market?user=u&password=hunter2"])
def test_a_masked_url_shows_no_password_wherever_it_stands(text: str) -> None:
    assert "hunter2" not in masked(text)


@pytest.mark.parametrize("text", ["mysql://u:hunter2@db/market", "hunter2"])
def test_another_database_s_url_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ConfigError, match="DATABASE_URL") as caught:
        database_url(text)
    assert "hunter2" not in str(caught.value)
