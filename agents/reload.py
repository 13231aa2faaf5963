"""What a new configuration asks of a running agent: which sources come, go and change, and what needs a restart.

Nothing is done here. What is compared is what runs with what is wanted; a source is the same if it has the same name
(files keep their positions by it), the same entry in the configuration and the same columns. One that had failed is
changed in any case: whoever reloads may have mended it.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from agents.config import AgentConfig
from agents.errors import NeedsRestartError
from agents.own_metrics import Sample
from agents.progress import SourceProgress
from agents.sources.configs import SourceConfig
from agents.sources.source import Dependent, Source
from pipeline.chain import Chain
from pipeline.plan import Plan
from pipeline.tables import StaticTable

log = logging.getLogger(__name__)

#: An agent is who it is, and its spool is where it is, for as long as it runs.
NEEDS_RESTART: Final = ("id", "host", "spool_path")
#: Whom the planner asks, how, and how often.
PLANNING: Final = frozenset({"plan_url", "plan_poll_s", "plan_ca_path", "api_key", "api_key_path", "streams"})


@dataclass(frozen=True, slots=True)
class NewSetup:
    """A configuration that was read and found good, its queries bound to their tables.

    `applied` is called once the agent runs with it: what lies outside of the agent may change then, too.
    """

    config: AgentConfig
    chains: Sequence[Chain]
    tables: Mapping[str, StaticTable]
    applied: Callable[[], None] = lambda: None

    @staticmethod
    def of(
        config: AgentConfig,
        plans: Sequence[Plan],
        tables: Mapping[str, StaticTable],
        applied: Callable[[], None] = lambda: None,
    ) -> "NewSetup":
        """Bind the plans; PipelineError when one does not fit its tables."""
        return NewSetup(config, [Chain(plan, tables) for plan in plans], tables, applied)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A configuration that cannot be used, and why."""

    reason: str


@dataclass(slots=True)
class SourceChanges:
    """What becomes of the sources. `changed` holds a running one and what takes its place, under the same name."""

    kept: list[SourceProgress] = field(default_factory=list)
    changed: list[tuple[SourceProgress, Source]] = field(default_factory=list)
    removed: list[SourceProgress] = field(default_factory=list)
    added: list[Source] = field(default_factory=list)


class ReloadLog:
    """What became of the configurations that one agent was given while it ran."""

    def __init__(self) -> None:
        self._results = {"applied": 0, "refused": 0}
        self._refused = ""

    def applied(self, changed: Sequence[str], queries: int, sources: int) -> None:
        """The last one runs now."""
        self._results["applied"] += 1
        self._refused = ""
        log.info(
            "configuration reloaded changed=%s queries=%d sources=%d", ",".join(changed) or "none", queries, sources
        )

    def refuse(self, reason: str) -> None:
        """The last one cannot be used."""
        self._results["refused"] += 1
        self._refused = reason
        log.error("configuration not reloaded, the one before goes on reason=%s", reason)

    @property
    def notes(self) -> str:
        """Why the last one was refused, as lines for people; empty when it runs."""
        return "".join(f"reload: refused: {line}\n" for line in self._refused.splitlines())

    def samples(self) -> list[Sample]:
        """Own metrics."""
        name = "tailwatch_agents_"
        return [
            *(Sample(name + "reloads_total", n, (("result", result),)) for result, n in self._results.items()),
            Sample(name + "reload_last_refused", bool(self._refused)),
        ]


def refuse_what_needs_a_restart(before: AgentConfig, after: AgentConfig) -> None:
    """Raises NeedsRestartError, naming every such key that differs."""
    keys = [key for key in changed_keys(before, after) if key in NEEDS_RESTART]
    if keys:
        told = [f"agent.{key} is {getattr(before, key)!r} and would be {getattr(after, key)!r}" for key in keys]
        raise NeedsRestartError(f"{'; '.join(told)}: that needs a restart; put it back, or restart the agent")


def changed_keys(before: AgentConfig, after: AgentConfig) -> list[str]:
    """The keys of the section that differ."""
    return [key for key in AgentConfig.__struct_fields__ if getattr(before, key) != getattr(after, key)]


def source_changes(
    running: Sequence[SourceProgress],
    entries: Mapping[str, SourceConfig],
    wanted: Sequence[Source],
    new_entries: Mapping[str, SourceConfig],
) -> SourceChanges:
    """From the sources that run to those that are wanted, with their entries by name."""
    changes = SourceChanges()
    by_name = {one.source.name: one for one in running}
    for source in wanted:
        one = by_name.pop(source.name, None)
        if one is None:
            changes.added.append(source)
        elif (
            one.failure is None
            and entries.get(source.name) == new_entries.get(source.name)
            and _depends_on(one.source) == _depends_on(source)
            and dict(one.source.streams) == dict(source.streams)
        ):
            changes.kept.append(one)
        else:
            changes.changed.append((one, source))
    changes.removed = list(by_name.values())
    return changes


def _depends_on(source: Source) -> object:
    return source.depends_on if isinstance(source, Dependent) else None
