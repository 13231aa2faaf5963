"""The breaker: when it opens, what holds then, and how it closes again."""

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis.strategies import booleans, floats, lists, tuples

from agents.breaker import LEAST_SAMPLED, Breaker
from agents.config import RuntimeConfig
from agents.shares import Decision

DECISION = Decision(shares={"v": (0.5, 0.5)}, fallback={"v": (1.0, 0.0)}, profile=True)


def breaker_of(epochs: int) -> Breaker:
    """Tripped after so many epochs, else as usual."""
    return Breaker(RuntimeConfig(breaker_epochs=epochs))


def seen(breaker: Breaker, used: Iterable[float], *, empty: bool = True) -> Breaker:
    """Epochs that used so many budgets."""
    for one in used:
        breaker.end_of_epoch(one * 0.5, 0.5, empty=empty)
    return breaker


def test_it_stays_closed_while_the_budget_holds_and_changes_nothing() -> None:
    breaker = seen(breaker_of(3), [1.0, 1.2, 1.2, 1.0, 1.2, 1.2, 1.04, 1.2, 1.2])
    assert (breaker.state, breaker.trips) == ("closed", 0)
    assert breaker.applied(DECISION) is DECISION


def test_over_budget_for_long_enough_every_query_runs_the_cheapest_way() -> None:
    breaker = seen(breaker_of(3), [1.2, 1.2, 1.2])
    assert (breaker.state, breaker.trips) == ("cheapest", 1)
    assert breaker.applied(DECISION) == replace(DECISION, shares=DECISION.fallback)


def test_an_epoch_with_allowance_left_or_files_that_could_wait_is_not_over() -> None:
    breaker = seen(breaker_of(3), [1.2] * 20, empty=False)
    assert breaker.state == "closed"


def test_still_over_live_records_are_thinned_until_the_cpu_fits() -> None:
    breaker = seen(breaker_of(3), [2.0] * 6)
    assert breaker.state == "sampling"
    used = 2.0
    for _ in range(30):
        used = 0.1 + 1.9 * breaker.sampled
        seen(breaker, [used])
    assert 0.85 <= used <= 1.05
    assert breaker.state == "sampling"
    assert breaker.applied(DECISION).sampled == breaker.sampled < 0.6
    assert breaker.applied(DECISION).shares == DECISION.fallback


def test_no_more_records_are_left_out_than_that_saves_cpu() -> None:
    """Most of it is for taking records off the socket, whatever becomes of them."""
    breaker = seen(breaker_of(3), [1.5] * 6)
    for _ in range(40):
        seen(breaker, [1.45 + 0.05 * breaker.sampled])
    assert breaker.state == "sampling"
    assert breaker.sampled >= 0.5
    for _ in range(40):  # now it is the records themselves
        seen(breaker, [0.1 + 2 * breaker.sampled])
    assert 0.1 + 2 * breaker.sampled <= 1.0


def test_it_closes_step_by_step_when_there_is_room_again() -> None:
    breaker = seen(breaker_of(3), [2.0] * 6)
    states = [breaker.state]
    shares = [breaker.sampled]
    for _ in range(60):
        seen(breaker, [0.4 * breaker.sampled], empty=False)
        shares.append(breaker.sampled)
        if breaker.state != states[-1]:
            states.append(breaker.state)
    assert states == ["sampling", "cheapest", "closed"]
    assert shares == sorted(shares)
    assert breaker.applied(DECISION) is DECISION


def test_between_room_and_over_nothing_moves() -> None:
    breaker = seen(breaker_of(3), [2.0] * 6)
    sampled = breaker.sampled
    seen(breaker, [0.95, 1.0, 0.9] * 10)
    assert (breaker.state, breaker.sampled) == ("sampling", sampled)
    cheapest = seen(breaker_of(3), [1.2] * 3)
    seen(cheapest, [0.95] * 30)
    assert cheapest.state == "cheapest"


def test_one_that_trips_again_at_once_stays_open_for_longer_each_time() -> None:
    breaker = breaker_of(3)
    open_for: list[int] = []
    for _ in range(4):
        while breaker.state == "closed":
            seen(breaker, [1.5])
        epochs = 0
        while breaker.state != "closed":
            seen(breaker, [0.5], empty=False)
            epochs += 1
        open_for.append(epochs)
    assert open_for == [3, 6, 12, 24]
    seen(breaker, [0.9] * 20)
    seen(breaker, [1.5] * 3 + [0.5] * 3)
    assert breaker.state == "closed"


def test_however_far_over_it_never_stops_taking_records_in() -> None:
    breaker = seen(breaker_of(2), [1000.0] * 4)
    for _ in range(200):
        seen(breaker, [1000.0 * breaker.sampled])
    assert breaker.sampled == LEAST_SAMPLED


def test_what_is_over_and_what_is_room_are_settings() -> None:
    strict = Breaker(RuntimeConfig(breaker_epochs=2, breaker_over=1.0, breaker_room=0.5))
    lax = Breaker(RuntimeConfig(breaker_epochs=2, breaker_over=1.5, breaker_room=0.95))
    assert [seen(each, [1.2] * 2).state for each in (strict, lax)] == ["cheapest", "closed"]
    seen(lax, [1.6] * 2)
    assert [seen(each, [0.9] * 2, empty=False).state for each in (strict, lax)] == ["cheapest", "closed"]
    strict.configure(RuntimeConfig(breaker_epochs=2))
    assert seen(strict, [0.8] * 2, empty=False).state == "closed"


@pytest.mark.parametrize("used", [0.3, 1.0, 1.2])
def test_reset_and_other_settings(used: float) -> None:
    breaker = seen(breaker_of(2), [3.0] * 4)
    assert breaker.state == "sampling"
    breaker.reset()
    assert (breaker.state, breaker.sampled) == ("closed", 1.0)
    breaker.configure(RuntimeConfig(breaker_epochs=5))
    assert seen(breaker, [used] * 4).state == "closed"


@given(lists(tuples(floats(0, 20), booleans()), max_size=200))
def test_records_are_thinned_only_while_it_samples_and_it_opens_in_order(epochs: list[tuple[float, bool]]) -> None:
    breaker, order = breaker_of(2), Breaker.STATES
    for used, empty in epochs:
        before = order.index(breaker.state)
        breaker.end_of_epoch(used, 1.0, empty=empty)
        assert abs(order.index(breaker.state) - before) <= 1
        assert LEAST_SAMPLED <= breaker.sampled <= 1.0
        assert breaker.sampled == 1.0 or breaker.state == "sampling"
