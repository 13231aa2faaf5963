"""Table 5: forecasts beside real runs of the reference server (examples/parallel_service) on two cores of this machine.

Each policy serves in turn, a stretch at a time, under requests of its own; what one recorded is asked for all others. A
stretch during which other programs took much of the cores is run again, once; how much they took is told.
"""

import gc
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Final

import numpy as np
import psutil

from analytics.tail.comparison import quantiles_of
from analytics.tail.effective import effective_ms
from analytics.tail.policies import Policy, Predictive, Sequential, Server, TargetTable, Tpc
from analytics.tail.policy_documents import degree_table
from analytics.tail.samples import COLUMNS, Samples, take_samples
from analytics.tail.slowdown_learning import learn_slowdown
from analytics.tail.speedup import SpeedupProfile
from analytics.tail.what_if import Forecast, Question, what_if
from analytics.tail.workloads import ModelledPredictor, bing_like
from benchmarks.tables import Column, Row, Table
from benchmarks.tail.goals import REAL_ERROR
from benchmarks.tail.sizing import Sizing
from benchmarks.targets import Scoreboard
from examples.parallel_service.client import Traffic, send
from examples.parallel_service.degree_table import DegreeTable, table_of
from examples.parallel_service.policies import ByTable, FixedDegree, PredictedLong
from examples.parallel_service.pricing import Speed, measured_speed
from examples.parallel_service.request_samples import RequestSample
from examples.parallel_service.server import SWITCH_S
from examples.parallel_service.worker_pool import Chooser, WorkerPool

SERVER: Final = Server(threads=2, workers=4, max_degree=2)
LOAD: Final = 0.5
EXPLORED: Final = 0.1
#: Bing-like work, so many times shorter that a minute holds enough of it for a p99.
_SHORTER: Final = 0.125
_LONG_MS: Final = 10.0
# What the server's table says of speed-ups, about as they are: work in pieces on two cores, with little that is shared.
_SPEEDUPS: Final = SpeedupProfile((2.5, 10.0), np.array([[1.0, 1.4], [1.0, 1.8], [1.0, 1.9]]))
#: Share of the cores that others may take during a stretch.
QUIET: Final = 0.1
_SEED: Final = 61
RUNS = [
    Column("policy", "policy"), Column("requests", "requests"), Column("mean", "mean, ms", 2),
    Column("p95", "p95, ms", 2), Column("p99", "p99, ms", 2), Column("corrected", "corrected", 3),
    Column("utilization", "cores used by it, %"), Column("others", "by others, %"),
    Column("slowdown", "slowdown learned", 3), Column("slowdown_low", "low", 3), Column("slowdown_high", "high", 3),
]  # fmt: skip
FORECASTS = [
    Column("recorded", "recorded under"), Column("candidate", "candidate"), Column("forecast", "forecast p99, ms", 2),
    Column("low", "low", 2), Column("high", "high", 2), Column("real", "real p99, ms", 2), Column("off", "off, %"),
    Column("mean_off", "mean off, %"), Column("note", ""),
]  # fmt: skip


@dataclass(slots=True)
class Served:
    """What a policy did: samples of all stretches as if they had followed each other, and what the cores did."""

    requests: list[RequestSample] = field(default_factory=list)
    length_ns: int = 0
    next_ns: int = 1_790_000_000_000_000_000
    wall_s: float = 0.0
    own_s: float = 0.0
    others_s: float = 0.0

    def add(self, stretch: "Served") -> None:
        """One more stretch, which begins where the last one ended."""
        self.requests += [_moved(sample, self.next_ns) for sample in stretch.requests]
        self.next_ns += stretch.length_ns
        self.wall_s += stretch.wall_s
        self.own_s += stretch.own_s
        self.others_s += stretch.others_s

    def samples(self) -> Samples:
        """As Tailwatch reads them."""
        return take_samples({name: np.array([getattr(one, name) for one in self.requests]) for name in COLUMNS})


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """The runs, then the forecasts."""
    cores = psutil.cpu_count() or 1
    if cores < SERVER.threads:
        board.fail(REAL_ERROR, f"skipped: {cores} core here, and the server wants {SERVER.threads}")
        return []
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    try:
        served = _served(size)
    finally:
        sys.setswitchinterval(before_s)
    samples = {policy: one.samples() for policy, one in served.items()}
    runs = Table("serving_runs", "5.1 The reference server, really run", RUNS)
    runs.notes.append(
        f"{SERVER.workers} workers on {SERVER.threads} of {cores} cores of this machine, load {LOAD:g}, {EXPLORED:.0%} "
        f"on a degree by chance; Monte-Carlo work after Bing-like times {1 / _SHORTER:g} times shorter, synthetic"
    )
    runs.rows = [_run_row(policy, one, samples[policy]) for policy, one in served.items()]
    forecasts = Table("serving_forecasts", "5.2 Forecasts beside real runs, on 2 cores", FORECASTS)
    forecasts.notes.append("each policy served other requests; N = 12 is simulated only (tables 1 to 4)")
    asked = {(now, then): what_if(samples[now], Question(now, then, SERVER)) for now, then in permutations(samples, 2)}
    forecasts.rows = [_forecast_row(now, then, one, samples[then]) for (now, then), one in asked.items()]
    _score(forecasts, served, board)
    return [runs, forecasts]


def policies() -> Mapping[Policy, Chooser]:
    """Policies as the simulator and as the reference server have them."""
    by_targets = Tpc(TargetTable("threads_and_queue", 2.0, (2.5, 5.0, 10.0, 15.0)), correct_every_ms=2.0)
    table = served_table(by_targets)
    return {
        Sequential(): FixedDegree(1, EXPLORED, SERVER.max_degree),
        Predictive(2, _LONG_MS): PredictedLong(2, _LONG_MS, EXPLORED, SERVER.max_degree),
        by_targets: ByTable(lambda: table),
    }


def served_table(policy: Tpc) -> DegreeTable:
    """The degree table as the API would answer it."""
    document = degree_table(policy, _SPEEDUPS, SERVER.max_degree)
    return table_of(json.dumps(document | {"version": 1, "explore_share": EXPLORED}).encode())


def _served(size: Sizing) -> dict[Policy, Served]:
    speed = measured_speed()
    found = {policy: Served() for policy in policies()}
    for turn in range(size.serve_rounds):
        for place, (policy, choose) in enumerate(policies().items()):
            traffic = _traffic(size.serve_s, np.random.default_rng([_SEED, turn, place]))
            stretch = _stretch(choose, traffic, speed)
            if _others(stretch) > QUIET and not size.quick:
                stretch = min(stretch, _stretch(choose, traffic, speed), key=_others)
            found[policy].add(stretch)
    return found


def _traffic(seconds: float, rng: np.random.Generator) -> Traffic:
    mean_ms = 13.1 * _SHORTER
    n = int(seconds * 1e3 * LOAD * SERVER.threads / mean_ms)
    works = bing_like(n, rng) * _SHORTER
    predictions = ModelledPredictor(from_ms=30.0 * _SHORTER).predict(works, rng)
    return Traffic(np.cumsum(rng.exponential(mean_ms / (LOAD * SERVER.threads), n)), works, predictions)


def _stretch(choose: Chooser, traffic: Traffic, speed: Speed) -> Served:
    """One run; the collector of garbage would stop all threads for milliseconds, so it waits."""
    found = Served()
    pool = WorkerPool(SERVER.workers, choose, found.requests.append, seed=_SEED)
    gc.collect()
    gc.disable()
    began, began_ns, busy_s, own_s = time.monotonic(), time.time_ns(), _busy_s(), time.process_time()
    try:
        send(traffic, pool, speed)
    finally:
        found.wall_s, found.own_s = time.monotonic() - began, time.process_time() - own_s
        found.others_s = max(0.0, _busy_s() - busy_s - found.own_s)
        gc.enable()
        pool.stop()
    found.requests = [_moved(sample, -began_ns) for sample in found.requests]
    found.length_ns = int(found.wall_s * 1e9)
    return found


def _busy_s() -> float:
    """Seconds that all cores were busy, stolen ones included."""
    times = psutil.cpu_times()
    twice = ("idle", "iowait", "guest", "guest_nice")  # guests are in user and nice already
    return float(sum(times) - sum(getattr(times, name, 0.0) for name in twice))


def _others(stretch: Served) -> float:
    return stretch.others_s / (stretch.wall_s * SERVER.threads)


def _moved(sample: RequestSample, by_ns: int) -> RequestSample:
    return replace(sample, arrival_ns=sample.arrival_ns + by_ns)


def _run_row(policy: Policy, served: Served, samples: Samples) -> Row:
    latencies, spent_s = samples.latencies_ms, served.wall_s * SERVER.threads
    quantiles = quantiles_of(latencies)
    slowdown = learn_slowdown(samples, SERVER.threads, effective_ms(samples, SERVER.threads))
    return {
        "policy": policy.name, "requests": len(samples), "mean": float(latencies.mean()),
        "p95": quantiles.get(0.95), "p99": quantiles.get(0.99),
        "corrected": float((samples.last_degrees > samples.degrees).mean()),
        "utilization": 100 * served.own_s / spent_s, "others": 100 * served.others_s / spent_s,
        "slowdown": slowdown.value, "slowdown_low": slowdown.low, "slowdown_high": slowdown.high,
    }  # fmt: skip


def _forecast_row(now: Policy, then: Policy, forecast: Forecast, really: Samples) -> Row:
    row: Row = {"recorded": now.name, "candidate": then.name}
    real = quantiles_of(really.latencies_ms).get(0.99)
    said = forecast.candidate or forecast.withheld
    if said is not None and real is not None and (figure := said.quantiles_ms.get(0.99)) is not None:
        row |= {
            "forecast": figure.value, "low": figure.low, "high": figure.high, "real": real,
            "off": 100 * (figure.value / real - 1),
            "mean_off": 100 * (said.mean_ms.value / float(really.latencies_ms.mean()) - 1),
        }  # fmt: skip
    if not forecast.answered:
        row["note"] = "refused: " + ", ".join(gate.name for gate in forecast.gates if not gate.passed)
    return row


def _score(forecasts: Table, served: Mapping[Policy, Served], board: Scoreboard) -> None:
    answered = [row for row in forecasts.rows if "note" not in row and isinstance(row.get("off"), float)]
    others = 100 * max(_others(one) for one in served.values())
    of = f"{len(answered)} of {len(forecasts.rows)} answered, 2 cores, others took up to {others:.0f} % of them"
    if not answered:
        board.fail(REAL_ERROR, of)
        return
    worst = max(answered, key=lambda row: abs(float(str(row["off"]))))
    board.score(
        REAL_ERROR, abs(float(str(worst["off"]))), f"{of}; largest: {worst['candidate']} from {worst['recorded']}"
    )
