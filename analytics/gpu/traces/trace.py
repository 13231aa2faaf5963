"""A trace that was read: its attempts, and what is odd about it, counted instead of mended in silence."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import polars as pl

#: Jobs so named are made up; whatever is said of them is called synthetic.
MADE_UP: Final = "synthetic-"


@dataclass(frozen=True, slots=True)
class Oddity:
    """Rows that are not as they should be: how many, what is wrong and what follows, and where the first stands."""

    count: int
    what: str
    first: str

    def __str__(self) -> str:
        return f"{self.count:,} {self.what} (the first: {self.first})"


@dataclass(frozen=True, slots=True)
class Trace:
    """Attempts with their origin.

    Attributes:
        form: philly, alibaba, acme, slurm or attempts.
        attempts: columns.ATTEMPTS, in the trace's order.
        notes: what readers of any figure from this kind of trace ought to know.
        oddities: what was found in this one.
    """

    form: str
    attempts: pl.DataFrame
    notes: tuple[str, ...] = ()
    oddities: tuple[Oddity, ...] = field(default=())

    @property
    def synthetic(self) -> bool:
        """Whether any job is made up."""
        return bool(self.attempts["job"].str.starts_with(MADE_UP).any())


def oddities(attempts: pl.DataFrame) -> tuple[Oddity, ...]:
    """What is odd in attempts (columns.ATTEMPTS) of any trace, most frequent first."""
    return tuple(sorted(_found(attempts), key=lambda oddity: -oddity.count))


def _found(attempts: pl.DataFrame) -> Iterator[Oddity]:
    start, end, submitted = pl.col("start_ns"), pl.col("end_ns"), pl.col("submitted_ns")
    over = pl.col("outcome") != "running"
    questions = (
        (end < start, "attempts end before they start; their run time is unknown"),
        (
            (start < submitted) & (pl.col("number") == 1),
            "attempts start before they were submitted; their wait is unknown",
        ),
        (start.is_null() & over, "attempts are over and have no start: they never ran, or it was not written down"),
        (start.is_not_null() & end.is_null() & over, "attempts are over and have no end; their run time is unknown"),
        (submitted.is_null(), "attempts have no time of submission; their wait is unknown"),
        (
            start.is_not_null() & pl.col("gpus").is_null(),
            "attempts ran on GPUs that nobody counted; they are left out of GPU time",
        ),
        (pl.struct("job", "number").is_duplicated(), "attempts share job and number with another"),
    )
    for odd, what in questions:
        rows = attempts.filter(odd)
        if rows.height:
            yield Oddity(rows.height, what, f"job {rows['job'][0]}, attempt {rows['number'][0]}")
