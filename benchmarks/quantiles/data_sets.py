"""Data sets of the sketch benchmarks. All but one are made up here from a seed, and every table says so.

NetMon-like is fitted to quantiles of round-trip times between datacenter servers (p50 798, p90 1,247, p99 1,874,
largest 74,265 us), Pareto to a heavy tail with p50 20 and p99.9 10,000. Search-like is our own invention: no figures of
an index-serving node are known to us. Real service times are used where TAILWATCH_TEST_DATA names a folder with them.
"""

import csv
import gzip
import math
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from quantiles.array_types import FloatArray

SYNTHETIC = "The data is synthetic: generated here from fixed seeds (benchmarks/quantiles/data_sets.py)."
REAL = "searchbench (real)"
REAL_VARIABLE = "TAILWATCH_TEST_DATA"
REAL_FILE = Path("service_times") / "searchbench_times.csv.gz"

Rng = np.random.Generator


def _netmon(rng: Rng, n: int) -> FloatArray:
    """Whole microseconds, mostly repeats; 0.3 % come from a heavy tail."""
    body = np.rint(np.exp(math.log(798) + 0.348 * rng.standard_normal(n)))
    tail = np.minimum(1874 * (1 - rng.random(n)) ** (-1 / 1.2), 74_265)
    return np.maximum(np.where(rng.random(n) < 0.003, np.rint(tail), body), 1.0)


def _search(rng: Rng, n: int) -> FloatArray:
    """Milliseconds: 80 % hit the cache, the others search, all stop at the timeout of 2 s."""
    hit = np.exp(math.log(4) + 0.5 * rng.standard_normal(n))
    miss = np.exp(math.log(60) + 0.9 * rng.standard_normal(n))
    return np.minimum(np.where(rng.random(n) < 0.8, hit, miss), 2000.0)


def _pareto(rng: Rng, n: int) -> FloatArray:
    return 10 / (1 - rng.random(n))


def _normal(rng: Rng, n: int) -> FloatArray:
    return 1e6 + 5e4 * rng.standard_normal(n)


def _uniform(rng: Rng, n: int) -> FloatArray:
    return 90 + 20 * rng.random(n)


def _bimodal(rng: Rng, n: int) -> FloatArray:
    low, high = 200 + 20 * rng.standard_normal(n), 20_000 + 2_000 * rng.standard_normal(n)
    return np.maximum(np.where(rng.random(n) < 0.7, low, high), 1.0)


def _lognormal(sigma: float) -> Callable[[Rng, int], FloatArray]:
    return lambda rng, n: np.exp(math.log(1000) + sigma * rng.standard_normal(n))


LOGNORMAL_05, LOGNORMAL_1 = "lognormal 0.5", "lognormal 1"
GENERATORS: dict[str, Callable[[Rng, int], FloatArray]] = {
    "NetMon-like": _netmon,
    "Search-like": _search,
    "Pareto": _pareto,
    "normal": _normal,
    "uniform": _uniform,
    "bimodal": _bimodal,
    LOGNORMAL_05: _lognormal(0.5),
    LOGNORMAL_1: _lognormal(1.0),
}


def generated(name: str, n: int, seed: int = 0) -> FloatArray:
    """n values of a synthetic data set, float64[n]; equal arguments give equal values."""
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return GENERATORS[name](rng, n)


def service_times() -> tuple[FloatArray | None, str]:
    """The real service times that are above 0, in us and in their file's order, and a sentence on where they are from.

    None where the environment does not lead to them; the sentence then says what to do.
    """
    folder = os.environ.get(REAL_VARIABLE)
    path = Path(folder) / REAL_FILE if folder else None
    if path is None or not path.is_file():
        return None, f"{REAL} skipped: {REAL_VARIABLE} names no folder with {REAL_FILE}."
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        head, *rows = csv.reader(lines)
    timed = [i for i, name in enumerate(head) if name.startswith("us_")]
    values = np.array([float(row[i]) for row in rows for i in timed if row[i]])
    values = values[values > 0]
    return values, f"{REAL}: {len(values):,} measured service times in us from {REAL_FILE.name}, not synthetic."
