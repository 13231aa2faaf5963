"""The frozen numbers of the simulated cluster, and run times that have the table's quantiles and shares."""

import numpy as np
import pytest

from analytics.gpu.retry_priors import shipped_priors
from analytics.gpu.simulation.parameters import GRID, PHILLY, ClusterParameters, World
from analytics.gpu.simulation.run_times import run_times
from analytics.gpu.taxonomy import taxonomy


def test_parameters_are_frozen() -> None:
    # Another digest means that every figure simulated before no longer compares.
    assert ClusterParameters().digest() == "2eceea17f4746bbeabd67824d07a5fba1bf34d01a205c1ee8f50760aa3b5ae0f"


def test_the_table_is_whole() -> None:
    assert sum(kind.trials for kind in PHILLY) == 39_776 - 4  # two rows of 3 and 1 have no quantiles
    assert {kind.reason for kind in PHILLY} - set(taxonomy()) == {""}
    assert sum(kind.rtf_share_pct for kind in PHILLY) == pytest.approx(100, abs=0.1)


def test_no_prior_promises_more_than_trials_per_job_allow() -> None:
    priors = shipped_priors()
    too_high = [
        kind.reason for kind in PHILLY if kind.reason and priors.of(kind.reason).success > kind.jobs / kind.trials
    ]
    assert too_high == []


def test_run_times_have_the_quantiles_of_the_table() -> None:
    levels = np.array([0.5, 0.9, 0.95])
    for kind, times in zip(PHILLY, run_times(ClusterParameters()), strict=True):
        assert times.at(levels) / 60 == pytest.approx(kind.rtf_min)
        assert list(times.points_s) == sorted(times.points_s)


def test_run_times_have_the_shares_of_the_table() -> None:
    times = run_times(ClusterParameters())
    total_s = sum(kind.trials * each.mean_s() for kind, each in zip(PHILLY, times, strict=True))
    for kind, each in zip(PHILLY, times, strict=True):
        if kind.rtf_share_pct >= 1:
            assert 100 * kind.trials * each.mean_s() / total_s == pytest.approx(kind.rtf_share_pct, rel=0.02)


def test_means_are_those_of_what_is_drawn() -> None:
    levels = (np.arange(100_000) + 0.5) / 100_000
    for times in run_times(ClusterParameters()):
        assert times.at(levels).mean() == pytest.approx(times.mean_s(), rel=1e-3)


def test_repetitions_are_as_probable_as_the_world_says_however_many_of_them_stay() -> None:
    for kind in PHILLY:
        lower_bound = 1 - kind.jobs / kind.trials
        for world in GRID:
            stays, chance = world.chances(kind)
            repeats = stays + (1 - stays) * chance
            assert repeats == pytest.approx(lower_bound + world.repeat * (1 - lower_bound))
            assert 0 <= stays <= 1
            assert 0 <= chance < 1


def test_where_all_repetitions_stay_nothing_is_chance_and_the_other_way_round() -> None:
    kind = PHILLY[0]
    assert World(0.5, 1.0, 0.9).chances(kind)[1] == pytest.approx(0.0)
    assert World(0.5, 0.0, 0.9).chances(kind)[0] == 0.0
