"""From a posted body to a plan: which name, streams and tables it means, and every mistake as a sentence of the API."""

from collections.abc import Mapping

import msgspec
import sqlalchemy as sa
from msgspec.structs import replace

from api.errors import BadQueryError, BadTableError, ParameterError
from api.query_models import QueryPost
from pipeline.errors import QueryError, SchemaError, TableError
from pipeline.plan import Plan
from pipeline.schema import Schema, stream_schema
from store.static_tables import StoredTables

# A valid name that no error message shows: the query is called after its first metric then.
_UNNAMED = "query"


def compiled(connection: sa.Connection, body: QueryPost, streams: Mapping[str, Schema]) -> Plan:
    """The plan of a posted query.

    Args:
        streams: columns of the streams that are known here; the body may add others.
    Raises:
        BadQueryError, BadTableError, ParameterError: what is wrong, and where.
    """
    from pipeline.sql import compile_query  # noqa: PLC0415  # 20 MB that an API which is never posted to need not hold

    _refuse_odd_text(body)
    try:
        tables = StoredTables(connection, {pin.name: pin.content_hash for pin in body.tables})
        plan = compile_query(body.name or _UNNAMED, body.sql, _schemas(body, streams), tables, body.scale)
    except QueryError as error:
        raise BadQueryError(
            error.message, line=error.line, column=error.column, caret=error.caret, allowed=error.allowed
        ) from error
    except TableError as error:
        raise BadTableError(str(error)) from error
    unused = sorted({pin.name for pin in body.tables} - plan.tables.keys())
    if unused:
        raise BadTableError(f"tables pins {unused[0]!r}, which the query does not join; leave it out or JOIN it")
    return plan if body.name else replace(plan, query=plan.metrics[0].name)


def _schemas(body: QueryPost, streams: Mapping[str, Schema]) -> dict[str, Schema]:
    schemas = dict(streams)
    for name, columns in body.streams.items():
        try:
            schema = stream_schema(columns)
        except SchemaError as error:
            raise ParameterError(f"streams.{name[:60]}: {error}", parameter="streams") from error
        if name in schemas and stream_schema(schemas[name]) != schema:
            raise ParameterError(
                f"streams.{name[:60]} has other columns than the stream of that name has here; leave it out",
                parameter="streams",
            )
        schemas[name] = schema
    return schemas


def _refuse_odd_text(body: QueryPost) -> None:
    try:
        msgspec.json.encode(body.model_dump())
    except UnicodeEncodeError as error:
        raise ParameterError("the body holds half a surrogate pair, which is no text; leave it out") from error
    if "\x00" in body.sql:
        raise ParameterError("sql holds a zero byte; leave it out", parameter="sql")
