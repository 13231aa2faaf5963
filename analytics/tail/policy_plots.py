"""The table of policies as a plot: p99 and p99.9 by load, one line a policy."""

from typing import Final, Literal

from analytics.plotting import image_of, needs_library
from analytics.tail.policy_table import PolicyTable

_SHOWN: Final = {0.99: "p99", 0.999: "p99.9"}


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
        for policy in dict.fromkeys(row.policy for row in found.rows):
            rows = [r for r in found.rows if r.policy == policy and not r.collapsed and quantile in r.quantiles_ms]
            values = [row.quantiles_ms[quantile] for row in rows]
            thick = 2.5 if policy == "tpc" else 1.0
            line = axes.plot([r.load for r in rows], [v.value for v in values], marker="o", lw=thick, label=policy)
            lows, highs = [v.low for v in values], [v.high for v in values]
            if None not in lows:
                axes.fill_between([r.load for r in rows], lows, highs, alpha=0.2, color=line[0].get_color())
        axes.set_xlabel("load, share of the hardware threads")
        axes.set_ylabel(f"{name}, ms")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False, fontsize="small")
    of_many = f", the slowest of {found.fan_out}" if found.fan_out > 1 else ""
    figure.suptitle(f"simulated: {found.workload}{of_many}")
    return image_of(figure, kind)
