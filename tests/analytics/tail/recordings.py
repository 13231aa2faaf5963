"""Synthetic recordings: what a simulated server would have sent of its requests, with the truth beside it."""

from dataclasses import dataclass

import numpy as np

from analytics.tail.policies import Policy, Predictive, Server
from analytics.tail.samples import Samples, take_samples
from analytics.tail.simulation import Requests, Run, simulate
from analytics.tail.speedup import WEB_SEARCH, SpeedupProfile
from analytics.tail.workloads import ModelledPredictor, bing_like, requests_at

SERVER = Server()
ORIGIN_NS = 1_790_000_000_000_000_000


@dataclass(frozen=True)
class Recording:
    """Samples of a run, and the run; both in order of arrival."""

    samples: Samples
    run: Run


def columns_of(run: Run) -> dict[str, np.ndarray]:
    """As a service sends them: nanoseconds and microseconds."""
    forced = run.requests.forced
    return {
        "arrival_ns": ORIGIN_NS + np.round(run.requests.arrivals_ms * 1e6).astype(np.int64),
        "wait_us": run.waits_ms * 1e3,
        "service_us": (run.ends_ms - run.starts_ms) * 1e3,
        "predicted_us": run.requests.predictions_ms * 1e3,
        "cpu_us": np.full(len(run.requests), np.nan),
        "raised_us": (run.raised_ms - run.starts_ms) * 1e3,
        "degree": run.first_degrees,
        "degree_final": run.last_degrees,
        "active_threads": run.active,
        "long_threads": run.long_active,
        "explored": np.zeros(len(run.requests)) if forced is None else (forced > 0).astype(float),
    }


def record(
    n: int,
    load: float,
    policy: Policy = Predictive(3),  # noqa: B008 -- frozen
    *,
    explore: float = 0.01,
    seed: int = 1,
    server: Server = SERVER,
    profile: SpeedupProfile = WEB_SEARCH,
    predictor: ModelledPredictor | None = ModelledPredictor(),  # noqa: B008 -- frozen
) -> Recording:
    """n Bing-like requests at a load, a share of them on a degree drawn from 1 to the largest."""
    rng = np.random.default_rng(seed)
    plain = requests_at(load, bing_like(n, rng), server.threads, rng, predictor)
    forced = np.where(rng.random(n) < explore, rng.integers(1, server.max_degree + 1, n), 0).astype(np.int32)
    requests = Requests(plain.arrivals_ms, plain.works_ms, plain.predictions_ms, forced)
    run = simulate(requests, server, profile, policy)
    return Recording(take_samples(columns_of(run)), run)
