"""Jobs on a simulated cluster: counted by hand, and by laws that hold for every policy."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt
from analytics.gpu.retry_advice import Limits
from analytics.gpu.simulation.cluster import simulate
from analytics.gpu.simulation.jobs import SimulatedJob, simulated_jobs
from analytics.gpu.simulation.parameters import ClusterParameters, World
from analytics.gpu.simulation.policies import POLICIES, Advised, Fixed, PerReason, policy

H = 3600.0
SMALL = ClusterParameters(gpus=4)


def job(name: str = "j", reason: str | None = "cpu_oom", **more: object) -> SimulatedJob:
    made = SimulatedJob(
        name,
        "",
        reason,
        gpus=1,
        arrival_s=0.0,
        fails_after_s=1 * H if reason is not None else 0.0,
        needs_s=10 * H,
        stays=False,
        chance=(False,) * 30,
        handback_s=(5 * H,) * 30,
    )
    return replace(made, **more)  # type: ignore[arg-type]


@dataclass
class Noted:
    """Retries once, and writes down what it was told."""

    chains: list[tuple[Attempt, ...]] = field(default_factory=list)

    def wait_s(self, chain: Sequence[Attempt]) -> float | None:
        return 0.0 if len(chain) < 2 else None

    def ended(self, chain: Sequence[Attempt]) -> None:
        self.chains.append(tuple(chain))


def test_a_retry_that_passes_costs_the_failure_and_the_run() -> None:
    found = simulate([job()], SMALL, Fixed(4))
    assert (found.gpu_h, found.failed_gpu_h, found.mean_jct_h) == (11.0, 1.0, 11.0)
    assert (found.retries, found.retries_in_vain, found.handed_back) == (1, 0, 0)


def test_what_stays_is_retried_in_vain_up_to_the_ceiling_and_then_mended() -> None:
    found = simulate([job(stays=True)], SMALL, Fixed(4))
    assert (found.gpu_h, found.failed_gpu_h, found.mean_jct_h) == (14.0, 4.0, 19.0)
    assert (found.retries, found.retries_in_vain, found.handed_back) == (3, 3, 1)


def test_chance_stays_chance_after_a_job_was_handed_back() -> None:
    unlucky = job(chance=(False, True, True, *[False] * 20))
    found = simulate([unlucky], SMALL, Fixed(1))
    assert (found.failed_gpu_h, found.handed_back, found.mean_jct_h) == (3.0, 3, 28.0)


def test_never_retrying_hands_everything_back() -> None:
    found = simulate([job(), job("k", stays=True, gpus=2)], SMALL, Fixed(1))
    assert (found.gpu_h, found.retries, found.handed_back, found.mean_jct_h) == (33.0, 0, 2, 16.0)


def test_the_table_of_reasons_retries_what_it_does_not_rule_out() -> None:
    assert simulate([job(reason="syntax_error")], SMALL, PerReason(4)).handed_back == 1
    assert simulate([job(reason="nccl_timeout")], SMALL, PerReason(4)).handed_back == 0
    assert simulate([job(reason="")], SMALL, PerReason(4)).handed_back == 0


def test_attempts_are_told_as_a_scheduler_would_tell_them() -> None:
    noted = Noted()
    simulate([job(stays=True, gpus=2)], SMALL, noted)
    chain = noted.chains[1]
    assert [(each.job, each.number, each.outcome, each.reason) for each in chain] == [
        ("j", 1, "failed", "cpu_oom"),
        ("j", 2, "failed", "cpu_oom"),
    ]
    assert [each.runtime_s() for each in chain] == [H, H]
    (last,) = noted.chains[-1]
    assert (last.job, last.number, last.outcome, last.reason) == ("j+1", 1, "passed", "")


def test_preemption_is_told_as_such() -> None:
    noted = Noted()
    simulate([job(reason="job_preempted")], SMALL, noted)
    assert noted.chains[0][0].outcome == "preempted"


def test_jobs_wait_until_gpus_are_free_and_small_ones_pass_for_an_hour() -> None:
    quiet = [
        job("wide", None, gpus=4, needs_s=2 * H),
        job("narrow", None, gpus=3, needs_s=10 * H, arrival_s=0.1 * H),
        job("all", None, gpus=4, needs_s=1 * H, arrival_s=0.2 * H),
        job("early", None, gpus=1, needs_s=1 * H, arrival_s=0.3 * H),
        job("late", None, gpus=1, needs_s=1 * H, arrival_s=2.5 * H),
    ]
    found = simulate(quiet, SMALL, Fixed(1))
    # wide 0-2, narrow 2-12; `all` has waited too long at 2, so the small ones start after it, at 13.
    assert found.all_mean_jct_h == pytest.approx((2.0 + 11.9 + 12.8 + 13.7 + 11.5) / 5)
    patient = simulate(quiet, replace(SMALL, passing_h=100.0), Fixed(1))
    assert patient.all_mean_jct_h == pytest.approx((2.0 + 11.9 + 12.8 + 2.7 + 1.5) / 5)


def test_a_job_larger_than_the_cluster_is_refused() -> None:
    with pytest.raises(DataError, match="j wants 8 GPUs of 4"):
        simulate([job(gpus=8)], SMALL, Fixed(1))


@pytest.mark.parametrize("name", POLICIES)
def test_under_every_policy_all_jobs_pass_with_the_same_useful_work(name: str) -> None:
    jobs = simulated_jobs(ClusterParameters(), World(0.5, 0.5, 0.9), 60, 4)
    useful = sum(each.gpus * each.needs_s for each in jobs if each.reason is not None) / H
    found = simulate(jobs, ClusterParameters(), policy(name, Limits(), 0))  # type: ignore[arg-type]
    assert found.gpu_h - found.failed_gpu_h == pytest.approx(useful)
    quiet = sum(each.gpus * each.needs_s for each in jobs if each.reason is None) / H
    assert found.all_gpu_h - found.gpu_h == pytest.approx(quiet)


def test_a_policy_that_learns_ends_up_surer_than_the_priors() -> None:
    jobs = simulated_jobs(ClusterParameters(), World(0.0, 1.0, 0.9), 400, 0)
    learning = Advised(Limits(), learns=True)
    simulate(jobs, ClusterParameters(), learning)
    own = learning.model.quality
    assert own.outcomes > 200
    assert own.model.brier() < 0.8 * own.prior.brier()
    resting = Advised(Limits(), learns=False)
    simulate(jobs, ClusterParameters(), resting)
    assert resting.model.quality.outcomes == 0
