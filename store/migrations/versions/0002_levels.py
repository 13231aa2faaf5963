"""Levels: coarser windows, retention, leases; pages by day on PostgreSQL.

Every window that is stored is marked for its roll-up: nothing may be deleted before what is made of it stands.
"""

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_SECOND_NS = 10**9
_AMOUNTS = (
    "n_in",
    "n_filtered",
    "n_local",
    "n_drained",
    "n_sampled_out",
    "n_dropped",
    "got_local",
    "got_drained",
)


def upgrade() -> None:
    """Add what levels need, and mark what is there."""
    for name in ("too_old", "dead_letters_dropped"):
        op.add_column("offsets", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.create_table(
        "level_floors",
        sa.Column("version_id", _ID, sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("level", sa.SmallInteger(), primary_key=True),
        sa.Column("floor_ns", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "rollup_dirty",
        sa.Column("version_id", _ID, sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("level", sa.SmallInteger(), primary_key=True),
        sa.Column("window_ns", sa.BigInteger(), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("owner", sa.String(256), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_ns", sa.BigInteger(), nullable=False),
    )
    _new_manifests()
    _mark_everything()
    _new_pages()


def _new_manifests() -> None:
    """The level becomes part of the key, which SQLite cannot change in place."""
    op.rename_table("manifests", "manifests_0001")
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE manifests_0001 RENAME CONSTRAINT manifests_pkey TO manifests_0001_pkey")
    op.create_table(
        "manifests",
        sa.Column("version_id", _ID, sa.ForeignKey("versions.id"), primary_key=True),
        sa.Column("level", sa.SmallInteger(), primary_key=True),
        sa.Column("window_ns", sa.BigInteger(), primary_key=True),
        sa.Column("agent", sa.String(256), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _AMOUNTS),
    )
    amounts = ", ".join(_AMOUNTS)
    op.execute(
        f"INSERT INTO manifests (version_id, level, window_ns, agent, partition, {amounts}) "
        f"SELECT version_id, 0, window_ns, agent, partition, {amounts} FROM manifests_0001"
    )
    op.drop_table("manifests_0001")


def _new_pages() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.execute("ALTER TABLE pages RENAME TO pages_0001")
        op.execute("ALTER TABLE pages_0001 RENAME CONSTRAINT pages_pkey TO pages_0001_pkey")
        op.execute(
            "CREATE TABLE pages (version_id BIGINT NOT NULL, metric_id BIGINT NOT NULL, level SMALLINT NOT NULL, "
            "window_ns BIGINT NOT NULL, series_group BIGINT NOT NULL, partition INTEGER NOT NULL, "
            "page_version BIGINT NOT NULL, data BYTEA NOT NULL, "
            "PRIMARY KEY (version_id, metric_id, level, window_ns, series_group, partition)) PARTITION BY LIST (level)"
        )
        # Sketches are packed already: compressing them again costs time and saves nothing.
        op.execute("ALTER TABLE pages ALTER COLUMN data SET STORAGE EXTERNAL")
        for level in (0, 1, 2):
            op.execute(
                f"CREATE TABLE pages_{level} PARTITION OF pages FOR VALUES IN ({level}) PARTITION BY RANGE (window_ns)"
            )
            op.execute(f"CREATE TABLE pages_{level}_rest PARTITION OF pages_{level} DEFAULT")
        columns = "version_id, metric_id, level, window_ns, series_group, partition, page_version, data"
        op.execute(f"INSERT INTO pages ({columns}) SELECT {columns} FROM pages_0001")
        op.drop_table("pages_0001")
        return
    op.rename_table("pages", "pages_0001")
    op.create_table(
        "pages",
        sa.Column("version_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("metric_id", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("level", sa.SmallInteger(), primary_key=True),
        sa.Column("window_ns", sa.BigInteger(), primary_key=True),
        sa.Column("series_group", sa.BigInteger(), primary_key=True),
        sa.Column("partition", sa.Integer(), primary_key=True),
        sa.Column("page_version", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
    )
    op.execute("INSERT INTO pages SELECT * FROM pages_0001")
    op.drop_table("pages_0001")


def _mark_everything() -> None:
    connection = op.get_bind()
    marks: set[tuple[int, int, int, int]] = set()
    for version_id, plan in connection.execute(sa.text("SELECT id, plan FROM versions")).all():
        next_level = _next_level(plan)
        if next_level is None:
            continue
        number, width_ns = next_level
        for table in ("pages", "manifests"):
            rows = connection.execute(
                sa.text(f"SELECT DISTINCT window_ns, partition FROM {table} WHERE version_id = :version"),
                {"version": version_id},
            )
            marks |= {(version_id, number, window // width_ns * width_ns, partition) for window, partition in rows}
    if marks:
        names = ("version_id", "level", "window_ns", "partition")
        connection.execute(
            sa.table("rollup_dirty", *(sa.column(name) for name in names)).insert(),
            [dict(zip(names, mark, strict=True)) for mark in sorted(marks)],
        )


def _next_level(plan: bytes) -> tuple[int, int] | None:
    """(number, width) of the level above the query's own window; None where there is none, or the plan is unreadable.

    The rule as it was at this revision, on the stored plan as it was then: a migration must not change with the code.
    """
    try:
        window_ns = int(msgspec.msgpack.decode(plan)["stages"][-1]["window_ns"])
    except (msgspec.MsgspecError, KeyError, IndexError, TypeError, ValueError):
        return None
    for number, target_ns in ((1, 60 * _SECOND_NS), (2, 3600 * _SECOND_NS)):
        if 0 < window_ns < target_ns:
            return number, -(-target_ns // window_ns) * window_ns
    return None
