"""How good predicted service times are where it counts: at telling long requests from short ones.

Recall is the share of the long requests that were predicted to be long: it caps the tail that a policy can reach by
prediction alone. Precision is the share of those predicted to be long that are: what is missing runs in parallel for
nothing.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from analytics.errors import DataError
from analytics.ssd.intervals import Figure, bootstrap
from analytics.tail.speedup import Float64Array, Int64Array

#: Corrected requests, and long ones, below which no drift is seen in them.
FEWEST: Final = 20
#: A recall below which long requests are not foreseen, and how much more may be corrected than before.
LEAST_RECALL: Final = 0.75
MOST_CORRECTION_RATIO: Final = 2.0
_NORMAL_95: Final = 1.959964


@dataclass(frozen=True, slots=True)
class PredictorQuality:
    """Predictions beside what came; intervals of 90 % by bootstrap over whole groups of requests.

    Attributes:
        requests, long: how many there were, and how many of `long_ms` or more.
        recall, precision: NaN where no request is long, or none was predicted to be.
        l1_ms: mean of the absolute errors. log_rmse: root of the mean squared error of the logarithm.
    """

    requests: int
    long: int
    long_ms: float
    recall: Figure
    precision: Figure
    l1_ms: Figure
    log_rmse: Figure

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"of {self.long:,} requests of {self.long_ms:g} ms or more among {self.requests:,}, "
            f"{_percent(self.recall)} are foreseen; of those foreseen, {_percent(self.precision)} are long; mean error "
            f"{self.l1_ms.value:.3g} ms, RMSE of the logarithm {self.log_rmse.value:.2f}"
        )


@dataclass(frozen=True, slots=True)
class PlainRule:
    """What one needs no trees for: long is what has so much, or more, of one feature; and one time for all.

    Attributes:
        feature: the one that tells best in training, "" where none tells anything. threshold: in it.
        quality: of held-out requests, predicted to take the median time of the long or of the others.
        constant_log_rmse: of the median for all, which foresees nothing.
    """

    feature: str
    threshold: float
    quality: PredictorQuality
    constant_log_rmse: float


def quality(
    predictions_ms: Float64Array,
    works_ms: Float64Array,
    long_ms: float,
    *,
    groups: Int64Array | None = None,
    seed: int = 0,
    draws: int = 200,
) -> PredictorQuality:
    """Predictions beside what came.

    Args:
        predictions_ms, works_ms: float64[n], above 0; requests without a prediction are left out before.
        groups: int64[n], requests that are no evidence of their own beside each other, such as repetitions of one
            query; drawn together. None: each by itself.
    Raises:
        DataError: none, of two lengths, or not all above 0 and finite.
    """
    if not works_ms.size or predictions_ms.shape != works_ms.shape:
        raise DataError(f"{predictions_ms.size} predictions of {works_ms.size} requests; want one for each, and some")
    for name, values in (("prediction", predictions_ms), ("time", works_ms), ("threshold", np.array([long_ms]))):
        if not np.all((values > 0) & (values < np.inf)):
            place = int(np.argmin((values > 0) & (values < np.inf)))
            raise DataError(f"{name} {place} is {values[place]} ms; want a time above 0")
    is_long, said_long = works_ms >= long_ms, predictions_ms >= long_ms
    columns = np.stack(
        [
            is_long & said_long,
            is_long,
            said_long,
            np.abs(predictions_ms - works_ms),
            np.log(predictions_ms / works_ms) ** 2,
            np.ones(works_ms.size),
        ]
    )

    def figures(weights: Float64Array | None) -> Float64Array:
        both, long, said, absolute, squared, count = columns.sum(axis=1) if weights is None else columns @ weights
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array([both / long, both / said, absolute / count, np.sqrt(squared / count)])

    own = np.arange(works_ms.size) if groups is None else np.unique(groups, return_inverse=True)[1]
    found = bootstrap(own.astype(np.int32), figures, draws=draws, seed=seed)
    return PredictorQuality(works_ms.size, int(is_long.sum()), float(long_ms), *found)


def plain_rule(
    features: npt.NDArray[np.float32],
    names: tuple[str, ...],
    works_ms: Float64Array,
    long_ms: float,
    folds: Int64Array,
) -> PlainRule:
    """The best threshold in one feature, chosen on the other folds and tried on each; quality is of the held-out ones.

    Args:
        folds: int64[n], 0 and up.
    """
    predictions, constants = np.empty(works_ms.size), np.empty(works_ms.size)
    is_long = works_ms >= long_ms
    for fold in range(int(folds.max()) + 1):
        out = folds == fold
        feature, threshold = _best_threshold(features[~out], is_long[~out])
        said = features[out, feature] >= threshold
        short_ms, median_ms = (float(np.median(works_ms[~out & some])) for some in (~is_long, np.ones_like(is_long)))
        predictions[out] = np.where(said, np.median(works_ms[~out & is_long]), short_ms)
        constants[out] = median_ms
    feature, threshold = _best_threshold(features, is_long)
    error = float(np.sqrt(np.mean(np.log(constants / works_ms) ** 2)))
    return PlainRule(names[feature], threshold, quality(predictions, works_ms, long_ms), error)


def _best_threshold(features: npt.NDArray[np.float32], is_long: npt.NDArray[np.bool_]) -> tuple[int, float]:
    """The feature and threshold with the highest F1 of long requests; unknown values are short."""
    best, found = -1.0, (0, np.inf)
    for feature in range(features.shape[1]):
        values = features[:, feature]
        known = np.flatnonzero(~np.isnan(values))
        order = known[np.argsort(-values[known], kind="stable")]
        if not order.size:
            continue
        both, said = np.cumsum(is_long[order]), np.arange(1, order.size + 1)
        last = np.append(values[order][1:] != values[order][:-1], True)  # of equal values: all, or none
        score = np.where(last, 2 * both / (said + is_long.sum()), -1.0)
        place = int(np.argmax(score))
        if score[place] > best:
            best, found = float(score[place]), (feature, float(values[order[place]]))
    return found


@dataclass(frozen=True, slots=True)
class Watched:
    """What was counted of a stretch of time: requests, those corrected, long ones, and long ones not foreseen."""

    requests: int
    corrected: int
    long: int
    long_missed: int

    def __post_init__(self) -> None:
        """Refuses counts that cannot be."""
        if not 0 <= self.long_missed <= self.long <= self.requests or not 0 <= self.corrected <= self.requests:
            raise DataError(f"{self}: want no more corrected or long than requests, no more missed than long")


@dataclass(frozen=True, slots=True)
class Drift:
    """A stretch of time beside an earlier one, at like loads.

    Attributes:
        correction_ratio: corrected share now by that of before, with a 95 % interval; NaN: neither, or none before.
        recall: now, with a 95 % interval; NaN without long requests.
        drifted: the ratio is above 2 or recall below .75, beyond chance.
    """

    correction_ratio: Figure
    recall: Figure
    drifted: bool
    text: str


def drift(reference: Watched, recent: Watched) -> Drift:
    """Whether predictions have become worse. Where loads differ, so do corrections: compare stretches of like load."""
    ratio, recall = _ratio(reference, recent), _recall(recent)
    more = recent.corrected >= FEWEST and ratio.value > MOST_CORRECTION_RATIO and ratio.low > 1
    missed = recent.long >= FEWEST and recall.high < LEAST_RECALL
    said = [
        f"corrections are {ratio.value:.2f} times those of before ({ratio.low:.2f} to {ratio.high:.2f})"
        if np.isfinite(ratio.value)
        else "corrections cannot be compared: none now, or none before",
        f"{_percent(recall)} of {recent.long:,} long requests are foreseen ({recall.low:.0%} to {recall.high:.0%})"
        if recent.long
        else "no request was long",
    ]
    if more or missed:
        said.append("train the predictor on newer requests, or look for what changed in them")
    return Drift(ratio, recall, bool(more or missed), "; ".join(said))


def _ratio(reference: Watched, recent: Watched) -> Figure:
    if not reference.corrected or not recent.corrected:
        return Figure(np.nan, np.nan, np.nan, 0.95)
    value = (recent.corrected / recent.requests) / (reference.corrected / reference.requests)
    error = sum(1 / one.corrected - 1 / one.requests for one in (reference, recent)) ** 0.5
    spread = float(np.exp(_NORMAL_95 * error))
    return Figure(value, value / spread, value * spread, 0.95)


def _recall(recent: Watched) -> Figure:
    """With Wilson's interval."""
    if not recent.long:
        return Figure(np.nan, np.nan, np.nan, 0.95)
    n, value, z = recent.long, 1 - recent.long_missed / recent.long, _NORMAL_95
    middle = (value + z * z / (2 * n)) / (1 + z * z / n)
    half = z * (value * (1 - value) / n + z * z / (4 * n * n)) ** 0.5 / (1 + z * z / n)
    return Figure(value, middle - half, middle + half, 0.95)


def _percent(figure: Figure) -> str:
    return f"{figure.value:.0%}" if np.isfinite(figure.value) else "none"
