"""The types a record's columns may have, and the one check that rows have them.

A schema is an ordered dict from column to one of the type names. Every stream has `ts` (int64 ns UTC) and `host`
(string, added by the agent); queries may also read where the agent stands (PLACE_COLUMNS). Past `check`, types are
trusted.
"""

import re
from typing import Final, TypeAlias

import polars as pl

from pipeline.errors import SchemaError, nearest

Schema: TypeAlias = dict[str, str]

TIME_COLUMN: Final = "ts"
HOST_COLUMN: Final = "host"
# Where an agent stands, by its configuration. They are no part of a stream's schema, so that nobody needs to send them.
PLACE_COLUMNS: Final = ("rack", "tor", "dc")
SKETCH: Final = "sketch"
PLAIN_TYPES: Final[dict[str, pl.DataType]] = {
    "int64": pl.Int64(),
    "float64": pl.Float64(),
    "string": pl.String(),
    "bool": pl.Boolean(),
}
# A sketch is a dense body (sketch_cells.py): what is in it is checked where it is merged.
COLUMN_TYPES: Final[dict[str, pl.DataType]] = PLAIN_TYPES | {SKETCH: pl.Binary()}
# One year inside the int64 range at both ends, so that no start or end of a window can overflow.
MIN_TIME_NS: Final = -(2**63) + 366 * 86_400 * 10**9
MAX_TIME_NS: Final = 2**63 - 366 * 86_400 * 10**9

_COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def stream_schema(columns: Schema) -> Schema:
    """The schema of a stream with these columns of its own: `ts` and `host` come first and may be left out.

    Raises:
        SchemaError: a name that is no identifier, an unknown type, or another type for `ts` or `host`.
    """
    full = {TIME_COLUMN: "int64", HOST_COLUMN: "string"}
    for name, kind in columns.items():
        if not is_column_name(name):
            raise SchemaError(f"column name {name!r}: want letters, digits and _, not starting with a digit")
        if kind not in COLUMN_TYPES:
            raise SchemaError(f"column {name!r} has type {kind!r}; {nearest(str(kind), list(COLUMN_TYPES))}")
        if full.get(name, kind) != kind:
            raise SchemaError(f"column {name!r} has type {kind!r}; in every stream it is {full[name]}")
        full[name] = kind
    return full


def with_place(schema: Schema) -> Schema:
    """What queries may read of a stream of this schema: its columns, and those of PLACE_COLUMNS that it has not itself.

    `compile_query` takes schemas without them, because there names of tables and labels come before these.
    """
    return schema | {name: "string" for name in PLACE_COLUMNS if name not in schema}


def is_column_name(name: str) -> bool:
    """Whether a stream or table may have a column of this name."""
    return _COLUMN_NAME.match(name) is not None


def polars_schema(schema: Schema) -> dict[str, pl.DataType]:
    """The same columns as Polars types, in order."""
    return {name: COLUMN_TYPES[kind] for name, kind in schema.items()}


def empty(schema: Schema) -> pl.DataFrame:
    """No rows of this schema."""
    return pl.DataFrame(schema=polars_schema(schema))


def check(frame: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """The schema's columns of `frame`, in the schema's order and types; further columns are left out.

    Raises:
        SchemaError: a column is missing, a value does not fit its type exactly (2.5 as int64), or `ts` is NULL or
            outside the years 1679 to 2261.
    """
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise SchemaError(f"column {missing[0]!r} is missing; the rows have: {', '.join(frame.columns) or 'no column'}")
    columns = [_exactly(frame[name], kind) for name, kind in schema.items()]
    for column in columns:
        if column.name == TIME_COLUMN:
            _check_times(column)
    return pl.DataFrame(columns)


def _exactly(column: pl.Series, kind: str) -> pl.Series:
    wanted = COLUMN_TYPES[kind]
    if column.dtype == wanted:
        return column
    lossy = column.dtype.is_float() and kind == "int64"
    crossing = (column.dtype == pl.String) != (kind == "string") and not isinstance(
        column.dtype, pl.Categorical | pl.Enum
    )
    crossing = crossing or kind == SKETCH or column.dtype == pl.Binary
    if column.dtype != pl.Null and (crossing or (column.dtype == pl.Boolean) != (kind == "bool")):
        raise SchemaError(f"column {column.name!r} holds {column.dtype}, want {kind}; convert it where it is read")
    try:
        cast = column.cast(wanted, strict=True)
    except pl.exceptions.PolarsError as error:
        raise SchemaError(f"column {column.name!r} holds {column.dtype} that does not fit {kind}: {error}") from error
    if lossy and not (cast.cast(pl.Float64) == column.cast(pl.Float64)).all():
        raise SchemaError(f"column {column.name!r} holds fractions, want int64; round them or declare float64")
    return cast


def _check_times(times: pl.Series) -> None:
    if times.null_count():
        raise SchemaError(f"{times.null_count()} of {len(times)} rows have no {TIME_COLUMN!r}; drop them at the source")
    low, high = times.min(), times.max()
    if isinstance(low, int) and isinstance(high, int) and (low < MIN_TIME_NS or high > MAX_TIME_NS):
        raise SchemaError(
            f"{TIME_COLUMN!r} runs from {low} to {high}; want ns since 1970 in {MIN_TIME_NS}..{MAX_TIME_NS}"
        )
