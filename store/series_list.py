"""Which series there are: their labels, and in which window of a stretch each last had data.

The dictionary (store/series.py) knows every label set ever stored; the first bytes of pages say whose data a window
has, so the bodies are neither read nor decoded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import sqlalchemy as sa

from store import tables
from store.errors import CorruptPageError
from store.label_matchers import Matcher, matches_all
from store.levels import Segment
from store.pages import FORMATS, Int64Array
from store.postgresql import binary
from store.registry import MetricRow
from store.snapshot import Snapshot
from store.tables import SERIES_PER_PAGE

_ROWS_AT_ONCE = 10_000
_HEAD_BYTES = 2
_labels = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True)
class SeriesRow:
    """One label set of a query."""

    series_id: int
    query_id: int
    labels: dict[str, str]


def matching_series(
    connection: sa.Connection, query_ids: Sequence[int], where: Sequence[Matcher] = ()
) -> Iterator[SeriesRow]:
    """Series of these queries that all matchers mean, in the order in which they were first stored.

    Raises:
        SelectionError: a matcher's regular expression is none.
    Cost: reads all series of the queries, in pieces.
    """
    table, meant = tables.series, matches_all(where)
    query = sa.select(table.c.id, table.c.query_id, table.c.labels).where(table.c.query_id.in_(query_ids))
    for series_id, query_id, text in connection.execute(
        query.order_by(table.c.id), execution_options={"yield_per": _ROWS_AT_ONCE}
    ):
        labels = _labels.decode(text)
        if meant(labels):
            yield SeriesRow(series_id, query_id, labels)


def last_windows(seen: Snapshot, row: MetricRow, start_ns: int, end_ns: int) -> Mapping[int, tuple[int, int]]:
    """Series id -> (start, end) of its newest window with data of the metric in [start_ns, end_ns).

    Windows are as wide as they are read: rolled up ones where such lie in the stretch as a whole.

    Raises:
        CorruptPageError: the beginning of a page does not hold.
    """
    window = row.window_ns
    start_ns, end_ns = start_ns // window * window, -(-end_ns // window) * window
    last: dict[int, tuple[int, int]] = {}
    for valid in seen.view.ranges(row.query_id):
        low, high = max(start_ns, valid.from_ns), min(end_ns, valid.to_ns)
        if low >= high or row.name not in valid.version.metric_ids:
            continue
        version_id = valid.version.version_id
        for segment in seen.segments(version_id, low, high, None):
            for series_id, window_ns in _newest(seen.connection, row, version_id, segment):
                span = window_ns, window_ns + segment.level.width_ns
                last[series_id] = max(span, last.get(series_id, span))
    return last


def _newest(connection: sa.Connection, row: MetricRow, version_id: int, segment: Segment) -> Iterator[tuple[int, int]]:
    table = tables.pages
    head = sa.func.substr(table.c.data, 1, _HEAD_BYTES + SERIES_PER_PAGE, type_=sa.LargeBinary)
    pages = (
        binary(connection)
        .execute(
            sa.select(table.c.window_ns, table.c.series_group, head.label("head"))
            .where(
                table.c.version_id == version_id,
                table.c.metric_id == row.metric_id,
                table.c.level == segment.level.number,
                table.c.window_ns >= segment.from_ns,
                table.c.window_ns < segment.to_ns,
            )
            .order_by(table.c.window_ns.desc())
        )
        .all()
    )
    if not pages:
        return
    series, page = _series_in([(one.series_group, one.head or b"") for one in pages])
    distinct, first = np.unique(series, return_index=True)
    for series_id, place in zip(distinct.tolist(), page[first].tolist(), strict=True):
        yield series_id, pages[place].window_ns


def _series_in(heads: Sequence[tuple[int, bytes]]) -> tuple[Int64Array, Int64Array]:
    """(series ids, which page each comes from) of pages, told by their first bytes."""
    for group, head in heads:
        if len(head) < _HEAD_BYTES or head[0] not in FORMATS or not head[1] <= min(SERIES_PER_PAGE, len(head) - 2):
            raise CorruptPageError(f"the page of series group {group} begins with {head[:2].hex()!r}, which is no page")
    counts = np.array([head[1] for _, head in heads], np.int64)
    slots = np.frombuffer(b"".join([head[_HEAD_BYTES : _HEAD_BYTES + head[1]] for _, head in heads]), np.uint8)
    page = np.repeat(np.arange(len(heads), dtype=np.int64), counts)
    groups = np.array([group for group, _ in heads], np.int64)
    return groups[page] * SERIES_PER_PAGE + slots, page
