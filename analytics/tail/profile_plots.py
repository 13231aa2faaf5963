"""Learned speed-ups as a plot: a line for each class, with what each rests on."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from analytics.plotting import image_of, needs_library
from analytics.tail.learning import LearnedProfile


def plot_profile(
    learned: LearnedProfile, names: Sequence[str], title: str, kind: Literal["png", "svg"] = "png"
) -> bytes:
    """Speed-up by degree with 95 % intervals; hollow points rest on few requests. `names` are those of the classes.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    needs_library()
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    degrees = np.arange(1, learned.profile.max_degree + 1)
    for row, name in enumerate(names):
        colour, speedups = f"C{row}", learned.profile.table[row]
        axes.plot(degrees, speedups, color=colour, label=name)
        axes.fill_between(degrees, learned.low[row], learned.high[row], color=colour, alpha=0.2)
        for sure, face in ((~learned.extrapolated[row], colour), (learned.extrapolated[row], "white")):
            axes.plot(degrees[sure], speedups[sure], "o", color=colour, markerfacecolor=face)
    axes.set_xticks(degrees)
    axes.set_xlabel("threads")
    axes.set_ylabel("speed-up")
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small", title="predicted time")
    figure.suptitle(title)
    return image_of(figure, kind)
