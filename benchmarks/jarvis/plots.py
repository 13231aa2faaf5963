"""The plots, from saved results: bytes over budget by policy, and shares over epochs through steps of the budget."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Rows = list[dict[str, Any]]
STYLES: dict[str, dict[str, Any]] = {
    "adaptive": {"color": "#0b4fa3", "linewidth": 2.8, "zorder": 6},
    "best-op": {"color": "#d95f02", "linewidth": 1.8, "zorder": 5},
    "lb-dp": {"color": "#7b3294", "linewidth": 1.8, "zorder": 4},
    "filter-src": {"color": "#1b9e77", "linewidth": 1.5, "linestyle": (0, (4, 1.5)), "zorder": 3},
    "all-sp": {"color": "#777777", "linewidth": 1.5, "linestyle": (0, (4, 1.5)), "zorder": 2},
    "all-src": {"color": "#000000", "linewidth": 1.5, "linestyle": (0, (1, 1.5)), "zorder": 2},
}
FOOT = "Synthetic records from fixed seeds, real operators; CPU of the process, encoding, spool and transport included."


def draw(content: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes the plots for which the results have tables; the folder is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    tables: dict[str, Rows] = {table["name"]: table["rows"] for table in content["tables"]}
    makers: dict[str, tuple[str, Callable[[Rows], Figure]]] = {
        "bytes-over-budget.png": ("budgets", bytes_over_budget),
        "shares-over-epochs.png": ("trace", shares_over_epochs),
    }
    drawn = []
    for name, (table, make) in makers.items():
        if table in tables:
            make(tables[table]).savefig(folder / name, dpi=90, metadata={"Software": None})
            drawn.append(folder / name)
    return drawn


def bytes_over_budget(rows: Rows) -> Figure:
    """One panel per workload; an open circle does not keep to its budget, a grey stretch is kept by none."""
    names = list(dict.fromkeys(row["workload"] for row in rows))
    figure = Figure(figsize=(max(9, 4.2 * len(names)), 5.2))
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for panel, name in zip(panels, names, strict=True):
        for policy, style in STYLES.items():
            points = sorted((r for r in rows if (r["workload"], r["policy"]) == (name, policy)), key=_budget)
            x, y = [_budget(r) for r in points], [r["bytes"] for r in points]
            panel.plot(x, y, label=policy, **style)
            for r in points:
                panel.plot(_budget(r), r["bytes"], "o", color=style["color"], markersize=6, zorder=style["zorder"],
                           markerfacecolor=style["color"] if r["keeps"] == "yes" else "white")  # fmt: skip
        beyond = _infeasible([r for r in rows if r["workload"] == name])
        if beyond:
            panel.axvspan(0, beyond + 3, color="#eeeeee", zorder=0)
        panel.set_title(name, fontsize=11)
        panel.set_xlim(left=min(_budget(r) for r in rows) - 6)
        panel.set_ylim(bottom=0)
        panel.set_xlabel("budget, % of what the full local chain needs")
        panel.grid(color="#dddddd")
    panels[0].set_ylabel("KB on the wire per epoch")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(STYLES), frameon=False, bbox_to_anchor=(0.5, 0.05))
    foot = f"Open circles: takes more than it was given; grey: all do. {FOOT}"
    return _finished(figure, "Bytes on the wire by policy and budget", foot)


def shares_over_epochs(rows: Rows) -> Figure:
    """Above what is still here after each proxy, below CPU and budget."""
    figure = Figure(figsize=(12, 7.2))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[1.2, 1])
    epochs = [row["epoch"] for row in rows]
    kept = [[float(e) for e in row["kept"].split()] for row in rows]
    colors = ("#1b9e77", "#0b4fa3", "#d95f02", "#7b3294", "#777777")
    for place in range(len(kept[0])):
        upper.step(epochs, [one[place] for one in kept], where="mid", color=colors[place % 5],
                   linewidth=2.4 - 0.3 * place,
                   label=f"after proxy {place + 1}")  # fmt: skip
    for row in rows:
        if row["state"] == "profile":
            upper.axvspan(row["epoch"] - 0.5, row["epoch"] + 0.5, color="#fff2cc", zorder=0)
    upper.set_ylabel("share of the records still here")
    upper.set_ylim(-0.03, 1.05)
    upper.legend(loc="upper right", fontsize=9)
    lower.step(epochs, [row["cpu"] for row in rows], where="mid", color="#0b4fa3", label="CPU charged")
    lower.step(epochs, [row["budget"] for row in rows], where="mid", color="black", linestyle="--", label="budget")
    lower.set_ylim(bottom=0)
    lower.set_ylabel("cores")
    lower.set_xlabel("epoch")
    lower.legend(loc="upper right", fontsize=9)
    for panel in (upper, lower):
        panel.grid(color="#dddddd")
        for before, row in itertools.pairwise(rows):
            if row["phase"] != before["phase"]:
                panel.axvline(row["epoch"] - 0.5, color="#888888", linewidth=1)
    return _finished(
        figure, "Log analytics through steps of its budget and rate: shares and CPU", f"Yellow: a profile. {FOOT}"
    )


def _infeasible(rows: Rows) -> float:
    """The largest budget of a workload that no policy keeps; 0 when there is none."""
    kept = {_budget(row) for row in rows if row["keeps"] == "yes"}
    return max((_budget(row) for row in rows if _budget(row) not in kept), default=0.0)


def _budget(row: Mapping[str, Any]) -> float:
    return float(row["budget"])


def _finished(figure: Figure, title: str, foot: str) -> Figure:
    figure.suptitle(title, fontsize=13, fontweight="bold")
    figure.text(0.5, 0.02, foot, ha="center", va="bottom", fontsize=8.5, color="#444444")
    figure.tight_layout(rect=(0, 0.11, 1, 0.99))
    return figure
