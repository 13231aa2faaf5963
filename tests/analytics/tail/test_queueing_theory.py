"""The simulator against what queueing theory knows in closed form."""

import math

import numpy as np
import pytest

from analytics.tail.policies import Sequential, Server
from analytics.tail.simulation import Requests, simulate
from analytics.tail.speedup import WEB_SEARCH

N = 150_000
MANY_WORKERS = 600


def latencies(works: np.ndarray, load: float, server: Server, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    arrivals = np.cumsum(rng.exponential(works.mean() / (load * server.threads), works.size))
    return simulate(Requests(arrivals, works, works), server, WEB_SEARCH, Sequential()).latencies_ms[N // 20 :]


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("shape", ["exponential", "two kinds"])
def test_one_shared_thread_delays_all_alike_whatever_the_distribution_of_work(load: float, shape: str) -> None:
    """M/M/1-PS and M/G/1-PS: the mean is E[S] / (1 - rho), and only that mean of the work counts."""
    rng = np.random.default_rng(7)
    works = rng.exponential(10.0, N) if shape == "exponential" else rng.choice([4.0, 64.0], N, p=[0.9, 0.1])
    server = Server(threads=1, workers=MANY_WORKERS, max_degree=1)
    found = latencies(works, load, server, seed=11)
    assert found.mean() == pytest.approx(works.mean() / (1 - load), rel=0.06)


def test_sharing_slows_short_and_long_requests_by_the_same_factor() -> None:
    rng = np.random.default_rng(8)
    works = rng.choice([2.0, 20.0], N)
    found = latencies(works, 0.7, Server(threads=1, workers=MANY_WORKERS, max_degree=1), seed=12)
    for work in (2.0, 20.0):
        here = found[works[N // 20 :] == work]
        assert here.mean() == pytest.approx(work / (1 - 0.7), rel=0.06)


@pytest.mark.parametrize(("threads", "load"), [(1, 0.7), (4, 0.8), (12, 0.9)])
def test_as_many_workers_as_threads_wait_as_erlang_says(threads: int, load: float) -> None:
    """M/M/c: P(wait) is Erlang's C, and the wait of those who wait is exponential."""
    rng = np.random.default_rng(9)
    works = rng.exponential(10.0, N)
    server = Server(threads=threads, workers=threads, max_degree=1)
    arrivals = np.cumsum(rng.exponential(works.mean() / (load * threads), N))
    run = simulate(Requests(arrivals, works, works), server, WEB_SEARCH, Sequential())
    waits = run.waits_ms[N // 20 :]
    offered = load * threads
    idle = sum(offered**k / math.factorial(k) for k in range(threads))
    full = offered**threads / math.factorial(threads) / (1 - load)
    waiting = full / (idle + full)
    assert (waits > 1e-9).mean() == pytest.approx(waiting, rel=0.06)
    assert waits[waits > 1e-9].mean() == pytest.approx(10.0 / (threads * (1 - load)), rel=0.1)
    assert run.utilization == pytest.approx(load, rel=0.02)


def test_an_empty_server_gives_each_exactly_its_work() -> None:
    works = np.array([5.0, 40.0, 100.0])
    run = simulate(Requests(np.array([0.0, 1e3, 2e3]), works, works), Server(), WEB_SEARCH, Sequential())
    np.testing.assert_allclose(run.latencies_ms, works)
    np.testing.assert_allclose(run.effective_ms, works)
