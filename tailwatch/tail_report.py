"""What `tailwatch tail simulate` prints: for each load the policies, their mean and tail with intervals."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from analytics.tail.comparison import LEAST_BEYOND, QUANTILES, Figure, PolicyAtLoad
from analytics.tail.policy_table import PolicyTable
from analytics.tail.time_scale import WEB_SCALE, TimeScale
from tailwatch.terminal import table


def as_text(found: PolicyTable) -> str:
    """The whole table."""
    return "\n".join(_lines(found))


def quantile_name(level: float) -> str:
    """p99.9 of 0.999."""
    return f"p{level * 100:g}"


def as_dict(found: PolicyTable) -> dict[str, Any]:
    """The same as data."""
    return {
        "simulated": True,
        "workload": found.workload,
        "requests": found.requests,
        "seeds": found.seeds,
        "fan_out": found.fan_out,
        **_scale(found.scale),
        "target_table": asdict(found.found.table),
        "tables_tried": found.found.evaluations,
        "policies": [_entry(row) for row in found.rows],
    }


def _lines(found: PolicyTable) -> Iterator[str]:
    target = found.found.table
    yield (
        f"[simulated] {found.workload}: {found.requests:,} requests x {found.seeds} seeds at each load"
        + (f", quantiles of the slowest of {found.fan_out} servers, means of one" if found.fan_out > 1 else "")
    )
    goal = "the largest degree" if target.full else "one thread more"
    targets = ", ".join(f"{one:g}" for one in target.targets_ms)
    yield (
        f"targets by {found.metric} in steps of {target.width:g}: {targets} ms; a correction gives {goal} "
        f"(searched on other requests, {found.found.evaluations} tables tried)"
    )
    if found.scale is not WEB_SCALE:
        edges = " and ".join(f"{edge:g}" for edge in found.scale.profile.edges_ms)
        yield (
            f"classes of work from {edges} ms with speed-ups of web search, long from {found.scale.long_ms:g} ms; "
            f"targets tried: {found.scale.grid_ms[0]:g} to {found.scale.grid_ms[-1]:g} ms"
        )
    known = [q for q in QUANTILES if all(q in row.quantiles_ms for row in found.rows)]
    for load in dict.fromkeys(row.load for row in found.rows):
        yield ""
        yield f"load {load:g}: milliseconds, with 95 % intervals over the seeds"
        head = ["policy", "mean", *(quantile_name(q) for q in known), "corrected", "busy"]
        rows = [_row(row, known) for row in found.rows if row.load == load]
        yield table(head, rows, [False, *([True] * (len(head) - 1))])
    if missing := [quantile_name(q) for q in QUANTILES if q not in known]:
        yield ""
        yield f"not shown are {', '.join(missing)}: fewer than {LEAST_BEYOND} requests of a run lie beyond them"


def _scale(scale: TimeScale) -> dict[str, Any]:
    """What was made to fit measured times; nothing for those of web search."""
    if scale is WEB_SCALE:
        return {}
    return {"class_edges_ms": scale.profile.edges_ms, "long_ms": scale.long_ms, "targets_tried_ms": scale.grid_ms}


def _row(row: PolicyAtLoad, known: list[float]) -> list[str]:
    if row.collapsed:
        return [row.policy, "collapsed: the queue grows", *([""] * (len(known) + 1)), f"{row.utilization.value:.0%}"]
    figures = [_shown(row.mean_ms), *(_shown(row.quantiles_ms[q]) for q in known)]
    return [row.policy, *figures, f"{row.corrected.value:.1%}", f"{row.utilization.value:.0%}"]


def _shown(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return f"{figure.value:.1f}"
    return f"{figure.value:.1f} ±{(figure.high - figure.low) / 2:.1f}"


def _entry(row: PolicyAtLoad) -> dict[str, Any]:
    return {
        "policy": row.policy,
        "load": row.load,
        "collapsed": row.collapsed,
        "mean_ms": asdict(row.mean_ms),
        "quantiles_ms": {str(q): asdict(figure) for q, figure in row.quantiles_ms.items()},
        "corrected_ratio": asdict(row.corrected),
        "utilization": asdict(row.utilization),
    }
