"""How often an agent does what, from its settings."""

import math
from typing import Final

from agents.config import AgentConfig

TURN_S: Final = 0.1
# Looking after the sources takes no more than this part of the budget, or it is done less often.
TURNING_SHARE: Final = 0.1


def epochs_between_checkpoints(config: AgentConfig) -> int:
    """`checkpoint_s` rounded up to whole epochs."""
    return max(1, math.ceil(config.checkpoint_s / config.epoch_s - 1e-9))


def turn_interval_s(config: AgentConfig, cores: float, turn_s: float) -> float:
    """How often to look after the sources, where a look takes `turn_s`: no more often than the budget is worth."""
    return min(max(TURN_S, turn_s / (TURNING_SHARE * cores)), max(TURN_S, config.epoch_s))
