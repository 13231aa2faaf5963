"""What one read transaction works with: its connection, the catalog as it stands there, and what was planned already.

Windows and coverage of one answer ask for the same things; here each is asked of the database once.
"""

from collections.abc import Callable

import sqlalchemy as sa

from store.catalog import Catalog, CatalogView
from store.changes import HOUR_NS, page_changes
from store.claims import JOBS_TOPICS
from store.levels import BEGINNING_NS, Segment, segments_of, waiting_windows
from store.registry import END_NS
from store.rows import rows
from store.series_labels import SeriesLabels
from store.tables import SERIES_PER_PAGE


class Snapshot:
    """One transaction's view; used by one thread, and thrown away with the transaction."""

    def __init__(self, connection: sa.Connection, catalog: Catalog | None = None) -> None:
        """Args: catalog: what the process remembers; None reads all of it anew."""
        self.connection = connection
        self._catalog = catalog or Catalog()
        self.view: CatalogView = self._catalog.view(connection)
        self._planned: dict[tuple[int, int, int, int | None], list[Segment]] = {}

    def segments(self, version_id: int, start_ns: int, end_ns: int, step_ns: int | None) -> list[Segment]:
        """Which level each instant is read from, as levels.plan_read."""
        key = (version_id, start_ns, end_ns, step_ns)
        if key not in self._planned:
            floors = self.view.floors(version_id)
            self._planned[key] = segments_of(
                floors, start_ns, end_ns, step_ns, lambda low, high: self._waiting(version_id, low, high)
            )
        return self._planned[key]

    def pages_per_window(self) -> int:
        """How many pages one window of a metric has at most: of all series there are, in all partitions."""
        return self.view.remembered("pages a window", self._pages_per_window)

    def _pages_per_window(self) -> int:
        ((last,),) = rows(self.connection, "SELECT max(id) FROM series")
        others = f"topic NOT IN ({', '.join('?' * len(JOBS_TOPICS))})"
        ((partitions,),) = rows(self.connection, f"SELECT count(*) FROM offsets WHERE {others}", JOBS_TOPICS)
        return (int(last or 0) // SERIES_PER_PAGE + 1) * max(1, int(partitions))

    def _waiting(self, version_id: int, start_ns: int, end_ns: int) -> list[tuple[int, int]] | None:
        # Few wait at a time: all of a version's are remembered; of many, only those in the stretch are looked at.
        every = self.view.remembered(
            ("waiting", version_id), lambda: waiting_windows(self.connection, version_id, BEGINNING_NS, END_NS)
        )
        return every if every is not None else waiting_windows(self.connection, version_id, start_ns, end_ns)

    def page_changes(self, versions: tuple[int, ...], start_ns: int, end_ns: int) -> int:
        """How often pages and manifests of the stretch's hours have changed, as changes.page_changes."""
        hours = start_ns // HOUR_NS, end_ns // HOUR_NS
        return self.view.remembered(
            ("changes", versions, hours), lambda: page_changes(self.connection, versions, start_ns, end_ns)
        )

    def labels(self, query_id: int) -> SeriesLabels:
        """The labels of all series of the query."""
        return self._catalog.labels(self.connection, query_id)


#: Called now and then during a read; raises to end it.
Check = Callable[[], None]
