"""API keys: their digests, scopes and times."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_LIVE = sa.text("revoked_ns IS NULL")


def upgrade() -> None:
    """Add one table."""
    op.create_table(
        "api_keys",
        sa.Column("id", _ID, primary_key=True, autoincrement=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False, unique=True),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("scopes", sa.String(64), nullable=False),
        sa.Column("created_ns", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger()),
        sa.Column("last_used_ns", sa.BigInteger()),
        sa.Column("revoked_ns", sa.BigInteger()),
    )
    op.create_index("api_keys_by_name", "api_keys", ["name"], unique=True, sqlite_where=_LIVE, postgresql_where=_LIVE)
