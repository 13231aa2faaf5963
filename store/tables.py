"""The tables, as SQLAlchemy Core sees them; migrations/ holds the statements that make them.

Who may write what keeps the flush free of waiting: rows that carry a partition are written by that partition's owner
only. Times are ns UTC, windows are named by their start. Sizes: a page holds one metric's states of up to
SERIES_PER_PAGE series in one window from one partition.
"""

import sqlalchemy as sa

SERIES_PER_PAGE = 64
LEVEL_OWN_WINDOW = 0  # the query's own window; coarser levels come above it (store/levels.py)

metadata = sa.MetaData()
_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def progress_table(name: str) -> sa.Table:
    """Where a job notes how far it has come, in scopes that it names itself (store/job_progress.py)."""
    return sa.Table(
        name,
        metadata,
        sa.Column("scope", sa.String(64), primary_key=True),
        sa.Column("key", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text),
        sa.Column("updated_ns", sa.BigInteger, nullable=False),
    )


offsets = sa.Table(
    "offsets",
    metadata,
    sa.Column("topic", sa.String(249), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
    # In which log of this name that offset lies; empty where the transport does not say.
    sa.Column("log_id", sa.String(64), nullable=False, server_default=""),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.String(256), nullable=False),
    # How many flushes the partition has seen: a flush tried again after its commit went through is told apart by it.
    sa.Column("flushes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("flushed_ns", sa.BigInteger),
    # Cumulative since the database was made, written in the flush's own transaction: exact, whoever dies.
    sa.Column("frames", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("bytes", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("records", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("groups", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("duplicates", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("quarantined", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("dead_letters", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("lost_frames", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("skipped_offsets", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("too_old", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("too_new", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("shared_ids", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("restored_spools", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("dead_letters_dropped", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("over_series_max", sa.BigInteger, nullable=False, server_default="0"),
)

marks = sa.Table(
    "marks",
    metadata,
    sa.Column("topic", sa.String(249), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("agent", sa.String(256), primary_key=True),
    sa.Column("incarnation", sa.String(32), primary_key=True),
    sa.Column("mark", sa.BigInteger, nullable=False),
    sa.Column("mark_created_ns", sa.BigInteger, nullable=False),
    sa.Column("gaps", sa.LargeBinary, nullable=False),
    sa.Column("updated_ns", sa.BigInteger, nullable=False),
    sa.Index("marks_by_start", "agent", "incarnation"),
)

queries = sa.Table(
    "queries",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(256), nullable=False, unique=True),
    # How many series it may have, as the collector that started last applies it.
    sa.Column("series_max", sa.BigInteger),
)

versions = sa.Table(
    "versions",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("query_id", sa.ForeignKey("queries.id"), nullable=False),
    sa.Column("version", sa.String(64), nullable=False, unique=True),
    sa.Column("plan", sa.LargeBinary, nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    # What was posted, for people to read; NULL of versions that came from a configuration file.
    sa.Column("sql", sa.Text),
)

# From valid_from_ns on, a query's windows answer from this version; a version may come back later. Without a version
# the query is retired from then on. `posted` over the API: from then on configuration files do not decide.
validity = sa.Table(
    "validity",
    metadata,
    sa.Column("query_id", sa.ForeignKey("queries.id"), primary_key=True),
    sa.Column("valid_from_ns", sa.BigInteger, primary_key=True),
    sa.Column("version_id", sa.ForeignKey("versions.id")),
    sa.Column("posted", sa.Boolean, nullable=False, server_default=sa.false()),
)

# Uploaded tables that queries join, by content. The content of a name that was uploaded last is what new versions get.
static_tables = sa.Table(
    "static_tables",
    metadata,
    sa.Column("name", sa.String(256), primary_key=True),
    sa.Column("content_hash", sa.String(64), primary_key=True),
    sa.Column("uploaded_ns", sa.BigInteger, nullable=False),
    sa.Column("rows", sa.BigInteger, nullable=False),
    sa.Column("columns", sa.Text, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

metrics = sa.Table(
    "metrics",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(256), nullable=False, unique=True),
    sa.Column("query_id", sa.ForeignKey("queries.id"), nullable=False),
)

series = sa.Table(
    "series",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("query_id", sa.ForeignKey("queries.id"), nullable=False),
    sa.Column("labels", sa.Text, nullable=False),
    # Labels may be longer than what PostgreSQL takes into an index.
    sa.Column("labels_hash", sa.String(32), nullable=False),
    sa.UniqueConstraint("query_id", "labels_hash"),
)

# Who was refused new series, cumulative; bounded per query and partition (store/series_limit.py).
series_refused = sa.Table(
    "series_refused",
    metadata,
    sa.Column("query_id", sa.ForeignKey("queries.id"), primary_key=True),
    sa.Column("agent", sa.String(256), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("groups", sa.BigInteger, nullable=False),
    sa.Column("records", sa.BigInteger, nullable=False),
    sa.Column("last_ns", sa.BigInteger, nullable=False),
    sa.Column("example", sa.Text, nullable=False),
)

# On PostgreSQL this is partitioned by level and time (store/days.py). No foreign keys: versions and metrics are never
# deleted, and checking two of them for every page is a tenth of a flush.
pages = sa.Table(
    "pages",
    metadata,
    sa.Column("version_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("metric_id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("level", sa.SmallInteger, primary_key=True),
    sa.Column("window_ns", sa.BigInteger, primary_key=True),
    sa.Column("series_group", sa.BigInteger, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("page_version", sa.BigInteger, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

# How often pages or manifests of windows that start in an hour have changed, and the series of a query: whether an
# answer from before still holds (store/changes.py). The partition says who writes the row.
page_changes = sa.Table(
    "page_changes",
    metadata,
    sa.Column("version_id", _id, primary_key=True, autoincrement=False),
    sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("changes", sa.BigInteger, nullable=False),
)

series_changes = sa.Table(
    "series_changes",
    metadata,
    sa.Column("query_id", _id, primary_key=True, autoincrement=False),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("changes", sa.BigInteger, nullable=False),
)

# What agents say they took in (n_*) beside what arrived here (got_*). Above level 0, of windows in which the version
# was not valid only n_in is kept.
manifests = sa.Table(
    "manifests",
    metadata,
    sa.Column("version_id", sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("window_ns", sa.BigInteger, primary_key=True),
    sa.Column("agent", sa.String(256), primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("n_in", sa.BigInteger, nullable=False),
    sa.Column("n_filtered", sa.BigInteger, nullable=False),
    sa.Column("n_local", sa.BigInteger, nullable=False),
    sa.Column("n_drained", sa.BigInteger, nullable=False),
    sa.Column("n_sampled_out", sa.BigInteger, nullable=False),
    sa.Column("n_dropped", sa.BigInteger, nullable=False),
    sa.Column("got_local", sa.BigInteger, nullable=False),
    sa.Column("got_drained", sa.BigInteger, nullable=False),
    # Whether anything was sampled out of a stretch is asked with every expression (store/sampled_out.py).
    sa.Index(
        "manifests_sampled",
        "version_id",
        "level",
        "window_ns",
        sqlite_where=sa.text("n_sampled_out > 0"),
        postgresql_where=sa.text("n_sampled_out > 0"),
    ),
)

# From where on a level is kept; see store/levels.py. No row: from the beginning.
level_floors = sa.Table(
    "level_floors",
    metadata,
    sa.Column("version_id", sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("floor_ns", sa.BigInteger, nullable=False),
)

# Windows of a coarser level of which a finer part has changed since they were last computed.
rollup_dirty = sa.Table(
    "rollup_dirty",
    metadata,
    sa.Column("version_id", sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("level", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("window_ns", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("partition", sa.Integer, primary_key=True, autoincrement=False),
)

# Who runs the jobs that only one collector may run at a time.
leases = sa.Table(
    "leases",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("owner", sa.String(256), nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("expires_ns", sa.BigInteger, nullable=False),
)

agents = sa.Table(
    "agents",
    metadata,
    sa.Column("agent", sa.String(256), primary_key=True),
    sa.Column("host", sa.String(256), nullable=False),
    sa.Column("machine_id", sa.String(256), nullable=False),
    sa.Column("incarnation", sa.String(32), nullable=False),
    sa.Column("started_ns", sa.BigInteger, nullable=False),
    sa.Column("first_seen_ns", sa.BigInteger, nullable=False),
    sa.Column("last_seen_ns", sa.BigInteger, nullable=False),
    sa.Column("counters", sa.Text, nullable=False),
    # How far the agent's clock is ahead of its collector's at least (collector/agent_clocks.py); NULL: not known.
    sa.Column("clock_offset_ns", sa.BigInteger),
    sa.Column("retired", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("retired_ns", sa.BigInteger),
)

# What the agent's runtime decided last (store/agent_status.py); `body` is JSON (wire/status.py).
agent_status = sa.Table(
    "agent_status",
    metadata,
    sa.Column("agent", sa.String(256), primary_key=True),
    sa.Column("incarnation", sa.String(32), nullable=False),
    # When its start counts as begun beside others, and the place of its frame in that start.
    sa.Column("order_ns", sa.BigInteger, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("sent_ns", sa.BigInteger, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
)

# Every start of an agent that is not forgotten; written by the owner of the start's partition.
starts = sa.Table(
    "starts",
    metadata,
    sa.Column("agent", sa.String(256), primary_key=True),
    sa.Column("incarnation", sa.String(32), primary_key=True),
    sa.Column("previous", sa.String(32), nullable=False),
    sa.Column("host", sa.String(256), nullable=False),
    sa.Column("machine_id", sa.String(256), nullable=False),
    # By the agent's clock, and when it counts as begun beside other starts (store/starts.py).
    sa.Column("started_ns", sa.BigInteger, nullable=False),
    sa.Column("order_ns", sa.BigInteger, nullable=False),
    # The newest heartbeat by the agent's clock; the first and newest by a collector's.
    sa.Column("sent_ns", sa.BigInteger, nullable=False),
    sa.Column("first_seen_ns", sa.BigInteger, nullable=False),
    sa.Column("seen_ns", sa.BigInteger, nullable=False),
    # An earlier start that was found alive beside this one.
    sa.Column("clash_with", sa.String(32), nullable=False, server_default=""),
    # Its spool, or the one before it, was restored from an older disk (store/restored.py).
    sa.Column("restored", sa.Boolean, nullable=False, server_default=sa.false()),
)

progress = sa.Table(
    "progress",
    metadata,
    sa.Column("agent", sa.String(256), primary_key=True),
    sa.Column("version_id", sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("started_ns", sa.BigInteger, nullable=False),
    sa.Column("first_ns", sa.BigInteger, nullable=False),
    sa.Column("watermark_ns", sa.BigInteger, nullable=False),
    sa.Column("last_seen_ns", sa.BigInteger, nullable=False),
    sa.Column("replayable", sa.Boolean, nullable=False),
)

# Agents that compute a version of a query which is not registered: expected, and nothing of theirs is in the answer.
unregistered = sa.Table(
    "unregistered",
    metadata,
    sa.Column("agent", sa.String(256), primary_key=True),
    sa.Column("query_id", sa.ForeignKey("queries.id"), primary_key=True),
    sa.Column("first_ns", sa.BigInteger, nullable=False),
    sa.Column("last_seen_ns", sa.BigInteger, nullable=False),
)

# Stretches of event time in which records of an agent may be missing, and why.
interruptions = sa.Table(
    "interruptions",
    metadata,
    sa.Column("agent", sa.String(256), primary_key=True),
    sa.Column("version_id", sa.ForeignKey("versions.id"), primary_key=True),
    sa.Column("from_ns", sa.BigInteger, primary_key=True),
    sa.Column("to_ns", sa.BigInteger, primary_key=True),
    sa.Column("reason", sa.String(64), nullable=False),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("topic", sa.String(249), nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("version", sa.String(64), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("marked", sa.Boolean, nullable=False),
    sa.Column("received_ns", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("topic", sa.String(249), nullable=False),
    sa.Column("partition", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("received_ns", sa.BigInteger, nullable=False),
    sa.Column("payload", sa.LargeBinary, nullable=False),
)

# API keys; only a digest of each key (store/api_keys.py). Rows are never deleted: a revoked key keeps its history.
api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("prefix", sa.String(16), nullable=False, unique=True),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Column("scopes", sa.String(64), nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("expires_ns", sa.BigInteger),
    sa.Column("last_used_ns", sa.BigInteger),
    sa.Column("revoked_ns", sa.BigInteger),
    # A name is free again once its key is revoked.
    sa.Index(
        "api_keys_by_name",
        "name",
        unique=True,
        sqlite_where=sa.text("revoked_ns IS NULL"),
        postgresql_where=sa.text("revoked_ns IS NULL"),
    ),
)
