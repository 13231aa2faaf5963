"""The tables of jobs on GPUs, as SQLAlchemy Core sees them; they belong to the metadata of store/tables.py.

The API writes `gpu_attempts` and, of uploads, `gpu_failures`; one scheduled job writes the rest under a lease. No flush
touches any of these. Times are ns UTC. What lists filter and count by has columns of its own, all of it is JSON beside.
"""

import sqlalchemy as sa

from store.tables import metadata, progress_table

NAME_MAX = 256

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Compared by code points in both databases: names come in one order everywhere.
_name = sa.String(NAME_MAX).with_variant(sa.String(NAME_MAX, collation="C"), "postgresql")

# Every attempt that the scheduler told of and that is not yet forgotten (store/gpu_attempts.py).
gpu_attempts = sa.Table(
    "gpu_attempts",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("job", _name, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    # Unknown is "" of texts, NULL of the others.
    sa.Column("user", sa.String(NAME_MAX), nullable=False),
    sa.Column("queue", sa.String(NAME_MAX), nullable=False),
    sa.Column("nodes", sa.Text, nullable=False),
    sa.Column("gpus", sa.Double),
    sa.Column("submitted_ns", sa.BigInteger),
    sa.Column("start_ns", sa.BigInteger),
    sa.Column("end_ns", sa.BigInteger),
    sa.Column("outcome", sa.String(16), nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("signal", sa.Integer),
    sa.Column("synthetic", sa.Boolean, nullable=False),
    sa.Column("reported_ns", sa.BigInteger, nullable=False),
    # The latest that is known of it: its end, else its start, else when it was submitted or reported.
    sa.Column("latest_ns", sa.BigInteger, nullable=False),
    # Counts up over all attempts with every change (store/gpu_counters.py).
    sa.Column("changed", sa.BigInteger, nullable=False),
    sa.Index("gpu_attempts_by_job", "job", "number", unique=True),
    sa.Index("gpu_attempts_by_change", "changed", unique=True),
    sa.Index("gpu_attempts_by_time", "latest_ns", "id"),
    sqlite_autoincrement=True,
)

# Why an attempt failed, as it was last found (store/gpu_failures.py); `diagnosis` is all of it as JSON.
gpu_failures = sa.Table(
    "gpu_failures",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("job", _name, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("failed_ns", sa.BigInteger, nullable=False),
    sa.Column("found_ns", sa.BigInteger, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # answered, abstained
    sa.Column("reason", sa.String(128)),
    sa.Column("category", sa.String(64)),
    sa.Column("guess", sa.String(128)),
    sa.Column("confidence", sa.Double, nullable=False),
    sa.Column("retry", sa.String(16)),
    sa.Column("node", sa.String(NAME_MAX)),
    sa.Column("rank", sa.Integer),
    sa.Column("user", sa.String(NAME_MAX), nullable=False),
    sa.Column("gpus", sa.Double),
    sa.Column("lost_gpu_s", sa.Double),
    sa.Column("rules_version", sa.String(64), nullable=False),
    sa.Column("origin", sa.String(16), nullable=False),  # agents, upload
    sa.Column("reported", sa.Boolean, nullable=False),
    sa.Column("synthetic", sa.Boolean, nullable=False),
    # 1 when it was first found; one more with everything that was found otherwise later.
    sa.Column("revision", sa.Integer, nullable=False),
    # Long texts stand last: what reads only the columns above never touches the pages they lie on.
    sa.Column("action", sa.Text),
    sa.Column("template", sa.Text),
    sa.Column("diagnosis", sa.Text, nullable=False),
    sa.Index("gpu_failures_by_job", "job", "number", unique=True),
    # Counts are made from this index alone, without the long rows of the table; lists are read along it.
    sa.Index("gpu_failures_by_time", "failed_ns", "id", "category", "reason", "status", "synthetic", "lost_gpu_s"),
    sa.Index("gpu_failures_by_reason", "reason", "failed_ns", "id"),
    sa.Index("gpu_failures_by_category", "category", "failed_ns", "id"),
    sa.Index("gpu_failures_by_node", "node", "failed_ns", "id"),
    sa.Index("gpu_failures_by_user", "user", "failed_ns", "id"),
    sqlite_autoincrement=True,
)

# What was advised about a failed attempt (store/gpu_advice.py); `body` is all of it as JSON.
gpu_advice = sa.Table(
    "gpu_advice",
    metadata,
    sa.Column("job", _name, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("given_ns", sa.BigInteger, nullable=False),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("probability", sa.Double, nullable=False),
    sa.Column("model_generation", sa.BigInteger),
    sa.Column("body", sa.Text, nullable=False),
    sa.Index("gpu_advice_by_time", "given_ns"),
)

# States of the model behind the advice: one is active (store/gpu_models.py).
gpu_retry_models = sa.Table(
    "gpu_retry_models",
    metadata,
    sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(80), nullable=False),
    # Digest of the state that it was learned from; "" of the first.
    sa.Column("parent", sa.String(80), nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("activated_ns", sa.BigInteger, nullable=False),
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index(
        "gpu_retry_models_in_use",
        "active",
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    ),
)

# What the newest test of all nodes said of each (store/gpu_nodes.py); `body` is all of it as JSON.
gpu_nodes = sa.Table(
    "gpu_nodes",
    metadata,
    sa.Column("node", _name, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("expected", sa.Double, nullable=False),
    sa.Column("ratio", sa.Double),
    sa.Column("p_value", sa.Double, nullable=False),
    sa.Column("q_value", sa.Double, nullable=False),
    sa.Column("stands_out", sa.Boolean, nullable=False),
    sa.Column("checked_ns", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

# How far the job has come, in scopes that it names itself (store/job_progress.py).
gpu_progress = progress_table("gpu_progress")

# Numbers that are given out in the order of commits (store/gpu_counters.py).
gpu_counters = sa.Table(
    "gpu_counters",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)
