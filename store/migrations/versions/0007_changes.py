"""Change counters: they say whether an answer from before still holds, without reading what it is made of."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0005"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add two empty tables; whatever changes from now on is counted."""
    op.create_table(
        "page_changes",
        sa.Column("version_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("hour", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "series_changes",
        sa.Column("query_id", _ID, primary_key=True, autoincrement=False),
        sa.Column("partition", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("changes", sa.BigInteger(), nullable=False),
    )
