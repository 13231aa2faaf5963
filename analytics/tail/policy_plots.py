"""The table of policies as a plot: p99 and p99.9 by load, one line a policy."""

from typing import Final, Literal

from analytics.plotting import image_of, needs_library
from analytics.tail.policy_table import PolicyTable

_SHOWN: Final = {0.99: "p99", 0.999: "p99.9"}
_EMPTY: Final = "too few requests, or the queue grows"
# Matplotlib has so many colours of its own; from then on lines are dashed.
_COLOURS: Final = 10


def plot_policies(found: PolicyTable, kind: Literal["png", "svg"] = "png") -> bytes:
    """Two panels side by side; loads at which a policy collapsed have no point.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    needs_library()
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    panels = figure.subplots(1, len(_SHOWN), sharex=True)
    for axes, (quantile, name) in zip(panels, _SHOWN.items(), strict=True):
        for place, policy in enumerate(dict.fromkeys(row.policy for row in found.rows)):
            rows = [r for r in found.rows if r.policy == policy and not r.collapsed and quantile in r.quantiles_ms]
            values = [row.quantiles_ms[quantile] for row in rows]
            thick = 2.5 if policy == "tpc" else 1.0
            look = look_of(place)
            axes.plot([r.load for r in rows], [v.value for v in values], marker="o", lw=thick, label=policy, **look)
            lows, highs = [v.low for v in values], [v.high for v in values]
            if None not in lows:
                axes.fill_between([r.load for r in rows], lows, highs, alpha=0.2, color=look["color"])
        if not any(quantile in row.quantiles_ms and not row.collapsed for row in found.rows):
            axes.text(0.5, 0.5, _EMPTY, transform=axes.transAxes, ha="center")
        axes.set_xlabel("load, share of the hardware threads")
        axes.set_ylabel(f"{name}, ms")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize="small")
    of_many = f", the slowest of {found.fan_out}" if found.fan_out > 1 else ""
    figure.suptitle(f"simulated: {found.workload}{of_many}")
    return image_of(figure, kind)


def look_of(place: int) -> dict[str, str]:
    """How the line of this policy looks, unlike those of the others."""
    return {"color": f"C{place % _COLOURS}", "linestyle": "-" if place < _COLOURS else "--"}
