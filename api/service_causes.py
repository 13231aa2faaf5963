"""Why the requests of a stretch were slow: recorded requests through the attribution, as answers show it.

Everything here works on arrays of at most `api.services.max_requests` requests, some 400 bytes each at its height.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from analytics.tail.causes import CAUSES, NOT_SLOW, CauseTable, attribute, cause_table, unreachable
from analytics.tail.effective import EffectiveTimes, effective_ms
from analytics.tail.learning import LearnedProfile, works_ms
from analytics.tail.load_levels import LoadLevels, load_levels
from analytics.tail.samples import REASONS, Samples, take_samples
from api.service_minutes import level_range
from api.times import rfc_3339

if TYPE_CHECKING:
    from analytics.tail.policies import Server
    from store.tail_batches import RecordedColumns

#: Of one request, at the height of the work; what a read is admitted by.
BYTES_PER_REQUEST: Final = 400
_BY_SHARE: Final = (
    "some requests stand for several: threads at work are those that each met at its start, and what came later is not "
    "known"
)


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """n requests of a service, and why those of them that were slow were."""

    samples: Samples
    effective: EffectiveTimes
    works_ms: npt.NDArray[np.float64]
    levels: LoadLevels
    causes: npt.NDArray[np.int8]
    table: CauseTable

    @property
    def slow(self) -> float:
        """How many, weights counted."""
        return float(self.table.slow.sum())

    @property
    def requests(self) -> float:
        """How many, weights counted."""
        return float(self.table.requests.sum())


def usable_samples(recorded: "RecordedColumns") -> Samples:
    """What was read as samples, from the time on that nothing is missing after."""
    columns = recorded.columns
    whole = columns["arrival_ns"] >= recorded.since_ns
    if not whole.all():
        columns = {name: values[whole] for name, values in columns.items()}
    return take_samples(columns)


def explain(
    samples: Samples,
    server: "Server",
    learned: LearnedProfile,
    target_ms: float,
    check: Callable[[], None] = lambda: None,
) -> Explained:
    """Why each request that took longer than the target did.

    Args:
        samples: at least one.
        check: called between steps; raises to end the work.
    Raises:
        analytics.errors.DataError: the samples do not say how many threads were at work, or the profile knows fewer
            threads than a request may have.
    """
    effective = effective_ms(samples, server.threads, learned.slowdown.value)
    check()
    works = works_ms(samples, effective, learned.profile)
    check()
    levels = load_levels(samples, server.threads, works)
    causes = attribute(samples, effective, learned, target_ms, server.max_degree, works_ms=works)
    return Explained(samples, effective, works, levels, causes, cause_table(causes, levels.level, samples))


def causes_content(
    found: Explained,
    learned: LearnedProfile,
    server: "Server",
    target_ms: float,
    percentile: float,
    slowest: int,
    instances: Sequence[str],
) -> dict[str, object]:
    """What an answer says of the requests, their levels of load, and the slowest of them."""
    counts = found.table.counts.sum(axis=0)
    beyond = unreachable(found.works_ms, learned, target_ms, percentile, server.max_degree, found.samples.weights)
    return {
        "basis": found.effective.basis,
        "requests": round(found.requests),
        "slow": round(found.slow),
        "slow_ratio": found.slow / found.requests,
        "predicted_ratio": found.table.predicted,
        **_by_cause(counts),
        "levels": _levels(found),
        "slowest": _slowest(found, slowest, instances),
        "unreachable": None if beyond is None else _unreachable(asdict(beyond), beyond.text),
    }


def coverage_content(recorded: "RecordedColumns", samples: Samples, effective: EffectiveTimes) -> dict[str, object]:
    """Which requests an answer rests on, and what to know of them."""
    notes = [*recorded.damaged]
    if len(samples) < recorded.requests_seen:
        notes.append(
            f"{recorded.requests_seen - len(samples):,} recorded requests of the stretch are not in this answer: it "
            f"has those since {rfc_3339(recorded.since_ns)}, as many as api.services.max_requests allows, without "
            "those left out; ask for a shorter stretch to see others"
        )
    if effective.basis == "at_start":
        notes.append(_BY_SHARE)
    left_out = samples.left_out or {}
    notes += [f"left out, {n:,}: {REASONS[reason]}" for reason, n in left_out.items()]
    return {
        "requests_read": len(samples),
        "requests_recorded": recorded.requests_seen,
        "since": rfc_3339(recorded.since_ns),
        "since_ns": recorded.since_ns,
        "left_out": left_out,
        "notes": notes,
    }


def _by_cause(counts: npt.NDArray[np.float64]) -> dict[str, Any]:
    total = float(counts.sum())
    return {
        "counts": dict(zip(CAUSES, map(round, counts.tolist()), strict=True)),
        "shares": dict(zip(CAUSES, (counts / total).tolist(), strict=True)) if total else None,
    }


def _levels(found: Explained) -> list[dict[str, object]]:
    table, levels = found.table, found.levels
    return [
        {
            "load_level": level_range(int(level)),
            "sequential_load": float(levels.sequential_load[level]),
            "share_of_time": float(levels.share_of_time[level]),
            "requests": round(float(table.requests[row])),
            "slow": round(float(table.slow[row])),
            **_by_cause(table.counts[row]),
        }
        for row, level in enumerate(table.levels)
    ]


def _slowest(found: Explained, most: int, instances: Sequence[str]) -> list[dict[str, object]]:
    """Slow requests, the slowest first; of those that took equally long, the earlier one."""
    slow = np.flatnonzero(found.causes != NOT_SLOW)
    latencies = found.samples.latencies_ms
    chosen = slow[np.argsort(-latencies[slow], kind="stable")[:most]]
    return [_slow_request(found, int(i), instances) for i in chosen]


def _slow_request(found: Explained, i: int, instances: Sequence[str]) -> dict[str, object]:
    one = found.samples
    arrived_ns = one.origin_ns + round(float(one.arrivals_ms[i]) * 1e6)
    predicted_ms = float(one.predictions_ms[i])
    return {
        "arrived": rfc_3339(arrived_ns),
        "arrived_ns": arrived_ns,
        "cause": CAUSES[int(found.causes[i])],
        "latency_ms": float(one.latencies_ms[i]),
        "wait_ms": float(one.waits_ms[i]),
        "service_ms": float(one.services_ms[i]),
        "effective_ms": float(found.effective.times_ms[i]),
        "work_ms": float(found.works_ms[i]),
        "predicted_ms": None if np.isnan(predicted_ms) else predicted_ms,
        "degree": int(one.degrees[i]),
        "degree_final": int(one.last_degrees[i]),
        "in_system": _told(one.in_system[i]),
        "active_threads": _told(one.active[i]),
        "load_level": level_range(int(found.levels.level[i])),
        "instance": instances[int(one.instances[i])] if int(one.instances[i]) < len(instances) else None,
        "weight": round(float(one.weights[i])),
    }


def _told(count: np.int32) -> int | None:
    return int(count) if count >= 0 else None


def _unreachable(figures: dict[str, float], text: str) -> dict[str, object]:
    return {**{name: figures[name] for name in ("share", "allowed", "reachable_ms")}, "text": text}
