"""The simulator: what each policy does with a request, that nothing is lost, and the figures of an independent one."""

import numpy as np
import pytest

from analytics.errors import DataError
from analytics.tail.policies import (
    Adaptive,
    Fixed,
    Policy,
    Predictive,
    RampUp,
    Sequential,
    Server,
    TargetTable,
    Tpc,
    WqLinear,
)
from analytics.tail.simulation import Requests, simulate
from analytics.tail.speedup import WEB_SEARCH, SpeedupProfile
from analytics.tail.workloads import ModelledPredictor, arrivals, bing_like

SERVER = Server()
LONG = TargetTable("long_threads", 3, (15, 40, 40, 60, 60, 50))
QUEUE = TargetTable("threads_and_queue", 4, (15, 40, 50, 60, 80, 80, 80))
SYSTEM = TargetTable("in_system", 3, (25, 50, 80, 80, 100, 100, 100), full=True)
POLICIES: list[Policy] = [
    Sequential(), Fixed(3), Predictive(3), Adaptive(), WqLinear(), RampUp(5), Tpc(LONG), Tpc(QUEUE), Tpc(SYSTEM),
    Tpc(QUEUE, correction=False), Tpc(QUEUE, prediction=False),
]  # fmt: skip


def campaign(n: int, load: float, seed: int = 22) -> Requests:
    rng = np.random.default_rng(seed)
    works = bing_like(n, rng)
    predictions = ModelledPredictor().predict(works, rng)
    gap_ms = works.mean() / (load * SERVER.threads)
    return Requests(arrivals(n, gap_ms, np.random.default_rng(5)), works, predictions)


def one(work: float, prediction: float, policy: Policy) -> tuple[float, int, int]:
    """Latency, first and last degree of a request alone on the server."""
    requests = Requests(np.zeros(1), np.array([work]), np.array([prediction]))
    run = simulate(requests, SERVER, WEB_SEARCH, policy)
    return float(run.latencies_ms[0]), int(run.first_degrees[0]), int(run.last_degrees[0])


def test_each_policy_gives_a_request_alone_what_it_says() -> None:
    assert one(100, 100, Sequential()) == (100, 1, 1)
    assert one(100, 100, Fixed(3)) == (pytest.approx(100 / 2.6), 3, 3)
    assert one(100, 79, Predictive(3)) == (100, 1, 1)
    assert one(100, 80, Predictive(3)) == (pytest.approx(100 / 2.6), 3, 3)
    assert one(100, 100, WqLinear())[1] == 6
    # In 10 ms each: 10 alone, 18.5 on two threads, 26 on three, 32 on four; what is left runs on five.
    done = 10 * (1 + 1.85 + 2.6 + 3.2)
    assert one(100, 1, RampUp(10)) == (pytest.approx(40 + (100 - done) / 3.7), 1, 5)
    # On 1 to 4 threads it would take more than 30 ms; on five 27.
    assert one(100, 100, Tpc(TargetTable("in_system", 3, (30.0,)))) == (pytest.approx(100 / 3.7), 5, 5)
    # Taken for short, it is late after 30 ms, and then gets all.
    late = Tpc(TargetTable("in_system", 3, (30.0,), full=True))
    assert one(100, 5, late) == (pytest.approx(30 + 70 / 4.1), 1, 6)
    assert one(100, 5, Tpc(TargetTable("in_system", 3, (30.0,)), correction=False)) == (100, 1, 1)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_every_request_ends_once_after_at_least_its_work_and_threads_are_never_more_than_workers(
    policy: Policy,
) -> None:
    requests = campaign(20_000, 0.7)
    run = simulate(requests, SERVER, WEB_SEARCH, policy)
    fastest = requests.works_ms / WEB_SEARCH.table[WEB_SEARCH.classes(requests.works_ms), 5]
    assert np.all(run.effective_ms >= fastest * (1 - 1e-9))
    assert np.all(run.ends_ms - run.starts_ms >= run.effective_ms * (1 - 1e-9))
    assert np.all(run.waits_ms >= 0)
    assert np.all(np.diff(run.starts_ms) >= 0), "first come, first served"
    assert np.all(run.active + run.first_degrees <= SERVER.workers)
    assert np.all(run.last_degrees >= run.first_degrees)
    raised = ~np.isnan(run.raised_ms)
    assert run.corrected == raised.sum() == (run.last_degrees > run.first_degrees).sum()
    assert 0.6 < run.utilization <= 1


def test_work_done_adds_up_to_what_the_hardware_was_busy_with() -> None:
    requests = campaign(20_000, 0.5)
    run = simulate(requests, SERVER, WEB_SEARCH, Fixed(2))
    assert np.all(run.last_degrees <= 2)
    classes = WEB_SEARCH.classes(requests.works_ms)
    np.testing.assert_allclose(
        run.effective_ms, requests.works_ms / WEB_SEARCH.table[classes, run.first_degrees - 1], rtol=1e-6
    )
    span = run.ends_ms.max() - requests.arrivals_ms[0]
    threads_ms = (run.first_degrees * run.effective_ms).sum()
    assert run.utilization == pytest.approx(threads_ms / (span * SERVER.threads), rel=1e-6)


# mean, p95, p99, p99.9 in ms of an independent simulator on the same model (600,000 requests each), and corrections.
GOLDEN = [
    (Adaptive(), 0.45, (10.0, 41.5, 98.7, 196), None),
    (RampUp(10), 0.6, (12.9, 53.5, 103, 170), None),
    (Predictive(3), 0.3, (9.9, 47.4, 79.8, 183), None),
    (WqLinear(), 0.3, (10.9, 40.9, 79.2, 180), None),
    (Tpc(LONG), 0.3, (8.3, 34.9, 55.3, 84.9), 0.052),
    (Tpc(QUEUE), 0.6, (11.1, 48.9, 89.0, 143), 0.078),
    (Tpc(SYSTEM), 0.15, (7.8, 29.4, 50.0, 68.0), 0.029),
    (Tpc(QUEUE, correction=False), 0.45, (9.5, 40.7, 70.2, 194), None),
    (Tpc(QUEUE, prediction=False), 0.15, (9.0, 41.2, 67.6, 88.5), 0.444),
]


@pytest.mark.parametrize(
    ("policy", "load", "figures", "raises"), GOLDEN, ids=lambda value: getattr(value, "name", None)
)
def test_it_agrees_with_an_independent_simulator(
    policy: Policy, load: float, figures: tuple[float, ...], raises: float | None
) -> None:
    requests = campaign(600_000, load)
    run = simulate(requests, SERVER, WEB_SEARCH, policy)
    latencies = run.latencies_ms[30_000:]
    found = [latencies.mean(), *np.quantile(latencies, [0.95, 0.99, 0.999])]
    np.testing.assert_allclose(found, figures, rtol=0.03)
    if raises is not None:
        assert run.raises / len(requests) == pytest.approx(raises, rel=0.05)


def test_exploration_gives_the_degree_drawn_as_far_as_workers_are_idle() -> None:
    requests = campaign(5_000, 0.3)
    forced = np.random.default_rng(3).integers(0, 7, 5_000).astype(np.int32)
    run = simulate(
        Requests(requests.arrivals_ms, requests.works_ms, requests.predictions_ms, forced),
        SERVER,
        WEB_SEARCH,
        Sequential(),
    )
    room = SERVER.workers - run.active
    np.testing.assert_array_equal(run.first_degrees, np.where(forced > 0, np.minimum(forced, room), 1))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"works_ms": np.array([1.0, np.nan])}, "works_ms of request 1 is nan; want a finite number"),
        ({"works_ms": np.array([1.0, -2.0])}, "works_ms of request 1 is -2.0; want more than 0 milliseconds"),
        ({"predictions_ms": np.array([0.0, 1.0])}, "predictions_ms of request 0 is 0.0"),
        ({"arrivals_ms": np.array([2.0, 1.0])}, "request 1 arrives before the one in front"),
        ({"works_ms": np.ones(3)}, r"works_ms has shape \(3,\); want one number for each of 2 requests"),
        ({"forced": np.array([1, -1], np.int32)}, "forced degrees"),
    ],
)
def test_requests_that_cannot_run_are_refused(change: dict[str, np.ndarray], words: str) -> None:
    given = {"arrivals_ms": np.array([0.0, 1.0]), "works_ms": np.ones(2), "predictions_ms": np.ones(2)}
    with pytest.raises(DataError, match=words):
        Requests(**(given | change))


def test_what_no_profile_table_or_server_looks_like_is_refused() -> None:
    with pytest.raises(DataError, match="a row of speed-ups does not begin at 1, or falls"):
        SpeedupProfile((), np.array([[1.0, 1.5, 1.4]]))
    with pytest.raises(DataError, match="want a row more than edges"):
        SpeedupProfile((30.0,), np.array([[1.0, 1.5]]))
    with pytest.raises(DataError, match="want at least one, all above 0"):
        TargetTable("in_system", 3, ())
    with pytest.raises(DataError, match="a server with 0 threads"):
        Server(threads=0)
    with pytest.raises(DataError, match="degrees up to 8, and speed-ups are known up to 6"):
        simulate(campaign(10, 0.3), Server(max_degree=8), WEB_SEARCH, Sequential())
    for policy in (Fixed(0), RampUp(0.0), RampUp(1e-300), RampUp(float("nan"))):
        with pytest.raises(DataError):
            simulate(campaign(10, 0.3), SERVER, WEB_SEARCH, policy)


def test_no_requests_are_no_error() -> None:
    none = np.zeros(0)
    assert len(simulate(Requests(none, none, none), SERVER, WEB_SEARCH, Tpc(QUEUE)).ends_ms) == 0
