"""The first schema: offsets, marks, queries, series, pages, manifests, fleet, quarantine, dead letters."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables in an empty database."""
    op.create_table(
        "agents",
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("machine_id", sa.String(256), nullable=False),
        sa.Column("incarnation", sa.String(32), nullable=False),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("counters", sa.Text(), nullable=False),
        sa.Column("retired", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "dead_letters",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "marks",
        sa.Column("topic", sa.String(249), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True),
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("incarnation", sa.String(32), primary_key=True),
        sa.Column("mark", sa.BigInteger(), nullable=False),
        sa.Column("mark_created_ns", sa.BigInteger(), nullable=False),
        sa.Column("gaps", sa.LargeBinary(), nullable=False),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "offsets",
        sa.Column("topic", sa.String(249), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True),
        sa.Column("next_offset", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("flushes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("frames", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("bytes", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("records", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("groups", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("duplicates", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("quarantined", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("dead_letters", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("lost_frames", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("skipped_offsets", sa.BigInteger(), nullable=False, server_default="0"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("topic", sa.String(249), nullable=False),
        sa.Column("partition", sa.Integer(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(64), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("marked", sa.Boolean(), nullable=False),
        sa.Column("received_ns", sa.BigInteger(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "queries",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(256), nullable=False, unique=True),
    )
    op.create_table(
        "metrics",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(256), nullable=False, unique=True),
        sa.Column("query_id", _ID, sa.ForeignKey("queries.id"), nullable=False),
    )
    op.create_table(
        "series",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("query_id", _ID, sa.ForeignKey("queries.id"), nullable=False),
        sa.Column("labels", sa.Text(), nullable=False),
        sa.Column("labels_hash", sa.String(32), nullable=False),
        sa.UniqueConstraint("query_id", "labels_hash"),
    )
    op.create_table(
        "versions",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("query_id", _ID, sa.ForeignKey("queries.id"), nullable=False),
        sa.Column("version", sa.String(64), nullable=False, unique=True),
        sa.Column("plan", sa.LargeBinary(), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "interruptions",
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("version_id", _ID, sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("from_ns", sa.BigInteger(), primary_key=True),
        sa.Column("to_ns", sa.BigInteger(), primary_key=True),
        sa.Column("reason", sa.String(64), nullable=False),
    )
    op.create_table(
        "manifests",
        sa.Column("version_id", _ID, sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("window_ns", sa.BigInteger(), primary_key=True),
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True),
        sa.Column("n_in", sa.BigInteger(), nullable=False),
        sa.Column("n_filtered", sa.BigInteger(), nullable=False),
        sa.Column("n_local", sa.BigInteger(), nullable=False),
        sa.Column("n_drained", sa.BigInteger(), nullable=False),
        sa.Column("n_sampled_out", sa.BigInteger(), nullable=False),
        sa.Column("n_dropped", sa.BigInteger(), nullable=False),
        sa.Column("got_local", sa.BigInteger(), nullable=False),
        sa.Column("got_drained", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "pages",
        sa.Column("version_id", _ID, sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("metric_id", _ID, sa.ForeignKey("metrics.id"), primary_key=True),
        sa.Column("level", sa.SmallInteger(), primary_key=True),
        sa.Column("window_ns", sa.BigInteger(), primary_key=True),
        sa.Column("series_group", sa.BigInteger(), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True),
        sa.Column("page_version", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "progress",
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("version_id", _ID, sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("first_ns", sa.BigInteger(), nullable=False),
        sa.Column("watermark_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("replayable", sa.Boolean(), nullable=False),
    )
    op.create_table(
        "validity",
        sa.Column("query_id", _ID, sa.ForeignKey("queries.id"), primary_key=True),
        sa.Column("valid_from_ns", sa.BigInteger(), primary_key=True),
        sa.Column("version_id", _ID, sa.ForeignKey("versions.id"), nullable=False),
    )
    op.create_table(
        "unregistered",
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("query_id", _ID, sa.ForeignKey("queries.id"), primary_key=True),
        sa.Column("first_ns", sa.BigInteger(), nullable=False),
        sa.Column("last_seen_ns", sa.BigInteger(), nullable=False),
    )
