"""What the newest test of all nodes said of each: how often jobs failed there, against how often was to be expected."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from store.gpu_checks import check_row
from store.gpu_tables import NAME_MAX, gpu_nodes
from store.texts import storable_name
from store.upsert import insert

_T = gpu_nodes


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """One node; `ratio` is None where nothing was expected, `body` is all that the test said, as JSON."""

    node: str
    failures: int
    expected: float
    ratio: float | None = None
    p_value: float
    q_value: float
    stands_out: bool
    checked_ns: int
    body: str


def put_nodes(connection: sa.Connection, rows: Sequence[NodeRow], checked_ns: int) -> None:
    """Keep the results of a test of `checked_ns` in place of the one before; nodes that are not in it go.

    Raises:
        GpuRowError: a number or text that cannot be kept.
    """
    named = {name: asdict(row) | {"node": name} for row in rows for name in [storable_name(row.node, NAME_MAX)]}
    for values in named.values():
        values["checked_ns"] = checked_ns
        check_row(_T, values)
    if named:
        statement = insert(connection, _T)
        said = {name: statement.excluded[name] for name in NodeRow.__slots__ if name != "node"}
        connection.execute(
            statement.on_conflict_do_update(index_elements=["node"], set_=said),
            [values for _, values in sorted(named.items())],
        )
    connection.execute(sa.delete(_T).where(_T.c.checked_ns != checked_ns))


def list_nodes(
    connection: sa.Connection, *, limit: int, after: str | None = None, stands_out: bool | None = None
) -> list[NodeRow]:
    """Nodes by name, at most `limit`, only those behind `after` in that order."""
    query = sa.select(*(_T.c[name] for name in NodeRow.__slots__)).order_by(_T.c.node).limit(limit)
    if after is not None:
        query = query.where(_T.c.node > after)
    if stands_out is not None:
        query = query.where(_T.c.stands_out.is_(stands_out))
    return [NodeRow(**row._asdict()) for row in connection.execute(query)]
