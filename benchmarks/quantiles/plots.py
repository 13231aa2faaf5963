"""The plots of the window experiment, as PNG: error over quantile, and p99.9 and its error through a burst."""

import math
from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.quantiles import window_methods as methods
from benchmarks.quantiles.window_experiment import MAIN_PERIOD, WINDOW, WindowResults

FLOOR_PCT = 0.01  # smaller errors, zero among them, are drawn here
BOUND_PCT = 0.5416
NAMES = {
    methods.AOMG_LARGE: "Tailwatch AOMG, 256 largest kept",
    methods.AOMG_SMALL: "Tailwatch AOMG, 32 largest kept (default)",
    methods.PAPER[0.1]: "paper's estimator, few-k 10 %",
    methods.PAPER[1.0]: "paper's estimator, few-k 100 %",
    methods.T_DIGEST: "t-digest, 1,000 centroids",
    methods.KLL: "KLL, k = 200",
}
STYLES: dict[str, dict[str, object]] = {
    methods.AOMG_LARGE: {"color": "#0b4fa3", "linewidth": 2.6, "linestyle": (0, (4, 1.2)), "zorder": 6},
    methods.AOMG_SMALL: {"color": "#0b4fa3", "linewidth": 2.6, "zorder": 5},
    methods.PAPER[0.1]: {"color": "#d95f02", "linewidth": 1.7, "zorder": 4},
    methods.PAPER[1.0]: {"color": "#d95f02", "linewidth": 1.7, "linestyle": (0, (4, 1.2)), "zorder": 4},
    methods.T_DIGEST: {"color": "#7b3294", "linewidth": 1.5, "zorder": 3},
    methods.KLL: {"color": "#777777", "linewidth": 1.5, "zorder": 2},
}
FOOT = (
    f"Synthetic data from fixed seeds. Window {WINDOW:,} values, answered every {MAIN_PERIOD:,}. KiB: kept of a window "
    "of NetMon-like data. KLL's errors vary from run to run.\nErrors are relative to the exact value; those below "
    "0.01 %, exact answers among them, are drawn at 0.01 %. The title names the paper's estimator with few-k 100 %.\n"
)


def draw(results: WindowResults, folder: Path) -> list[Path]:
    """Writes the plots and returns their paths; the folder is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    makers: dict[str, Callable[[WindowResults], Figure]] = {
        "window-error-by-quantile.png": error_by_quantile,
        "window-error-through-burst.png": error_through_burst,
    }
    for name, make in makers.items():
        figure = make(results)
        figure.savefig(folder / name, dpi=90, metadata={"Software": None})  # no version: equal plots, equal bytes
        drawn.append(folder / name)
    return drawn


def error_by_quantile(results: WindowResults) -> Figure:
    """One panel per data set, calm and with bursts: the largest error of each method at each quantile."""
    sets = list(dict.fromkeys(str(row["data_set"]) for row in results.profile))
    figure = Figure(figsize=(12, 4.1 * len(sets) + 1.6))
    panels = figure.subplots(len(sets), 2, sharex=True, sharey=True, squeeze=False)
    for line, data in enumerate(sets):
        for column, burst in enumerate((False, True)):
            panel = panels[line][column]
            for name, style in STYLES.items():
                rows = [
                    row
                    for row in results.profile
                    if (row["data_set"], row["burst"], row["method"]) == (data, burst, name)
                ]
                x = [tail_position(number(row["quantile"])) for row in rows]
                y = [max(FLOOR_PCT, number(row["max_error_pct"])) for row in rows]
                panel.plot(x, y, **style)
            panel.set_title(f"{data}, {'a burst in every window' if burst else 'no bursts'}", fontsize=11)
            error_axis(panel)
            panel.xaxis.set_major_locator(FixedLocator([tail_position(q) for q in (0.5, 0.9, 0.99, 0.999, 0.9999)]))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"p{100 * (1 - 10**-x):.6g}"))
            if column == 0:
                panel.set_ylabel("largest error of the answer, %")
            if line == len(sets) - 1:
                panel.set_xlabel("quantile (the tail is stretched)")
    finish(
        figure,
        results,
        "Largest error at any quantile: " + largest_errors(results.profile, "max_error_pct"),
        FOOT
        + "The largest error over all windows. Burst: the 131 largest values of one sub-window per window times 10.",
    )
    return figure


def error_through_burst(results: WindowResults) -> Figure:
    """A stream with a single burst: p99.9 as each method tells it, above its error."""
    figure = Figure(figsize=(12, 9))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.15])
    for name, style in STYLES.items():
        rows = [row for row in results.timeline if row["method"] == name]
        x = [number(row["values_since_burst"]) / 1000 for row in rows]
        upper.plot(x, [number(row["estimate"]) / 1000 for row in rows], marker="o", markersize=4, **style)
        lower.plot(x, [max(FLOOR_PCT, number(row["error_pct"])) for row in rows], marker="o", markersize=4, **style)
    exact = [row for row in results.timeline if row["method"] == methods.EXACT]
    x = [number(row["values_since_burst"]) / 1000 for row in exact]
    upper.plot(x, [number(row["exact"]) / 1000 for row in exact], color="black", linewidth=5, alpha=0.25, zorder=1)
    inside = [number(row["values_since_burst"]) / 1000 for row in exact if row["burst_in_window"]]
    for panel in (upper, lower):
        panel.axvspan(inside[0] - MAIN_PERIOD / 1000, inside[-1], color="#fff2cc", zorder=0)
        panel.margins(x=0)
    upper.set_yscale("log")
    lower.text(inside[-1] / 2, 0.93, "burst in the window", transform=lower.get_xaxis_transform(), ha="center")
    upper.yaxis.set_major_locator(FixedLocator([3, 5, 10, 20, 50, 100]))
    upper.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
    upper.yaxis.set_minor_locator(NullLocator())
    upper.grid(color="#dddddd")
    upper.set_ylabel("p99.9 of the window, ms")
    upper.set_title("What each method says (thick grey: the exact value)", fontsize=11)
    error_axis(lower)
    lower.set_ylabel("error of p99.9, %")
    lower.set_xlabel("thousand values since the burst began")
    lower.set_title("How far off it is", fontsize=11)
    finish(
        figure,
        results,
        "Largest error of p99.9 through a burst: " + largest_errors(results.timeline, "error_pct"),
        FOOT + "NetMon-like data. Burst: the 131 largest values of one sub-window times 10.",
    )
    return figure


def error_axis(panel: Axes) -> None:
    """A logarithmic error axis with AOMG's bound drawn in."""
    panel.set_yscale("log")
    panel.set_ylim(FLOOR_PCT * 0.8, 30_000)
    ticks = {FLOOR_PCT: "0–0.01", 0.1: "0.1", 1: "1", 10: "10", 100: "100", 1000: "1,000"}
    panel.yaxis.set_major_locator(FixedLocator(list(ticks)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda y, _: ticks.get(y, "")))
    panel.yaxis.set_minor_locator(NullLocator())
    panel.grid(color="#dddddd")
    panel.axhline(BOUND_PCT, color="#0b4fa3", linewidth=1, linestyle=":", zorder=1)


def largest_errors(rows: list[dict[str, object]], key: str) -> str:
    """What a title says: each method's largest error, ours at its default."""
    names = {methods.AOMG_SMALL: "AOMG", methods.PAPER[1.0]: "paper's estimator", methods.T_DIGEST: "t-digest"}
    largest = {
        label: max(number(row[key]) for row in rows if row["method"] == name)
        for name, label in {**names, methods.KLL: "KLL"}.items()
    }
    return ", ".join(f"{label} {shown(error)} %" for label, error in largest.items())


def shown(error: float) -> str:
    """Two digits that count."""
    return f"{error:.2f}" if error < 1 else f"{error:.1f}" if error < 10 else f"{error:,.0f}"


def finish(figure: Figure, results: WindowResults, title: str, foot: str) -> None:
    """A title, one legend for all panels, and what the picture was made of."""
    figure.suptitle(title, fontsize=13, fontweight="bold")
    handles = [
        Line2D([], [], label=f"{label}: {kept_kib(results, name)}", **STYLES[name])  # type: ignore[arg-type]
        for name, label in NAMES.items()
    ]
    handles.append(Line2D([], [], color="#0b4fa3", linewidth=1, linestyle=":", label="AOMG's guarantee, 0.5416 %"))
    height = figure.get_figheight()
    figure.legend(
        handles=handles, loc="lower center", fontsize=9.5, ncols=3, frameon=False, bbox_to_anchor=(0.5, 0.62 / height)
    )
    figure.text(0.5, 0.12 / height, foot, ha="center", va="bottom", fontsize=8.5, color="#444444")
    figure.tight_layout(rect=(0, 1.5 / height, 1, 1))


def kept_kib(results: WindowResults, name: str) -> str:
    """What a method keeps of a window, where it was measured as drawn: NetMon-like data without bursts."""
    wanted = ("NetMon-like", False, MAIN_PERIOD, name)
    for row in results.rows:
        if (row["data_set"], row["burst"], row["period"], row["method"]) == wanted:
            return f"{number(row['state_bytes']) / 1024:.0f} KiB"
    raise ValueError(f"the results have no row for {wanted}, wanted one to say what is kept")


def tail_position(q: float) -> float:
    """Where a quantile lies on an axis on which each nine takes as much room as the one before."""
    return -math.log10(1 - q)


def number(cell: object) -> float:
    """A row's cell as the number it is."""
    assert isinstance(cell, int | float)
    return float(cell)
