"""What agents' runtimes decided, and which windows hold less than agents saw because they sampled."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add an empty table, and an index that holds only windows with records sampled out: usually none."""
    op.create_table(
        "agent_status",
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("incarnation", sa.String(32), nullable=False),
        sa.Column("order_ns", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("sent_ns", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
    op.create_index(
        "manifests_sampled",
        "manifests",
        ["version_id", "level", "window_ns"],
        sqlite_where=sa.text("n_sampled_out > 0"),
        postgresql_where=sa.text("n_sampled_out > 0"),
    )
