"""From uploaded bytes to a static table: CSV with a header line, or JSON rows; nothing that could unpack to more."""

from typing import Final

import msgspec
import polars as pl
from starlette.requests import Request

from api.errors import BadTableError, ParameterError
from pipeline.errors import TableError
from pipeline.schema import PLAIN_TYPES, is_column_name
from pipeline.tables import StaticTable

MAX_NAME: Final = 128
_FITTING: Final[dict[pl.DataType, tuple[type, ...]]] = {
    pl.Int64(): (int,),
    pl.Float64(): (int, float),
    pl.Boolean(): (bool,),
}
_rows = msgspec.json.Decoder(list[dict[str, str | int | float | bool | None]])


async def uploaded(request: Request) -> bytes:
    """The request's body; what is larger than `api.max_body_bytes` never gets here."""
    return await request.body()


def read_upload(name: str, data: bytes, types: str | None) -> StaticTable:
    """The table in uploaded bytes; what begins with a bracket is JSON, all else CSV.

    Args:
        types: `column:type,...` for columns whose type is not to be read from their values.
    Raises:
        ParameterError: an impossible name, or types that are none.
        BadTableError: no table.
    """
    if not is_column_name(name) or len(name) > MAX_NAME:
        raise ParameterError(
            f"table name {name[:60]!r}; want letters, digits and _, at most {MAX_NAME}", parameter="name"
        )
    wanted = _types(types or "")
    if not data.strip():
        raise BadTableError(f"table {name!r}: the body is empty; send CSV with a header line, or JSON rows")
    try:
        table = StaticTable(name, _frame(data, wanted))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, msgspec.DecodeError, OverflowError) as error:
        reason = str(error).split("\n", maxsplit=1)[0][:300]
        raise BadTableError(f"table {name!r}: neither CSV with a header line nor JSON rows: {reason}") from error
    except (TableError, TypeError) as error:
        raise BadTableError(str(error)[:500]) from error
    missing = sorted(wanted.keys() - set(table.frame.columns))
    if missing:
        raise ParameterError(f"types names {missing[0]!r}, which the table has not", parameter="types")
    return table


def _frame(data: bytes, types: dict[str, pl.DataType]) -> pl.DataFrame:
    if not data.lstrip().startswith((b"[", b"{")):
        # The whole upload decides the types, as with a file (pipeline/tables.py).
        return pl.read_csv(data, infer_schema_length=None, schema_overrides=types)
    rows = _rows.decode(data)
    _refuse_unfit(rows, types)
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides=types)


def _refuse_unfit(rows: list[dict[str, str | int | float | bool | None]], types: dict[str, pl.DataType]) -> None:
    """Polars would make 2 of 2.5 where int64 is wanted, and true of 7 where bool is."""
    for column, dtype in types.items():
        fitting = _FITTING.get(dtype)
        for row in rows if fitting else ():
            value = row.get(column)
            if value is not None and type(value) not in (fitting or ()):
                shown = value[:60] if isinstance(value, str) else value
                raise TypeError(f"column {column!r} holds {shown!r}, which is no {dtype}; mend it, or types")


def _types(text: str) -> dict[str, pl.DataType]:
    found: dict[str, pl.DataType] = {}
    for item in filter(None, text.split(",")):
        column, _, kind = (part.strip() for part in item.partition(":"))
        if kind not in PLAIN_TYPES:
            raise ParameterError(
                f"types={item[:60]!r}: want column:type with one of {', '.join(PLAIN_TYPES)}", parameter="types"
            )
        found[column] = PLAIN_TYPES[kind]
    return found
