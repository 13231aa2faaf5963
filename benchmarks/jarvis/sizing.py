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
        hopeless_epochs: the same where the budget is far below what any split takes.
        counted_epochs: a multiple of checkpoint_epochs.
        rates, rate_epochs: how many rates throughput is tried at, and epochs to settle at each.
        agents: whose frames one collector takes in.
        repetitions: of each sequence of steps.
        step_epochs: after each step.
        overhead_rounds, overhead_epochs: runs of the overhead table; from a cold start, and again after a step.
        chain_rounds: of the chain beside Polars, with an epoch's records and with many.
    """

    quick: bool
    need_cores: float
    epoch_s: float
    checkpoint_epochs: int
    budgets: tuple[float, ...]
    settle_epochs: int
    hopeless_epochs: int
    counted_epochs: int
    rates: int
    rate_epochs: int
    agents: int
    repetitions: int
    step_epochs: int
    overhead_rounds: int
    overhead_epochs: int
    chain_rounds: tuple[int, int]


FULL = Sizing(
    quick=False, need_cores=0.53, epoch_s=0.25, checkpoint_epochs=4, budgets=(0.2, 0.4, 0.6, 0.8, 1.0),
    settle_epochs=16, hopeless_epochs=8, counted_epochs=8, rates=7, rate_epochs=12, agents=2, repetitions=4,
    step_epochs=14, overhead_rounds=2, overhead_epochs=20, chain_rounds=(15, 5),
)  # fmt: skip
QUICK = Sizing(
    quick=True, need_cores=0.05, epoch_s=0.25, checkpoint_epochs=2, budgets=(0.6,),
    settle_epochs=6, hopeless_epochs=4, counted_epochs=2, rates=2, rate_epochs=2, agents=1, repetitions=1,
    step_epochs=5, overhead_rounds=1, overhead_epochs=4, chain_rounds=(2, 2),
)  # fmt: skip
