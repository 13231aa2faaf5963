"""The tables of the window experiment, from its rows."""

from benchmarks.quantiles import window_methods as methods
from benchmarks.quantiles.data_sets import SYNTHETIC
from benchmarks.quantiles.window_experiment import CHECKED_LEVELS, LEVELS, MAIN_PERIOD, PERIODS, WINDOW, WindowResults
from benchmarks.tables import Column, Row, Table

Rows = list[dict[str, object]]

RANKS = "Errors are relative to the exact value at the nearest rank, in %."
BURST = "Burst: the 131 largest values of one sub-window in every window are multiplied by 10."
PAPER = (
    "paper: the estimator of Lim et al. (arXiv 1906.00228, ICDE 2020) as rebuilt in paper_estimator.py; few-k 10 %"
    " keeps a tenth of what an exact tail needs for top-k, a tenth for sample-k. A sort stands for its tree here."
)
ALARMS = "paper: where it errs by 10 % and more without bursts at short periods, its burst test gave a false alarm."
PEERS = (
    "KLL and t-digest: one sketch per sub-window, merged anew at each period. KLL cannot be seeded: its errors vary."
)


def tables_of(results: WindowResults) -> list[Table]:
    """Errors at the main period, errors at p99.9 by period, cost by period."""
    shown = [row for row in results.rows if row["data_set"] in _compared(results.rows)]
    errors = [row for row in shown if row["method"] != methods.EXACT]
    periods = [period for period in PERIODS if any(row["period"] == period for row in shown)]
    notes = [SYNTHETIC, *results.notes]
    return [
        _by_level(errors, notes),
        _by_period(errors, periods, notes),
        _cost(shown, periods, notes),
        _guarantee(results),
    ]


def _compared(rows: Rows) -> set[object]:
    """Data sets that all methods ran on; on the others only AOMG was checked."""
    return {row["data_set"] for row in rows if row["method"] == methods.KLL}


def _by_level(rows: Rows, notes: list[str]) -> Table:
    names = {q: f"p{100 * q:g}" for q in LEVELS}
    columns = [Column("data", "data"), Column("method", "method")]
    columns += [Column(name, f"{name} mean / max") for name in names.values()]
    table = Table(
        "window_error_by_level",
        f"Error of the window's quantiles, %: window {WINDOW:,} values, period {MAIN_PERIOD:,}",
        columns,
        [*notes, RANKS, BURST, PAPER, PEERS],
    )
    for data, method, found in _grouped([row for row in rows if row["period"] == MAIN_PERIOD]):
        cells: Row = {names[float(str(row["quantile"]))]: _errors(row) for row in found}
        table.rows.append({"data": data, "method": method, **cells})
    return table


def _by_period(rows: Rows, periods: list[int], notes: list[str]) -> Table:
    columns = [Column("data", "data"), Column("method", "method")]
    columns += [Column(str(period), f"{period // 1024}K") for period in periods]
    table = Table(
        "window_error_by_period",
        f"Error of the window's p99.9 by period, %, mean / max: window {WINDOW:,} values",
        columns,
        [*notes, RANKS, BURST, ALARMS],
    )
    for data, method, found in _grouped([row for row in rows if row["quantile"] == LEVELS[-1]]):
        table.rows.append({"data": data, "method": method, **{str(row["period"]): _errors(row) for row in found}})
    return table


def _cost(rows: Rows, periods: list[int], notes: list[str]) -> Table:
    columns = [Column("method", "method")]
    columns += [Column(f"cpu {period}", f"{period // 1024}K ns/value") for period in periods]
    columns += [Column(f"state {period}", f"{period // 1024}K KiB") for period in periods]
    first = str(rows[0]["data_set"])
    table = Table(
        "window_cost",
        f"Cost of a full window by period, {first}, no burst: CPU to add a value, expiry and one answer per period "
        "included; what is kept of the sub-windows",
        columns,
        [*notes, PAPER, PEERS],
    )
    wanted = [row for row in rows if row["data_set"] == first and not row["burst"] and row["quantile"] == LEVELS[0]]
    for _, method, found in _grouped(wanted):
        cells: Row = {}
        for row in found:
            cells[f"cpu {row['period']}"] = 1000 * float(str(row["cpu_us_per_value"]))
            cells[f"state {row['period']}"] = float(str(row["state_bytes"])) / 1024
        table.rows.append({"method": method, **cells})
    return table


def _guarantee(results: WindowResults) -> Table:
    ours = [row for row in results.rows if row["method"] in methods.OURS]
    checked = sorted({str(row["data_set"]) for row in ours})
    scope = (
        f"{results.answers_checked:,} answers on {', '.join(checked)}, with and without bursts, from the first "
        f"sub-window on, at {len(CHECKED_LEVELS)} levels and at the edges of few-k."
    )
    table = Table(
        "window_guarantee",
        "AOMG's guarantee over everything checked",
        [Column("what", "what"), Column("found", "found", 4)],
        [SYNTHETIC, scope],
    )
    table.rows = [
        {"what": "largest relative error, % (guaranteed 0.5416)", "found": results.max_error_pct},
        {"what": "where", "found": results.worst},
        {"what": "few-k answers equal the exact ones wherever n (1 - q) < k", "found": str(results.tail_exact)},
    ]
    return table


def _grouped(rows: Rows) -> list[tuple[str, str, Rows]]:
    """Rows of one data set, burst and method together, in their first order."""
    groups: dict[tuple[str, str], Rows] = {}
    for row in rows:
        data = f"{row['data_set']}{', burst' if row['burst'] else ''}"
        groups.setdefault((data, str(row["method"])), []).append(row)
    return [(data, method, found) for (data, method), found in groups.items()]


def _errors(row: dict[str, object]) -> str:
    return f"{float(str(row['mean_error_pct'])):.2f} / {float(str(row['max_error_pct'])):.2f}"
