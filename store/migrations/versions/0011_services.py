"""Services: settings, recorded requests, minutes, speed-ups, tables of targets, runs, alerts."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")


def upgrade() -> None:
    """Add empty tables."""
    _services()
    _learned()
    _targets()
    _runs()
    _alerts()
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE tail_batches ALTER COLUMN body SET STORAGE EXTERNAL")  # compressed already


def _services() -> None:
    op.create_table(
        "tail_services",
        sa.Column("service", _NAME, primary_key=True),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("first_ns", sa.BigInteger(), nullable=False),
        sa.Column("changed_ns", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(256), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "tail_batches",
        sa.Column("id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("service", _NAME, nullable=False),
        sa.Column("instance", _NAME, nullable=False),
        sa.Column("batch", sa.String(128)),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("from_ns", "to_ns")),
        sa.Column("requests", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("weight", "received_ns")),
        sa.Column("body", sa.LargeBinary(), nullable=False),
    )
    op.create_index("tail_batches_by_name", "tail_batches", ["service", "instance", "batch"], unique=True)
    op.create_index("tail_batches_by_time", "tail_batches", ["service", "to_ns", "id", "from_ns", "requests"])
    op.create_index("tail_batches_by_end", "tail_batches", ["to_ns", "id"])
    op.create_table(
        "tail_minutes",
        sa.Column("service", _NAME, primary_key=True),
        sa.Column("start_ns", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    op.create_index("tail_minutes_by_time", "tail_minutes", ["start_ns"])


def _learned() -> None:
    op.create_table(
        "tail_profiles",
        sa.Column("service", _NAME, primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
    )
    _one_each("tail_profiles", "active")


def _targets() -> None:
    op.create_table(
        "tail_target_tables",
        sa.Column("service", _NAME, primary_key=True),
        sa.Column("version", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("follows", sa.Integer()),
        sa.Column("max_degree", sa.Integer()),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(256), nullable=False),
        sa.Column("changed_ns", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(256), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text()),
    )
    _one_each("tail_target_tables", "state = 'active'")
    op.create_table(
        "tail_target_changes",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("service", _NAME, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("changed_ns", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(256), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("tail_target_changes_by_service", "tail_target_changes", ["service", "id"])


def _runs() -> None:
    op.create_table(
        "tail_runs",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("service", _NAME, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("progress", sa.Double(), nullable=False),
        sa.Column("progress_text", sa.String(256), nullable=False),
        sa.Column("asked_ns", sa.BigInteger(), nullable=False),
        sa.Column("asked_by", sa.String(256), nullable=False),
        sa.Column("started_ns", sa.BigInteger()),
        sa.Column("ended_ns", sa.BigInteger()),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("error", sa.Text()),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text()),
    )
    op.create_index("tail_runs_by_service", "tail_runs", ["service", "asked_ns", "id"])
    op.create_index("tail_runs_by_state", "tail_runs", ["state", "asked_ns", "id"])
    op.create_index("tail_runs_by_end", "tail_runs", ["ended_ns"])


def _alerts() -> None:
    op.create_table(
        "tail_alerts",
        sa.Column("service", _NAME, primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("firing", sa.Boolean(), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("changed_ns", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(64)),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("figures", sa.Text(), nullable=False),
    )
    op.create_table(
        "tail_alert_changes",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("service", _NAME, nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("severity", sa.String(16), nullable=False),
        sa.Column("firing", sa.Boolean(), nullable=False),
        sa.Column("changed_ns", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(64)),
        sa.Column("text", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tail_progress",
        sa.Column("scope", sa.String(64), primary_key=True),
        sa.Column("key", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
    )
    op.create_index("tail_alert_changes_by_service", "tail_alert_changes", ["service", "changed_ns", "id"])
    op.create_index("tail_alert_changes_by_time", "tail_alert_changes", ["changed_ns"])


def _one_each(table: str, condition: str) -> None:
    """At most one row of a service fulfils it."""
    where = sa.text(condition)
    op.create_index(f"{table}_in_use", table, ["service"], unique=True, sqlite_where=where, postgresql_where=where)
