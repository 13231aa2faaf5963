"""What a dry run found, as text for people and as JSON for programs; the JSON is described in docs/reference/cli.md."""

from collections.abc import Sequence
from typing import Any

from agents.config import AgentConfig
from agents.cost_model import QueryCosts
from agents.dry_run import QuerySeen, Seen
from agents.epochs import names_of
from agents.forecast import Forecast, QueryForecast, fixed_cores, handling_cores, reading_cores
from agents.idle_floor import IdleCosts
from tailwatch.terminal import table

#: With fewer records, costs are mostly first guesses.
FEW_RECORDS = 512


def as_json(seen: Seen, forecasts: Sequence[Forecast], config: AgentConfig, remarks: Sequence[str]) -> dict[str, Any]:
    """The whole of it; numbers are not rounded, what is not known is null."""
    chosen = _chosen(forecasts, config)
    return {
        "agent": config.agent_id,
        "policy": config.policy,
        "seconds": seen.run_s,
        "epoch_s": config.epoch_s,
        "budget": {
            "cores": seen.budget_cores,
            "from": seen.budget_from,
            "idle_cores": seen.idle.cores,
            "reading_cores": reading_cores(seen),
            "handling_cores": None if seen.as_agent_cores is None else handling_cores(seen),
            "fixed_cores": fixed_cores(seen),
            "refused": seen.refused or None,
        },
        "notes": [*remarks, *_notes(seen, chosen, config.epoch_s)],
        "sources": [
            {
                "source": one.name,
                "streams": list(one.streams),
                "records": one.rows,
                "records_per_s": one.rows_per_s,
                "not_read": one.not_read or None,
            }
            for one in seen.sources
        ],
        "queries": [_query_json(query, chosen.queries[query.plan.version]) for query in seen.queries],
        "policies": [
            {
                "policy": one.policy,
                "cores": one.cores,
                "wire_bytes_per_s": one.wire_bytes_per_s,
                "fits": one.fits,
                "shares": {version: list(query.shares) for version, query in one.queries.items()},
            }
            for one in forecasts
        ],
    }


def as_text(seen: Seen, forecasts: Sequence[Forecast], config: AgentConfig) -> str:
    """One block for the agent, one per query, one for the policies."""
    chosen = _chosen(forecasts, config)
    idle = seen.idle
    lines = [
        f"agent {config.agent_id}, policy {config.policy}, read for {seen.run_s:.1f} s",
        "",
        f"budget   {seen.budget_cores:.3f} cores, from agent.budget.{seen.budget_from}",
        f"fixed    {fixed_cores(seen):.3f} cores, whatever the policy decides:",
        f"         {idle.cores:.3f} an idle agent: {_idle_text(idle)}",
        f"         {reading_cores(seen):.3f} reading sources that cannot wait",
        f"         {handling_cores(seen):.3f} handling their batches, however few records are in them",
        f"queries  {max(0.0, seen.budget_cores - fixed_cores(seen)):.3f} cores are left for them",
        "",
        _sources(seen),
    ]
    for query in seen.queries:
        lines += ["", *_query_text(query, chosen.queries[query.plan.version])]
    lines += ["", _policies(forecasts, config, seen)]
    notes = _notes(seen, chosen, config.epoch_s)
    if notes:
        lines += ["", *(f"note: {note}" for note in notes)]
    return "\n".join(lines)


def _idle_text(idle: IdleCosts) -> str:
    samplers = "1 sampler" if idle.samplers == 1 else f"{idle.samplers} samplers"
    turns = f"{idle.turn_s * 1e3:.2f} ms x {idle.turns_per_s:.1f} turns/s"
    return (
        f"{turns}, {idle.checkpoint_cpu_s * 1e3:.1f} ms per checkpoint every {idle.checkpoint_every_s:g} s, {samplers}"
    )


def _chosen(forecasts: Sequence[Forecast], config: AgentConfig) -> Forecast:
    return next(one for one in forecasts if one.policy == config.policy)


def _notes(seen: Seen, chosen: Forecast, epoch_s: float) -> list[str]:
    """What the reader must know to believe the figures."""
    notes = [f"the agent would not start: {seen.refused}"] if seen.refused else []
    if not chosen.fits and not seen.refused:
        notes.append(
            f"policy {chosen.policy} takes {chosen.cores:.4f} cores here, more than the budget: files with a pace "
            "would fall behind, live records would be thinned by the breaker where the policy allows"
        )
    for one in seen.sources:
        if one.not_read:
            notes.append(f"source {one.name} was not read: {one.not_read}")
        elif not one.rows and one.finished:
            notes.append(f"source {one.name} gave no records: the file has none")
        elif not one.rows:
            notes.append(f"source {one.name} gave no records in {seen.run_s:.1f} s")
    if seen.as_agent_cores is None and any(query.paced and query.costs is not None for query in seen.queries):
        notes.append(
            "the run was too short to see what handling batches takes, so cores are too low by some hundredths; "
            f"read for {5 * epoch_s:g} s or more, and files of as long at their pace"
        )
    for query in seen.queries:
        name = f"query {query.plan.query}"
        if query.costs is None:
            notes.append(f"{name} met no records of stream {query.plan.source}, so nothing is known of its costs")
        elif query.records < FEW_RECORDS:
            notes.append(f"{name} met {query.records} records only, so its costs are mostly first guesses")
        elif not query.paced:
            notes.append(f"{name} reads files without rows_per_s, which are read as fast as the budget allows")
    return notes


def _sources(seen: Seen) -> str:
    rows = [
        [one.name, ", ".join(one.streams), "not read" if one.not_read else f"{one.rows:,}", f"{one.rows_per_s:,.1f}"]
        for one in seen.sources
    ]
    return table(("source", "streams", "records", "records/s"), rows, (False, False, True, True))


def _query_text(query: QuerySeen, forecast: QueryForecast) -> list[str]:
    head = f"query {query.plan.query} {query.plan.version}, stream {query.plan.source}: "
    costs = query.costs
    if costs is None:
        return [head + "no records"]
    operators = names_of(query.plan)
    rows = [
        [
            f"{number} {name}",
            f"{operator.cpu_s * 1e6:.3f}",
            "" if number == len(operators) else f"{operator.selectivity:.4g}",
            f"{size:.1f}",
            f"{cpu_s / size * 1e9:.1f}" if size else "",
            f"{share:.3f}",
        ]
        for number, (name, operator, size, cpu_s, share) in enumerate(
            zip(operators, costs.operators, costs.drained_bytes, costs.drained_s, forecast.shares, strict=True), 1
        )
    ]
    headers = ("operator", "us/record", "out/in", "bytes/record before", "ns/byte to ship", "share")
    groups = costs.groups
    each = f"{groups.group_bytes:.1f} bytes and {groups.group_s * 1e6:.2f} us"
    taken = f"{_cores(forecast.cores)} cores for this query alone, {forecast.wire_bytes_per_s:,.0f} bytes/s"
    return [
        head + f"{query.records:,} records, {query.records_per_s:,.1f}/s",
        table(headers, rows, (False, True, True, True, True, True)),
        f"about {groups.distinct:,.0f} groups, each {each} per checkpoint",
        f"predicted {taken}, keeps up with {forecast.records_per_s:,.0f} records/s",
    ]


def _policies(forecasts: Sequence[Forecast], config: AgentConfig, seen: Seen) -> str:
    """What each policy would take; the rate only where it depends on the policy."""
    waits = {query.plan.version for query in seen.queries if not query.paced and query.costs is not None}
    rows = [
        [
            f"{one.policy} *" if one.policy == config.policy else one.policy,
            _cores(sum(query.cores for query in one.queries.values())),
            _cores(one.cores),
            f"{one.wire_bytes_per_s:,.0f}",
            *([f"{sum(one.queries[version].records_per_s for version in waits):,.0f}"] if waits else []),
            "" if one.fits else "over budget",
        ]
        for one in forecasts
    ]
    waiting = ("records/s of files without a pace",) if waits else ()
    headers = ("policy", "cores for queries", "cores in all", "bytes/s", *waiting, "")
    return table(headers, rows, (False, True, True, True, *(True for _ in waiting), False))


def _cores(cores: float) -> str:
    """Small figures to two digits, so that what is little does not look like nothing."""
    return f"{cores:.4f}" if cores >= 0.001 or not cores else f"{cores:.2g}"


def _query_json(query: QuerySeen, forecast: QueryForecast) -> dict[str, Any]:
    costs = query.costs
    found = None if costs is None else _costs_json(costs)
    return {
        "query": query.plan.query,
        "version": query.plan.version,
        "stream": query.plan.source,
        "records": query.records,
        "records_per_s": query.records_per_s,
        "can_wait": not query.paced,
        "operators": names_of(query.plan),
        "shares": list(forecast.shares),
        "costs": found,
        "predicted": None
        if costs is None
        else {
            "cores": forecast.cores,
            "wire_bytes_per_s": forecast.wire_bytes_per_s,
            "records_per_s": forecast.records_per_s,
        },
    }


def _costs_json(costs: QueryCosts) -> dict[str, Any]:
    groups = costs.groups
    return {
        "operators": [{"cpu_s": one.cpu_s, "out_per_in": one.selectivity} for one in costs.operators],
        "cuts": [
            {"cut": cut, "bytes": size, "ship_cpu_s": cpu_s}
            for cut, (size, cpu_s) in enumerate(zip(costs.drained_bytes, costs.drained_s, strict=True))
        ],
        "groups": {"distinct": groups.distinct, "bytes": groups.group_bytes, "ship_cpu_s": groups.group_s},
    }
