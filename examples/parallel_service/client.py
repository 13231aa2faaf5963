"""Load for the example: requests at times drawn by chance, few of them long, with predictions that are often wrong.

All of it is synthetic. Requests come whether or not those before are done (an open loop), so a slow server does not get
fewer of them.
"""

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from examples.parallel_service.pricing import Speed
from examples.parallel_service.worker_pool import WorkerPool

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """n requests in milliseconds: when each comes, how long one thread takes for it, what is predicted."""

    arrivals_ms: Array
    works_ms: Array
    predictions_ms: Array


def mixed_traffic(seconds: float, load: float, threads: int, rng: np.random.Generator) -> Traffic:
    """Poisson arrivals that offer `load` of the hardware threads: 19 in 20 take about 1 ms, the others about 25."""
    if not 0 < load < 2 or seconds <= 0 or threads < 1:
        raise ValueError(f"load {load} of {threads} threads for {seconds} s; want all above 0, and a load below 2")
    mean_ms = 0.95 * 1.0 + 0.05 * 25.0
    n = max(1, int(seconds * 1e3 * load * threads / mean_ms))
    is_long = rng.random(n) < 0.05
    works = np.where(is_long, rng.gamma(25.0, 1.0, n), rng.gamma(2.0, 0.5, n)).clip(0.05)
    return Traffic(np.cumsum(rng.exponential(mean_ms / (load * threads), n)), works, noisy(works, rng))


def noisy(works_ms: Array, rng: np.random.Generator, sigma: float = 0.25, mistaken: float = 0.08) -> Array:
    """Predictions: off by a factor, and for some simply those of another request."""
    predictions = works_ms * np.exp(rng.normal(0.0, sigma, works_ms.size))
    wrong = rng.random(works_ms.size) < mistaken
    predictions[wrong] = rng.choice(works_ms, int(wrong.sum()))
    return np.asarray(predictions)


def send(traffic: Traffic, pool: WorkerPool, speed: Speed, stopped: threading.Event | None = None) -> int:
    """Submit each when its time has come, and wait for the last answer. Returns how many were sent.

    Raises:
        Whatever a request ended with, the first such one.
    """
    ending = stopped or threading.Event()
    answers: list[Future[float]] = []
    begun = time.monotonic()
    for place, arrival_ms in enumerate(traffic.arrivals_ms.tolist()):
        early_s = begun + arrival_ms * 1e-3 - time.monotonic()
        if ending.is_set() or (early_s > 0 and ending.wait(early_s)):
            break
        work = speed.work(float(traffic.works_ms[place]), seed=place + 1)
        answers.append(pool.submit(work, float(traffic.predictions_ms[place])))
    for answer in answers:
        answer.result()
    return len(answers)
