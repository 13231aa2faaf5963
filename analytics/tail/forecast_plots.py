"""A forecast as a plot: quantiles of the record, of its replay, and of the candidate beside each other."""

from typing import Literal

import numpy as np

from analytics.errors import DataError
from analytics.plotting import image_of, needs_library
from analytics.tail.what_if import Forecast


def plot_forecast(found: Forecast, kind: Literal["png", "svg"] = "png") -> bytes:
    """Bars by quantile with 95 % intervals.

    Raises:
        DataError: there is no forecast to draw.
        MissingLibraryError: matplotlib is not installed.
    """
    if found.candidate is None:
        raise DataError(f"there is no forecast to draw: {'; '.join(found.refusals)}")
    needs_library()
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    columns = {"observed": found.observed, "replayed as it is": found.current, "candidate": found.candidate}
    told = {name: one for name, one in columns.items() if one is not None}
    levels = [
        level for level in found.candidate.quantiles_ms if all(level in one.quantiles_ms for one in told.values())
    ]
    width = 0.8 / len(told)
    for number, (name, one) in enumerate(told.items()):
        figures = [one.mean_ms, *(one.quantiles_ms[level] for level in levels)]
        values = np.array([single.value for single in figures])
        lows = np.array([single.value if single.low is None else single.low for single in figures])
        highs = np.array([single.value if single.high is None else single.high for single in figures])
        places = np.arange(values.size) + (number - (len(told) - 1) / 2) * width
        axes.bar(places, values, width, label=name, yerr=[values - lows, highs - values], capsize=3)
    axes.set_xticks(range(len(levels) + 1), ["mean", *(f"p{level * 100:g}" for level in levels)])
    axes.set_ylabel("latency, ms")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    figure.suptitle(f"forecast from {found.requests:,} recorded requests")
    return image_of(figure, kind)
