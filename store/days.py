"""Pages by day on PostgreSQL: partitions made ahead, made by a flush that needs one, and dropped as a whole.

    pages ── pages_0 ── pages_0_20261122, … , pages_0_rest      one level each, then a stretch of time each
          ├─ pages_1 ── …
          └─ pages_2 ── …

Nothing ever fails for lack of a partition: whatever has none of its own goes to the level's `rest`, also what lies so
far from now that partitions for it would be many. When one is made, what waits for it in `rest` moves in. SQLite has
one table, and all of this does nothing there.
"""

import datetime as dt
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import sqlalchemy as sa

from store.levels import Int64Array
from store.refusals import in_short
from store.tables import LEVEL_OWN_WINDOW

log = logging.getLogger(__name__)

DAY_NS = 86_400 * 10**9
# How long a partition of each level lasts.
SPANS_NS = {0: DAY_NS, 1: DAY_NS, 2: 30 * DAY_NS}
AHEAD = 2
_NEAR_PAST_NS = 32 * DAY_NS
_NEAR_FUTURE_NS = 3 * DAY_NS
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_made: WeakKeyDictionary[sa.Engine, set["Day"]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, order=True)
class Day:
    """A partition: the level's pages whose window starts in [from_ns, to_ns)."""

    level: int
    from_ns: int

    @property
    def to_ns(self) -> int:
        return self.from_ns + SPANS_NS[self.level]

    @property
    def name(self) -> str:
        return f"pages_{self.level}_{_EPOCH + dt.timedelta(microseconds=self.from_ns // 1000):%Y%m%d}"


def day_of(level: int, window_ns: int) -> Day:
    """The partition for a window."""
    return Day(level, window_ns // SPANS_NS[level] * SPANS_NS[level])


def make_days_for(engine: sa.Engine, touched: Mapping[int, Int64Array], now_ns: int) -> None:
    """Make the partitions that a flush will write to, as far as they are near now; one may fail."""
    if engine.dialect.name != "postgresql":
        return
    near = (now_ns - _NEAR_PAST_NS, now_ns + _NEAR_FUTURE_NS)
    wanted = {
        day_of(LEVEL_OWN_WINDOW, window)
        for windows in touched.values()
        for window in {day * DAY_NS for day in set((windows // DAY_NS).tolist())}
        if near[0] <= window < near[1]
    }
    _make(engine, wanted)


def make_days_ahead(engine: sa.Engine, now_ns: int) -> int:
    """Make every level's partitions for now and the near future; returns how many are new."""
    if engine.dialect.name != "postgresql":
        return 0
    return _make(
        engine, {day_of(level, now_ns + at * span) for level, span in SPANS_NS.items() for at in range(AHEAD + 1)}
    )


def days(connection: sa.Connection) -> list[Day]:
    """The partitions that there are, without the rests."""
    found = connection.exec_driver_sql(
        "SELECT parent.relname, child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid "
        "JOIN pg_class parent ON parent.oid = inhparent JOIN pg_namespace n ON n.oid = child.relnamespace "
        "WHERE parent.relname ~ '^pages_[0-9]+$' AND child.relname !~ 'rest$' AND n.nspname = current_schema()"
    )
    return sorted(_parsed(parent, child) for parent, child in found)


def old_days(connection: sa.Connection) -> list[Day]:
    """Partitions that end below some version's floor, of which every page seems to be below its own."""
    if connection.dialect.name != "postgresql":
        return []
    floors = connection.exec_driver_sql("SELECT level, max(floor_ns) FROM level_floors GROUP BY level")
    highest = {row[0]: int(row[1]) for row in floors}
    below = [day for day in days(connection) if day.to_ns <= highest.get(day.level, day.from_ns)]
    return [day for day in below if not _holds_kept(connection, day)]


def drop_old_day(connection: sa.Connection, day: Day) -> bool:
    """Drop a partition unless some page in it is at or above its version's floor after all; the caller commits."""
    # Parent first, as readers do: the other way round, one of them could wait for us and we for it.
    connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
    connection.exec_driver_sql(f"LOCK TABLE ONLY pages_{day.level} IN ACCESS EXCLUSIVE MODE")
    connection.exec_driver_sql(f"LOCK TABLE {day.name} IN ACCESS EXCLUSIVE MODE")
    if _holds_kept(connection, day):
        return False
    connection.exec_driver_sql(f"DROP TABLE {day.name}")
    return True


def _make(engine: sa.Engine, wanted: Iterable[Day]) -> int:
    made = 0
    known = _made.setdefault(engine, set())
    for day in sorted(set(wanted) - known):
        try:
            with engine.begin() as connection:
                made += _make_one(connection, day)
        except sa.exc.SQLAlchemyError as error:
            log.warning("partition not made name=%s error=%s; its pages go to the rest", day.name, in_short(error))
            return made
        known.add(day)
    return made


def _holds_kept(connection: sa.Connection, day: Day) -> bool:
    kept = connection.exec_driver_sql(
        f"SELECT 1 FROM {day.name} p LEFT JOIN level_floors f ON f.version_id = p.version_id AND f.level = p.level "
        "WHERE f.floor_ns IS NULL OR p.window_ns >= f.floor_ns LIMIT 1"
    )
    return kept.first() is not None


def _make_one(connection: sa.Connection, day: Day) -> bool:
    connection.exec_driver_sql("SET LOCAL lock_timeout = '2s'")
    connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('tailwatch partitions'))")
    if connection.exec_driver_sql(f"SELECT to_regclass('{day.name}')").scalar() is not None:
        return False
    parent = f"pages_{day.level}"
    between = f"window_ns >= {day.from_ns} AND window_ns < {day.to_ns}"
    # Made beside its parent and then attached: that does not stop those who read and write the parent meanwhile.
    connection.exec_driver_sql(
        f"CREATE TABLE {day.name} (LIKE {parent} INCLUDING ALL, CHECK (level = {day.level} AND {between}))"
    )
    connection.exec_driver_sql(f"LOCK TABLE {parent}_rest IN ACCESS EXCLUSIVE MODE")
    connection.exec_driver_sql(
        f"WITH moved AS (DELETE FROM {parent}_rest WHERE {between} RETURNING *) "
        f"INSERT INTO {day.name} SELECT * FROM moved"
    )
    connection.exec_driver_sql(
        f"ALTER TABLE {parent} ATTACH PARTITION {day.name} FOR VALUES FROM ({day.from_ns}) TO ({day.to_ns})"
    )
    return True


def _parsed(parent: str, child: str) -> Day:
    start = dt.datetime.strptime(child.rpartition("_")[2], "%Y%m%d").replace(tzinfo=dt.UTC)
    return Day(int(parent.removeprefix("pages_")), int((start - _EPOCH).total_seconds()) * 10**9)
