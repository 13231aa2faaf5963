"""Table 1: policies by load on 12 hardware threads, simulated, with the target table searched on other requests."""

from analytics.tail.policies import Server
from analytics.tail.policy_table import BASELINES, PolicyTable, policy_table
from benchmarks.tables import Column, Row, Table
from benchmarks.tail.goals import BEST, BEST_LIGHT, GAIN, GAIN_BUSY, LIGHT, LOADS, MEAN_BUSY
from benchmarks.tail.service_times import SYNTHETIC, workloads
from benchmarks.tail.sizing import Sizing
from benchmarks.targets import Scoreboard

COLUMNS = [
    Column("policy", "policy"), Column("load", "load", 2), Column("mean", "mean, ms"), Column("p95", "p95, ms"),
    Column("p99", "p99, ms"), Column("p99_half", "±", 2), Column("p999", "p99.9, ms"), Column("p999_half", "±", 2),
    Column("corrected", "corrected", 3), Column("note", ""),
]  # fmt: skip
MADE_UP = (
    "simulated: 12 hardware threads, 24 workers, degrees up to 6; speed-ups and the predictor's errors are ours, after "
    "the published ones"
)
_CHOSEN, _UNCORRECTED, _SEQUENTIAL = "tpc", "tpc without correction", "sequential"


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """One table for each workload at hand."""
    at_hand, told = workloads()
    found = {one.name: policy_table(one, LOADS, Server(), requests=size.requests, seeds=size.seeds) for one in at_hand}
    tables = [_table(place, one, size) for place, one in enumerate(found.values())]
    tables[-1].notes.append(told)
    _score(found, size, board)
    return tables


def _table(place: int, found: PolicyTable, size: Sizing) -> Table:
    targets = ", ".join(f"{target:g}" for target in found.found.table.targets_ms)
    table = Table(f"policies_{place + 1}", f"1.{place + 1} Policies by load: {found.workload}", COLUMNS)
    found_how = "all threads" if found.found.table.full else "one thread"
    table.notes += [MADE_UP]
    table.notes.append(
        f"{size.requests:,} requests x {size.seeds} seeds at each load, ± of the 95 % interval; targets searched on "
        f"others: by {found.metric} in buckets of {found.found.table.width:g}, {targets} ms, {found_how} a correction, "
        f"{found.found.evaluations:,} tables tried"
    )
    table.rows = [_row(found, policy, load) for policy in dict.fromkeys(row.policy for row in found.rows)
                  for load in LOADS]  # fmt: skip
    return table


def _row(found: PolicyTable, policy: str, load: float) -> Row:
    one = found.row(policy, load)
    cells: Row = {"policy": policy, "load": load, "corrected": one.corrected.value}
    if one.collapsed:
        return cells | {"note": "collapsed: the queue grew without end"}
    cells["mean"] = one.mean_ms.value
    for name, quantile in (("p95", 0.95), ("p99", 0.99), ("p999", 0.999)):
        if (figure := one.quantiles_ms.get(quantile)) is not None:
            cells[name] = figure.value
            cells[f"{name}_half"] = None if figure.high is None else figure.high - figure.value
    return cells


def _at(found: PolicyTable, policy: str, load: float, quantile: float) -> float:
    one = found.row(policy, load)
    figure = one.quantiles_ms.get(quantile)
    return float("inf") if one.collapsed else float("nan") if figure is None else figure.value


def _gain_pct(found: PolicyTable, load: float) -> float:
    return 100 * (1 - _at(found, _CHOSEN, load, 0.999) / _at(found, _UNCORRECTED, load, 0.999))


def _beside_best(found: PolicyTable, load: float) -> tuple[float, str]:
    """The p99 over that of the baseline which is best at this load, and which it is."""
    best, name = min((_at(found, policy.name, load, 0.99), policy.name) for policy in BASELINES)
    return _at(found, _CHOSEN, load, 0.99) / best, f"{name} at {load:g}"


def _score(found: dict[str, PolicyTable], size: Sizing, board: Scoreboard) -> None:
    synthetic = found[SYNTHETIC.name]
    gains = {load: _gain_pct(synthetic, load) for load in (*LIGHT, 0.6)}
    listed = ", ".join(f"{load:g}: {gain:.0f}" for load, gain in gains.items())
    board.score(GAIN, min(gains[load] for load in LIGHT), f"simulated, N = 12, Bing-like, least of {listed}")
    board.score(GAIN_BUSY, gains[0.6], "simulated, N = 12, Bing-like, load 0.6")
    others = [one for name, one in found.items() if name != SYNTHETIC.name]
    for target, loads in ((BEST, LOADS), (BEST_LIGHT, LIGHT)):
        ratio, beside = max(_beside_best(synthetic, load) for load in loads)
        note = "".join(f"; {one.workload}: {max(_beside_best(one, load) for load in loads)[0]:.3f}" for one in others)
        board.score(target, ratio, f"simulated, N = 12, Bing-like, {size.seeds} seeds, beside {beside}{note}")
    note = "".join(f"; {one.workload}: {_mean_beside_sequential(one):.3f}" for one in others)
    board.score(MEAN_BUSY, _mean_beside_sequential(synthetic), f"simulated, N = 12, Bing-like{note}")


def _mean_beside_sequential(found: PolicyTable) -> float:
    return found.row(_CHOSEN, 0.8).mean_ms.value / found.row(_SEQUENTIAL, 0.8).mean_ms.value
