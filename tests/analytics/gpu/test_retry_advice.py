"""Retry, how, or not: what guards the decision, and what is said about it."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, floats, integers, sampled_from

from analytics.errors import DataError
from analytics.gpu.retry_advice import NODE_REASONS, Limits, advise, lost_gpu_hours
from analytics.gpu.retry_features import situation
from analytics.gpu.retry_model import RetryModel
from analytics.gpu.signatures import Reaction
from analytics.gpu.taxonomy import taxonomy
from tests.analytics.gpu.attempt_rows import attempt, failing

NO_LUCK = Limits(explore=0.0)


def hopeless(reason: str = "nccl_timeout", outcomes: int = 300) -> RetryModel:
    """A model that has seen every retry of a reason fail."""
    model = RetryModel()
    for number in range(outcomes):
        model.learn(situation([attempt(reason=reason, job=f"j{number}")]), passed=False)
    return model


def test_the_model_alone_never_stops_a_job() -> None:
    advice = advise(failing(1), hopeless(), NO_LUCK)
    assert advice.probability < 0.05 < advice.wanted
    assert advice.decision == "same"
    assert any("the model alone stops no job" in why for why in advice.why)


def test_a_failure_that_came_back_and_looks_hopeless_stops_a_job() -> None:
    advice = advise(failing(2), hopeless(), NO_LUCK)
    assert (advice.decision, advice.grounds) == ("never", ("repeated",))


def test_a_failure_that_came_back_and_looks_likely_to_pass_does_not() -> None:
    assert advise(failing(2, hours=0.1), RetryModel(), NO_LUCK).decision == "same"


def test_a_rule_that_says_never_stops_a_job_unless_outcomes_say_that_retries_pay() -> None:
    chain = failing(1, "import_error", 1.0)
    assert advise(chain, RetryModel(), NO_LUCK).grounds == ("rule",)
    model = RetryModel()
    for number in range(60):
        model.learn(situation([attempt(reason="import_error", job=f"j{number}")]), passed=True)
    advice = advise(chain, model, NO_LUCK)
    assert advice.decision == "same"
    assert any("outcomes say that it pays" in why for why in advice.why)


@given(
    reason=sampled_from(sorted(taxonomy())),
    count=integers(1, 6),
    hours=floats(0, 500),
    learned=booleans(),
    rule=sampled_from(["never", "same", "other_node", "more_mem", "backoff", None]),
)
def test_no_job_is_stopped_without_a_ground_beside_the_probability(
    reason: str, count: int, hours: float, learned: bool, rule: Reaction | None
) -> None:
    model = hopeless(reason, 3) if learned else RetryModel()
    advice = advise(failing(count, reason, hours), model, NO_LUCK, rule)
    assert (advice.decision == "never") == bool(advice.grounds)
    if advice.decision == "never" and not {"attempts", "gpu_hours"} & set(advice.grounds):
        assert advice.probability < advice.wanted
    assert count < NO_LUCK.attempts or advice.decision == "never"
    assert 0 < advice.probability < 1
    assert advice.why


def test_ceilings_hold_whatever_the_model_thinks() -> None:
    model = RetryModel()
    for number in range(200):
        model.learn(situation([attempt(job=f"j{number}")]), passed=True)
    assert advise(failing(4, hours=0.01), model).grounds == ("attempts", "repeated")
    few = Limits(gpu_hours=10.0)
    assert advise(failing(1, hours=2.0), model, few).grounds == ("gpu_hours",)
    assert advise(failing(1, hours=1.0), model, few).decision == "same"


def test_what_preemption_takes_counts_against_no_ceiling_of_failures() -> None:
    preempted = [attempt(number, "", 400.0, "preempted") for number in (1, 2, 3)]
    chain = [*preempted, attempt(4, hours=0.1)]
    assert lost_gpu_hours(chain) == pytest.approx(0.8)
    assert advise(chain, RetryModel(), NO_LUCK).decision == "same"


def test_more_is_wanted_the_more_a_retry_may_lose() -> None:
    limits = Limits()
    wanted = [limits.wanted(hours * 3600) for hours in (0.0, 0.01, 1, 8, 24, 1_000)]
    assert wanted == sorted(wanted)
    assert wanted[0] == limits.least
    assert wanted[3] == pytest.approx(0.5)
    assert wanted[-1] == limits.most


def test_nobody_who_waits_no_time_for_a_job_wants_an_unlikely_retry() -> None:
    assert Limits(handback_h=0.0).wanted(0.0) == Limits().most


def test_cheap_hopeless_retries_are_made_in_their_share_and_the_same_ones_each_time() -> None:
    model, limits = RetryModel(seed=5), Limits(explore=0.2)
    chains = [[attempt(reason="syntax_error", hours=0.01, job=f"j{number}")] for number in range(500)]
    explored = [advise(chain, model, limits).explored for chain in chains]
    assert 60 < sum(explored) < 140
    assert explored == [advise(chain, model, limits).explored for chain in chains]
    other = [advise(chain, RetryModel(seed=6), limits).explored for chain in chains]
    assert other != explored
    assert not any(advise([replace(chain[0], gpus=640.0)], model, limits).explored for chain in chains)
    found = advise(chains[explored.index(True)], model, limits)
    assert found.decision == "same"
    assert found.grounds == ()


def test_ceilings_are_not_explored() -> None:
    limits = Limits(explore=0.5)
    chains = [failing(4, "syntax_error", 0.01, job=f"j{number}") for number in range(50)]
    assert {advise(chain, RetryModel(), limits).decision for chain in chains} == {"never"}


def test_a_node_failure_goes_to_another_node_and_names_those_to_avoid() -> None:
    model = RetryModel()
    for job in ("x", "y"):
        model.nodes.add(attempt(1, "nvlink_error", job=job, nodes=("n9",), at_h=0))
    advice = advise([attempt(1, "gpu_ecc", nodes=("n1",), at_h=3)], model)
    assert advice.decision == "other_node"
    assert advice.avoid == ("n1", "n9")


def test_the_same_root_on_other_nodes_is_not_the_node() -> None:
    chain = [attempt(1, "gpu_ecc", 0.1, nodes=("n1",)), attempt(2, "gpu_ecc", 0.1, nodes=("n2",))]
    advice = advise(chain, RetryModel(), NO_LUCK)
    assert advice.decision == "same"
    assert advice.avoid == ()
    assert any("it is not the node" in why for why in advice.why)


def test_only_reasons_of_nodes_count_against_nodes() -> None:
    assert "gpu_ecc" in NODE_REASONS
    assert not {"syntax_error", "cpu_oom", "job_preempted"} & NODE_REASONS


def test_memory_is_doubled_on_running_out_of_it_and_only_twice() -> None:
    decided = [advise(failing(count, "cpu_oom", 0.01), RetryModel(), NO_LUCK) for count in (1, 2, 3)]
    assert [(each.decision, each.memory_factor) for each in decided] == [("more_mem", 2), ("more_mem", 2), ("same", 1)]


def test_waiting_doubles_with_each_repetition() -> None:
    waits = [advise(failing(count, "storage_io", 0.01), RetryModel(), NO_LUCK).wait_s for count in (1, 2, 3)]
    assert waits == [60.0, 120.0, 240.0]


def test_the_rule_that_was_found_wins_over_the_taxonomy() -> None:
    assert advise(failing(1, "gpu_oom", 0.01), RetryModel(), NO_LUCK, "other_node").decision == "other_node"
    assert advise(failing(1, "gpu_ecc", 5.0), RetryModel(), NO_LUCK, "never").grounds == ()  # 0.73 is likely enough


@pytest.mark.parametrize("outcome", ["passed", "running", "killed"])
def test_advice_is_only_for_failures(outcome: str) -> None:
    with pytest.raises(DataError, match="want one whose last attempt failed"):
        advise([attempt(outcome=outcome)], RetryModel())  # type: ignore[arg-type]
    with pytest.raises(DataError, match="no attempts"):
        advise([], RetryModel())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"attempts": 0}, "ceiling of 0 attempts"),
        ({"gpu_hours": -1.0}, "gpu_hours is -1.0"),
        ({"handback_h": math.nan}, "handback_h is nan"),
        ({"least": 0.9}, "between 0.9 and 0.8"),
        ({"explore": 0.9}, "share of 0.9 to explore"),
    ],
)
def test_limits_that_cannot_be_meant_are_refused(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Limits(**wrong)  # type: ignore[arg-type]


def test_attempts_that_are_missing_count_against_the_ceiling() -> None:
    advice = advise([attempt(7, "node_failure")], RetryModel(), Limits(attempts=4))
    assert (advice.decision, advice.grounds) == ("never", ("attempts",))
    advice = advise([attempt(1, outcome="preempted"), attempt(4, "node_failure")], RetryModel(), Limits(attempts=4))
    assert advice.decision != "never"


@pytest.mark.parametrize("unknown", ["gpus", "end"])
def test_a_hopeless_retry_of_unknown_cost_is_not_made_to_learn_from(unknown: str) -> None:
    limits = Limits(explore=0.5)
    long = [
        attempt(1, "syntax_error", hours=90, gpus=0.0 if unknown == "gpus" else 8.0, job=f"j{i}") for i in range(40)
    ]
    if unknown == "end":
        long = [replace(each, end_ns=None) for each in long]
    assert not any(advise([each], RetryModel(), limits).explored for each in long)
