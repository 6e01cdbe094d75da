"""A real PostgreSQL and Groww's own SDK, beside the stand-ins that are tested."""

from groww_sdk import groww_sdk

from hftray.testing.postgres import database_url, engine, postgres_server

__all__ = ["database_url", "engine", "groww_sdk", "postgres_server"]
