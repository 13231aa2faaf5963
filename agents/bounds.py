"""Which records are a query version's own, by event time, and what may be said of it to be complete.

A version that is valid for a part of time gets the records of that part and no others: so a change of a query loses no
record and counts none twice, and what comes late still finds the version that was valid then.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import polars as pl

from pipeline.schema import TIME_COLUMN

Spans: TypeAlias = tuple[tuple[int, int], ...]

BEGINNING_NS: Final = -(2**63)
END_NS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Bounds:
    """Records of these stretches [from, to), in order and apart; all that came since `since_ns` were run."""

    spans: Spans
    since_ns: int = BEGINNING_NS

    def covers(self, time_ns: int) -> bool:
        """Whether a record of this time is the version's."""
        return any(low <= time_ns < high for low, high in self.spans)

    def rows_within(self, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows that are the version's, in their order."""
        if self.spans == ALWAYS.spans or not rows.height:
            return rows
        low, high = rows[TIME_COLUMN].min(), rows[TIME_COLUMN].max()
        if isinstance(low, int) and isinstance(high, int):
            if any(begin <= low and high < end for begin, end in self.spans):
                return rows
            if all(high < begin or end <= low for begin, end in self.spans):
                return rows.clear()
        time = pl.col(TIME_COLUMN)
        return rows.filter(pl.any_horizontal([(time >= begin) & (time < end) for begin, end in self.spans]))

    def of_stretch(self, first_ns: int, watermark_ns: int) -> tuple[int, int] | None:
        """The part of a complete stretch that the version can vouch for; None while it has not begun there."""
        if self == ALWAYS:
            return first_ns, watermark_ns
        begun = [span for span in self.spans if span[0] < watermark_ns]
        if not begun:
            return None
        first_ns = max(first_ns, self.since_ns, begun[0][0])
        watermark_ns = min(watermark_ns, begun[-1][1])
        return (first_ns, watermark_ns) if first_ns < watermark_ns else None


ALWAYS: Final = Bounds(((BEGINNING_NS, END_NS),))
