"""Real servers for the tests of this directory."""

from hftray.testing.postgres import (
    database_url,
    empty_database_url,
    engine,
    postgres_server,
)

__all__ = ["database_url", "empty_database_url", "engine", "postgres_server"]
