"""Table 2: requests simulated per second of one core, beside peers; and waits of a plain queue beside a formula."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np

from analytics.tail.policies import Policy, Predictive, RampUp, Sequential, Server, TargetTable, Tpc
from analytics.tail.policy_table import Workload
from analytics.tail.simulation import Requests, simulate
from analytics.tail.speedup import WEB_SEARCH
from analytics.tail.table_search import WARM_UP
from benchmarks.rounds import Candidate, interleaved
from benchmarks.tables import Column, Row, Table
from benchmarks.tail.goals import RATE
from benchmarks.tail.peers import plain_python, plain_queue
from benchmarks.tail.service_times import SYNTHETIC
from benchmarks.tail.sizing import Sizing
from benchmarks.targets import Scoreboard

#: By threads and queue, about what searches find.
TPC: Final = Tpc(TargetTable("threads_and_queue", 4.0, (15.0, 40.0, 50.0, 60.0, 80.0, 80.0, 80.0)))
_SEED, _LOAD = 31, 0.6
_QUEUE: Final = Server(threads=12, workers=12, max_degree=1)
RATES = [
    Column("who", "who"), Column("policy", "policy"), Column("requests", "requests"),
    Column("rate", "requests per CPU s", 0), Column("lowest", "lowest", 0), Column("highest", "highest", 0),
    Column("ratio", "ours / it", 1), Column("apart", "latencies apart from ours, most, ms", 6),
]  # fmt: skip
FORMULA = [
    Column("threads", "threads"), Column("load", "load", 2), Column("waiting", "waiting, simulated", 4),
    Column("erlang", "Erlang C", 4), Column("wait", "mean wait, simulated, ms", 3), Column("mean", "formula, ms", 3),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """The rates, then the formula."""
    return [_rates(size, board, SYNTHETIC), _formula(size)]


def _rates(size: Sizing, board: Scoreboard, workload: Workload) -> Table:
    policies: Mapping[str, Policy] = {one.name: one for one in (Sequential(), Predictive(3), RampUp(10.0), TPC)}
    many = workload.campaign([_LOAD], size.rate_requests, 12, _SEED)[_LOAD]
    few = workload.campaign([_LOAD], size.slow_requests, 12, _SEED)[_LOAD]
    candidates = {
        name: Candidate(partial(_ours, many, Server(), policy), per_run=len(many)) for name, policy in policies.items()
    }
    candidates["plain Python"] = Candidate(lambda _: plain_python(few, Server(), WEB_SEARCH, TPC), per_run=len(few))
    candidates["queue"] = Candidate(partial(_ours, many, _QUEUE, Sequential()), per_run=len(many))
    table = Table("simulating_rates", "2.1 Requests simulated per second of a core", RATES)
    try:
        queue = plain_queue()
    except ModuleNotFoundError:
        table.notes.append("simpy is not installed: left out")
    else:
        candidates["simpy"] = Candidate(lambda _: queue(few, _QUEUE.workers), per_run=len(few))
    timed = interleaved(candidates, size.rounds)
    table.notes += [f"{name} failed: {why}" for name, why in timed.failed.items()]
    table.notes.append(f"Bing-like, synthetic, load {_LOAD:g}; 12 threads, 24 workers; checks of arguments included")
    table.notes.append("a plain queue: 12 workers, no degrees, no sharing, which is all that simpy has")
    for name in [*policies, "plain Python", "queue", "simpy"]:
        if name in timed.seconds:
            rate, peer = timed.rate(name), name in ("plain Python", "simpy")
            row: Row = {
                "who": name if peer else "tailwatch", "policy": _policy_of(name), "rate": rate.median,
                "requests": len(few if peer else many), "lowest": rate.lowest, "highest": rate.highest,
            }  # fmt: skip
            table.rows.append(row)
    if "plain Python" in timed.seconds:
        latencies = simulate(few, Server(), WEB_SEARCH, TPC).latencies_ms
        _beside(table, "plain Python", timed.speedup(TPC.name, "plain Python").median, latencies,
                plain_python(few, Server(), WEB_SEARCH, TPC))  # fmt: skip
    if "simpy" in timed.seconds:
        latencies = simulate(few, _QUEUE, WEB_SEARCH, Sequential()).latencies_ms
        _beside(table, "simpy", timed.speedup("queue", "simpy").median, latencies, queue(few, _QUEUE.workers))
    slowest = min(policies, key=lambda name: timed.rate(name).median)
    board.score(RATE, timed.rate(slowest).median, f"one core, slowest of {len(policies)} policies: {slowest}")
    return table


def _policy_of(name: str) -> str:
    return {"plain Python": TPC.name, "queue": "a plain queue", "simpy": "a plain queue"}.get(name, name)


def _ours(requests: Requests, server: Server, policy: Policy, _: object) -> Any:
    return simulate(requests, server, WEB_SEARCH, policy)


def _beside(table: Table, who: str, ratio: float, ours: "np.ndarray[Any, Any]", theirs: list[float]) -> None:
    row = next(row for row in table.rows if row["who"] == who)
    row["ratio"], row["apart"] = ratio, float(np.abs(ours - np.array(theirs)).max())


def _formula(size: Sizing) -> Table:
    table = Table("simulating_formula", "2.2 A plain queue beside queueing theory (M/M/c)", FORMULA)
    table.notes = [f"{size.rate_requests:,} requests of exponential work, mean 10 ms, one thread each"]
    for threads, load in ((1, 0.7), (4, 0.8), (12, 0.9)):
        rng = np.random.default_rng([_SEED, threads])
        works = rng.exponential(10.0, size.rate_requests)
        arrivals = np.cumsum(rng.exponential(10.0 / (load * threads), works.size))
        server = Server(threads=threads, workers=threads, max_degree=1)
        waits = simulate(Requests(arrivals, works, works), server, WEB_SEARCH, Sequential()).waits_ms
        waits = waits[int(WARM_UP * waits.size) :]
        waiting = erlang_c(threads, load)
        table.rows.append(
            {
                "threads": threads, "load": load, "waiting": float((waits > 1e-9).mean()), "erlang": waiting,
                "wait": float(waits.mean()), "mean": waiting * 10.0 / (threads * (1 - load)),
            }
        )  # fmt: skip
    return table


def erlang_c(threads: int, load: float) -> float:
    """The share of requests that wait in M/M/c."""
    offered = load * threads
    full = offered**threads / math.factorial(threads) / (1 - load)
    return full / (full + sum(offered**k / math.factorial(k) for k in range(threads)))
