"""The tables of drives, as SQLAlchemy Core sees them; they belong to the metadata of store/tables.py.

A drive has one row in `drives`; what it said day by day lies in blobs of up to DRIVES_PER_CHUNK drives (chunk = id //
DRIVES_PER_CHUNK). One scheduled job writes all of it under a lease. The API writes `drive_actions`, the command line
`drive_models`, so nobody waits for the job, and no flush touches any of these. Days are days since 1970, UTC.
"""

import sqlalchemy as sa

from store.tables import metadata, progress_table

DRIVES_PER_CHUNK = 1024

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Ordered by code points in both databases, so that a list of names is the same list.
_plain_text = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")

# Every drive that is not yet forgotten (store/drive_retention.py), and what was last said of it. What lists filter and
# sort by has columns of its own; `verdict` is all of it as JSON (api reads it), `memory` what the job wants to find
# again (hysteresis), both in the job's words.
drives = sa.Table(
    "drives",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    # Serial number, or host:device where the drive tells none.
    sa.Column("drive", _plain_text, nullable=False, unique=True),
    sa.Column("node", sa.String(256)),
    sa.Column("rack", sa.String(256)),
    sa.Column("model", sa.String(256)),
    sa.Column("vendor", sa.String(256)),
    sa.Column("family", sa.String(256)),
    sa.Column("firmware", sa.String(256)),
    sa.Column("kind", sa.String(64)),
    sa.Column("first_day", sa.Integer, nullable=False),
    sa.Column("last_day", sa.Integer, nullable=False),
    # -1 unknown, 0 good, 1 watch, 2 replace; since when it holds.
    sa.Column("state", sa.SmallInteger, nullable=False, server_default="-1"),
    sa.Column("since_ns", sa.BigInteger, nullable=False, server_default="0"),
    # The state, and among equals the probability: what "worst first" sorts by (store/drives.py).
    sa.Column("urgency", sa.Double, nullable=False, server_default="-1"),
    sa.Column("p7", sa.Double),
    sa.Column("p30", sa.Double),
    sa.Column("wear_used_pct", sa.Double),
    sa.Column("wear_ends_day", sa.Integer),
    sa.Column("wear_ends_early_day", sa.Integer),
    sa.Column("wear_ends_late_day", sa.Integer),
    # The drive is made up by a generator; its probability comes from a model that was trained on such drives.
    sa.Column("synthetic", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("model_digest", sa.String(80)),
    sa.Column("model_synthetic", sa.Boolean, nullable=False, server_default=sa.false()),
    # When it was last assessed, and the newest day that this looked at; NULL: never.
    sa.Column("scored_ns", sa.BigInteger),
    sa.Column("scored_day", sa.Integer),
    sa.Column("verdict", sa.Text),
    sa.Column("memory", sa.Text),
    # A list is read along one of these, both ways (store/drives.py).
    sa.Index("drives_by_urgency", "urgency", "id"),
    sa.Index("drives_by_probability", "p30", "id"),
    sa.Index("drives_by_wear", "wear_used_pct", "id"),
    sa.Index("drives_by_since", "since_ns", "id"),
    sa.Index("drives_by_node", "node"),
    sa.Index("drives_by_rack", "rack"),
    sa.Index("drives_by_vendor", "vendor"),
    # Counts are made from this index alone, without the long rows of the table (store/drive_overview.py).
    sa.Index("drives_by_model", "model", "state", "synthetic", "model_synthetic", "last_day", "scored_ns"),
    sa.Index("drives_by_last_day", "last_day", "id"),
    sa.Index("drives_not_good", "id", sqlite_where=sa.text("state <> 0"), postgresql_where=sa.text("state <> 0")),
    # The number of a drive that was deleted is never another one's.
    sqlite_autoincrement=True,
)

# What drives said of themselves on a day (store/drive_days.py).
drive_days = sa.Table(
    "drive_days",
    metadata,
    sa.Column("chunk", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index("drive_days_by_day", "day"),
)

# The newest features of a chunk's drives (store/drive_features.py); derived, so it may be deleted.
drive_features = sa.Table(
    "drive_features",
    metadata,
    sa.Column("chunk", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("day", sa.Integer, nullable=False),
    sa.Column("features_version", sa.String(80), nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)

# Every change of a drive's state; kept as long as the drive.
drive_states = sa.Table(
    "drive_states",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("drive_id", sa.ForeignKey("drives.id"), nullable=False),
    # When it was found, and from when on it is said to hold.
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("since_ns", sa.BigInteger, nullable=False),
    sa.Column("was", sa.SmallInteger, nullable=False),
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Index("drive_states_by_drive", "drive_id", "id"),
)

# What operators said; kept as long as the drive, an entry that is taken back only ends (store/drive_actions.py).
drive_actions = sa.Table(
    "drive_actions",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("kind", sa.String(16), nullable=False),  # acknowledge, mute, outcome
    # Neither drive nor model: the whole fleet.
    sa.Column("drive_id", sa.ForeignKey("drives.id")),
    sa.Column("model", sa.String(256)),
    # A cause that was acknowledged, a column that is muted, or an outcome.
    sa.Column("cause", sa.String(128), nullable=False),
    sa.Column("level", sa.Double),
    sa.Column("day", sa.Integer),
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("who", sa.String(256), nullable=False),
    sa.Column("created_ns", sa.BigInteger, nullable=False),
    sa.Column("until_ns", sa.BigInteger),
    sa.Column("ended_ns", sa.BigInteger),
    sa.Column("ended_by", sa.String(256)),
    sa.Index("drive_actions_by_drive", "drive_id", "id"),
    sa.Index("drive_actions_by_kind", "kind", "id"),
    sqlite_autoincrement=True,
)

# Models by the digest of their contents: at most one active and one shadow (store/drive_models.py), the others retired.
drive_models = sa.Table(
    "drive_models",
    metadata,
    sa.Column("digest", sa.String(80), primary_key=True),
    sa.Column("role", sa.String(16), nullable=False),
    sa.Column("installed_ns", sa.BigInteger, nullable=False),
    sa.Column("promoted_ns", sa.BigInteger),
    sa.Column("retired_ns", sa.BigInteger),
    # What the gate said when it was promoted, or why it was promoted without.
    sa.Column("note", sa.Text, nullable=False, server_default=""),
    sa.Column("card", sa.Text, nullable=False),
    sa.Column("checksum", sa.String(64), nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Index(
        "drive_models_in_use",
        "role",
        unique=True,
        sqlite_where=sa.text("role <> 'retired'"),
        postgresql_where=sa.text("role <> 'retired'"),
    ),
)

# What the job has taken in and done, in scopes that it names itself (store/drive_progress.py).
drive_progress = progress_table("drive_progress")
