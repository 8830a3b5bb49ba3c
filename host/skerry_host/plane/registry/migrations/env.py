"""Runs the migrations on the connection that `migrate.upgrade` provides. Has no command line of its own."""

from alembic import context

from skerry_host.plane.registry.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
