"""Simulated jobs: as the table has them, the same for every policy."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from analytics.gpu.simulation.jobs import MOST_RUNS, simulated_jobs
from analytics.gpu.simulation.parameters import PHILLY, ClusterParameters, World

PARAMETERS = ClusterParameters()
WORLD = World(0.25, 0.5, 0.9)


def test_the_same_seed_makes_the_same_jobs_and_another_one_others() -> None:
    one, two = (simulated_jobs(PARAMETERS, WORLD, 50, 1) for _ in range(2))
    assert one == two
    assert one != simulated_jobs(PARAMETERS, WORLD, 50, 2)


def test_kinds_come_in_the_shares_of_the_table_and_others_beside_them() -> None:
    jobs = simulated_jobs(PARAMETERS, WORLD, 1_000, 0)
    counts = Counter(job.reason for job in jobs)
    in_all = sum(kind.jobs for kind in PHILLY)
    for kind in PHILLY:
        assert counts[kind.reason] == pytest.approx(1_000 * kind.jobs / in_all, abs=1.01)
    assert counts[None] == pytest.approx(1_000 * (96_260 / in_all - 1), abs=1)


def test_run_times_are_those_of_the_tables() -> None:
    jobs = simulated_jobs(PARAMETERS, WORLD, 1_000, 0)
    inputs = [job.fails_after_s / 60 for job in jobs if job.reason == "incorrect_inputs"]
    assert np.quantile(inputs, [0.5, 0.9]) == pytest.approx([1.87, 404.83], rel=0.15)
    quiet = [job.needs_s for job in jobs if job.reason is None]
    assert np.median(quiet) == pytest.approx(874, rel=0.05)
    assert np.mean(quiet) == pytest.approx(18_006, rel=0.1)
    assert all(job.needs_s > job.fails_after_s for job in jobs)


def test_arrivals_are_ascending_and_load_the_cluster_as_the_world_says() -> None:
    for load in (0.5, 0.9):
        jobs = simulated_jobs(PARAMETERS, replace(WORLD, load=load), 200, 0)
        assert [job.arrival_s for job in jobs] == sorted(job.arrival_s for job in jobs)
        needed = sum(job.needed_gpu_s() for job in jobs)
        assert needed / (jobs[-1].arrival_s * PARAMETERS.gpus) == pytest.approx(load, rel=0.02)


def test_worlds_differ_in_what_nobody_knows_and_in_nothing_else() -> None:
    def plain(world: World) -> set[object]:
        jobs = simulated_jobs(PARAMETERS, world, 100, 0)
        return {replace(job, arrival_s=0.0, stays=False, chance=()) for job in jobs}

    assert plain(World(0.0, 0.5, 0.6)) == plain(World(0.75, 1.0, 0.9))


def test_the_first_run_fails_what_stays_fails_until_mended_and_luck_ends_some_time() -> None:
    jobs = [job for job in simulated_jobs(PARAMETERS, World(0.75, 0.5, 0.9), 100, 0) if job.reason is not None]
    assert all(job.run_fails(0, mended=False) and job.run_fails(0, mended=True) for job in jobs)
    staying = [job for job in jobs if job.stays]
    assert 10 < len(staying) < 90
    assert all(job.run_fails(run, mended=False) for job in staying for run in range(MOST_RUNS))
    assert not all(job.run_fails(5, mended=True) for job in staying)
    assert not any(job.run_fails(MOST_RUNS, mended=False) for job in jobs)
