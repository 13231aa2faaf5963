"""Jobs on GPUs: attempts, why they failed, what was advised, states of the advice's model, nodes."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_NAME = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
_ACTIVE = sa.text("active")


def upgrade() -> None:
    """Add empty tables."""
    _attempts()
    _failures()
    _advice()
    _nodes()
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE gpu_retry_models ALTER COLUMN data SET STORAGE EXTERNAL")  # compressed already


def _attempts() -> None:
    op.create_table(
        "gpu_attempts",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("job", _NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("user", sa.String(256), nullable=False),
        sa.Column("queue", sa.String(256), nullable=False),
        sa.Column("nodes", sa.Text(), nullable=False),
        sa.Column("gpus", sa.Double()),
        *(sa.Column(name, sa.BigInteger()) for name in ("submitted_ns", "start_ns", "end_ns")),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("signal", sa.Integer()),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("reported_ns", "latest_ns", "changed")),
        sqlite_autoincrement=True,
    )
    op.create_index("gpu_attempts_by_job", "gpu_attempts", ["job", "number"], unique=True)
    op.create_index("gpu_attempts_by_change", "gpu_attempts", ["changed"], unique=True)
    op.create_index("gpu_attempts_by_time", "gpu_attempts", ["latest_ns", "id"])
    op.create_table(
        "gpu_counters",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.BigInteger(), nullable=False),
    )


def _failures() -> None:
    op.create_table(
        "gpu_failures",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("job", _NAME, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("failed_ns", "found_ns")),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(128)),
        sa.Column("category", sa.String(64)),
        sa.Column("guess", sa.String(128)),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("retry", sa.String(16)),
        sa.Column("node", sa.String(256)),
        sa.Column("rank", sa.Integer()),
        sa.Column("user", sa.String(256), nullable=False),
        sa.Column("gpus", sa.Double()),
        sa.Column("lost_gpu_s", sa.Double()),
        sa.Column("rules_version", sa.String(64), nullable=False),
        sa.Column("origin", sa.String(16), nullable=False),
        sa.Column("reported", sa.Boolean(), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text()),
        sa.Column("template", sa.Text()),
        sa.Column("diagnosis", sa.Text(), nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("gpu_failures_by_job", "gpu_failures", ["job", "number"], unique=True)
    counted = ["failed_ns", "id", "category", "reason", "status", "synthetic", "lost_gpu_s"]
    op.create_index("gpu_failures_by_time", "gpu_failures", counted)
    for column in ("reason", "category", "node", "user"):
        op.create_index(f"gpu_failures_by_{column}", "gpu_failures", [column, "failed_ns", "id"])


def _advice() -> None:
    op.create_table(
        "gpu_advice",
        sa.Column("job", _NAME, primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("given_ns", sa.BigInteger(), nullable=False),
        sa.Column("decision", sa.String(16), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("model_generation", sa.BigInteger()),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_index("gpu_advice_by_time", "gpu_advice", ["given_ns"])
    op.create_table(
        "gpu_retry_models",
        sa.Column("generation", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("parent", sa.String(80), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("activated_ns", sa.BigInteger(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_index(
        "gpu_retry_models_in_use",
        "gpu_retry_models",
        ["active"],
        unique=True,
        sqlite_where=_ACTIVE,
        postgresql_where=_ACTIVE,
    )


def _nodes() -> None:
    op.create_table(
        "gpu_nodes",
        sa.Column("node", _NAME, primary_key=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("expected", sa.Double(), nullable=False),
        sa.Column("ratio", sa.Double()),
        sa.Column("p_value", sa.Double(), nullable=False),
        sa.Column("q_value", sa.Double(), nullable=False),
        sa.Column("stands_out", sa.Boolean(), nullable=False),
        sa.Column("checked_ns", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_table(
        "gpu_progress",
        sa.Column("scope", sa.String(64), primary_key=True),
        sa.Column("key", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
    )
