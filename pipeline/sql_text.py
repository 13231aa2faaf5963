"""SQL text to a syntax tree, and from a node of the tree back to its place in the text.

sqlglot marks identifiers, literals and calls with the offsets of their token; other nodes have none, so their place is
that of their first marked descendant. (Its `col` is the END of a token, hence only offsets are used.)
"""

import re
from dataclasses import dataclass
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.errors import ParseError, TokenError

from pipeline.errors import QueryError

SHAPE: Final = (
    "a query is: SELECT <labels and aggregates> FROM <stream> [[LEFT] JOIN <table> AS <a> ON <stream>.<column> = "
    "<a>.<key>]... [WHERE <condition>] GROUP BY TUMBLE(ts, INTERVAL '<n>' SECOND|MINUTE|HOUR)[, <label>]..."
)
# Far above any query a person writes; below what would let text from outside keep the parser busy.
MAX_CHARACTERS: Final = 20_000
MAX_NODES: Final = 4_000
# Python refuses to read whole numbers of more than 4,300 digits; none that is allowed has more than 19.
MAX_DIGITS: Final = 400

_CLAUSES: Final = {"expressions", "from_", "joins", "where", "group"}
_HINTS: Final = {
    "distinct": "GROUP BY already gives each label once",
    "having": "filter by result when reading the metric",
    "order": "answers are ordered when they are read",
    "limit": "limit answers when they are read",
    "offset": "limit answers when they are read",
    "with_": "write one SELECT over a stream",
}


@dataclass(frozen=True, slots=True)
class SqlText:
    """The text of one query, for parsing it and for pointing into it."""

    query: str
    sql: str

    def error(self, at: exp.Expr | int, message: str, allowed: str = "") -> QueryError:
        """An error that points at a node, or at an offset."""
        return QueryError(self.query, self.sql, at if isinstance(at, int) else self.start_of(at), message, allowed)

    def start_of(self, node: exp.Expr) -> int:
        """Offset of a node's first character; of the nearest marked relative where the parser marked nothing in it."""
        at: exp.Expr | None = node
        while at is not None:
            starts = [part.meta["start"] for part in at.walk() if "start" in part.meta]
            if starts:
                return int(min(starts))
            at = at.parent
        return 0

    @property
    def end(self) -> int:
        """Offset behind the last token, comments left out. Only for text that was parsed."""
        return int(sqlglot.tokenize(self.sql)[-1].end) + 1

    def words(self, node: exp.Expr) -> str:
        """A node as SQL, for messages."""
        text = node.sql()
        return text if len(text) <= 60 else f"{text[:57]}..."

    def parse(self) -> exp.Select:
        """The query's one SELECT, with no clause but those of SHAPE.

        Raises:
            QueryError: no SQL, more than one statement, too long or too deep, or another clause.
        """
        if len(self.sql) > MAX_CHARACTERS:
            raise self.error(
                MAX_CHARACTERS, f"the query has {len(self.sql)} characters; at most {MAX_CHARACTERS} are read"
            )
        try:
            statements = [statement for statement in sqlglot.parse(self.sql) if statement is not None]
        except ParseError as error:
            raise self._syntax_error(error) from error
        except TokenError as error:
            raise self.error(self._unclosed(), "a quote or comment opens here and never closes", SHAPE) from error
        except RecursionError as error:
            raise self.error(0, "the query is nested too deeply to be read; write it flatter") from error
        if not statements:
            raise self.error(0, "the query is empty", SHAPE)
        if len(statements) > 1:
            raise self.error(statements[1], f"these are {len(statements)} statements; want one SELECT", SHAPE)
        select = statements[0]
        if not isinstance(select, exp.Select):
            first = sqlglot.tokenize(self.sql)[0]
            raise self.error(int(first.start), f"this is {first.text.upper()} ..., not a SELECT", SHAPE)
        self._check_clauses(select)
        return select

    def _check_clauses(self, select: exp.Select) -> None:
        for clause, value in select.args.items():
            if value and clause not in _CLAUSES:
                word = clause.strip("_").upper()
                hint = _HINTS.get(clause, "")
                raise self.error(self._keyword(word), f"{word} is not part of a streaming query", hint or SHAPE)
        if select.args.get("from_") is None:
            raise self.error(self.end, "FROM is missing: which stream does the query read?", SHAPE)
        if sum(1 for _ in select.walk()) > MAX_NODES:
            raise self.error(0, f"the query has more than {MAX_NODES} parts; split it into several queries")
        for literal in select.find_all(exp.Literal):
            if len(literal.name) > MAX_DIGITS and literal.name.isdecimal() and not self._is_text(literal):
                raise self.error(literal, f"a number of {len(literal.name)} digits; at most {MAX_DIGITS} are read")

    def _is_text(self, literal: exp.Literal) -> bool:
        return bool(literal.is_string) and not isinstance(literal.parent, exp.Interval)

    def _syntax_error(self, error: ParseError) -> QueryError:
        if not error.errors:
            return self.error(0, f"this is not SQL: {error}", SHAPE)
        first = error.errors[0]
        line, column, token = first["line"] or 1, first["col"] or 1, first["highlight"] or ""
        before = sum(len(text) + 1 for text in self.sql.split("\n")[: line - 1])
        message = re.sub(r" for <class '.*'>", "", first["description"] or "unexpected text").rstrip(".")
        near = f" at {token!r}" if token else ""
        return self.error(before + max(0, column - len(token)), f"this is not SQL: {message}{near}", SHAPE)

    def _keyword(self, word: str) -> int:
        found = re.search(rf"\b{re.escape(word)}\b", self.sql, re.IGNORECASE)
        return found.start() if found else 0

    def _unclosed(self) -> int:
        """Offset of the first quote or comment without an end."""
        whole = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|/\*.*?\*/|--[^\n]*|[^'\"/-]+|[/-]", re.DOTALL)
        at = 0
        while (match := whole.match(self.sql, at)) is not None and not self.sql.startswith("/*", at):
            at = match.end()
            if at == len(self.sql):
                break
        return at
