"""Synthetic recordings: what a simulated service would have sent of its requests, with the truth beside it."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.tail.policies import Policy, Server
from analytics.tail.policy_table import Workload
from analytics.tail.samples import Samples, take_samples
from analytics.tail.simulation import Requests, Run, simulate
from analytics.tail.speedup import WEB_SEARCH

SERVER: Final = Server()
_ORIGIN_NS: Final = 1_790_000_000_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Samples in order of arrival, and the run that they are of."""

    samples: Samples
    run: Run


def recording(workload: Workload, load: float, policy: Policy, n: int, explore: float, seed: int) -> Recording:
    """n requests at a load under a policy, a share of them on a degree drawn by chance."""
    plain = workload.campaign([load], n, SERVER.threads, seed)[load]
    rng = np.random.default_rng([seed, 2])
    forced = np.where(rng.random(n) < explore, rng.integers(1, SERVER.max_degree + 1, n), 0).astype(np.int32)
    requests = Requests(plain.arrivals_ms, plain.works_ms, plain.predictions_ms, forced)
    run = simulate(requests, SERVER, WEB_SEARCH, policy)
    return Recording(take_samples(_columns(run)), run)


def _columns(run: Run) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """As a service sends them: whole nanoseconds and microseconds to three digits, and no processor time."""
    forced = run.requests.forced
    assert forced is not None
    begun = np.empty(run.starts_ms.size, np.int64)
    begun[np.argsort(run.starts_ms, kind="stable")] = np.arange(begun.size)
    running = begun - np.searchsorted(np.sort(run.ends_ms), run.starts_ms, side="right")
    return {
        "arrival_ns": _ORIGIN_NS + np.round(run.requests.arrivals_ms * 1e6).astype(np.int64),
        "wait_us": np.round(run.waits_ms * 1e3, 3),
        "service_us": np.round((run.ends_ms - run.starts_ms) * 1e3, 3),
        "predicted_us": np.round(run.requests.predictions_ms * 1e3, 3),
        "raised_us": np.round((run.raised_ms - run.starts_ms) * 1e3, 3),
        "degree": run.first_degrees,
        "degree_final": run.last_degrees,
        "in_system": running + run.queued,
        "active_threads": run.active,
        "long_threads": run.long_active,
        "explored": (forced > 0).astype(np.int8),
    }
