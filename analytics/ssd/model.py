"""A trained model: calibrated probabilities of many drives at once, and the contributions of a few.

Probabilities come from the trees' compact form: only the columns that some tree looks at are handed over, as one
contiguous array. Contributions (SHAP values) cost a hundred times as much and are computed for the rows given only: the
ones that somebody will read about.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from analytics.errors import ModelMismatchError
from analytics.ssd.calibration import Calibration
from analytics.ssd.card import Card
from analytics.ssd.drift import Profile
from analytics.ssd.forest import Forest, booster_of
from analytics.ssd.matrix import Encoding, encode
from analytics.ssd.training import margins, xgboost
from analytics.ssd.verdicts import Float32Array, Float64Array


@dataclass(frozen=True)
class Model:
    """Fulfils verdicts.Scorer; made by fitting.train() and model_file.load_model().

    Attributes:
        features_version: of the features it was trained on (feature_names.FEATURES_VERSION).
        forests, calibrations, thresholds: by horizon in days.
        kinds: (kind, vendor) of the drives it was trained on; None for unknown.
        digest: "sha256:..." of the file's contents.
    """

    horizons: tuple[int, ...]
    features_version: str
    encoding: Encoding
    forests: Mapping[int, Forest]
    calibrations: Mapping[int, Calibration]
    thresholds: Mapping[int, tuple[float, float]]
    kinds: frozenset[tuple[str | None, str | None]]
    profile: Profile
    card: Card
    digest: str = ""
    _boosters: dict[int, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the columns of `contributions`: the features, then kind, vendor and model."""
        return self.encoding.columns

    @property
    def synthetic(self) -> bool:
        """Whether it was trained on a generated fleet."""
        return self.card.synthetic

    def probabilities(self, features: pl.DataFrame) -> dict[int, Float64Array]:
        """Horizon -> calibrated probability of a fail-stop within it, float64[rows] in (0, 1).

        Raises:
            DataError: a column that the model looks at is missing.
        """
        matrix = encode(features, self.encoding, self._used)
        return {horizon: self._probabilities(matrix, horizon) for horizon in self.horizons}

    def contributions(self, features: pl.DataFrame, horizon: int) -> Float32Array:
        """SHAP values in log-odds before calibration, float32[rows, features], in the order of `self.features`."""
        self.refuse_other_horizons(horizon)
        matrix = encode(features, self.encoding)
        library = xgboost()
        if not matrix.shape[0]:
            return np.zeros((0, len(self.features)), np.float32)
        key = -horizon  # over all columns: another booster than the one for probabilities
        if key not in self._boosters:
            self._boosters[key] = booster_of(self.forests[horizon])
        found = self._boosters[key].predict(library.DMatrix(matrix, nthread=1), pred_contribs=True)
        return np.ascontiguousarray(found[:, :-1], dtype=np.float32)

    def knows(self, days: pl.DataFrame) -> npt.NDArray[np.bool_]:
        """bool[rows]: whether drives of such a kind and vendor were in the training data at all.

        Where the vendor is unknown, the model has to be one of those.
        """
        pairs = days.select("kind", "vendor").unique()
        seen = pl.Series("seen", [tuple(row) in self.kinds for row in pairs.iter_rows()], dtype=pl.Boolean)
        known = pl.col("seen") & (
            pl.col("vendor").is_not_null() | pl.col("model").is_in(self.encoding.vocabulary["model"])
        )
        joined = days.select("kind", "vendor", "model").join(
            pairs.with_columns(seen), on=["kind", "vendor"], how="left", nulls_equal=True, maintain_order="left"
        )
        return joined.select(known.fill_null(value=False))["seen"].to_numpy()

    def margins(self, matrix: Float32Array, horizon: int) -> Float32Array:
        """Log-odds before calibration of rows in the model's encoding, float32[rows]."""
        return margins(self._compact(horizon), np.ascontiguousarray(matrix[:, self._used]))

    def refuse_other_horizons(self, horizon: int) -> None:
        """Raise ModelMismatchError for a horizon that the model was not trained for."""
        if horizon not in self.horizons:
            own = ", ".join(str(days) for days in self.horizons)
            raise ModelMismatchError(f"the model foretells {own} days, not {horizon}; train one for {horizon} days")

    def _probabilities(self, matrix: Float32Array, horizon: int) -> Float64Array:
        return self.calibrations[horizon].probabilities(margins(self._compact(horizon), matrix))

    def _compact(self, horizon: int) -> Any:
        if horizon not in self._boosters:
            self._boosters[horizon] = booster_of(self.forests[horizon].over(self._used))
        return self._boosters[horizon]

    @cached_property
    def _used(self) -> npt.NDArray[np.int32]:
        """Columns that some tree of some horizon looks at, ascending."""
        used = [forest.used() for forest in self.forests.values()]
        return np.unique(np.concatenate([*used, np.zeros(1, np.int32)])).astype(np.int32)
