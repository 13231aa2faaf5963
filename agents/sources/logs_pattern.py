"""What a pattern makes of records: rows with the columns that are wanted, and which records do not fit it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import polars as pl

from agents.sources.logs_lines import Bools, Records


@dataclass(frozen=True, slots=True)
class Parsed:
    """Rows of the records that are `fitting`, in their order.

    rows: `ts` (int64 ns UTC, NULL where the record names no time) and the wanted columns, typed or as text.
    bad_values: by column, how many values could not be read and are NULL.
    """

    rows: pl.DataFrame
    fitting: Bools
    bad_values: Mapping[str, int] = field(default_factory=dict)


class Pattern(Protocol):
    """One way to take records apart."""

    def parse(self, records: Records, now_ns: int) -> Parsed:
        """The rows of at least one record; `now_ns` is the time of reading, for times without a year."""
