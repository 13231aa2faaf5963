"""What this collector can finish: versions the database knows, each bound to its static tables.

A version is usable when it is registered and, should frames drained before a join arrive, its tables are here with
the very content it was compiled with. Anything else is a reason to keep a frame in quarantine, never to guess.
"""

from collections.abc import Mapping, Sequence

import polars as pl
import sqlalchemy as sa

from pipeline.chain import Chain
from pipeline.errors import PipelineError, PlanError
from pipeline.plan import Plan
from pipeline.tables import StaticTable
from store.registry import RegisteredVersion, load_versions, register_queries


class Plans:
    """The registered versions and their chains; refreshed from the database when an unknown one is met."""

    def __init__(self, engine: sa.Engine, tables: Mapping[str, StaticTable]) -> None:
        """Read what the database knows."""
        self._engine = engine
        self._tables = tables
        self._chains: dict[str, Chain | str] = {}
        self.versions: dict[str, RegisteredVersion] = {}
        self.refresh()

    def register(self, plans: Sequence[Plan], now_ns: int, lead_ns: int) -> None:
        """Make `plans` current in the database, in one transaction; raises as store.registry.register_queries."""
        with self._engine.begin() as connection:
            register_queries(connection, plans, now_ns, lead_ns)
        self.refresh()

    def refresh(self) -> bool:
        """Read the database again; True when there are versions that were not known before."""
        with self._engine.connect() as connection:
            found = load_versions(connection)
        new = found.keys() - self.versions.keys()
        self.versions = found
        return bool(new)

    def unusable(self, version: str) -> str | None:
        """Why frames of this version cannot be finished here, or None when they can."""
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
            try:
                self._chains[version] = Chain(self.versions[version].plan, self._tables)
            # A plan of a newer release may use what this one's Polars does not know, and Polars may panic over it.
            except (PipelineError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
                self._chains[version] = f"query version {version} cannot run here: {error}"
        return self._chains[version]
