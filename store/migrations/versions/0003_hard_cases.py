"""What the hard cases need: more counters, every start of an agent, and in which log a position lies."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add counters and the table of starts, which fills with the next heartbeats."""
    for name in ("too_new", "shared_ids", "restored_spools"):
        op.add_column("offsets", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("offsets", sa.Column("log_id", sa.String(64), nullable=False, server_default=""))
    op.create_table(
        "starts",
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("incarnation", sa.String(32), primary_key=True),
        sa.Column("previous", sa.String(32), nullable=False),
        sa.Column("host", sa.String(256), nullable=False),
        sa.Column("machine_id", sa.String(256), nullable=False),
        sa.Column("started_ns", sa.BigInteger(), nullable=False),
        sa.Column("order_ns", sa.BigInteger(), nullable=False),
        sa.Column("sent_ns", sa.BigInteger(), nullable=False),
        sa.Column("first_seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("seen_ns", sa.BigInteger(), nullable=False),
        sa.Column("clash_with", sa.String(32), nullable=False, server_default=""),
        sa.Column("restored", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.create_index("marks_by_start", "marks", ["agent", "incarnation"])
