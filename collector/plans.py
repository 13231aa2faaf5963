"""What this collector can finish: versions the database knows, each bound to its static tables.

A version is usable when it is registered and, should frames drained before a join arrive, its tables are here with
the very content it was compiled with: from this collector's configuration, or uploaded to the database. Anything else
is a reason to keep a frame in quarantine, never to guess.
"""

import time
from collections.abc import Mapping, Sequence

import polars as pl
import sqlalchemy as sa

from collector import own_metrics
from pipeline.chain import Chain
from pipeline.errors import PipelineError, PlanError
from pipeline.plan import Plan
from pipeline.tables import StaticTable, read_table
from store.registry import RegisteredVersion, known_contents, load_versions, register_queries
from store.static_tables import stored_bytes

_LOOK_S = 0.5


class Plans:
    """The registered versions and their chains; refreshed from the database when an unknown one is met."""

    def __init__(self, engine: sa.Engine, tables: Mapping[str, StaticTable]) -> None:
        """Read what the database knows."""
        self._engine = engine
        self._tables = tables
        self._chains: dict[str, Chain | str] = {}
        self._seen: tuple[int, ...] = ()
        self._look_at_s = 0.0
        self.versions: dict[str, RegisteredVersion] = {}
        self.refresh()

    def register(self, plans: Sequence[Plan], now_ns: int, lead_ns: int) -> None:
        """Make `plans` current in the database, in one transaction; raises as store.registry.register_queries."""
        with self._engine.begin() as connection:
            register_queries(connection, plans, now_ns, lead_ns)
        self.refresh()

    def refresh(self) -> bool:
        """Look into the database again, cheap while nothing was added; True when there is a new version."""
        with self._engine.connect() as connection:
            seen = known_contents(connection)
            if seen == self._seen:
                return False
            found = load_versions(connection)
        # An uploaded table may be what a version was missing.
        self._chains = {version: chain for version, chain in self._chains.items() if isinstance(chain, Chain)}
        new = found.keys() - self.versions.keys()
        self.versions, self._seen = found, seen
        own_metrics.know_queries({version.plan.query for version in found.values()})
        return bool(new)

    def unusable(self, version: str) -> str | None:
        """Why frames of this version cannot be finished here, or None when they can.

        For one that is not known the database is asked, now and then: agents may hear of a version before we do.
        """
        if version not in self.versions and time.monotonic() >= self._look_at_s:
            self._look_at_s = time.monotonic() + _LOOK_S
            self.refresh()
        if version not in self.versions:
            return f"query version {version} is not registered here"
        chain = self._chain(version)
        return chain if isinstance(chain, str) else None

    def chain(self, version: str) -> Chain:
        """The chain of a usable version."""
        chain = self._chain(version)
        if isinstance(chain, str):
            raise PlanError(chain)
        return chain

    def usable(self) -> list[str]:
        """Hashes of all versions that can be finished here."""
        return [version for version in self.versions if self.unusable(version) is None]

    def _chain(self, version: str) -> Chain | str:
        if version not in self._chains:
            plan = self.versions[version].plan
            try:
                self._chains[version] = Chain(plan, self._tables_of(plan))
            # A plan of a newer release may use what this one's Polars does not know, and Polars may panic over it.
            except (PipelineError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
                self._chains[version] = f"query version {version} cannot run here: {error}"
        return self._chains[version]

    def _tables_of(self, plan: Plan) -> Mapping[str, StaticTable]:
        """The plan's tables: uploaded ones where the configuration has none, or another content."""
        found: dict[str, StaticTable] = {}
        for name, content_hash in plan.tables.items():
            configured = self._tables.get(name)
            if configured is not None:
                found[name] = configured
            if configured is None or configured.content_hash != content_hash:
                with self._engine.connect() as connection:
                    data = stored_bytes(connection, name, content_hash)
                if data is not None:
                    found[name] = read_table(name, data, content_hash)
        return found
