"""What one read transaction works with: its connection, the catalog as it stands there, and what was planned already.

Windows and coverage of one answer ask for the same things; here each is asked of the database once.
"""

from collections.abc import Callable

import sqlalchemy as sa

from store.catalog import Catalog, CatalogView
from store.levels import Segment, plan_read
from store.series_labels import SeriesLabels


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
            self._planned[key] = plan_read(self.connection, version_id, floors, start_ns, end_ns, step_ns)
        return self._planned[key]

    def labels(self, query_id: int) -> SeriesLabels:
        """The labels of all series of the query."""
        return self._catalog.labels(self.connection, query_id)


#: Called now and then during a read; raises to end it.
Check = Callable[[], None]
