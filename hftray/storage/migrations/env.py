"""Called by Alembic; the connection comes from `hftray.storage.schema`, inside its transaction."""

from alembic import context

from hftray.storage.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    compare_server_default=True,
)
with context.begin_transaction():
    context.run_migrations()
