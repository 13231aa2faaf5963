"""How many series each query has, the limit that collectors apply, and who was refused new ones.

Refusals are additions, written in the flush by the partition's owner: per query, agent and partition how many groups
and records were left out, and one example of their labels. What is kept is bounded: of many agents, the smallest are
added up under no name, so the sums stay right.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import sqlalchemy as sa

from store import tables
from store.series import label_text
from store.upsert import batched, insert, larger

# Rows per query and partition: as soon as there are more than MOST, only the KEPT largest keep their names.
KEPT = 100
MOST = 200
# An agent's name has at least one character, so nobody is called this.
OTHERS = ""
EXAMPLE_VALUE_MAX = 200
_AGENTS_PER_STATEMENT = 500
_ROWS_AT_ONCE = 10_000
_labels = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class Refusal:
    """Groups of one agent that would have made new series of a query at its limit, as additions.

    `example` holds the labels of one of them, made by `example_of`.
    """

    query_id: int
    query: str
    agent: str
    groups: int
    records: int
    example: str


@dataclass(frozen=True, slots=True)
class RefusedAgent:
    """What an agent was refused so far, over all partitions; the name OTHERS stands for all that are not listed."""

    agent: str
    groups: int
    records: int
    last_ns: int
    example: str


@dataclass(frozen=True, slots=True)
class SeriesUse:
    """A query's series: how many there are, how many there may be, and what was refused.

    `series_max` is what the collector that started last applies; None when none has said so since the upgrade.
    `refused` stands in order, most records first.
    """

    query_id: int
    query: str
    series: int
    series_max: int | None
    refused: tuple[RefusedAgent, ...]


def example_of(labels: dict[str, str]) -> str:
    """Labels to show: as the series table has them, long values cut."""
    return label_text({label: value[:EXAMPLE_VALUE_MAX] for label, value in labels.items()})


def count_series(connection: sa.Connection, query_id: int) -> int:
    """How many series the query has; from an index, 25 ns a series (SQLite)."""
    table = tables.series
    query = sa.select(sa.func.count()).select_from(table).where(table.c.query_id == query_id)
    return int(connection.execute(query).scalar_one())


def series_after(connection: sa.Connection, query_id: int, after_id: int) -> tuple[int, list[dict[str, str]]]:
    """(largest id, labels) of the query's series with larger ids; (after_id, []) when there are none."""
    table = tables.series
    rows = connection.execute(
        sa.select(table.c.id, table.c.labels).where(table.c.query_id == query_id, table.c.id > after_id)
    ).all()
    return max((row.id for row in rows), default=after_id), [_labels.decode(row.labels) for row in rows]


def note_series_max(engine: sa.Engine, series_max: int) -> None:
    """Let readers know the limit; collectors say so when they start."""
    table = tables.queries
    other = sa.or_(table.c.series_max.is_(None), table.c.series_max != series_max)
    with engine.begin() as connection:
        connection.execute(sa.update(table).where(other).values(series_max=series_max))


def write_refusals(connection: sa.Connection, partition: int, refusals: Sequence[Refusal], now_ns: int) -> None:
    """Add what a flush has refused, and bound what is kept."""
    if not refusals:
        return
    _add(
        connection,
        [
            {
                "query_id": refusal.query_id,
                "agent": refusal.agent,
                "partition": partition,
                "groups": refusal.groups,
                "records": refusal.records,
                "last_ns": now_ns,
                "example": refusal.example,
            }
            for refusal in sorted(refusals, key=lambda refusal: (refusal.query_id, refusal.agent))
        ],
    )
    for query_id in sorted({refusal.query_id for refusal in refusals}):
        _bound(connection, query_id, partition)


def series_use(connection: sa.Connection) -> list[SeriesUse]:
    """Every query by name."""
    per_query = sa.select(tables.series.c.query_id, sa.func.count().label("n")).group_by(tables.series.c.query_id)
    counted = {row.query_id: int(row.n) for row in connection.execute(per_query)}
    table = tables.series_refused
    refused: defaultdict[int, list[RefusedAgent]] = defaultdict(list)
    latest = sa.select(
        table,
        sa.func.sum(table.c.groups).over(partition_by=(table.c.query_id, table.c.agent)).label("all_groups"),
        sa.func.sum(table.c.records).over(partition_by=(table.c.query_id, table.c.agent)).label("all_records"),
        sa.func.row_number()
        .over(partition_by=(table.c.query_id, table.c.agent), order_by=(table.c.last_ns.desc(), table.c.partition))
        .label("place"),
    ).subquery()
    for row in connection.execute(sa.select(latest).where(latest.c.place == 1)):
        one = RefusedAgent(row.agent, int(row.all_groups), int(row.all_records), row.last_ns, row.example)
        refused[row.query_id].append(one)
    return [
        SeriesUse(
            row.id,
            row.name,
            counted.get(row.id, 0),
            row.series_max,
            tuple(sorted(refused[row.id], key=lambda one: (-one.records, one.agent))),
        )
        for row in connection.execute(sa.select(tables.queries).order_by(tables.queries.c.name))
    ]


def label_values(connection: sa.Connection, query_id: int) -> list[tuple[str, int]]:
    """(label, how many distinct values it has in the query's series), most first; reads all series of the query."""
    values: defaultdict[str, set[str]] = defaultdict(set)
    query = sa.select(tables.series.c.labels).where(tables.series.c.query_id == query_id)
    # In pieces: of a million series only the distinct values are held.
    for text in connection.execute(query, execution_options={"yield_per": _ROWS_AT_ONCE}).scalars():
        for label, value in _labels.decode(text).items():
            values[label].add(value)
    return sorted(((label, len(found)) for label, found in values.items()), key=lambda pair: (-pair[1], pair[0]))


def _add(connection: sa.Connection, rows: list[dict[str, object]]) -> None:
    table = tables.series_refused
    statement = insert(connection, table)
    new = statement.excluded
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["query_id", "agent", "partition"],
            set_={
                "groups": table.c.groups + new.groups,
                "records": table.c.records + new.records,
                "last_ns": larger(table.c.last_ns, new.last_ns),
                "example": new.example,
            },
        ),
        rows,
    )


def _bound(connection: sa.Connection, query_id: int, partition: int) -> None:
    table = tables.series_refused
    place = table.c.query_id == query_id, table.c.partition == partition, table.c.agent != OTHERS
    rows = connection.execute(sa.select(table).where(*place).order_by(table.c.records.desc(), table.c.agent)).all()
    if len(rows) <= MOST:
        return
    small = rows[KEPT:]
    for agents in batched([row.agent for row in small], _AGENTS_PER_STATEMENT):
        connection.execute(sa.delete(table).where(*place, table.c.agent.in_(agents)))
    newest = max(small, key=lambda row: row.last_ns)
    together = {
        "groups": sum(row.groups for row in small),
        "records": sum(row.records for row in small),
        "last_ns": newest.last_ns,
        "example": newest.example,
    }
    _add(connection, [{"query_id": query_id, "agent": OTHERS, "partition": partition, **together}])
