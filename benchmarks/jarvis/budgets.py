"""Tables 1 to 3: what draining and the local chain cost; what came out at each budget; bytes and CPU of every policy.

A budget is infeasible where every policy takes more than it: however records are split, the agent takes more than it
was given. Nothing is compared there, since what is over the budget is no answer; the table says what the least was.
"""

from math import inf, nan

from agents.shares import POLICIES, Policy
from benchmarks.jarvis.cells import (
    ADAPTIVE,
    BEST_OP,
    GAIN_BUDGET,
    Found,
    best_baseline,
    feasible,
    measured,
    of_all,
)
from benchmarks.jarvis.goals import BYTES, GAIN_OVER_BEST_OP
from benchmarks.jarvis.measured import EXTRA, WITHIN, WORKLOADS, cheapest_s, offered, static
from benchmarks.jarvis.sizing import Sizing
from benchmarks.tables import Column, Row, Table
from benchmarks.targets import Scoreboard

GAIN_WORKLOAD = "log analytics"
COSTS = [
    Column("workload", "workload"), Column("rate", "records/s", 0), Column("raw", "raw bytes", 0),
    Column("local_us", "local chain, us a record", 3), Column("drained_us", "draining, us a record", 3),
    Column("filtered_us", "filter, then draining, us", 3), Column("ratio", "draining / local chain", 2),
    Column("drained_bytes", "drained, bytes a record", 2), Column("local_bytes", "local, bytes a record", 3),
    Column("least", "least budget that a fixed policy keeps %", 0),
]  # fmt: skip
OUTCOME = [
    Column("workload", "workload"), Column("budget", "budget %", 0), Column("feasible", "feasible"),
    Column("least", "least CPU/budget", 2), Column("best", "best other policy"),
    Column("ratio", "adaptive's bytes / its", 3), Column("gain", "best-op's bytes / adaptive's", 2),
    Column("closed", "the same, by the closed form", 2), Column("settled", "epochs to stable"),
]  # fmt: skip
COLUMNS = [
    Column("workload", "workload"), Column("budget", "budget %", 0), Column("policy", "policy"),
    Column("bytes", "KB an epoch", 1), Column("of_raw", "bytes/raw", 4), Column("cpu", "CPU/budget", 3),
    Column("keeps", "keeps to it"), Column("overflow", "overflow %", 2), Column("settled", "epochs to stable"),
    Column("kept", "share here after each proxy"),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Every workload, budget and policy."""
    costs, outcome, table = _costs(size), _outcome(size), _budgets(size)
    ratios: dict[str, dict[str, float | None]] = {}
    for name in WORKLOADS:
        costs.rows.append(_costs_row(name, size))
        ratios[name] = {}
        for share in size.budgets:
            found = of_all(name, share, size)
            outcome.rows.append(_outcome_row(name, share, found))
            table.rows += [_row(name, share, policy, found[policy], size) for policy in POLICIES]
            ratios[name][f"{share:.0%}"] = against_best(found)
    _score_bytes(ratios, board)
    _score_gain(size, board)
    return [costs, outcome, table]


def against_best(found: dict[Policy, Found]) -> float | None:
    """Bytes of the adaptive policy beside the fewest of another that keeps to the budget; None where it is infeasible.

    Infinite where others keep to the budget and it does not; 0 where it alone does.
    """
    if not feasible(found):
        return None
    best = best_baseline(found)
    if not found[ADAPTIVE].keeps:
        return inf
    return found[ADAPTIVE].mean.wire_bytes / found[best].mean.wire_bytes if best else 0.0


def _costs(size: Sizing) -> Table:
    table = Table("costs", "1. What draining and the local chain cost", COSTS)
    table.notes = [
        (
            f"The rate is set so that the full local chain takes {size.need_cores:g} cores; CPU of the whole process: "
            "chain, proxies, loop, encoding, spool, uplink, embedded transport."
        ),
        "Raw: a record as text, numbers as 8 bytes. Relay of racks is a variant of ours, listed but not scored.",
        (
            "Where draining costs more than the local chain, all local is both cheapest and smallest: there is no "
            "split to be found. The last column: the cheapest of all-sp, filter-src and all-src."
        ),
    ]
    return table


def _costs_row(name: str, size: Sizing) -> Row:
    one = offered(name, size)
    records = one.load.records
    drained, filtered = (static(name, policy, size) for policy in ("all-sp", "filter-src"))
    return {
        "workload": name, "rate": records / size.epoch_s, "raw": one.workload.record_bytes,
        "local_us": 1e6 * one.need_s / records, "drained_us": 1e6 * drained.cpu_s / records,
        "filtered_us": 1e6 * filtered.cpu_s / records, "ratio": drained.cpu_s / one.need_s,
        "drained_bytes": drained.wire_bytes / records, "local_bytes": one.local.wire_bytes / records,
        "least": 100 * cheapest_s(name, size) / one.need_s,
    }  # fmt: skip


def _outcome(size: Sizing) -> Table:
    table = Table("outcome", "2. What came out at each budget", OUTCOME)
    table.notes = [
        (
            "Budget: share of what the full local chain needs. Infeasible: every policy takes more than the budget, "
            "the least of them what the fourth column says; nothing is compared there."
        ),
        f"Best other policy: the one with fewest bytes of those that keep to the budget. {_settled_note(size)}",
    ]
    return table


def _budgets(size: Sizing) -> Table:
    table = Table("budgets", "3. Bytes on the wire and CPU by policy and budget", COLUMNS)
    table.notes = [
        (
            f"Means over {size.counted_epochs} epochs after {size.settle_epochs} to settle, at hopeless budgets over "
            f"{size.checkpoint_epochs} after {size.hopeless_epochs}. An epoch is {size.epoch_s:g} s of records, a "
            f"checkpoint comes every {size.checkpoint_epochs * size.epoch_s:g} s."
        ),
        (
            f"A policy keeps to its budget when it takes at most {WITHIN:g} times it and thins nothing out. all-sp, "
            "all-src and filter-src do the same at every budget: they are measured once, without a limit."
        ),
    ]
    return table


def _settled_note(size: Sizing) -> str:
    return f"Epochs to stable: of the adaptive policy from a cold start; none: not within {size.settle_epochs}."


def _outcome_row(name: str, share: float, found: dict[Policy, Found]) -> Row:
    mine, best = found[ADAPTIVE], best_baseline(found)
    row: Row = {
        "workload": name, "budget": 100 * share, "feasible": "yes" if feasible(found) else "no",
        "least": min(one.mean.cpu_s for one in found.values()) / mine.budget_s,
    }  # fmt: skip
    if row["feasible"] == "no":
        return row | {"best": "-"}
    gain, closed = _gain(found)
    return row | {
        "best": best or "none", "ratio": against_best(found) if mine.keeps else None,
        "gain": gain if mine.keeps and found[BEST_OP].keeps else None, "closed": closed, "settled": mine.settled,
    }  # fmt: skip


def _gain(found: dict[Policy, Found]) -> tuple[float, float]:
    """Bytes of best-op by those of the adaptive policy: measured, and by the closed form."""
    mine, other = found[ADAPTIVE], found[BEST_OP]
    promised = mine.closed_form
    closed = promised[BEST_OP] / promised[ADAPTIVE] if promised.get(ADAPTIVE) else nan
    return other.mean.wire_bytes / mine.mean.wire_bytes, closed


def _score_bytes(ratios: dict[str, dict[str, float | None]], board: Scoreboard) -> None:
    """The worst of the feasible budgets of the scored workloads."""
    extra = [ratio for ratio in ratios[EXTRA].values() if ratio is not None]
    cells = {f"{n} at {at}": r for n, by_budget in ratios.items() if n != EXTRA for at, r in by_budget.items()}
    found = {cell: ratio for cell, ratio in cells.items() if ratio is not None}
    worst = max(found, key=lambda cell: found[cell], default="")
    reached = sum(ratio <= 1.03 for ratio in found.values())
    remark = f"{reached} of {len(found)} feasible budgets reach it, worst: {worst}; {len(cells)} in all"
    if extra:
        remark += f"; {EXTRA}, not scored: at worst {max(extra):.2f}"
    board.score(BYTES, found.get(worst, nan), remark)


def _score_gain(size: Sizing, board: Scoreboard) -> None:
    found = {policy: measured(GAIN_WORKLOAD, GAIN_BUDGET, policy, size) for policy in POLICIES}
    gain, closed = _gain(found)
    board.score(
        GAIN_OVER_BEST_OP, gain, f"{GAIN_WORKLOAD} at {GAIN_BUDGET:.0%}; the closed form promises {closed:.2f} "
        f"from the profiled costs, {gain / closed:.2f} of it was measured (0.85 would do)",
    )  # fmt: skip


def _row(name: str, share: float, policy: Policy, found: Found, size: Sizing) -> Row:
    mean, record_bytes = found.mean, offered(name, size).workload.record_bytes
    return {
        "workload": name, "budget": 100 * share, "policy": policy, "bytes": mean.wire_bytes / 1e3,
        "of_raw": mean.wire_bytes / (record_bytes * mean.records), "cpu": mean.cpu_s / found.budget_s,
        "keeps": "yes" if found.keeps else "no", "overflow": 100 * mean.overflow, "settled": found.settled,
        "kept": " ".join(f"{e:.2f}" for e in mean.kept),
    }  # fmt: skip
