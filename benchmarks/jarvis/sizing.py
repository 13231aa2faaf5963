"""How much is measured: a full run, or a quick one that touches everything in under a minute."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizing:
    """Amounts of work.

    Attributes:
        need_cores: what the full local chain takes at the offered rate; the rate is set by it.
        epoch_s: of offered records in an epoch.
        checkpoint_epochs: between two checkpoints.
        budgets: shares of what the full local chain needs.
        settle_epochs: before anything is counted, for policies that adapt.
        counted_epochs: a multiple of checkpoint_epochs.
        bisections: of the rate, per policy.
        agents, kept_checkpoints: whose frames one collector takes in.
        repetitions: of each sequence of steps.
        step_epochs: after each step.
        overhead_rounds: runs of the overhead table, in turns.
    """

    quick: bool
    need_cores: float
    epoch_s: float
    checkpoint_epochs: int
    budgets: tuple[float, ...]
    settle_epochs: int
    counted_epochs: int
    bisections: int
    agents: int
    kept_checkpoints: int
    repetitions: int
    step_epochs: int
    overhead_rounds: int


FULL = Sizing(
    quick=False, need_cores=0.55, epoch_s=0.25, checkpoint_epochs=4, budgets=(0.2, 0.4, 0.6, 0.8, 1.0),
    settle_epochs=16,
    counted_epochs=8, bisections=4, agents=2, kept_checkpoints=1, repetitions=4, step_epochs=14, overhead_rounds=3,
)  # fmt: skip
QUICK = Sizing(
    quick=True, need_cores=0.1, epoch_s=0.25, checkpoint_epochs=2, budgets=(0.4, 0.6), settle_epochs=8,
    counted_epochs=2, bisections=1, agents=2, kept_checkpoints=1, repetitions=1, step_epochs=6, overhead_rounds=1,
)  # fmt: skip
