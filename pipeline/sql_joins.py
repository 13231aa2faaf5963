"""FROM and JOIN: the stream a query reads, the static tables it joins, and which column finds which key."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlglot import exp

from pipeline.errors import SchemaError, TableError, nearest
from pipeline.schema import Schema, is_column_name, stream_schema, with_place
from pipeline.sql_names import Names
from pipeline.sql_text import SqlText
from pipeline.tables import StaticTable

_JOIN_SHAPE = "want [LEFT] JOIN <table> AS <alias> ON <stream>.<column> = <alias>.<key>"


@dataclass(frozen=True, slots=True)
class JoinClause:
    """One JOIN: rows' column `left_key` finds `right_key` of the table, which is called `alias` here."""

    alias: str
    table: str
    left_key: str
    right_key: str
    outer: bool


def read_from(text: SqlText, select: exp.Select, schemas: Mapping[str, Schema]) -> tuple[str, Names]:
    """(stream, the names it brings).

    Raises:
        QueryError: no such stream, or something else than a stream's name.
    """
    table = select.args["from_"].this
    name, alias = _name_and_alias(text, table)
    if name not in schemas:
        raise text.error(table, f"no stream {name!r}", nearest(name, sorted(schemas)))
    try:
        columns = stream_schema(schemas[name])
    except SchemaError as error:
        raise text.error(table, f"stream {name!r}: {error}") from error
    implied = {column: kind for column, kind in with_place(columns).items() if column not in columns}
    return name, Names(text, alias, columns, implied)


def read_joins(text: SqlText, select: exp.Select, names: Names, tables: Mapping[str, StaticTable]) -> list[JoinClause]:
    """The joins in order; `names` learns each table's columns.

    Raises:
        QueryError: another kind of join, no such table, an alias used twice, keys of two types, or a key that is not
            unique in its table.
    """
    return [_read_join(text, join, names, tables) for join in select.args.get("joins") or []]


def _read_join(text: SqlText, join: exp.Join, names: Names, tables: Mapping[str, StaticTable]) -> JoinClause:
    side, kind = join.side.upper(), join.kind.upper()
    if join.method or (side, kind) not in {("", ""), ("", "INNER"), ("LEFT", ""), ("LEFT", "OUTER")}:
        words = " ".join(word for word in (join.method.upper(), side, kind) if word)
        raise text.error(join.this, f"a {words} JOIN is not supported", _JOIN_SHAPE)
    name, alias = _name_and_alias(text, join.this)
    if name not in tables:
        raise text.error(join.this, f"no table {name!r}", nearest(name, sorted(tables)))
    if alias == names.stream or alias in names.tables:
        raise text.error(
            join.this, f"{alias!r} names two things here", f"give the table a name: JOIN {name} AS <alias>"
        )
    table = tables[name]
    names.tables[alias] = table.schema
    left, right = _keys(text, join, names, alias)
    left_key, left_kind = names.column(left)
    right_kind = table.schema[right.name]
    if left_kind != right_kind:
        what = f"{text.words(left)} is {left_kind} and {text.words(right)} is {right_kind}"
        raise text.error(join.args["on"], what, "join keys of one type; change the table or the stream's schema")
    try:
        table.keyed_by(right.name)
    except TableError as error:
        raise text.error(right, str(error)) from error
    return JoinClause(alias, name, left_key, right.name, side == "LEFT")


def _keys(text: SqlText, join: exp.Join, names: Names, alias: str) -> tuple[exp.Column, exp.Column]:
    """The earlier column and the table's key, whichever way round they stand."""
    on = join.args.get("on")
    if on is None:
        raise text.error(join.this, "the join has no ON", _JOIN_SHAPE)
    while isinstance(on, exp.Paren):
        on = on.this
    if not (isinstance(on, exp.EQ) and isinstance(on.this, exp.Column) and isinstance(on.expression, exp.Column)):
        raise text.error(on, f"{text.words(on)} is no equality of two columns", _JOIN_SHAPE)
    sides = [on.this, on.expression]
    mine = [names.column(column)[0].startswith(f"{alias}.") for column in sides]
    if mine.count(True) != 1:
        what = "neither side" if not any(mine) else "each side"
        raise text.error(on, f"{what} of ON is a column of {alias!r}", _JOIN_SHAPE)
    return (sides[1], sides[0]) if mine[0] else (sides[0], sides[1])


def _name_and_alias(text: SqlText, table: exp.Expr) -> tuple[str, str]:
    plain = isinstance(table, exp.Table) and isinstance(table.this, exp.Identifier)
    extra = [key for key, value in table.args.items() if value and key not in ("this", "alias")]
    if not plain or extra:
        raise text.error(table, f"{text.words(table)} is not the name of a stream or table", "write its bare name")
    alias = table.args.get("alias")
    if alias is not None and alias.args.get("columns"):
        raise text.error(alias, "columns cannot be renamed here", "rename them in SELECT: <column> AS <name>")
    called = table.alias or table.name
    if not is_column_name(called):
        raise text.error(table, f"{called!r} cannot name a stream or table", "use letters, digits and _")
    return table.name, called
