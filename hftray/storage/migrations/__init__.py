"""Alembic's steps from one schema to the next; `hftray.storage.schema` runs them."""
