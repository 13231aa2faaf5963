"""Static tables that queries join: read from a file, normalised, and hashed by content.

The hash goes into the plan's version, so two processes with different copies of a table never merge their results.
It does not depend on the order of rows or columns nor on the file format, because none of them changes a join.
"""

import io
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from pipeline.errors import TableError
from pipeline.schema import PLAIN_TYPES, Schema, is_column_name

READERS: Final = {
    ".csv": "CSV",
    ".parquet": "Parquet",
    ".arrow": "Arrow IPC",
    ".ipc": "Arrow IPC",
    ".feather": "Arrow IPC",
}


@dataclass(frozen=True, slots=True)
class StaticTable:
    """A named table with columns of the four types.

    Raises on construction:
        TableError: no column, a column name that is no identifier, or a type that has no place among the four.
    """

    name: str
    frame: pl.DataFrame
    content_hash: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "frame", _normalised(self.name, self.frame))
        object.__setattr__(self, "content_hash", _hash(self.frame))

    @property
    def schema(self) -> Schema:
        """Columns and their types, in the table's order."""
        names = {dtype: kind for kind, dtype in PLAIN_TYPES.items()}
        return {column: names[dtype] for column, dtype in self.frame.schema.items()}

    def keyed_by(self, key: str) -> pl.DataFrame:
        """The rows whose `key` is not NULL, checked to be unique in it: a join must never multiply records.

        Raises:
            TableError: a key stands in two rows.
        """
        rows = self.frame.drop_nulls(key)
        if rows[key].n_unique() != rows.height:
            twice = rows.filter(pl.col(key).is_duplicated())[key].sort()
            raise TableError(
                f"table {self.name!r}: {key} = {twice[0]!r} stands in {int((twice == twice[0]).sum())} rows; "
                f"a join key must be unique, drop the other rows"
            )
        return rows


def load_table(name: str, path: Path | str) -> StaticTable:
    """The table in a CSV (with a header line), Parquet or Arrow IPC file; the ending says which.

    Raises:
        TableError: no such file, unreadable, an unknown ending, or not a table of the four types.
    """
    path = Path(path)
    kind = READERS.get(path.suffix.lower())
    if kind is None:
        raise TableError(f"table {name!r}: {path} ends in {path.suffix!r}; want one of {', '.join(READERS)}")
    try:
        if kind == "CSV":
            # The whole file decides the types: a rack called 007x in the last line must not fail or turn into NULL.
            frame = pl.read_csv(path, infer_schema_length=None)
        elif kind == "Parquet":
            frame = pl.read_parquet(path)
        else:
            frame = pl.read_ipc(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise TableError(f"table {name!r}: cannot read {path} as {kind}: {error}") from error
    return StaticTable(name, frame)


def table_bytes(table: StaticTable) -> bytes:
    """The table as Parquet, for `read_table`."""
    data = io.BytesIO()
    table.frame.write_parquet(data)
    return data.getvalue()


def read_table(name: str, data: bytes, content_hash: str) -> StaticTable:
    """The table that `table_bytes` wrote.

    Raises:
        TableError: the bytes are no table, or not the one with this hash.
    """
    try:
        table = StaticTable(name, pl.read_parquet(data))
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise TableError(f"table {name!r}: the {len(data)} bytes are no table: {error}") from error
    if table.content_hash != content_hash:
        raise TableError(f"table {name!r} has content {table.content_hash}, wanted {content_hash}")
    return table


def _normalised(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    if not frame.columns:
        raise TableError(f"table {name!r} has no column; want at least a key and one column to join")
    columns = []
    for column in frame.get_columns():
        if not is_column_name(column.name):
            raise TableError(
                f"table {name!r}: column name {column.name!r}; want letters, digits and _, rename it in the file"
            )
        dtype = column.dtype
        if dtype.is_integer():
            wanted: pl.DataType = pl.Int64()
        elif dtype.is_float():
            wanted = pl.Float64()
        elif dtype == pl.Boolean:
            wanted = pl.Boolean()
        elif dtype in (pl.String, pl.Null) or isinstance(dtype, pl.Categorical | pl.Enum):
            wanted = pl.String()
        else:
            raise TableError(
                f"table {name!r}: column {column.name!r} holds {dtype}; want integers, floats, text or booleans"
            )
        try:
            columns.append(column.cast(wanted, strict=True))
        except pl.exceptions.PolarsError as error:
            raise TableError(f"table {name!r}: column {column.name!r} does not fit {wanted}: {error}") from error
    return pl.DataFrame(columns)


def _hash(frame: pl.DataFrame) -> str:
    ordered = frame.select(sorted(frame.columns))
    ordered = ordered.sort(ordered.columns, nulls_last=True)
    digest = sha256()
    for column in ordered.get_columns():
        # Msgpack of plain Python values: the bytes stay the same across releases of Polars.
        digest.update(msgspec.msgpack.encode([column.name, str(column.dtype), column.to_list()]))
    return digest.hexdigest()[:16]
