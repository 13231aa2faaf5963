"""Stretches of pages: what reading them would cost, and reading them in pieces that fit into memory.

The estimate counts entries of the index and looks at the sizes of a few pages; it reads no data. Whoever runs a
question sees it first and may refuse; so every reader of pages has one measure of what is too much.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from store.rows import Row, chunks, rows
from store.tables import SERIES_PER_PAGE

# 64 series each: 262,144 sketches or about 100 MB, merged before the next are read.
PAGES_AT_ONCE = 4_096
# Of text, which takes more when it is unpacked.
TEXT_PAGES_AT_ONCE = 64
# So few pages are never too much: what they hold is not looked at.
_FEW_PAGES = 256
_SAMPLE_PAGES = 32
_MOST_COUNTED = 4_000_000
_USUAL_BYTES = 8_192


@dataclass(frozen=True, slots=True)
class PageRange:
    """Pages of one metric of one version at one level, whose windows start in [from_ns, to_ns).

    series_groups: only these; None means all. text: whether the metric keeps lines.
    """

    version_id: int
    metric_id: int
    level: int
    from_ns: int
    to_ns: int
    series_groups: tuple[int, ...] | None = None
    text: bool = False

    def pages(self, connection: sa.Connection) -> Iterator[list[Row]]:
        """Lists of (window_ns, series_group, page_version, data), in order of window, group, partition."""
        text, values = self._where()
        return chunks(
            connection,
            f"SELECT window_ns, series_group, page_version, data FROM pages {text} "
            "ORDER BY window_ns, series_group, partition",
            values,
            TEXT_PAGES_AT_ONCE if self.text else PAGES_AT_ONCE,
        )

    def count(self, connection: sa.Connection) -> int:
        """How many pages there are, at most _MOST_COUNTED."""
        text, values = self._where()
        ((found,),) = rows(
            connection,
            f"SELECT count(*) FROM (SELECT 1 FROM pages {text} LIMIT {_MOST_COUNTED}) AS found",
            values,
        )
        return int(found)

    def mean_bytes(self, connection: sa.Connection) -> float:
        """The mean size of some of the pages."""
        text, values = self._where()
        ((mean,),) = rows(
            connection,
            f"SELECT avg(size) FROM (SELECT length(data) AS size FROM pages {text} LIMIT {_SAMPLE_PAGES}) AS found",
            values,
        )
        return float(mean or 0)

    def _where(self) -> tuple[str, tuple[int, ...]]:
        text = "WHERE version_id = ? AND metric_id = ? AND level = ? AND window_ns >= ? AND window_ns < ?"
        if self.series_groups is not None:
            text += f" AND series_group IN ({', '.join(map(str, self.series_groups)) or 'NULL'})"
        return text, (self.version_id, self.metric_id, self.level, self.from_ns, self.to_ns)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a question has to read. Sketches are an upper bound, bytes an estimate."""

    pages: int
    read_bytes: int

    @property
    def sketches(self) -> int:
        """At most so many sketches or other states."""
        return self.pages * SERIES_PER_PAGE


def estimate(connection: sa.Connection, ranges: Sequence[PageRange], most: int | None = None) -> Cost:
    """What reading all of these would cost.

    Args:
        most: pages that there can be at most, where the caller knows; few enough are not counted.
    Cost: a step in an index per page, 0.1 us, and nothing for what is in them.
    """
    if most is not None and most <= _FEW_PAGES:
        return Cost(most, most * _USUAL_BYTES)
    counts = [part.count(connection) for part in ranges]
    total = sum(counts)
    if total <= _FEW_PAGES:
        return Cost(total, total * _USUAL_BYTES)
    sizes = [count * part.mean_bytes(connection) for part, count in zip(ranges, counts, strict=True) if count]
    return Cost(total, round(sum(sizes)))
