"""What `tailwatch tail attribute` finds and prints: slow requests by load and cause, and the slowest of them."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from analytics.tail.cause_plots import shown_cause
from analytics.tail.causes import CAUSES, NOT_SLOW, CauseTable, Unreachable, attribute, cause_table, unreachable
from analytics.tail.learning import works_ms
from analytics.tail.load_levels import LEVEL_EDGES, load_levels
from tailwatch.tail_recordings import Recording
from tailwatch.terminal import table

#: What each cause means, for whoever reads the table.
MEANINGS: Final = {
    "intrinsic": "takes longer than the target on as many threads as any request may have",
    "queueing": "would have met the target without its wait for a worker",
    "contention": "would have met the target with the hardware threads to itself",
    "mispredicted": "was predicted to meet the target with the threads it began with",
    "under_parallel": "would have met the target with more threads",
}


@dataclass(frozen=True, slots=True)
class SlowRequest:
    """One of the slowest; times in milliseconds, `arrived` in RFC 3339, UTC."""

    arrived: str
    latency_ms: float
    wait_ms: float
    predicted_ms: float | None
    work_ms: float
    degree: int
    last_degree: int
    cause: str


@dataclass(frozen=True, slots=True)
class Attributed:
    """Causes by level of load (`loads`: from where to where, of the rows of by_load), and the slowest requests."""

    target_ms: float
    percentile: float
    by_load: CauseTable
    loads: tuple[str, ...]
    slowest: tuple[SlowRequest, ...]
    unreachable: Unreachable | None


def attributed(recording: Recording, *, threads: int, target_ms: float, percentile: float, slowest: int) -> Attributed:
    """Attribute all requests of a recording.

    Raises:
        DataError: speed-ups are not known up to the largest degree.
    """
    samples, learned = recording.files.samples, recording.learned
    works = works_ms(samples, recording.effective, learned.profile)
    causes = attribute(samples, recording.effective, learned, target_ms, recording.max_degree, works_ms=works)
    by_load = cause_table(causes, load_levels(samples, threads, works).level, samples)
    slow = np.flatnonzero(causes != NOT_SLOW)
    first = slow[np.argsort(-samples.latencies_ms[slow], kind="stable")][:slowest]
    return Attributed(
        target_ms,
        percentile,
        by_load,
        tuple(level_name(int(level)) for level in by_load.levels),
        tuple(
            SlowRequest(
                _time(samples.origin_ns + int(samples.arrivals_ms[i] * 1e6)),
                float(samples.latencies_ms[i]),
                float(samples.waits_ms[i]),
                None if np.isnan(samples.predictions_ms[i]) else float(samples.predictions_ms[i]),
                float(works[i]),
                int(samples.degrees[i]),
                int(samples.last_degrees[i]),
                CAUSES[causes[i]],
            )
            for i in first
        ),
        unreachable(works, learned, target_ms, percentile, recording.max_degree, samples.weights),
    )


def level_name(level: int) -> str:
    """From where to where a level of load goes."""
    edges = (0.0, *LEVEL_EDGES)
    return f"{edges[level]:g} to {edges[level + 1]:g}" if level + 1 < len(edges) else f"from {edges[level]:g}"


def as_text(found: Attributed) -> str:
    """Tables, and what causes mean."""
    requests, slow = float(found.by_load.requests.sum()), float(found.by_load.slow.sum())
    lines = [f"{slow:,.0f} of {requests:,.0f} requests took longer than {found.target_ms:g} ms ({slow / requests:.2%})"]
    if found.unreachable is not None:
        lines.append(f"warning: {found.unreachable.text}")
    if not slow:
        return "\n".join(lines)
    if found.by_load.predicted < 1:
        lines.append(f"note: {1 - found.by_load.predicted:.1%} of them have no prediction: never told as mispredicted")
    total = found.by_load.total()
    rows = [
        [name, f"{many:,.0f}", f"{late:,.0f}", *(f"{share:.1%}" for share in shares)]
        for name, many, late, shares in zip(
            found.loads, found.by_load.requests, found.by_load.slow, found.by_load.shares, strict=True
        )
    ]
    rows.append(["all", f"{requests:,.0f}", f"{slow:,.0f}", *(f"{total[cause]:.1%}" for cause in CAUSES)])
    head = ["load", "requests", "slow", *map(shown_cause, CAUSES)]
    lines += ["", table(head, rows, [False, *([True] * (len(head) - 1))]), ""]
    lines += [f"{shown_cause(cause)}: {MEANINGS[cause]}" for cause in CAUSES if total[cause]]
    if found.slowest:
        lines += ["", "the slowest:", _slowest(found.slowest)]
    return "\n".join(lines)


def as_dict(found: Attributed) -> dict[str, Any]:
    """The same as data."""
    by_load = found.by_load
    return {
        "target_ms": found.target_ms,
        "percentile": found.percentile,
        "unreachable": None
        if found.unreachable is None
        else asdict(found.unreachable) | {"text": found.unreachable.text},
        "causes": by_load.total(),
        "predicted_ratio": by_load.predicted,
        "by_load": [
            {
                "load": name,
                "requests": float(by_load.requests[row]),
                "slow": float(by_load.slow[row]),
                "causes": dict(zip(CAUSES, by_load.shares[row].tolist(), strict=True)),
            }
            for row, name in enumerate(found.loads)
        ],
        "slowest": [asdict(one) for one in found.slowest],
    }


def _slowest(slowest: tuple[SlowRequest, ...]) -> str:
    head = ["arrived", "took", "waited", "predicted", "work", "threads", "cause"]
    rows = [
        [
            one.arrived,
            f"{one.latency_ms:.1f} ms",
            f"{one.wait_ms:.1f} ms",
            "-" if one.predicted_ms is None else f"{one.predicted_ms:.1f} ms",
            f"{one.work_ms:.1f} ms",
            str(one.degree) if one.degree == one.last_degree else f"{one.degree} to {one.last_degree}",
            shown_cause(one.cause),
        ]
        for one in slowest
    ]
    return table(head, rows, [False, True, True, True, True, True, False])


def _time(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
