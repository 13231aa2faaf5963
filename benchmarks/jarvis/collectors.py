"""Table 6: how many agents one core of a collector sustains, by policy, at 60 % of the budget.

The very frames that an agent sent in a checkpoint interval, after it had settled, are taken in, merged and stored on
SQLite under the headers of several agents.
"""

from agents.shares import POLICIES
from benchmarks.jarvis.cells import ADAPTIVE, BEST_OP, GAIN_BUDGET, feasible, frames_of, of_all
from benchmarks.jarvis.goals import AGENTS
from benchmarks.jarvis.measured import WORKLOADS, offered
from benchmarks.jarvis.sizing import Sizing
from benchmarks.jarvis.taking_in import take_in
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from quantiles._kernels.choice import use_kernels
from quantiles.errors import KernelError
from wire.frame import decode_frame

TARGET_WORKLOAD = "log analytics"
COLUMNS = [
    Column("workload", "workload"), Column("feasible", "budget feasible"), Column("policy", "policy"),
    Column("keeps", "keeps to it"), Column("drained", "rows drained %", 1), Column("frames", "frames an epoch", 1),
    Column("cpu", "ms an epoch", 2), Column("agents", "agents a core", 1), Column("over", "times best-op", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Every workload and policy."""
    table = Table(
        "collectors", f"6. Agents that one core of a collector sustains, at {GAIN_BUDGET:.0%} of the budget", COLUMNS
    )
    table.notes = [
        (
            f"{size.agents} agents (one, but for {TARGET_WORKLOAD}) send the frames of one checkpoint interval, taken "
            "after the counted epochs of table 3; chain, merging and SQLite included, with the compiled kernels where "
            "they are installed. Process CPU."
        ),
        (
            "All agents send the same groups, so pages are shared between them; agents whose keys differ cost more to "
            "write, whatever the policy."
        ),
        "Where the budget is infeasible, policies are no equals: all take more CPU than they got, some far more.",
    ]
    names = (TARGET_WORKLOAD,) if size.quick else tuple(WORKLOADS)
    sent = {name: {policy: frames_of(name, policy, size) for policy in POLICIES} for name in names}
    try:
        _use_compiled(size)
        spent = {
            name: {p: take_in(offered(name, size).workload, frames, _agents(name, size)) for p, frames in one.items()}
            for name, one in sent.items()
        }
    finally:
        use_kernels("numpy")  # as agents have them
    for name in names:
        one, found = offered(name, size), of_all(name, GAIN_BUDGET, size)
        epochs = _agents(name, size) * size.checkpoint_epochs
        per_epoch = {policy: each.cpu_s / epochs for policy, each in spent[name].items()}
        for policy in POLICIES:
            table.rows.append({
                "workload": name, "feasible": "yes" if feasible(found) else "no", "policy": policy,
                "keeps": "yes" if found[policy].keeps else "no",
                "drained": 100 * _drained(sent[name][policy]) / (size.checkpoint_epochs * one.load.records),
                "frames": spent[name][policy].frames / epochs, "cpu": 1e3 * per_epoch[policy],
                "agents": size.epoch_s / per_epoch[policy], "over": per_epoch[BEST_OP] / per_epoch[policy],
            })  # fmt: skip
        if name == TARGET_WORKLOAD:
            gain = per_epoch[BEST_OP] / per_epoch[ADAPTIVE]
            board.score(
                AGENTS, gain, f"{name}; {size.epoch_s / per_epoch[ADAPTIVE]:.1f} agents a core beside "
                f"{size.epoch_s / per_epoch[BEST_OP]:.1f}; drained are {_drained(sent[name][ADAPTIVE]):,} and "
                f"{_drained(sent[name][BEST_OP]):,} rows",
            )  # fmt: skip
    return [table]


def _agents(name: str, size: Sizing) -> int:
    return size.agents if name == TARGET_WORKLOAD else 1


def _use_compiled(size: Sizing) -> None:
    """The collector's kernels, but for a quick run: compiling them takes longer than all the rest of it."""
    try:
        use_kernels("numpy" if size.quick else "numba")
    except KernelError:
        use_kernels("numpy")


def _drained(payloads: tuple[bytes, ...]) -> int:
    """Rows in drained frames."""
    headers = [decode_frame(payload).header for payload in payloads]
    return sum(header.rows for header in headers if header.kind == "drained")
