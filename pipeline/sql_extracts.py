"""REGEXP_EXTRACT: which columns a query takes out of texts by regular expressions, and where in the chain that happens.

`pl.sql_expr` does not know the function, so that what it gives is a column of its own, made by an extract stage. All
groups of one expression over one column are taken in one stage, so that each text is matched once. The stage stands
as late as it can: behind the filters and joins that need nothing of it.
"""

from typing import Final

import polars as pl

from pipeline.plan import Extraction, ExtractStage

# Names that no column of a stream or table can have.
_PREFIX: Final = "#extract"


class Extracts:
    """The columns taken out so far, by their names in the rows; equal extractions are one column."""

    def __init__(self) -> None:
        """None yet."""
        self._columns: dict[str, Extraction] = {}

    def column(self, extraction: Extraction) -> str:
        """The name of what is extracted."""
        for name, known in self._columns.items():
            if known == extraction:
                return name
        name = f"{_PREFIX}{len(self._columns) + 1}"
        self._columns[name] = extraction
        return name

    def sources(self, columns: set[str] | frozenset[str]) -> set[str]:
        """The same columns, each extracted one told by the column it comes from."""
        return {self._columns[name].source if name in self._columns else name for name in columns}

    def made_of(self, columns: set[str] | frozenset[str]) -> set[str]:
        """Those of the columns that are extracted."""
        return set(columns & self._columns.keys())

    def stage(self, wanted: set[str] | frozenset[str], made: set[str]) -> ExtractStage | None:
        """Makes those of the columns that are not `made` yet, and with them all of the same expressions.

        None when there is nothing to make; what the stage makes joins `made`.
        """
        matched = {self._match(name) for name in self.made_of(wanted) - made}
        columns = {name: one for name, one in self._columns.items() if self._match(name) in matched}
        made.update(columns)
        return ExtractStage(columns) if columns else None

    def stage_of_rest(self, made: set[str]) -> ExtractStage | None:
        """Makes all that no stage made yet."""
        return self.stage(set(self._columns), made)

    def _match(self, name: str) -> tuple[str, str]:
        return self._columns[name].source, self._columns[name].pattern


def groups_of(pattern: str) -> list[str]:
    """What Polars calls the groups of a regular expression, from the first one on.

    Raises:
        polars.exceptions.PolarsError: it is none.
    """
    dtype = pl.Series([""]).str.extract_groups(pattern).dtype
    assert isinstance(dtype, pl.Struct)
    return [field.name for field in dtype.fields]
