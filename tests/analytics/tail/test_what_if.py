"""Forecasts on synthetic recordings: near the truth where they are told, and refused for the reason that holds."""

import json
from dataclasses import replace

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail.effective import effective_ms
from analytics.tail.forecast_documents import forecast_document
from analytics.tail.forecast_gates import UsedCell, bears_beyond
from analytics.tail.learning import LearnedProfile, learn_profile
from analytics.tail.policies import Fixed, Policy, Predictive, RampUp, Sequential, Server, TargetTable, Tpc
from analytics.tail.policy_documents import policy_from
from analytics.tail.record_gates import raised
from analytics.tail.samples import ARRAYS, Samples
from analytics.tail.simulation import simulate
from analytics.tail.speedup import WEB_SEARCH
from analytics.tail.what_if import Forecast, Question, edges_for, what_if
from analytics.tail.workloads import ModelledPredictor
from tests.analytics.tail.recordings import SERVER, Recording, record

EDGES = (30.0, 80.0)
TPC = Tpc(TargetTable("threads_and_queue", 4, (25, 40, 60, 80, 100, 100, 170)))
PREDICTIVE = Predictive(3)
SEEDS = (1, 2)


def learned(samples: Samples) -> LearnedProfile:
    return learn_profile(samples, SERVER.threads, max_degree=SERVER.max_degree, edges_ms=EDGES)


@pytest.fixture(scope="module")
def explored() -> Recording:
    """Much exploration stands for a long time of little."""
    return record(80_000, 0.45, PREDICTIVE, explore=0.25)


@pytest.fixture(scope="module")
def profile(explored: Recording) -> LearnedProfile:
    return learned(explored.samples)


def truth_p99(recording: Recording, policy: Policy, server: Server = SERVER) -> float:
    latencies = simulate(recording.run.requests, server, WEB_SEARCH, policy).latencies_ms
    return float(np.quantile(latencies[latencies.size // 20 :], 0.99))


def p99(forecast: Forecast) -> float:
    assert forecast.answered, forecast.refusals
    assert forecast.candidate is not None
    return forecast.candidate.quantiles_ms[0.99].value


@pytest.mark.parametrize("candidate", [Sequential(), TPC, RampUp(10)])
def test_a_forecast_is_near_what_the_candidate_really_does(
    candidate: Policy, explored: Recording, profile: LearnedProfile
) -> None:
    forecast = what_if(explored.samples, Question(PREDICTIVE, candidate, SERVER), profile, seeds=SEEDS)
    assert p99(forecast) == pytest.approx(truth_p99(explored, candidate), rel=0.06)
    assert forecast.observed is not None
    assert forecast.current is not None
    assert forecast.gain_p99_pct is not None
    assert forecast.current.quantiles_ms[0.99].value == pytest.approx(truth_p99(explored, PREDICTIVE), rel=0.02)
    assert forecast.observed.quantiles_ms[0.99].value == pytest.approx(truth_p99(explored, PREDICTIVE), rel=1e-6)
    figure = forecast.candidate.quantiles_ms[0.99]  # type: ignore[union-attr]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < figure.value < figure.high
    assert (forecast.gain_p99_pct.value > 0) == (p99(forecast) < forecast.current.quantiles_ms[0.99].value)
    assert sum(one.share_of_time for one in forecast.by_load) == pytest.approx(1)
    assert {cell.degree for cell in forecast.used_cells} >= {1}


@pytest.mark.parametrize("candidate", [Sequential(), TPC, RampUp(10)])
def test_threads_that_slow_each_other_are_forecast(candidate: Policy) -> None:
    server = replace(SERVER, slowdown=0.3)
    recording = record(80_000, 0.4, PREDICTIVE, explore=0.25, server=server)
    told = what_if(recording.samples, Question(PREDICTIVE, candidate, SERVER), learned(recording.samples), seeds=SEEDS)
    assert p99(told) == pytest.approx(truth_p99(recording, candidate, server), rel=0.06)
    assert told.candidate is not None
    figure = told.candidate.quantiles_ms[0.99]
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < figure.value < figure.high


def test_a_fixed_degree_keeps_up_for_less_where_threads_slow_each_other() -> None:
    recording = record(60_000, 0.5, PREDICTIVE, explore=0.25, server=replace(SERVER, slowdown=0.5))
    told = what_if(recording.samples, Question(PREDICTIVE, Fixed(2), SERVER), learned(recording.samples), seeds=SEEDS)
    assert "saturation" in {gate.name for gate in told.gates if not gate.passed}


def test_an_unknown_policy_is_replayed_on_the_threads_that_were_recorded(
    explored: Recording, profile: LearnedProfile
) -> None:
    forecast = what_if(explored.samples, Question(None, Sequential(), SERVER), profile, seeds=SEEDS)
    assert p99(forecast) == pytest.approx(truth_p99(explored, Sequential()), rel=0.06)


def test_load_server_and_predictor_change_what_is_forecast(explored: Recording, profile: LearnedProfile) -> None:
    def told(question: Question) -> float:
        return p99(what_if(explored.samples, question, profile, seeds=SEEDS))

    plain = told(Question(PREDICTIVE, TPC, SERVER))
    assert told(Question(PREDICTIVE, TPC, SERVER, load_multiplier=1.3)) > 1.1 * plain
    assert told(Question(PREDICTIVE, TPC, SERVER, candidate_server=Server(24, 48))) < 0.95 * plain
    assert told(Question(PREDICTIVE, TPC, SERVER, predictor=ModelledPredictor(0.0, 0.0))) < plain
    assert told(Question(PREDICTIVE, TPC, SERVER, fan_out=4)) > 1.1 * plain


REFUSED: list[tuple[str, Question, str, str]] = [
    ("unexplored", Question(Sequential(), TPC, SERVER), "learning", "degree drawn by chance"),
    ("explored", Question(PREDICTIVE, Fixed(3), SERVER, load_multiplier=1.4), "saturation", "smaller degree"),
    ("explored", Question(PREDICTIVE, TPC, SERVER, load_multiplier=3), "extrapolation", "lower load"),
    ("explored", Question(Sequential(), TPC, SERVER), "calibration", "check the policy"),
    ("few", Question(PREDICTIVE, TPC, SERVER), "requests", "take a longer time"),
    ("constant", Question(PREDICTIVE, TPC, SERVER), "learning", "tells none apart"),
    ("jumping", Question(PREDICTIVE, TPC, SERVER), "clocks", ""),
    ("untold", Question(PREDICTIVE, TPC, SERVER), "clocks", "active_threads"),
    ("changing", Question(PREDICTIVE, Sequential(), SERVER), "halves", "load is alike"),
    ("unpredicted", Question(PREDICTIVE, TPC, SERVER), "predictions", "send predicted_us"),
    ("shared", Question(PREDICTIVE, TPC, SERVER), "contention", "memory"),
    ("guessed", Question(PREDICTIVE, TPC, SERVER), "predictor", "train the predictor"),
]


def spoilt(how: str, samples: Samples) -> Samples:
    n = len(samples)
    rng = np.random.default_rng(4)
    if how == "few":
        return samples.where(slice(0, 5_000))
    if how == "jumping":
        moved = samples.arrivals_ms + rng.choice([0.0, 2_000.0], n)
        return replace(samples.where(np.argsort(moved)), arrivals_ms=np.sort(moved))
    predictions, services = samples.predictions_ms, samples.services_ms
    slower = np.where(np.arange(n) < n // 2, 1.0, 2.0)
    changed: dict[str, dict[str, np.ndarray]] = {
        "constant": {"predictions_ms": np.full(n, 13.0)},
        "untold": {"active": np.full(n, -1, np.int32)},
        "unpredicted": {"predictions_ms": np.where(rng.random(n) < 0.1, np.nan, predictions)},
        "changing": {"services_ms": services * slower, "predictions_ms": predictions * slower},
        "shared": {"services_ms": services * (1 + 0.1 * samples.active)},
        "guessed": {"predictions_ms": rng.permutation(predictions)},
    }
    return replace(samples, **changed.get(how, {}))  # type: ignore[arg-type]  # arrays, each by one of its kind


@pytest.mark.parametrize(("how", "question", "gate", "says"), REFUSED, ids=[f"{one[0]}-{one[2]}" for one in REFUSED])
def test_what_the_record_does_not_bear_is_refused_and_says_why(
    how: str, question: Question, gate: str, says: str, explored: Recording, profile: LearnedProfile
) -> None:
    samples = record(20_000, 0.3, Sequential(), explore=0.0).samples if how == "unexplored" else explored.samples
    own = None if gate == "learning" else profile
    forecast = what_if(spoilt(how, samples), question, own, seeds=SEEDS)
    assert not forecast.answered
    assert forecast.candidate is None
    assert forecast.gain_p99_pct is None
    failed = {one.name: one.text for one in forecast.gates if not one.passed}
    assert gate in failed, forecast.gates
    assert says in failed[gate]
    assert set(forecast.refusals) == set(failed.values())


def test_a_class_that_kept_one_degree_tells_nothing_of_others(profile: LearnedProfile) -> None:
    samples = record(40_000, 0.45, PREDICTIVE, explore=0.0).samples
    # All the long ran on three threads, and nothing else did: what else is known of them, this record cannot bear out.
    forecast = what_if(samples, Question(PREDICTIVE, Sequential(), SERVER), profile, seeds=SEEDS)
    assert "identifiability" in {one.name for one in forecast.gates if not one.passed}


def test_its_document_is_json_and_leaves_out_what_is_withheld(explored: Recording, profile: LearnedProfile) -> None:
    refused = what_if(explored.samples, Question(Sequential(), TPC, SERVER), profile, seeds=SEEDS)
    assert refused.withheld is not None
    document = forecast_document(refused, None)
    assert document["current_policy"] is None
    assert "withheld" not in document
    assert document["candidate"] is None
    forecast = what_if(explored.samples, Question(PREDICTIVE, TPC, SERVER), profile, seeds=SEEDS)
    answered = forecast_document(forecast, PREDICTIVE)
    again = json.loads(json.dumps(answered, allow_nan=False))
    assert again == answered
    assert again["answered"] is True
    assert policy_from(again["current_policy"]) == PREDICTIVE
    assert set(again["candidate"]["quantiles_ms"]) == {"p50", "p95", "p99"}, "of 80,000, 76 lie beyond a p99.9"
    assert set(again["gain_p99_pct"]) == {"value", "low", "high"}


@pytest.mark.parametrize(
    ("requests", "replayed", "high", "told"),
    [
        (200_000, 105.0, 1.1, True),
        (90_000, 105.0, 1.1, False),
        (200_000, 115.0, 1.1, False),
        (200_000, 105.0, 1.2, False),
    ],
)
def test_a_quantile_beyond_the_p99_wants_requests_calibration_and_a_narrow_interval(
    requests: int, replayed: float, high: float, told: bool
) -> None:
    assert bears_beyond(0.999, requests, 100.0, replayed, (1 / high, high)) is told


def test_what_corrected_requests_tell_of_one_thread_bears_no_move_to_it() -> None:
    samples = record(80_000, 0.45, TPC, explore=0.01).samples
    found, effective = learned(samples), effective_ms(samples, SERVER.threads)
    many, one = [UsedCell(2, 1, 0.1, 20), UsedCell(2, 4, 0.3, 90)], [UsedCell(2, 1, 0.4, 20)]
    assert raised(samples, found, effective, TPC, many, many).passed
    gate = raised(samples, found, effective, TPC, many, one)
    assert not gate.passed
    assert gate.seen == pytest.approx(0.75)
    assert raised(samples, found, effective, TPC, one, many).passed, "what is wrong cancels on several threads"


def test_a_predictive_policy_parts_classes_at_its_threshold(explored: Recording) -> None:
    assert edges_for(PREDICTIVE, (16.0, 59.0)) == (16, 80)
    assert edges_for(PREDICTIVE, (30.0, 80.0)) == (30, 80)
    assert edges_for(TPC, (16.0, 59.0)) == (16, 59)
    forecast = what_if(explored.samples, Question(PREDICTIVE, Sequential(), SERVER), seeds=SEEDS)
    assert p99(forecast) == pytest.approx(truth_p99(explored, Sequential()), rel=0.06)


def test_progress_grows_and_may_end_it(explored: Recording, profile: LearnedProfile) -> None:
    seen: list[float] = []

    def stop(share: float, _text: str) -> None:
        seen.append(share)
        if share > 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        what_if(explored.samples, Question(PREDICTIVE, TPC, SERVER), profile, seeds=SEEDS, progress=stop)
    assert seen == sorted(seen)
    assert seen[0] == 0
    assert 0.5 < seen[-1] <= 1


def test_questions_that_cannot_be_meant_are_refused(explored: Recording, profile: LearnedProfile) -> None:
    with pytest.raises(DataError, match="load multiplier of nan"):
        Question(None, TPC, SERVER, load_multiplier=float("nan"))
    with pytest.raises(DataError, match="fan-out of 0"):
        Question(None, TPC, SERVER, fan_out=0)
    with pytest.raises(DataError, match="1 seeds; want two"):
        what_if(explored.samples, Question(None, TPC, SERVER), profile, seeds=(1,))
    with pytest.raises(DataError, match=r"want 0\.001 or more"):
        what_if(explored.samples, Question(None, RampUp(0), SERVER), profile, seeds=SEEDS)
    beyond = what_if(
        explored.samples, Question(PREDICTIVE, Fixed(8), SERVER, candidate_server=Server(12, 24, 8)), profile
    )
    (said,) = beyond.refusals
    assert said.startswith("degrees up to 8 are asked about, and speed-ups are known up to 6: ask about fewer, or ")
    nothing = what_if(explored.samples.where(slice(0, 0)), Question(None, TPC, SERVER))
    assert not nothing.answered
    assert any("0 requests" in text for text in nothing.refusals)


def test_requests_of_two_instances_are_two_servers(explored: Recording, profile: LearnedProfile) -> None:
    one = explored.samples
    other = record(40_000, 0.45, PREDICTIVE, explore=0.25, seed=9).samples
    joined = {name: np.concatenate([getattr(one, name), getattr(other, name)]) for name in ARRAYS}
    joined["instances"] = np.repeat([0, 1], [len(one), len(other)]).astype(np.int32)
    both = replace(one, **joined)
    both = both.where(np.argsort(both.arrivals_ms, kind="stable"))
    forecast = what_if(both, Question(PREDICTIVE, TPC, SERVER), profile, seeds=SEEDS)
    assert p99(forecast) == pytest.approx(truth_p99(explored, TPC), rel=0.06)
    assert forecast.requests == pytest.approx(0.95 * len(both), abs=2)
