"""Drives: which there are, what they said day by day, what is said of them, and what operators said."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PLAIN_TEXT = sa.String(256).with_variant(sa.String(256, collation="C"), "postgresql")
_IN_USE = sa.text("role <> 'retired'")
_NOT_GOOD = sa.text("state <> 0")


def upgrade() -> None:
    """Add empty tables."""
    _drives()
    _blobs()
    _history()
    _models()
    if op.get_bind().dialect.name == "postgresql":
        for table in ("drive_days", "drive_features", "drive_models"):  # compressed already
            op.execute(f"ALTER TABLE {table} ALTER COLUMN data SET STORAGE EXTERNAL")


def _drives() -> None:
    op.create_table(
        "drives",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("drive", _PLAIN_TEXT, nullable=False, unique=True),
        *(sa.Column(name, sa.String(256)) for name in ("node", "rack", "model", "vendor", "family", "firmware")),
        sa.Column("kind", sa.String(64)),
        sa.Column("first_day", sa.Integer(), nullable=False),
        sa.Column("last_day", sa.Integer(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False, server_default="-1"),
        sa.Column("since_ns", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("urgency", sa.Double(), nullable=False, server_default="-1"),
        *(sa.Column(name, sa.Double()) for name in ("p7", "p30", "wear_used_pct")),
        *(sa.Column(name, sa.Integer()) for name in ("wear_ends_day", "wear_ends_early_day", "wear_ends_late_day")),
        sa.Column("synthetic", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("model_digest", sa.String(80)),
        sa.Column("model_synthetic", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("scored_ns", sa.BigInteger()),
        sa.Column("scored_day", sa.Integer()),
        sa.Column("verdict", sa.Text()),
        sa.Column("memory", sa.Text()),
        sqlite_autoincrement=True,
    )
    op.create_index("drives_by_urgency", "drives", ["urgency", "id"])
    op.create_index("drives_by_probability", "drives", ["p30", "id"])
    op.create_index("drives_by_wear", "drives", ["wear_used_pct", "id"])
    op.create_index("drives_by_since", "drives", ["since_ns", "id"])
    op.create_index("drives_by_node", "drives", ["node"])
    op.create_index("drives_by_rack", "drives", ["rack"])
    op.create_index("drives_by_vendor", "drives", ["vendor"])
    counted = ["model", "state", "synthetic", "model_synthetic", "last_day", "scored_ns"]
    op.create_index("drives_by_model", "drives", counted)
    op.create_index("drives_by_last_day", "drives", ["last_day", "id"])
    op.create_index("drives_not_good", "drives", ["id"], sqlite_where=_NOT_GOOD, postgresql_where=_NOT_GOOD)


def _blobs() -> None:
    op.create_table(
        "drive_days",
        sa.Column("chunk", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_index("drive_days_by_day", "drive_days", ["day"])
    op.create_table(
        "drive_features",
        sa.Column("chunk", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("features_version", sa.String(80), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )


def _history() -> None:
    op.create_table(
        "drive_states",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("drive_id", _ID, sa.ForeignKey("drives.id"), nullable=False),
        sa.Column("at_ns", sa.BigInteger(), nullable=False),
        sa.Column("since_ns", sa.BigInteger(), nullable=False),
        sa.Column("was", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
    )
    op.create_index("drive_states_by_drive", "drive_states", ["drive_id", "id"])
    op.create_table(
        "drive_actions",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("drive_id", _ID, sa.ForeignKey("drives.id")),
        sa.Column("model", sa.String(256)),
        sa.Column("cause", sa.String(128), nullable=False),
        sa.Column("level", sa.Double()),
        sa.Column("day", sa.Integer()),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
        sa.Column("who", sa.String(256), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("until_ns", sa.BigInteger()),
        sa.Column("ended_ns", sa.BigInteger()),
        sa.Column("ended_by", sa.String(256)),
        sqlite_autoincrement=True,
    )
    op.create_index("drive_actions_by_drive", "drive_actions", ["drive_id", "id"])
    op.create_index("drive_actions_by_kind", "drive_actions", ["kind", "id"])


def _models() -> None:
    op.create_table(
        "drive_models",
        sa.Column("digest", sa.String(80), primary_key=True),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("installed_ns", sa.BigInteger(), nullable=False),
        sa.Column("promoted_ns", sa.BigInteger()),
        sa.Column("retired_ns", sa.BigInteger()),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
        sa.Column("card", sa.Text(), nullable=False),
        sa.Column("checksum", sa.String(64), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.create_index(
        "drive_models_in_use", "drive_models", ["role"], unique=True, sqlite_where=_IN_USE, postgresql_where=_IN_USE
    )
    op.create_table(
        "drive_progress",
        sa.Column("scope", sa.String(64), primary_key=True),
        sa.Column("key", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text()),
        sa.Column("updated_ns", sa.BigInteger(), nullable=False),
    )
