"""A model that thinks of each drive what a test says: what Scorer asks for, without any training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from analytics.ssd.features import FEATURES


class Stand:
    """A model that thinks of each drive what the test says."""

    horizons = (7, 30)
    digest = "sha256:stand"
    features = (*FEATURES, "kind", "vendor", "model")

    def __init__(self, probabilities: Mapping[str, float] | None = None, strangers: Sequence[str] = ()) -> None:
        self.thresholds = {7: (0.2, 0.6), 30: (0.2, 0.6)}
        self.told = probabilities or {}
        self.strangers = strangers
        self.explained: list[str] = []

    def probabilities(self, features: pl.DataFrame) -> dict[int, Any]:
        p30 = np.array([self.told.get(drive, 0.01) for drive in features["drive"]])
        return {7: p30 / 2, 30: p30}

    def contributions(self, features: pl.DataFrame, horizon: int) -> Any:
        assert horizon == 30
        self.explained += features["drive"].to_list()
        row = np.full(len(self.features), -1, np.float32)
        row[FEATURES.index("realloc_growth_7d")] = 2
        return np.tile(row, (features.height, 1))

    def knows(self, days: pl.DataFrame) -> Any:
        return ~days["drive"].is_in(list(self.strangers)).to_numpy()
