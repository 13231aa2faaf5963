"""What the hard cases need: records too far ahead are counted."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the counter."""
    op.add_column("offsets", sa.Column("too_new", sa.BigInteger(), nullable=False, server_default="0"))
