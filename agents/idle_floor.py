"""What an agent takes that has nothing to do, and the refusal of a budget below it.

Below that no choice of shares helps: the agent would be over its budget for ever, its breaker would thin records until
almost none are left, and the answers would be worth little. Better to say so at the start.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from agents.config import AgentConfig, BudgetConfig
from agents.errors import BudgetTooSmallError
from agents.pace import epochs_between_checkpoints, turn_interval_s
from agents.sources.source import Source

# The hiccup sampler's CPU, measured as 2.2 to 3.0 % of a core; right after its start it cannot be read off yet.
SAMPLER_CORES: Final = 0.022
# A look of the uplink at a spool with nothing to hand over.
UPLINK_STEP_S: Final = 5e-5


@dataclass(frozen=True, slots=True)
class IdleCosts:
    """CPU seconds of one turn without records and of one checkpoint without data, and how often they come."""

    turn_s: float
    turns_per_s: float
    checkpoint_cpu_s: float
    checkpoint_every_s: float
    samplers: int = 0

    @staticmethod
    def of(config: AgentConfig, turn_s: float, checkpoint_cpu_s: float, samplers: int) -> "IdleCosts":
        """What an agent with these settings takes, from what a turn and a checkpoint took."""
        budget = config.budget
        cores = budget.cores if budget.cores is not None else budget.floor_cores
        return IdleCosts(
            turn_s=turn_s,
            # The end of an epoch is about one more.
            turns_per_s=1 / turn_interval_s(config, cores, turn_s) + 1 / config.epoch_s,
            checkpoint_cpu_s=checkpoint_cpu_s,
            checkpoint_every_s=epochs_between_checkpoints(config) * config.epoch_s,
            samplers=samplers,
        )

    @property
    def cores(self) -> float:
        """What all of it takes."""
        own = self.turn_s * self.turns_per_s + self.checkpoint_cpu_s / self.checkpoint_every_s
        return own + self.samplers * SAMPLER_CORES


def samplers_of(sources: Iterable[Source]) -> int:
    """How many of them have a process of their own."""
    return sum(hasattr(source, "process_id") for source in sources)


def check_floor(budget: BudgetConfig, idle: IdleCosts) -> None:
    """Let pass a budget that an idle agent fits into.

    Raises:
        BudgetTooSmallError: it does not; the message names both figures and what to set.
    """
    name, given = ("cores", budget.cores) if budget.cores is not None else ("floor_cores", budget.floor_cores)
    if given >= idle.cores:
        return
    wanted = -(-idle.cores * 1000 // 10) / 100  # rounded up to hundredths, so that it is enough
    raise BudgetTooSmallError(
        f"agent.budget.{name} is {given:g}, but this agent takes {idle.cores:.4f} cores when idle "
        f"({idle.turn_s * 1e3:.2f} ms x {idle.turns_per_s:.1f} turns a second, "
        f"{idle.checkpoint_cpu_s * 1e3:.1f} ms each {idle.checkpoint_every_s:g} s for a checkpoint, "
        f"{idle.samplers} samplers); set agent.budget.{name} to {wanted:g} or more, a longer agent.checkpoint_s, or "
        "fewer sources"
    )
