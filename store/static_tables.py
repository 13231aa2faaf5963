"""Uploaded static tables, kept by name and content hash, so that every version of a query finds the very content it
was compiled with, wherever it runs.

They are kept as Parquet, which agents and collectors read with what they have loaded anyway. A table that does not
have its hash after reading is not given out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from pipeline.errors import TableError
from pipeline.tables import StaticTable, read_table, table_bytes
from store import tables
from store.upsert import insert, larger

_T = tables.static_tables


@dataclass(frozen=True, slots=True)
class TableRow:
    """One content of a table; `current` is the one uploaded last."""

    name: str
    content_hash: str
    uploaded_ns: int
    rows: int
    columns: dict[str, str]
    size_bytes: int
    current: bool


def put_table(connection: sa.Connection, table: StaticTable, now_ns: int) -> bool:
    """Keep the table and make its content the current one of its name; whether that content is new."""
    known = connection.execute(
        sa.select(sa.func.count())
        .select_from(_T)
        .where(_T.c.name == table.name, _T.c.content_hash == table.content_hash)
    ).scalar_one()
    newest = connection.execute(sa.select(sa.func.max(_T.c.uploaded_ns)).where(_T.c.name == table.name)).scalar()
    row = {
        "name": table.name,
        "content_hash": table.content_hash,
        # Later than the one before, whatever the clock says: it is the order that counts.
        "uploaded_ns": now_ns if newest is None else max(now_ns, newest + 1),
        "rows": table.frame.height,
        "columns": json.dumps(table.schema),
        "data": table_bytes(table),
    }
    statement = insert(connection, _T)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["name", "content_hash"],
            set_={"uploaded_ns": larger(_T.c.uploaded_ns, statement.excluded.uploaded_ns)},
        ),
        [row],
    )
    return not known


def list_tables(connection: sa.Connection) -> list[TableRow]:
    """Every content of every table: by name, newest first."""
    rows = connection.execute(
        sa.select(
            _T.c.name, _T.c.content_hash, _T.c.uploaded_ns, _T.c.rows, _T.c.columns,
            sa.func.length(_T.c.data).label("size"),
        ).order_by(_T.c.name, _T.c.uploaded_ns.desc())
    ).all()  # fmt: skip
    found: list[TableRow] = []
    for row in rows:
        current = not found or found[-1].name != row.name
        columns = json.loads(row.columns)
        found.append(TableRow(row.name, row.content_hash, row.uploaded_ns, row.rows, columns, row.size, current))
    return found


def stored_bytes(connection: sa.Connection, name: str, content_hash: str) -> bytes | None:
    """The Parquet of one content, or None where nobody has uploaded it."""
    data = connection.execute(
        sa.select(_T.c.data).where(_T.c.name == name, _T.c.content_hash == content_hash)
    ).scalar_one_or_none()
    return None if data is None else bytes(data)


class StoredTables(Mapping[str, StaticTable]):
    """Tables by name, for compiling a query: the current content, or a pinned one; read when it is asked for."""

    def __init__(self, connection: sa.Connection, pinned: Mapping[str, str]) -> None:
        """`pinned` names the content hash of some tables.

        Raises:
            TableError: a pinned content was never uploaded.
        """
        self._connection = connection
        rows = list_tables(connection)
        self._hashes = {row.name: row.content_hash for row in rows if row.current}
        known = {(row.name, row.content_hash) for row in rows}
        for name, content_hash in pinned.items():
            if (name, content_hash) not in known:
                raise TableError(
                    f"table {name!r} has no content {content_hash!r} here; upload it, or take a hash that "
                    "GET /api/v1/tables lists"
                )
        self._hashes |= pinned
        self._read: dict[str, StaticTable] = {}

    def __getitem__(self, name: str) -> StaticTable:
        """The table, read once."""
        if name not in self._read:
            content_hash = self._hashes[name]
            data = stored_bytes(self._connection, name, content_hash)
            if data is None:
                raise KeyError(name)
            self._read[name] = read_table(name, data, content_hash)
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hashes)

    def __len__(self) -> int:
        return len(self._hashes)
