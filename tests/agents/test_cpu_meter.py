"""The meter: own CPU and that of children that come and go."""

import os

import psutil
from hypothesis import given
from hypothesis.strategies import booleans, lists, sampled_from, tuples

from agents.cpu_meter import CpuMeter, process_seconds


class Children:
    """Processes that a test starts, lets work and ends."""

    def __init__(self) -> None:
        self.taken_s: dict[int, float] = {}
        self.running: list[int] = []

    def read_s(self, child: int) -> float | None:
        return self.taken_s.get(child)

    def meter(self) -> CpuMeter:
        return CpuMeter(lambda: self.running, own_s=lambda: 5.0, child_s=self.read_s)


def test_what_the_process_took_before_the_meter_was_made_does_not_count() -> None:
    now_s = [7.0]
    meter = CpuMeter(own_s=lambda: now_s[0])
    now_s[0] = 7.5
    assert (meter.own_s(), meter.children_s()) == (0.5, 0.0)


def test_a_sampler_that_dies_keeps_what_it_took_and_the_next_one_adds_to_it() -> None:
    children = Children()
    meter = children.meter()
    children.running, children.taken_s = [11], {11: 2.0}
    assert meter.children_s() == 2.0
    children.running, children.taken_s = [], {}
    assert meter.children_s() == 2.0
    children.running, children.taken_s = [12], {12: 0.25}
    assert meter.children_s() == 2.25


def test_a_child_that_cannot_be_read_any_more_keeps_its_last_reading() -> None:
    children = Children()
    meter = children.meter()
    children.running, children.taken_s = [11], {11: 2.0}
    meter.children_s()
    children.taken_s = {}
    assert (meter.children_s(), meter.children_s()) == (2.0, 2.0)


def test_another_process_under_an_old_number_is_another_process() -> None:
    children = Children()
    meter = children.meter()
    children.running, children.taken_s = [11], {11: 2.0}
    meter.children_s()
    children.taken_s = {11: 0.5}
    assert meter.children_s() == 2.5


@given(lists(tuples(sampled_from([1, 2, 3]), booleans()), max_size=40))
def test_children_never_go_backwards_and_nothing_read_is_forgotten(events: list[tuple[int, bool]]) -> None:
    children = Children()
    meter = children.meter()
    seen_s, worked_s = 0.0, 0.0
    for child, ends in events:
        if child not in children.running:
            children.running.append(child)
            children.taken_s[child] = 0.0
        children.taken_s[child] += 0.5
        worked_s += 0.5
        now_s = meter.children_s()
        assert now_s >= seen_s
        seen_s = now_s
        if ends:
            children.running.remove(child)
            meter.children_s()
    assert seen_s == worked_s


def test_seconds_of_a_process_are_what_the_system_says_and_none_for_one_that_is_gone() -> None:
    times = psutil.Process().cpu_times()
    mine = process_seconds(os.getpid())
    assert mine is not None
    assert mine >= times.user + times.system
    assert process_seconds(2**22 + 1) is None
