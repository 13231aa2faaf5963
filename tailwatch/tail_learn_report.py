"""What `tailwatch tail learn` prints: speed-ups with what each rests on, and what a predictor is worth."""

import math
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from analytics.ssd.intervals import Figure
from analytics.tail.learning import OWN_DATA, LearnedProfile
from analytics.tail.predictor import TrainedPredictor
from analytics.tail.predictor_quality import PredictorQuality
from analytics.tail.slowdown_learning import Slowdown
from tailwatch.terminal import table


def profile_text(learned: LearnedProfile) -> str:
    """A table for the speed-ups; what is extrapolated has a mark."""
    degrees = range(learned.profile.max_degree)
    lines = [f"speed-ups from {learned.requests:,} requests, {learned.explored:,} of them on a degree drawn by chance"]
    rows = []
    for row, name in enumerate(class_names(learned.profile.edges_ms)):
        rows.append([name, *(_cell(learned, row, degree) for degree in degrees)])
        rows.append(["  requests", *(f"{count:,}" for count in learned.counts[row])])
    head = ["predicted time", *(f"{degree + 1} thread{'s' if degree else ''}" for degree in degrees)]
    lines += ["", table(head, rows, [False, *([True] * len(degrees))])]
    if learned.extrapolated[:, 1:].any():
        lines += ["", f"* below {OWN_DATA} requests of its own: mostly Amdahl's law, fitted to the class"]
    lines += ["", _slowdown(learned.slowdown)]
    if untold := list(_untold(learned)):
        lines += [f"to know these, let 1 % of the requests run on a degree drawn by chance: {', '.join(untold)}"]
    return "\n".join(lines)


def _slowdown(slowdown: Slowdown) -> str:
    """How much threads slow each other, in words."""
    if not slowdown.value:
        return f"threads that each have a hardware thread do not slow each other, or by {slowdown.high:.1%} at most"
    return (
        f"with all hardware threads busy, work takes {slowdown.value:.1%} longer than with one "
        f"({slowdown.low:.1%} to {slowdown.high:.1%}): threads slow each other"
    )


def class_names(edges_ms: tuple[float, ...]) -> list[str]:
    """Of each class, from where to where."""
    if not edges_ms:
        return ["all"]
    between = [f"{low:g} to {high:g} ms" for low, high in pairwise(edges_ms)]
    return [f"below {edges_ms[0]:g} ms", *between, f"from {edges_ms[-1]:g} ms"]


def predictor_text(trained: TrainedPredictor, recorded: PredictorQuality | None) -> str:
    """How good predictions are: of the trained predictor, of a plain rule, and as recorded, where they were."""
    one, plain = trained.quality, trained.plain
    rows = [
        ["trained", *_quality(one)],
        [f"plain rule: long where {plain.feature} is {plain.threshold:g} or more", *_quality(plain.quality)],
    ]
    if recorded is not None:
        rows.append(["as recorded", *_quality(recorded)])
    intro = (
        f"a predictor from {', '.join(trained.predictor.names)}: {one.requests:,} requests, {one.long:,} of them of "
        f"{one.long_ms:g} ms or more, each predicted by trees that did not see it:"
    )
    lines = [intro, table(["predictor", "recall", "precision", "mean error"], rows, [False, True, True, True])]
    if trained.constant:
        lines.append(f"the same in all requests, so of no use: {', '.join(trained.constant)}")
    return "\n".join(lines)


def predictor_dict(trained: TrainedPredictor, recorded: PredictorQuality | None) -> dict[str, Any]:
    """The same as data."""
    return {
        "features": list(trained.predictor.names),
        "constant_features": list(trained.constant),
        "trained": asdict(trained.quality),
        "plain_rule": asdict(trained.plain),
        "recorded": None if recorded is None else asdict(recorded),
    }


def _cell(learned: LearnedProfile, row: int, degree: int) -> str:
    value = learned.profile.table[row, degree]
    mark = "*" if learned.extrapolated[row, degree] and degree else ""
    low, high = learned.low[row, degree], learned.high[row, degree]
    between = f" ({low:.2f}-{high:.2f})" if degree and high > low else ""
    return f"{value:.2f}{mark}{between}"


def _untold(learned: LearnedProfile) -> Iterator[str]:
    names = class_names(learned.profile.edges_ms)
    for row, name in enumerate(names):
        missing = [
            str(degree + 1) for degree in range(1, learned.profile.max_degree) if not learned.counts[row, degree]
        ]
        if missing:
            yield f"{name} on {', '.join(missing)}"


def _quality(found: PredictorQuality) -> list[str]:
    return [_share(found.recall), _share(found.precision), f"{found.l1_ms.value:.2f} ms"]


def _share(figure: Figure) -> str:
    if math.isnan(figure.value):
        return "-"
    if math.isnan(figure.low) or math.isnan(figure.high):
        return f"{figure.value:.1%}"
    return f"{figure.value:.1%} ({figure.low:.1%}-{figure.high:.1%})"
