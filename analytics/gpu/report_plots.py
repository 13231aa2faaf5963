"""The report as plots: one figure a question, as bytes of PNG or SVG; what a trace does not tell is not drawn.

Equal reports give equal bytes. Synthetic jobs are called so in every title.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import polars as pl

from analytics.gpu.gpu_buckets import GPU_BUCKETS, gpu_bucket
from analytics.gpu.report import Report
from analytics.plotting import image_of, needs_library

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_BARS: Final = 15
_MOST_NAMES: Final = 10
#: A curve of a million jobs is drawn as so many of their quantiles.
_POINTS: Final = 500
#: The same in every report, told apart by those who see red and green alike.
_COLOURS: Final = {
    "passed": "#0072b2",
    "failed": "#d55e00",
    "killed": "#999999",
    "preempted": "#f0e442",
    "timeout": "#e69f00",
    "node_failure": "#882255",
    "running": "#56b4e9",
}


def plots(found: Report, attempts: pl.DataFrame, kind: Literal["png", "svg"] = "png") -> dict[str, bytes]:
    """The plots that the report has data for, by name.

    Args:
        attempts: report.counted_attempts of the same trace.
    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    needs_library()
    return dict(_drawn(found, attempts, kind))


def _drawn(found: Report, attempts: pl.DataFrame, kind: str) -> Iterator[tuple[str, bytes]]:
    from matplotlib.figure import Figure  # noqa: PLC0415

    prefix = "synthetic: " if found.synthetic else ""
    for name, (title, draw) in _PLOTS.items():
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.add_subplot()
        if draw(axes, found, attempts):
            axes.set_title(prefix + title)
            axes.spines[["top", "right"]].set_visible(False)
            yield name, image_of(figure, kind)


def _outcomes(axes: "Axes", found: Report, _: pl.DataFrame) -> bool:
    bars = ("attempt_share", "job_share", "gpu_hours_share")
    left = np.zeros(len(bars))
    for row in found.outcomes.iter_rows(named=True):
        widths = np.array([100 * (row[name] or 0.0) for name in bars])
        axes.barh(
            ["attempts", "jobs", "GPU time"], widths, left=left, label=row["outcome"], color=_COLOURS[row["outcome"]]
        )
        left += widths
    axes.set_xlabel("share, %")
    axes.invert_yaxis()
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=7, frameon=False)
    return True


def _lost(axes: "Axes", found: Report, _: pl.DataFrame) -> bool:
    key = next((key for key in ("reason", "gpus") if key in found.failures), None)
    if key is None:
        return False
    table = found.failures[key].head(_MOST_BARS)
    axes.barh(table[key].to_list(), table["gpu_hours_lost"].fill_null(0.0).to_list())
    axes.invert_yaxis()
    axes.set_xlabel("GPU hours of failed attempts")
    axes.set_ylabel({"gpus": "GPUs"}.get(key, key))
    return True


def _to_failure(axes: "Axes", _: Report, attempts: pl.DataFrame) -> bool:
    return _curves(axes, attempts.filter("failed"), "runtime_s", "minutes until the failure")


def _waits(axes: "Axes", _: Report, attempts: pl.DataFrame) -> bool:
    return _curves(axes, attempts, "queued_s", "minutes between submission and start")


def _curves(axes: "Axes", attempts: pl.DataFrame, column: str, label: str) -> bool:
    """Shares of attempts at or below a time, a curve a class of GPU counts."""
    known = attempts.filter(pl.col(column).is_not_null()).select(minutes=pl.col(column) / 60, gpus=gpu_bucket())
    shares = (np.arange(_POINTS) + 1) / _POINTS
    for bucket in GPU_BUCKETS.categories:
        minutes = known.filter(pl.col("gpus") == bucket)["minutes"].to_numpy()
        if minutes.size:
            times = np.quantile(minutes, shares, method="inverted_cdf")
            axes.step(np.maximum(times, 1 / 60), 100 * shares, where="post", label=f"{bucket} GPUs ({minutes.size:,})")
    if not axes.lines:
        return False
    axes.set_xscale("log")  # below a second everything is one second
    axes.set_xlabel(label)
    axes.set_ylabel("share, %")
    axes.legend(frameon=False)
    return True


def _repeats(axes: "Axes", found: Report, _: pl.DataFrame) -> bool:
    if found.repeats is None or not found.repeats.by_number:
        return False
    rows = [(number, share) for number, share in found.repeats.by_number if share.value is not None]
    values = np.array([share.value for _, share in rows], dtype=np.float64)
    low = np.array([share.low if share.low is not None else share.value for _, share in rows], dtype=np.float64)
    high = np.array([share.high if share.high is not None else share.value for _, share in rows], dtype=np.float64)
    names = [f"{number}\n({share.trials:,})" for number, share in rows]
    spread = 100 * np.clip(np.stack([values - low, high - values]), 0.0, None)
    axes.errorbar(names, 100 * values, yerr=spread, fmt="o", capsize=4)
    axes.set_ylim(0, 100)
    axes.set_xlabel("attempt that failed (how many, retried)")
    axes.set_ylabel("next attempt failed, too, %")
    return True


def _nodes(axes: "Axes", found: Report, _: pl.DataFrame) -> bool:
    if found.nodes is None:
        return False
    for stands_out, name in ((False, "as expected"), (True, "stands out")):
        nodes = [node for node in found.nodes.nodes if node.stands_out == stands_out]
        axes.scatter([node.expected for node in nodes], [node.failures for node in nodes], s=14, label=name)
    for node in found.nodes.outliers[:_MOST_NAMES]:
        axes.annotate(node.name, (node.expected, node.failures), xytext=(4, 4), textcoords="offset points", fontsize=8)
    most = max([1.0, *(node.expected for node in found.nodes.nodes)])
    axes.plot([0, most], [0, most], color="grey", linewidth=0.8)
    axes.set_xlabel("jobs expected to fail there, if nodes were alike")
    axes.set_ylabel("jobs that failed there")
    axes.legend(frameon=False)
    return True


def _busy(axes: "Axes", found: Report, _: pl.DataFrame) -> bool:
    table = found.busy.get("gpus")
    if table is None or not table.height:
        return False
    axes.bar(table["gpus"].to_list(), (100 * table["mean"]).to_list())
    axes.set_xlabel("GPUs")
    axes.set_ylabel("mean utilisation over GPU time, %")
    return True


_PLOTS: Final[dict[str, tuple[str, Callable[["Axes", Report, pl.DataFrame], bool]]]] = {
    "outcomes": ("how it ended", _outcomes),
    "lost_gpu_hours": ("what failures cost", _lost),
    "time_to_failure": ("how soon attempts fail", _to_failure),
    "repeats": ("does a retry fail again", _repeats),
    "nodes": ("failures of nodes", _nodes),
    "waits": ("waiting for GPUs", _waits),
    "utilisation": ("how busy GPUs were", _busy),
}
