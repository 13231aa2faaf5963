"""The tables of services whose requests are recorded, as SQLAlchemy Core sees them; they belong to store/tables.py.

The API writes what services send, settings, tables of targets and questions; one scheduled job writes the rest under a
lease. No flush touches any of these. Times are ns UTC; documents are JSON whose meaning is analytics' affair.
"""

from typing import Final

import sqlalchemy as sa

from store.tables import metadata, progress_table

NAME_MAX: Final = 256
BATCH_NAME_MAX: Final = 128

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Compared by code points in both databases: names come in one order everywhere.
_name = sa.String(NAME_MAX).with_variant(sa.String(NAME_MAX, collation="C"), "postgresql")

# Every service that was ever heard of and is not yet forgotten (store/tail_services.py).
tail_services = sa.Table(
    "tail_services",
    metadata,
    sa.Column("service", _name, primary_key=True),
    sa.Column("settings", sa.Text, nullable=False),
    # How often somebody has set them; 0: nobody has.
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("first_ns", sa.BigInteger, nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.String(NAME_MAX), nullable=False),
    # A generator made its requests up.
    sa.Column("synthetic", sa.Boolean, nullable=False),
)

# Recorded requests as they came, many in a row of the table (store/tail_batches.py).
tail_batches = sa.Table(
    "tail_batches",
    metadata,
    # Counts up over all batches in the order of commits (store/gpu_counters.py).
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("service", _name, nullable=False),
    sa.Column("instance", _name, nullable=False),
    # What its sender calls it; NULL: it gave it no name, and one that comes twice counts twice.
    sa.Column("batch", sa.String(BATCH_NAME_MAX)),
    sa.Column("from_ns", sa.BigInteger, nullable=False),
    sa.Column("to_ns", sa.BigInteger, nullable=False),
    sa.Column("requests", sa.Integer, nullable=False),
    sa.Column("weight", sa.BigInteger, nullable=False),
    sa.Column("received_ns", sa.BigInteger, nullable=False),
    # The long one stands last: what reads only the columns above never touches the pages it lies on.
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("tail_batches_by_name", "service", "instance", "batch", unique=True),
    # Which batches a stretch of time needs is read from this index alone.
    sa.Index("tail_batches_by_time", "service", "to_ns", "id", "from_ns", "requests"),
    sa.Index("tail_batches_by_end", "to_ns", "id"),
)

# What became of a service's requests, minute by minute (store/tail_minutes.py).
tail_minutes = sa.Table(
    "tail_minutes",
    metadata,
    sa.Column("service", _name, primary_key=True),
    sa.Column("start_ns", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index("tail_minutes_by_time", "start_ns"),
)

# What was learned of a service's speed-ups (store/tail_profiles.py).
tail_profiles = sa.Table(
    "tail_profiles",
    metadata,
    sa.Column("service", _name, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index(
        "tail_profiles_in_use",
        "service",
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    ),
)

# Tables of targets that servers choose degrees by, and where each is between draft and retired (store/tail_targets.py).
tail_target_tables = sa.Table(
    "tail_target_tables",
    metadata,
    sa.Column("service", _name, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("state", sa.String(16), nullable=False),  # draft, active, retired, rolled_back
    # The one that was active before it became so; rolling back goes there.
    sa.Column("follows", sa.Integer),
    # Threads of one request that its targets were found with; NULL: those of the settings.
    sa.Column("max_degree", sa.Integer),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("created_by", sa.String(NAME_MAX), nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.String(NAME_MAX), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("evidence", sa.Text),
    sa.Index(
        "tail_target_tables_in_use",
        "service",
        unique=True,
        sqlite_where=sa.text("state = 'active'"),
        postgresql_where=sa.text("state = 'active'"),
    ),
)

# Every change of such a table's state: who, when, why.
tail_target_changes = sa.Table(
    "tail_target_changes",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("service", _name, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
    sa.Column("changed_by", sa.String(NAME_MAX), nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Index("tail_target_changes_by_service", "service", "id"),
    sqlite_autoincrement=True,
)

# Questions that take long: asked over HTTP, answered by the job (store/tail_runs.py).
tail_runs = sa.Table(
    "tail_runs",
    metadata,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("service", _name, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),  # what_if, search, learn
    sa.Column("state", sa.String(16), nullable=False),  # waiting, running, done, refused, failed, cancelled
    sa.Column("progress", sa.Double, nullable=False),
    sa.Column("progress_text", sa.String(256), nullable=False),
    sa.Column("asked_ns", sa.BigInteger, nullable=False),
    sa.Column("asked_by", sa.String(NAME_MAX), nullable=False),
    sa.Column("started_ns", sa.BigInteger),
    sa.Column("ended_ns", sa.BigInteger),
    # How often somebody has begun to answer it, those who died of it included.
    sa.Column("attempts", sa.Integer, nullable=False),
    # Which process answers it; "" while it waits.
    sa.Column("owner", sa.String(NAME_MAX), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("answer", sa.Text),
    sa.Index("tail_runs_by_service", "service", "asked_ns", "id"),
    sa.Index("tail_runs_by_state", "state", "asked_ns", "id"),
    sa.Index("tail_runs_by_end", "ended_ns"),
)

# What is wrong with a service now, by the name of the alert; and every change of it (store/tail_alerts.py).
tail_alerts = sa.Table(
    "tail_alerts",
    metadata,
    sa.Column("service", _name, primary_key=True),
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("firing", sa.Boolean, nullable=False),
    sa.Column("since_ns", sa.BigInteger, nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
    sa.Column("cause", sa.String(64)),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("figures", sa.Text, nullable=False),
)
tail_alert_changes = sa.Table(
    "tail_alert_changes",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("service", _name, nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("severity", sa.String(16), nullable=False),
    sa.Column("firing", sa.Boolean, nullable=False),
    sa.Column("changed_ns", sa.BigInteger, nullable=False),
    sa.Column("cause", sa.String(64)),
    sa.Column("text", sa.Text, nullable=False),
    sa.Index("tail_alert_changes_by_service", "service", "changed_ns", "id"),
    sa.Index("tail_alert_changes_by_time", "changed_ns"),
    sqlite_autoincrement=True,
)

# How far the job is (store/job_progress.py).
tail_progress = progress_table("tail_progress")
