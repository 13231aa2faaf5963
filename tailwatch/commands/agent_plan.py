"""`tailwatch agent plan`: what an agent of this configuration would decide, from a dry run that disturbs nobody."""

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING

from tailwatch.stopping import ended_by_signals
from tailwatch.terminal import paint

if TYPE_CHECKING:
    from agents.config import AgentConfig
    from agents.executor import Wanted
    from tailwatch.query_set import QuerySet


def run(args: argparse.Namespace) -> int:
    """Read for a while, reckon, print; 1 when the agent would not start with this budget."""
    # As the agent itself, or the costs would not be its own.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    from agents.dry_run import DryRun
    from agents.forecast import forecasts
    from tailwatch.compiled_apart import compiled_apart
    from tailwatch.plan_report import as_json, as_text
    from tailwatch.settings_flags import loaded_from

    loaded = loaded_from(args, "agent")
    config = _with_budget(loaded.settings.agent, args.budget)
    wanted, remarks = _wanted(config, compiled_apart(loaded), asks_api=args.asks_api)
    with ended_by_signals():
        seen = DryRun(config, wanted, most_rows=args.rows).run(args.seconds)
    found = forecasts(seen, config)
    if args.as_json:
        print(json.dumps(as_json(seen, found, config, remarks), indent=2, ensure_ascii=False))
    else:
        for remark in remarks:
            print(f"{paint('note:', 'yellow', sys.stderr)} {remark}", file=sys.stderr)
        print(as_text(seen, found, config))
    return 1 if seen.refused else 0


def _with_budget(config: "AgentConfig", cores: float | None) -> "AgentConfig":
    from msgspec.structs import replace

    from agents.config import BudgetConfig

    return config if cores is None else replace(config, budget=BudgetConfig(cores=cores))


def _wanted(config: "AgentConfig", queries: "QuerySet", *, asks_api: bool) -> tuple[list["Wanted"], list[str]]:
    """What the agent would run, and what is to be said of that."""
    from agents.planned import OwnQueries
    from agents.planned_once import planned_once
    from agents.reload import NewSetup
    from agents.services import streams_of
    from agents.sources.configured import configured_sources

    own = NewSetup.of(config, queries.plans, queries.tables)
    streams = streams_of(configured_sources(config, queries.plans))
    choice, remarks = planned_once(config, OwnQueries(own.chains, own.tables, streams), asks_api=asks_api)
    fed = [one for one in choice.wanted if one.chain.plan.source in streams]
    return fed, remarks
