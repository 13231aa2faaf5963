"""What an agent has beside its loop, where it is configured: who says what to run, and who shows its metrics.

Each is a thread of its own and costs memory, so it is imported only where it is wanted. For another configuration they
are replaced: the new ones are open before the old ones are closed, and what is not changed goes on.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from agents.bounds import ALWAYS
from agents.config import AgentConfig
from agents.executor import Wanted
from agents.pace import epochs_between_checkpoints
from agents.planned import fed_chains
from agents.reload import PLANNING, NewSetup, changed_keys
from agents.sources.source import Source
from pipeline.chain import Chain
from pipeline.schema import Schema, with_place
from pipeline.tables import StaticTable

log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from agents.metrics_server import MetricsServer
    from agents.planner import Planner


@dataclass(slots=True)
class Services:
    """Those of one agent."""

    server: "MetricsServer | None" = None
    planner: "Planner | None" = None

    def replaced(
        self, before: AgentConfig, new: NewSetup, configured: Sequence[Source], running: Mapping[str, Chain]
    ) -> "tuple[Services, list[Wanted]]":
        """Those of a new configuration, and what is to be run; nothing is closed yet.

        `running` are chains by version, which need not be built again.

        Raises:
            MetricsPortError: the new port cannot be had; nothing was opened.
        """
        server = self.server
        if _page_address(new.config) != _page_address(before):
            server = metrics_server_of(new.config)
        own = {chain.plan.version for chain in new.chains}
        changed = set(changed_keys(before, new.config))
        if not new.config.plan_url:
            return Services(server), fed_queries(new.chains, configured)
        known = self.planner is not None and (self.planner.own_versions, dict(self.planner.streams))
        if self.planner is not None and not changed & PLANNING and known == (own, streams_of(configured)):
            return Services(server, self.planner), self.planner.choice.wanted
        planner = planner_of(new.config, new.chains, new.tables, configured, running)
        assert planner is not None, "there is an address"
        return Services(server, planner), planner.start().wanted

    def take_over(self, config: AgentConfig, before: "Services") -> None:
        """Serve from now on, with this configuration, in the place of `before`."""
        before.close_but(self)
        if self.server is not None:
            self.server.stale_after(_stale_after_s(config))

    def close_but(self, kept: "Services | None" = None) -> None:
        """Close what is not kept."""
        if self.server is not None and (kept is None or self.server is not kept.server):
            self.server.close()
        if self.planner is not None and (kept is None or self.planner is not kept.planner):
            self.planner.close()


def fed_queries(own: Sequence[Chain], sources: Sequence[Source]) -> list[Wanted]:
    """What an agent that asks no API runs: its own queries, as far as its sources have records for them."""
    fed = fed_chains(own, streams_of(sources))
    unfed = [chain.plan.query for chain in own if chain not in fed]
    if unfed:
        log.info("queries not run, no source here feeds their streams queries=%s", ",".join(unfed))
    return [Wanted(chain, ALWAYS.spans) for chain in fed]


def streams_of(sources: Sequence[Source]) -> dict[str, Schema]:
    """What queries may read of what the sources feed."""
    return {stream: with_place(schema) for source in sources for stream, schema in source.streams.items()}


def planner_of(
    config: AgentConfig,
    own: Sequence[Chain],
    tables: Mapping[str, StaticTable],
    sources: Sequence[Source],
    running: Mapping[str, Chain] = MappingProxyType({}),
) -> "Planner | None":
    """What asks the API for plans, where one is named; `running` are chains that it need not build."""
    if not config.plan_url:
        return None
    from agents import planned, planner  # noqa: PLC0415  # an HTTP client that an agent without it need not hold

    return planner.Planner(config, planned.OwnQueries(own, tables, streams_of(sources)), running)


def metrics_server_of(config: AgentConfig) -> "MetricsServer | None":
    """The server of the agent's own metrics, where one is asked for.

    Raises:
        MetricsPortError: the port is taken.
    """
    if not config.metrics_port:
        return None
    from agents import metrics_server  # noqa: PLC0415  # 2 MB that an agent without it need not hold

    return metrics_server.MetricsServer(config.metrics_port, _stale_after_s(config), config.metrics_host)


def _page_address(config: AgentConfig) -> tuple[str, int]:
    return config.metrics_host, config.metrics_port


def _stale_after_s(config: AgentConfig) -> float:
    return max(5.0, 5 * epochs_between_checkpoints(config) * config.epoch_s)
