"""Requests to simulate: how long they take, when they come, and what a predictor says of them.

All of it is made up here, or resampled from service times that somebody measured; answers that rest on it say so.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from analytics.errors import DataError
from analytics.tail.simulation import Requests
from analytics.tail.speedup import Float64Array

# Web search after the figures of the Bing studies, as far as they are remembered: quantile -> milliseconds.
_BING_AT: Final = (0.0, 0.5, 0.85, 0.9, 0.95, 0.96, 0.98, 0.99, 0.995, 1.0)
_BING_MS: Final = (0.5, 3.6, 14.8, 25.0, 62.0, 80.0, 140.0, 198.0, 203.0, 215.0)


@dataclass(frozen=True, slots=True)
class ModelledPredictor:
    """A predictor with errors as they are drawn here.

    Attributes:
        sigma: of the logarithm of its ratio to the truth.
        mistaken: share of requests of `from_ms` and more for which it says what holds for another one.
    """

    sigma: float = 0.25
    mistaken: float = 0.08
    from_ms: float = 30.0

    def predict(self, works_ms: Float64Array, rng: np.random.Generator) -> Float64Array:
        """Predictions, float64[n]."""
        noisy = works_ms * np.exp(rng.normal(0.0, self.sigma, works_ms.size)) if self.sigma else works_ms.copy()
        if self.mistaken:
            wrong = (works_ms >= self.from_ms) & (rng.random(works_ms.size) < self.mistaken)
            noisy[wrong] = rng.choice(works_ms, int(wrong.sum()))
        return noisy


def bing_like(n: int, rng: np.random.Generator) -> Float64Array:
    """Synthetic work of n web searches: mean 13.1, median 3.6, p99 198 ms."""
    return np.asarray(np.exp(np.interp(rng.random(n), _BING_AT, np.log(_BING_MS))))


def resampled(
    measured_ms: Float64Array, n: int, rng: np.random.Generator, mean_ms: float | None = None
) -> Float64Array:
    """n draws of measured service times, scaled to a mean where one is given."""
    if not measured_ms.size or not np.all(np.isfinite(measured_ms)) or np.any(measured_ms <= 0):
        raise DataError("service times to resample are none, or not all above 0 milliseconds")
    drawn = rng.choice(measured_ms, n)
    return np.asarray(drawn if mean_ms is None else drawn * (mean_ms / measured_ms.mean()))


def arrivals(n: int, mean_gap_ms: float, rng: np.random.Generator, cv2: float = 1.0) -> Float64Array:
    """n times of arrival, ascending: Poisson, or with gaps of a gamma distribution of squared variation `cv2`."""
    if not mean_gap_ms > 0 or not cv2 > 0:
        raise DataError(f"gaps of {mean_gap_ms} ms with squared variation {cv2}; want both above 0")
    gaps = rng.exponential(mean_gap_ms, n) if cv2 == 1.0 else rng.gamma(1.0 / cv2, mean_gap_ms * cv2, n)
    return np.cumsum(gaps)


def requests_at(
    load: float,
    works_ms: Float64Array,
    threads: int,
    rng: np.random.Generator,
    predictor: ModelledPredictor | None = None,
    cv2: float = 1.0,
) -> Requests:
    """The work as requests that offer `load` of the hardware threads, run sequentially; None: predicted perfectly."""
    if not 0 < load < 10:
        raise DataError(f"a load of {load}; want a share of the hardware threads, such as 0.6")
    predictions = works_ms if predictor is None else predictor.predict(works_ms, rng)
    gap_ms = float(works_ms.mean()) / (load * threads)
    return Requests(arrivals(works_ms.size, gap_ms, rng, cv2), works_ms, predictions)
