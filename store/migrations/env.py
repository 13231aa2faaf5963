"""Alembic's entry: runs the migrations on the connection that store.connect.upgrade hands over."""

from alembic import context

from store import drive_tables

# All tables have one metadata; drives' module is imported so that theirs are in it.
context.configure(connection=context.config.attributes["connection"], target_metadata=drive_tables.drives.metadata)
with context.begin_transaction():
    context.run_migrations()
