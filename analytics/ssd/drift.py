"""Whether drives still look like those that a model learnt from: PSI of each feature, by fleet and by drive model.

PSI (population stability index) compares the shares of ten bins, cut at the deciles of the training, and of "unknown",
which is a bin of its own: a vendor's firmware that stops telling a value is drift too. Below 0.1 nothing happened, from
0.25 on the model sees other drives than it knows. Ages and levels of counters grow with a fleet; a feature that drifts
matters as much as the model looks at it, so reports sort by both.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.errors import ModelMismatchError
from analytics.ssd.verdicts import Float32Array

#: From here on drives are others than those of the training.
DRIFTED: Final = 0.25
#: Name of the line over all drive models.
FLEET: Final = ""
MOST_MODELS: Final = 30
#: Rows of a drive model below which shares say nothing.
LEAST_ROWS: Final = 500
BINS: Final = 11  # ten by value, and unknown
#: Share that an empty bin counts as: PSI of a bin that comes up or dies out is large and not infinite.
_FLOOR = 1e-4


@dataclass(frozen=True, slots=True)
class Profile:
    """What features looked like in training.

    Attributes:
        edges: float32[features, 9], inner bounds of the bins; equal ones where values are few.
        models: drive models by name, FLEET first. rows: how many rows each has.
        shares: float32[models, features, 11].
    """

    features: tuple[str, ...]
    edges: Float32Array
    models: tuple[str, ...]
    rows: tuple[int, ...]
    shares: Float32Array


def profile_of(frame: pl.DataFrame, names: tuple[str, ...]) -> Profile:
    """Shares of the fleet and of the most frequent drive models.

    Args:
        frame: features with the columns `names` and `model`; a sample of some 100,000 rows is plenty.
    """
    edges = np.zeros((len(names), BINS - 2), np.float32)
    levels = np.linspace(0, 1, BINS)[1:-1]
    for number, name in enumerate(names):
        values = _values(frame, name)
        known = values[~np.isnan(values)]
        if known.size:
            edges[number] = np.quantile(known, levels, method="inverted_cdf")
    counts = frame["model"].drop_nulls().value_counts().sort(["count", "model"], descending=[True, False])
    frequent = counts.filter(pl.col("count") >= LEAST_ROWS).head(MOST_MODELS)
    models = (FLEET, *frequent["model"].to_list())
    shares = _shares(frame, names, edges, models)
    return Profile(names, edges, models, (frame.height, *frequent["count"].to_list()), shares)


def drift(profile: Profile, frame: pl.DataFrame) -> pl.DataFrame:
    """PSI between the training and now.

    Args:
        frame: features of now, one row a drive.
    Returns:
        model ("" for all), feature, rows (of now), psi; drive models with fewer than 500 rows now are left out. The
        largest PSI first.
    Raises:
        ModelMismatchError: a feature of the profile is not in the frame.
    """
    missing = [name for name in (*profile.features, "model") if name not in frame.columns]
    if missing:
        raise ModelMismatchError(f"the features of now lack {missing[0]!r}, which the model was trained on")
    counts = dict(frame["model"].value_counts().iter_rows())
    rows = {name: counts.get(name, 0) if name != FLEET else frame.height for name in profile.models}
    now = _shares(frame, profile.features, profile.edges, profile.models)
    found = [
        pl.DataFrame({"model": name, "feature": list(profile.features), "rows": rows[name], "psi": psi(then, here)})
        for name, then, here in zip(profile.models, profile.shares, now, strict=True)
        if rows[name] >= (1 if name == FLEET else LEAST_ROWS)
    ]
    schema = {"model": pl.String(), "feature": pl.String(), "rows": pl.Int64(), "psi": pl.Float64()}
    if not found:
        return pl.DataFrame(schema=schema)
    return pl.concat(found).cast(schema).sort(["psi", "model", "feature"], descending=[True, False, False])  # type: ignore[arg-type]


def psi(then: Float32Array, now: Float32Array) -> npt.NDArray[np.float64]:
    """PSI of shares along the last axis."""
    p = np.maximum(then.astype(np.float64), _FLOOR)
    q = np.maximum(now.astype(np.float64), _FLOOR)
    return np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))


def _shares(frame: pl.DataFrame, names: tuple[str, ...], edges: Float32Array, models: tuple[str, ...]) -> Float32Array:
    """float32[models, features, bins]; zeros for a drive model without rows."""
    place = {name: number for number, name in enumerate(models)}
    own = np.array([place.get(name, 0) for name in frame["model"].to_list()], np.int64)
    shares = np.zeros((len(models), len(names), BINS), np.float64)
    for number, name in enumerate(names):
        values = _values(frame, name)
        bins = np.where(np.isnan(values), BINS - 1, np.searchsorted(edges[number], values, side="left"))
        counts = np.bincount(own * BINS + bins, minlength=len(models) * BINS).reshape(len(models), BINS)
        counts[0] = counts.sum(axis=0)  # the first line is of all rows, also of models without a line
        shares[:, number] = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares.astype(np.float32)


def _values(frame: pl.DataFrame, name: str) -> Float32Array:
    return frame[name].cast(pl.Float32).fill_null(float("nan")).to_numpy()
