"""What can go wrong with queries, their data and their results.

PipelineError
├── QueryError      the SQL is not a query Tailwatch can run; points at line and column
├── SchemaError     rows do not have the columns and types a stream or a stage wants
├── TableError      a static table cannot be read, has a repeated key or another content
├── PlanError       bytes are not a plan, or a plan is used with the wrong tables or stage
├── PartialError    a frame is not the partial result of the plan it claims to be
│   └── StateError      bytes are not the state of an aggregate
└── ManifestError   a frame is not a manifest
"""

from difflib import get_close_matches
from typing import Any, Final

_SHOWN_CHARACTERS: Final = 160


class PipelineError(Exception):
    """Root of the package's errors."""


class SchemaError(PipelineError):
    """Rows do not have the wanted columns and types."""


class TableError(PipelineError):
    """A static table cannot be used."""


class PlanError(PipelineError):
    """A plan cannot be read or does not fit."""


class PartialError(PipelineError):
    """A frame is not a partial result of its plan."""


class StateError(PartialError):
    """Bytes are not the state of an aggregate."""


class ManifestError(PipelineError):
    """A frame is not a manifest."""


class QueryError(PipelineError):
    """A query that cannot be compiled; says where, why, and what would do.

    Attributes:
        query: the query's name.
        line, column: 1-based place in the SQL text.
        message: one sentence, what is wrong there.
        caret: the source line and, below it, a caret under the place.
        allowed: what would be right, or the nearest known name; may be empty.
    """

    def __init__(self, query: str, sql: str, start: int, message: str, allowed: str = "") -> None:
        """`start` is an offset into `sql`; anything past the end points just behind the last character."""
        start = max(0, min(start, len(sql)))
        line_start = sql.rfind("\n", 0, start) + 1
        line_end = sql.find("\n", start)
        source = sql[line_start : line_end if line_end >= 0 else len(sql)].rstrip("\r")
        at = min(start - line_start, len(source))
        shown, before = source, at
        if len(source) > _SHOWN_CHARACTERS:  # the neighbourhood will do
            first = max(0, at - _SHOWN_CHARACTERS // 2)
            shown, before = f"...{source[first : first + _SHOWN_CHARACTERS]}...", at - first + 3
        # A tab must stay a tab in the second line, or the caret stands elsewhere than the place it means.
        lead = "".join("\t" if c == "\t" else " " for c in shown[:before])
        self.query = query
        self.line = sql.count("\n", 0, start) + 1
        self.column = start - line_start + 1
        self.message = message
        self.caret = f"{shown}\n{lead}^"
        self.allowed = allowed
        self._arguments = (query, sql, start, message, allowed)
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"query {self.query!r}, line {self.line}, column {self.column}: {self.message}\n{self.caret}"
        return f"{text}\n{self.allowed}" if self.allowed else text

    def __reduce__(self) -> tuple[Any, ...]:
        return (QueryError, self._arguments)


def nearest(name: str, known: list[str]) -> str:
    """`did you mean 'x'? known: a, b, x` for messages about an unknown name; at most 12 names are listed."""
    close = get_close_matches(name.lower(), [k.lower() for k in known], n=1)
    by_lower = {k.lower(): k for k in known}
    listed = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    hint = f"did you mean {by_lower[close[0]]!r}? " if close else ""
    return f"{hint}known: {listed}" if known else "there is none"
