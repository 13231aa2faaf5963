"""What the names in a query mean: the stream's columns, and those of the tables joined so far.

Names are case-sensitive, quoted or not. In a chain's rows a stream's column keeps its name and a table's becomes
"<alias>.<column>", so that one table may be joined twice.
"""

from dataclasses import dataclass, field

from sqlglot import exp

from pipeline.errors import nearest
from pipeline.schema import TIME_COLUMN, Schema
from pipeline.sql_text import SqlText


@dataclass(frozen=True, slots=True)
class Names:
    """The stream under its alias, and the joined tables by theirs, in the order of the joins.

    `columns` are the stream's own. `implied` are those that agents add to every stream: a bare name means one of them
    only where it means nothing else, so that they change no query that was written without them.
    """

    text: SqlText
    stream: str
    columns: Schema
    implied: Schema = field(default_factory=dict)
    tables: dict[str, Schema] = field(default_factory=dict)

    @property
    def readable(self) -> Schema:
        """All columns of the stream that a query may read."""
        return self.columns | self.implied

    def column(self, node: exp.Column) -> tuple[str, str]:
        """(name in the rows, type) of a column.

        Raises:
            QueryError: unknown, ambiguous, or named with a database.
        """
        if node.args.get("db") or not isinstance(node.this, exp.Identifier):
            raise self.text.error(node, f"{self.text.words(node)} is no column", "name one as column or table.column")
        if node.table:
            return self._qualified(node)
        found = [self.stream] if node.name in self.columns else []
        found += [alias for alias, schema in self.tables.items() if node.name in schema]
        if not found and node.name in self.implied:
            found = [self.stream]
        if not found:
            raise self.text.error(node, f"no column {node.name!r} here", nearest(node.name, self.known()))
        if len(found) > 1:
            places = " or ".join(f"{alias}.{node.name}" for alias in found)
            raise self.text.error(node, f"column {node.name!r} is ambiguous", f"write {places}")
        return self._row_name(found[0], node.name)

    def knows(self, name: str) -> bool:
        """Whether a bare name is a column of the stream or of a table."""
        return name in self.implied or self.declares(name)

    def declares(self, name: str) -> bool:
        """Whether it is one that is not only implied."""
        return name in self.columns or any(name in schema for schema in self.tables.values())

    def is_time(self, node: exp.Expr) -> bool:
        """Whether this is the stream's `ts`."""
        return isinstance(node, exp.Column) and self.column(node)[0] == TIME_COLUMN

    def known(self) -> list[str]:
        """All columns as a query may write them."""
        joined = [f"{alias}.{column}" for alias, schema in self.tables.items() for column in schema]
        return [*self.columns, *joined, *self.implied]

    def _qualified(self, node: exp.Column) -> tuple[str, str]:
        schema = self.readable if node.table == self.stream else self.tables.get(node.table)
        if schema is None:
            hint = nearest(node.table, [self.stream, *self.tables])
            raise self.text.error(node.args["table"], f"no stream or table {node.table!r} here", hint)
        if node.name not in schema:
            hint = nearest(node.name, list(schema))
            raise self.text.error(node.this, f"{node.table!r} has no column {node.name!r}", hint)
        return self._row_name(node.table, node.name)

    def _row_name(self, owner: str, column: str) -> tuple[str, str]:
        if owner == self.stream:
            return column, self.readable[column]
        return f"{owner}.{column}", self.tables[owner][column]
