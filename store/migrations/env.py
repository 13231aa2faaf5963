"""Alembic's entry: runs the migrations on the connection that store.connect.upgrade hands over."""

from alembic import context

from store import drive_tables, gpu_tables, tail_tables

# All tables have one metadata; the modules of drives, of jobs on GPUs and of services are imported so that theirs are
# in it.
_, _, metadata = drive_tables.drives.metadata, gpu_tables.gpu_attempts.metadata, tail_tables.tail_services.metadata
context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
