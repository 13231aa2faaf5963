"""Which shares are chosen for an allowance, given those that hold now."""

from dataclasses import replace

import pytest

from agents import choice, policies
from agents.choice import Question, Refusal
from agents.cost_model import kept_of, predicted
from agents.shares import Shares
from tests.agents.simulated_agent import LOGS, LOGS_KINDS

ALL: Shares = (1.0,) * 4
ALL_S = predicted(LOGS, ALL).cpu_s


def question(allowance_s: float, *, policy: str = "adaptive") -> Question:
    """For the query of log lines."""
    return Question(policy, {"logs": LOGS}, {"logs": LOGS_KINDS}, allowance_s)  # type: ignore[arg-type]


def test_all_that_saves_bytes_is_tried_above_the_allowance_only_from_nearby() -> None:
    allowance_s = ALL_S / 1.07
    near: Shares = (1.0, 1.0, 0.9, 1.0)
    assert choice.choose(question(allowance_s), {"logs": near}) == {"logs": ALL}
    assert choice.choose(question(allowance_s), {"logs": (1.0, 1.0, 0.3, 1.0)}) != {"logs": ALL}
    assert choice.choose(question(ALL_S / 1.1), {"logs": near}) != {"logs": ALL}


@pytest.mark.parametrize("policy", ["adaptive", "best-op", "lb-dp"])
def test_what_is_refused_is_not_chosen_though_it_would_fit(policy: str) -> None:
    wanted = question(2 * ALL_S, policy=policy)
    assert choice.choose(wanted, {"logs": ALL}) == {"logs": ALL}
    less = choice.choose(wanted, {"logs": ALL}, {"logs": ALL})
    assert less != {"logs": ALL}
    assert predicted(LOGS, less["logs"]).cpu_s <= ALL_S


def test_where_nothing_fits_the_cheapest_of_about_equal_ways_with_fewest_bytes_is_chosen() -> None:
    """Draining takes a little less than filtering first, which ships a tenth less."""
    models = {"logs": replace(LOGS, drained_s=(2.0e-6, 1.08e-6, 1.2e-6, 0.4e-6))}
    narrow = Question("adaptive", models, {"logs": LOGS_KINDS}, 0.001)
    drained, filtered = (predicted(models["logs"], (x, 0.0, 0.0, 0.0)) for x in (0.0, 1.0))
    assert drained.cpu_s / policies.ABOUT < filtered.cpu_s < policies.ABOUT * drained.cpu_s
    assert choice.choose(narrow, {"logs": (0.0,) * 4}) == {"logs": (1.0, 0.0, 0.0, 0.0)}


def test_shares_do_not_jump_to_an_answer_that_is_as_good() -> None:
    now: dict[str, Shares] = {"logs": (1.0, 1.0, 0.6, 1.0)}
    cpu_s = predicted(LOGS, now["logs"]).cpu_s
    same: dict[str, Shares] = {"logs": (1.0, 0.8, 0.75, 1.0)}
    assert choice.unless_in_vain(question(cpu_s), now, same) == now
    far_better = choice.choose(question(2 * cpu_s), now)
    assert choice.unless_in_vain(question(2 * cpu_s), now, far_better) == far_better


def test_shares_that_no_longer_fit_move_along_their_path_if_that_is_as_good() -> None:
    now: dict[str, Shares] = {"logs": (1.0, 1.0, 0.6, 1.0)}
    less_s = 0.8 * predicted(LOGS, now["logs"]).cpu_s
    jumped: dict[str, Shares] = {"logs": (0.8, 0.9, 0.6, 1.0)}
    found = choice.unless_in_vain(question(less_s), now, jumped)
    assert found["logs"][:2] == (1.0, 1.0)
    assert predicted(LOGS, found["logs"]).cpu_s == pytest.approx(less_s, rel=0.001)


def test_while_all_is_well_shares_move_in_small_steps_but_jump_at_once() -> None:
    now: dict[str, Shares] = {"logs": (1.0, 1.0, 0.6, 1.0)}
    near: dict[str, Shares] = {"logs": (1.0, 1.0, 0.66, 1.0)}
    stepped = choice.in_steps(now, near)
    assert choice.moved(now, stepped) == pytest.approx(choice.STEP)
    assert kept_of(stepped["logs"])[-1] == pytest.approx(0.62)
    jump: dict[str, Shares] = {"logs": ALL}
    assert choice.in_steps(now, jump) == jump
    assert choice.in_steps({}, jump) == jump


def test_what_is_refused_again_is_refused_for_longer_and_a_change_forgives() -> None:
    refusal = Refusal()
    spans: list[int] = []
    for _ in range(3):
        refusal.note({"logs": ALL})
        epochs = 0
        while refusal.shares is not None:
            refusal.epoch()
            epochs += 1
        spans.append(epochs)
    assert spans == [60, 120, 240]
    refusal.note({"logs": ALL})
    refusal.forget()
    assert refusal.shares is None


def test_the_cheapest_way_stays_while_another_is_about_as_cheap_and_ships_no_less() -> None:
    there = choice.cheapest(question(0.0), {})
    assert there == policies.fallback_for("adaptive", {"logs": LOGS}, {"logs": LOGS_KINDS})
    assert choice.cheapest(question(0.0), there) == there
    assert choice.cheapest(question(0.0), {"logs": ALL}) == there
