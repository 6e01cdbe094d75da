"""Bring a database to this build's schema, and fill it once with the defaults.

A new step is a module in `migrations/versions` named after its number, whose `down_revision` is
the step before; the test of models against migrations says what it still lacks.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, insert, inspect, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine

from hftray.core.errors import LedgerUnavailable, SchemaError, StopError
from hftray.storage.database import connect, masked, reachable
from hftray.storage.tables import catalog_state, metadata, strategies, users

# Any number that no other program in the same database is likely to lock.
MIGRATION_LOCK = 0x68667472


async def migrate(url: str) -> str:
    """Create or upgrade the schema and return its revision; nothing when it is up to date.

    All steps are one transaction, and concurrent callers wait for each other. StopError when
    the server cannot be reached, SchemaError when the database is newer than this build or
    holds tables of the same names that are not ours.
    """
    engine = connect(url)
    try:
        async with reachable(engine), engine.begin() as connection:
            await connection.execute(
                text("SELECT pg_advisory_xact_lock(:k)"), {"k": MIGRATION_LOCK}
            )
            return await connection.run_sync(_upgrade)
    except LedgerUnavailable as error:
        raise StopError(
            f"cannot reach PostgreSQL at {masked(engine.url)} ({error.__cause__}). "
            "Check that it runs and that DATABASE_URL is right, or unset DATABASE_URL to use "
            "the embedded server."
        ) from error
    finally:
        await engine.dispose()


async def seed(
    engine: AsyncEngine,
    strategy_rows: Sequence[Mapping[str, Any]],
    *,
    user_id: str = "default",
    initial_capital: Decimal = Decimal(100_000),
) -> bool:
    """Put in the default strategies and user, once in a database's life; whether it did now.

    What people delete or change afterwards stays deleted or changed.
    """
    async with reachable(engine), engine.begin() as connection:
        first = await connection.execute(
            update(catalog_state)
            .where(catalog_state.c.seeded_at.is_(None))
            .values(seeded_at=func.now(), roster_version=catalog_state.c.roster_version + 1)
        )
        if not first.rowcount:
            return False
        user = {"id": user_id, "first_name": "Default", "initial_capital": initial_capital}
        await connection.execute(upsert(users).values(user).on_conflict_do_nothing())
        if strategy_rows:
            await connection.execute(insert(strategies), [dict(row) for row in strategy_rows])
        return True


async def identity(engine: AsyncEngine) -> str:
    """What tells this database from any other: the moment it was seeded. StopError before that."""
    async with reachable(engine), engine.connect() as connection:
        seeded = await connection.scalar(select(catalog_state.c.seeded_at))
    if seeded is None:
        raise StopError("the database was never seeded; run `hftray migrate` first")
    return seeded.isoformat()


def _upgrade(connection: Connection) -> str:
    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.attributes["connection"] = connection
    _require_known(connection, ScriptDirectory.from_config(config))
    command.upgrade(config, "head")
    revision = MigrationContext.configure(connection).get_current_revision()
    assert revision is not None
    return revision


def _require_known(connection: Connection, scripts: ScriptDirectory) -> None:
    current = MigrationContext.configure(connection).get_current_heads()
    known = {script.revision for script in scripts.walk_revisions()}
    unknown = sorted(set(current) - known)
    if unknown:
        raise SchemaError(
            f"the database is at schema revision {', '.join(unknown)}, which this build "
            f"(newest: {scripts.get_current_head()}) does not know: it belongs to a newer hftray "
            "or to another program. Install that version, or use another database or --data-dir."
        )
    foreign = sorted(set(inspect(connection).get_table_names()) & set(metadata.tables))
    if not current and foreign:
        raise SchemaError(
            f"the database already has tables that hftray did not make: {', '.join(foreign)}. "
            "Use an empty database."
        )
