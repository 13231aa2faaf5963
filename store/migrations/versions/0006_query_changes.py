"""Queries as resources: their SQL, who changed them, when they end; static tables; when an agent was retired."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add columns and a table; the versions, and from when each is valid, stay as they are."""
    op.add_column("versions", sa.Column("sql", sa.Text()))
    op.add_column("agents", sa.Column("retired_ns", sa.BigInteger()))
    # SQLite cannot let a column hold NULL afterwards: there the table is copied.
    with op.batch_alter_table("validity") as validity:
        validity.alter_column("version_id", existing_type=sa.BigInteger(), nullable=True)
        validity.add_column(sa.Column("posted", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "static_tables",
        sa.Column("name", sa.String(256), primary_key=True),
        sa.Column("content_hash", sa.String(64), primary_key=True),
        sa.Column("uploaded_ns", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.BigInteger(), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
