"""What a service runs on and by, and what is known of it: its row, profile and table in use, as analytics takes them.

A setting or document that cannot be read is left out and said; what it says does not keep a service's minutes from
being made.
"""

import logging
from dataclasses import dataclass, replace
from typing import Final

import sqlalchemy as sa

from analytics.errors import AnalyticsError, DataError
from analytics.tail.learning import LearnedProfile
from analytics.tail.policies import Policy, Server, Tpc, server_as_told
from analytics.tail.policy_documents import policy_from
from analytics.tail.profile_documents import profile_from
from analytics.tail.samples import Samples, take_samples
from collector import own_metrics
from collector.jobs.job_streams import MEASURED, SYNTHETIC
from store.tail_batches import RecordedColumns, read_columns, requests_within
from store.tail_profiles import active_profile
from store.tail_services import ServiceRow, ServiceSettings
from store.tail_targets import active_table

log = logging.getLogger(__name__)

#: Where nobody said how many hardware threads a service has: so many that none are ever shared.
UNTOLD_THREADS: Final = 4_096


@dataclass(frozen=True, slots=True)
class KnownService:
    """A service as it is now.

    Attributes:
        server: of each instance, by the settings. threads_told: somebody has said how many hardware threads it has.
        policy: that decides on degrees now: of the active target table, else of the settings; None: not known.
        policy_since_ns: when the table in use became so; 0 without one. table_degree: how many threads of a request it
            says; None: as the settings have it.
        learned: the profile in use, None: none yet. profile_version: its number, 0 for none.
        faults: what could not be read, in words.
    """

    row: ServiceRow
    server: Server
    threads_told: bool
    policy: Policy | None
    policy_since_ns: int
    has_table: bool
    table_degree: int | None
    learned: LearnedProfile | None
    profile_version: int
    faults: tuple[str, ...]

    @property
    def name(self) -> str:
        """As it calls itself."""
        return self.row.service

    @property
    def server_now(self) -> Server:
        """Of each instance, by the table in use."""
        return self.with_degrees(self.table_degree)

    def with_degrees(self, of_table: int | None) -> Server:
        """The server under a table that says so many threads of a request; None: it says nothing of them."""
        known = None if self.learned is None else self.learned.profile.max_degree
        server = self.server
        return server if of_table is None else server_as_told(server.threads, server.workers, of_table, known)

    @property
    def settings(self) -> ServiceSettings:
        """What was set, and defaults."""
        return self.row.settings

    @property
    def origin(self) -> str:
        """As streams of jobs say it."""
        return SYNTHETIC if self.row.synthetic else MEASURED


def known_as(connection: sa.Connection, row: ServiceRow) -> KnownService:
    """All that is known of a service now."""
    faults: list[str] = []
    settings = row.settings
    learned, version = None, 0
    if (profile := active_profile(connection, row.service)) is not None:
        version = profile.version
        try:
            learned = profile_from(profile.document)
        except AnalyticsError as error:
            faults.append(f"speed-up profile {version} cannot be used: {error}")
    table = active_table(connection, row.service)
    document = settings.policy if table is None else table.document
    policy = None
    if document is not None:
        try:
            policy = policy_from(document)
        except AnalyticsError as error:
            whose = "the settings' policy" if table is None else f"target table {table.version}"
            faults.append(f"{whose} cannot be used: {error}")
    return KnownService(
        row,
        server_as_told(
            settings.threads or UNTOLD_THREADS,
            settings.workers,
            settings.max_degree,
            None if learned is None else learned.profile.max_degree,
        ),
        settings.threads is not None,
        policy,
        0 if table is None else table.changed_ns,
        table is not None,
        None if table is None else table.max_degree,
        learned,
        version,
        tuple(faults),
    )


def samples_of(columns: RecordedColumns) -> Samples:
    """What was read as samples, each instance told apart.

    Raises:
        DataError: the columns are not what analytics takes.
    """
    return take_samples(columns.columns)


def read_samples(connection: sa.Connection, service: str, since_ns: int, until_ns: int, most: int) -> Samples:
    """All requests of a service that arrived in [since_ns, until_ns).

    Raises:
        DataError: there are more than `most`: a part of them would be other minutes than they were.
    """
    seen = requests_within(connection, service, since_ns, until_ns)
    if seen <= most:  # else none of them need be read to know
        found = read_columns(connection, service, since_ns, until_ns, most)
        seen = found.requests_seen if found.requests_seen > len(found) else 0
    if seen:
        raise DataError(
            f"{seen} requests of {service} in {(until_ns - since_ns) / 1e9:.0f} s; want at most {most}: "
            "have it send a share of them with a weight, or raise collector.jobs.tail.most_requests"
        )
    for text in found.damaged:
        own_metrics.tail_failures.labels("damaged").inc()
        log.warning("recorded requests left out service=%s: %s", service, text)
    return samples_of(found)


def without_profile(service: KnownService) -> KnownService:
    """The same, as if no speed-ups had been learned."""
    return replace(service, learned=None, profile_version=0)


def buckets_of(policy: Policy | None) -> int:
    """Of the target table that it has; 0: it has none."""
    return len(policy.table.targets_ms) if isinstance(policy, Tpc) else 0
