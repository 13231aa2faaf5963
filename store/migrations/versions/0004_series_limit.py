"""The series limit: who was refused, the limit in force. Also agents' clocks, and when partitions were flushed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add a table and four columns; what is stored stays as it is."""
    op.add_column("offsets", sa.Column("flushed_ns", sa.BigInteger()))
    op.add_column("offsets", sa.Column("over_series_max", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("queries", sa.Column("series_max", sa.BigInteger()))
    op.add_column("agents", sa.Column("clock_offset_ns", sa.BigInteger()))
    op.create_table(
        "series_refused",
        sa.Column("query_id", _ID, sa.ForeignKey("queries.id"), primary_key=True),
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("groups", sa.BigInteger(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("last_ns", sa.BigInteger(), nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
    )
