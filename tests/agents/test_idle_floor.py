"""The refusal of a budget that an idle agent does not fit into."""

import pytest

from agents.config import BudgetConfig
from agents.errors import AgentError, BudgetTooSmallError
from agents.idle_floor import SAMPLER_CORES, IdleCosts, check_floor

IDLE = IdleCosts(turn_s=0.001, turns_per_s=10, checkpoint_cpu_s=0.004, checkpoint_every_s=2.0)


def test_turns_checkpoints_and_samplers_add_up() -> None:
    assert IDLE.cores == pytest.approx(0.012)
    assert IdleCosts(0.001, 10, 0.004, 2.0, samplers=2).cores == pytest.approx(0.012 + 2 * SAMPLER_CORES)


@pytest.mark.parametrize(
    "budget",
    [BudgetConfig(cores=0.012), BudgetConfig(idle_share=0.1, floor_cores=0.02), BudgetConfig(cgroup_share=0.01)],
)
def test_a_budget_from_the_floor_on_is_taken(budget: BudgetConfig) -> None:
    check_floor(budget, IDLE)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (BudgetConfig(cores=0.011), "agent.budget.cores is 0.011, but this agent takes 0.0120 cores when idle"),
        (BudgetConfig(idle_share=0.9, floor_cores=0.01), "agent.budget.floor_cores is 0.01, but"),
        (BudgetConfig(cgroup_share=0.9, floor_cores=0.01), "set agent.budget.floor_cores to 0.02 or more"),
    ],
)
def test_one_below_it_is_refused_with_both_figures_and_what_to_set(budget: BudgetConfig, said: str) -> None:
    with pytest.raises(BudgetTooSmallError, match=said) as refused:
        check_floor(budget, IDLE)
    assert isinstance(refused.value, AgentError)
    assert "1.00 ms x 10.0 turns a second, 4.0 ms each 2 s" in str(refused.value)
