"""A real PostgreSQL beside the in-memory stand-ins."""

from hftray.testing.postgres import database_url, engine, postgres_server

__all__ = ["database_url", "engine", "postgres_server"]
