"""What every table starts from: the load of each workload, and what the full local chain needs for it in this run.

The rate is set by measurement, so that the full local chain takes the cores that the sizing says. The need is
then measured at that rate with everything local and no limit: chain, encoding, spool, transport and the loop.
"""

from dataclasses import dataclass
from functools import cache
from statistics import fmean

from agents.shares import Policy, Shares
from benchmarks.jarvis.host import Epoch, Host
from benchmarks.jarvis.load import Load
from benchmarks.jarvis.sizing import Sizing
from benchmarks.jarvis.workloads import Workload, log_analytics, rack_to_rack, server_to_server

WORKLOADS = {"server to server": server_to_server, "rack to rack": rack_to_rack, "log analytics": log_analytics}
# A budget that nothing here exceeds.
UNLIMITED_CORES = 1000.0
# What is over the budget by more than this does not keep up.
WITHIN = 1.05
_FIRST_GUESS = 20_000
_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Mean:
    """What an epoch took on average, over whole checkpoints.

    overflow: of the records that reached a proxy, the part drained because the allowance was used up.
    kept: the last epoch's e_1..e_M, first query.
    """

    cpu_s: float
    wire_bytes: float
    overflow: float
    kept: Shares
    records: int

    @staticmethod
    def of(epochs: list[Epoch]) -> "Mean":
        """Of at least one epoch."""
        reached = sum(epoch.reached for epoch in epochs)
        return Mean(
            cpu_s=fmean(epoch.cpu_s for epoch in epochs),
            wire_bytes=fmean(epoch.wire_bytes for epoch in epochs),
            overflow=sum(epoch.overflowed for epoch in epochs) / max(1, reached),
            kept=epochs[-1].kept,
            records=epochs[-1].records,
        )


@dataclass(frozen=True, slots=True)
class Offered:
    """A workload at its rate, and the CPU seconds per epoch that the full local chain needs for it."""

    workload: Workload
    load: Load
    need_s: float


@cache
def offered(name: str, size: Sizing) -> Offered:
    """Measured once per run."""
    workload = WORKLOADS[name]()
    wanted_s = size.need_cores * size.epoch_s
    records = _FIRST_GUESS
    for _ in range(_ROUNDS):
        load = Load(workload, records, size.epoch_s)
        need_s = steady(load, "all-src", UNLIMITED_CORES * size.epoch_s, size, settle=size.checkpoint_epochs).cpu_s
        if 0.93 * wanted_s <= need_s <= 1.2 * wanted_s:
            break
        records = round(records * min(20.0, wanted_s / need_s))
    return Offered(workload, load, need_s)


def steady(load: Load, policy: Policy, budget_s: float, size: Sizing, settle: int | None = None) -> Mean:
    """A host of its own, run until it has settled, and then what an epoch takes."""
    with Host(load, policy, budget_s, size) as host:
        host.run(size.settle_epochs if settle is None else settle)
        return counted(host, size)


def counted(host: Host, size: Sizing) -> Mean:
    """What an epoch takes on average from here on; counted over whole stretches between checkpoints."""
    host.run_to_checkpoint()
    return Mean.of(host.run(size.counted_epochs))
