"""Made-up attempts of a cluster whose truth is known: which nodes are bad, how often failures repeat, who errs."""

from collections.abc import Mapping

import numpy as np
import polars as pl

from analytics.gpu.attempts import Attempt
from analytics.gpu.traces.columns import frame_of

HOUR = 3_600_000_000_000


def attempt(job: str, outcome: str = "failed", **given: object) -> Attempt:
    """An attempt of an hour on one GPU, an hour after it was submitted; `hours` and `waited` are in hours."""
    fields = {
        "number": 1,
        "user": "u",
        "queue": "q",
        "nodes": ("n1",),
        "gpus": 1.0,
        "hours": 1.0,
        "waited": 1.0,
    } | given
    hours, waited = float(fields.pop("hours")), float(fields.pop("waited"))
    start = int(waited * HOUR)
    times = {"submitted_ns": 0, "start_ns": start, "end_ns": start + int(hours * HOUR), "outcome": outcome}
    return Attempt(job=job, **(times | fields))


def cluster(
    seed: int,
    *,
    jobs: int = 3000,
    nodes: int = 60,
    users: int = 30,
    bad: Mapping[str, float] = {},
    node_faults: float = 0.004,
    repeat: float = 0.5,
    most_attempts: int = 3,
    diagnosed: bool = False,
) -> pl.DataFrame:
    """Attempts of columns.ATTEMPTS.

    Args:
        bad: how many times the faults of others a node has.
        node_faults: a healthy node's faults a GPU hour.
        repeat: how probably a retry fails by its user's error again; users err in 2 to 40 % of their jobs.
    """
    rng = np.random.default_rng(seed)
    errs = rng.beta(1.0, 6.0, users).clip(0.02, 0.4)
    names = [f"synthetic-n{number}" for number in range(nodes)]
    found: list[Attempt] = []
    for job in range(jobs):
        user = int(rng.integers(users))
        gpus = int(rng.choice([1, 2, 4, 8, 16], p=[0.5, 0.15, 0.15, 0.15, 0.05]))
        error = rng.random() < errs[user]
        submitted = int(rng.integers(100 * HOUR))
        start = submitted + int(rng.exponential(0.1 * gpus) * HOUR)
        for number in range(1, most_attempts + 1):
            where = tuple(names[n] for n in rng.choice(nodes, 2 if gpus == 16 else 1, replace=False))
            wanted = float(rng.lognormal(0.5, 1.0))
            hazard = sum(node_faults * gpus / len(where) * bad.get(node, 1.0) for node in where)
            fault = float(rng.exponential(1 / hazard))
            hours = min(wanted, fault, wanted * 0.05 if error else wanted)
            outcome = "failed" if error or fault < wanted else "passed"
            why = (
                ("", "")
                if outcome == "passed"
                else ("gpu_ecc", "infrastructure")
                if fault <= hours
                else ("import_error", "user")
            )
            end = start + int(hours * HOUR)
            reason, category = why if diagnosed else ("", "")
            found.append(
                Attempt(
                    f"synthetic-{job}", number, f"u{user}", f"q{user % 3}", where, float(gpus), submitted, start, end,
                    outcome, reason, category,
                )
            )  # fmt: skip
            if outcome == "passed":
                break
            error, start = bool(error and rng.random() < repeat), end
    return frame_of(found)
