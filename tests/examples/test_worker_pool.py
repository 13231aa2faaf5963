"""The example's pool: degrees as chosen and as far as workers are idle, more for those that run long, and faults."""

import math
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from examples.parallel_service.degree_table import Choice, Load
from examples.parallel_service.policies import FixedDegree
from examples.parallel_service.pricing import Pricing, Speed, payoffs
from examples.parallel_service.request_samples import RequestSample
from examples.parallel_service.worker_pool import Chooser, WorkerPool

WAIT_S = 60.0


class Together:
    """Work that is done only once so many threads are at it."""

    def __init__(self, threads: int) -> None:
        self._all = threading.Barrier(threads, timeout=WAIT_S)

    def run(self) -> None:
        self._all.wait()

    def price(self) -> float:
        return float(self._all.parties)


class Held:
    """Work that lasts until it is let go; `begun` once a thread is at it."""

    def __init__(self) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()

    def run(self) -> None:
        self.begun.set()
        assert self.let_go.wait(WAIT_S)

    def price(self) -> float:
        return 1.0


class Broken:
    """Work that fails."""

    def run(self) -> None:
        raise ArithmeticError("no price")

    def price(self) -> float:
        return math.nan


@contextmanager
def pool(workers: int, choose: Chooser) -> Iterator[tuple[WorkerPool, list[RequestSample]]]:
    recorded: list[RequestSample] = []
    running = WorkerPool(workers, choose, recorded.append, seed=1)
    try:
        yield running, recorded
    finally:
        running.stop()


def test_a_request_runs_on_its_degree_as_far_as_workers_are_idle() -> None:
    with pool(4, FixedDegree(3)) as (running, recorded):
        held = Held()
        first = running.submit(held, 7.0)
        assert held.begun.wait(WAIT_S)
        assert running.load() == Load(active_threads=3, long_threads=0, running=1, waiting=0)
        second = running.submit(Together(1))
        assert second.result(WAIT_S) == 1.0
        held.let_go.set()
        assert first.result(WAIT_S) == 1.0
    one, other = recorded
    assert (one.degree, one.degree_final, one.active_threads, one.in_system) == (1, 1, 3, 1)
    assert (other.degree, other.active_threads, other.predicted_us) == (3, 0, 7_000.0)
    assert other.service_us > 0
    assert math.isnan(other.raised_us)


def test_requests_wait_in_turn_for_a_worker() -> None:
    with pool(1, FixedDegree(2)) as (running, recorded):
        held, waiting = Held(), [Held(), Held()]
        running.submit(held)
        assert held.begun.wait(WAIT_S)
        answers = [running.submit(one) for one in waiting]
        assert running.load().waiting == 2
        for one in (held, *waiting):
            one.let_go.set()
        assert [answer.result(WAIT_S) for answer in answers] == [1.0, 1.0]
    assert [one.arrival_ns for one in recorded] == sorted(one.arrival_ns for one in recorded)
    assert [one.in_system for one in recorded] == [0, 1, 0]


def test_a_request_that_runs_long_gets_more_workers_one_at_a_time_or_all_at_once() -> None:
    for full in (False, True):
        with pool(4, lambda *_: Choice(1, check_after_ms=1.0, every_ms=1.0, full=full, most=3)) as (running, recorded):  # noqa: B023
            assert running.submit(Together(3)).result(WAIT_S) == 3.0
        (one,) = recorded
        assert (one.degree, one.degree_final) == (1, 3)
        assert 1_000 <= one.raised_us <= one.service_us


def test_threads_of_long_requests_are_told_to_those_that_come_after() -> None:
    met: list[Load] = []

    def choose(predicted_ms: float, load: Load, rng: random.Random) -> Choice:
        met.append(load)
        return Choice(2, long=True)

    with pool(4, choose) as (running, recorded):
        held = Held()
        running.submit(held)
        assert held.begun.wait(WAIT_S)
        running.submit(Together(2)).result(WAIT_S)
        held.let_go.set()
    assert met == [Load(0, 0, 0, 0), Load(2, 2, 1, 0)]
    assert [one.long_threads for one in recorded] == [2, 0]
    assert running.load() == Load(0, 0, 0, 0)


def test_a_request_that_fails_tells_whoever_asked_and_the_pool_goes_on() -> None:
    with pool(2, FixedDegree(2)) as (running, recorded):
        with pytest.raises(ArithmeticError, match="no price"):
            running.submit(Broken()).result(WAIT_S)
        assert running.submit(Together(2)).result(WAIT_S) == 2.0
    assert len(recorded) == 1


def test_a_policy_that_fails_costs_parallelism_only() -> None:
    def choose(predicted_ms: float, load: Load, rng: random.Random) -> Choice:
        raise ZeroDivisionError

    with pool(2, choose) as (running, recorded):
        running.submit(Together(1)).result(WAIT_S)
    assert [one.degree for one in recorded] == [1]


def test_what_waits_is_done_before_it_stops_and_then_nothing_is_taken() -> None:
    with pool(1, FixedDegree(1)) as (running, recorded):
        answers = [running.submit(Together(1)) for _ in range(20)]
    assert [answer.result(0) for answer in answers] == [1.0] * 20
    assert len(recorded) == 20
    with pytest.raises(RuntimeError, match="stopped"):
        running.submit(Together(1))


def test_a_price_does_not_depend_on_how_many_threads_it_took() -> None:
    work = Speed(paths_per_ms=2_000.0)
    prices = []
    for degree in (1, 3):
        with pool(3, FixedDegree(degree)) as (running, _):
            prices.append(running.submit(work.work(50.0, seed=9)).result(WAIT_S))
    assert prices[0] == pytest.approx(prices[1], rel=1e-12)
    alone = Pricing(100_000, 1_000, 9)
    alone.run()
    assert alone.price() == pytest.approx(prices[0], rel=1e-12)


def test_a_price_is_that_of_black_and_scholes() -> None:
    def normal(x: float) -> float:
        return 0.5 * (1 + math.erf(x / math.sqrt(2)))

    d1 = (math.log(100 / 105) + 0.02) / 0.2
    work = Pricing(400_000, 1_000, 3)
    work.run()
    assert work.price() == pytest.approx(100 * normal(d1) - 105 * normal(d1 - 0.2), rel=0.02)
    assert payoffs.nopython_signatures


@pytest.mark.parametrize(("paths", "piece"), [(0, 1), (1, 0)])
def test_work_that_is_none_is_refused(paths: int, piece: int) -> None:
    with pytest.raises(ValueError, match="want 1 or more"):
        Pricing(paths, piece)
