"""Causes of slow requests as a plot: a bar for each level of load, a colour for each cause."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from analytics.plotting import image_of, needs_library
from analytics.tail.causes import CAUSES, CauseTable


def shown_cause(cause: str) -> str:
    """As people read it."""
    return cause.replace("_", "-")


def plot_causes(found: CauseTable, loads: Sequence[str], title: str, kind: Literal["png", "svg"] = "png") -> bytes:
    """Share of the requests of each level that were slow, by cause; `loads` names the levels.

    Raises:
        MissingLibraryError: matplotlib is not installed.
    """
    needs_library()
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    places, below = np.arange(len(loads)), np.zeros(len(loads))
    shares = 100.0 * found.counts / found.requests[:, None]
    for number, cause in enumerate(CAUSES):
        axes.bar(places, shares[:, number], 0.6, bottom=below, label=shown_cause(cause), color=f"C{number}")
        below = below + shares[:, number]
    axes.set_xticks(places, loads)
    axes.set_xlabel("load, share of the hardware threads")
    axes.set_ylabel("slow requests, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(-1, len(loads))
    figure.legend(loc="outside right upper", frameon=False, fontsize="small", reverse=True)
    figure.suptitle(title)
    return image_of(figure, kind)
