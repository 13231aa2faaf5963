"""Service times from request features, by boosted trees (xgboost), with how good they are on requests held out.

Trees learn the logarithm of the time, so that an error of a factor weighs the same at 1 ms and at 100 ms; a prediction
is the time whose logarithm is expected. A predictor as bytes is a sealed file (analytics/sealed.py) of MessagePack; it
holds numbers only, its trees are proved to be trees (analytics/ssd/forest.py), and nothing in it is run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from analytics.errors import DataError, ModelFileError, ModelMismatchError, TooFewDataError
from analytics.sealed import Form
from analytics.ssd.forest import Forest, booster_of, check, forest_of
from analytics.ssd.training import margins, xgboost
from analytics.tail.predictor_quality import PlainRule, PredictorQuality, plain_rule, quality
from analytics.tail.speedup import Float64Array, Int64Array

Float32Array = npt.NDArray[np.float32]

#: Requests, and of them long ones and others, below which nothing is trained.
FEWEST_REQUESTS: Final = 100
FEWEST_LONG: Final = 20
#: Of more requests, so many are drawn: more teach these few features nothing, and cost time and memory.
MOST_REQUESTS: Final = 500_000
FOLDS: Final = 10
# On real queries of a search engine as good as 300 at half the rate, held out, in half the time.
_TREES: Final = 150
_SETTINGS: Final = {
    "objective": "reg:squarederror",
    "tree_method": "hist",
    "max_depth": 4,
    "eta": 0.1,
    "subsample": 0.8,
    "min_child_weight": 2.0,
    "nthread": 1,  # with more, sums of floats come out in another order and no run repeats exactly
    "base_score": 0.0,
}
_FORM: Final = Form(
    b"TWSERVTM",
    1,
    64_000_000,
    kind="predictor of service times",
    name="predictor",
    damaged="train it again, or fetch its file again",
    older="upgrade, or train again",
)
_ARRAYS: Final = {
    "sizes": "<i4", "left": "<i4", "right": "<i4", "column": "<i4", "value": "<f4", "unknown_left": "|u1",
    "cover": "<f4",
}  # fmt: skip


@dataclass(frozen=True)
class Predictor:
    """A trained predictor.

    Attributes:
        names: of the features, in the order of columns.
        middle: mean logarithm of the times in milliseconds; trees add to it.
        long_ms: from when on a request is long. requests: that it was trained on.
    """

    names: tuple[str, ...]
    middle: float
    long_ms: float
    requests: int
    forest: Forest

    def predict(self, features: Float32Array) -> Float64Array:
        """Times in milliseconds, float64[n], above 0.

        Args:
            features: float32[n, k] in the order of `names`; NaN where unknown.
        Raises:
            ModelMismatchError: another number of columns. DataError: a feature is infinite.
        """
        if features.ndim != 2 or features.shape[1] != len(self.names):
            raise ModelMismatchError(
                f"features of shape {features.shape}; the predictor wants {len(self.names)} columns: "
                f"{', '.join(self.names)}"
            )
        _refuse_infinite(features, self.names)
        if not features.shape[0]:
            return np.zeros(0)
        return np.asarray(np.exp(self.middle + margins(self._booster, features).astype(np.float64)))

    @cached_property
    def _booster(self) -> Any:
        return booster_of(self.forest)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedPredictor:
    """A predictor, and how good it is on requests that it did not see.

    Attributes:
        rows: int64[m], the requests that were used, ascending: all, or those drawn of more than 500,000.
        out_of_fold_ms: float64[m], predictions of these by predictors that were trained on the others.
        quality: of these. plain: the same without trees.
        constant: features that had the same value in all requests; they tell nothing.
    """

    predictor: Predictor
    rows: Int64Array
    out_of_fold_ms: Float64Array
    quality: PredictorQuality
    plain: PlainRule
    constant: tuple[str, ...]


def train_predictor(
    features: Float32Array,
    names: Sequence[str],
    service_ms: Float64Array,
    *,
    long_ms: float,
    seed: int = 0,
    groups: Int64Array | None = None,
) -> TrainedPredictor:
    """Train a predictor, and ten more that each leave a tenth of the requests out, to see how good it is.

    Args:
        features: float32[n, k]; NaN where unknown.
        service_ms: float64[n], of each request alone on one thread.
        long_ms: from when on a request counts as long.
        groups: int64[n], requests that belong together, such as repetitions of one query, and stay in one tenth.
    Raises:
        DataError: shapes that do not fit, a time that is none, an infinite feature, or no feature that varies.
        TooFewDataError: too few requests, or too few long or short ones.
        MissingLibraryError: xgboost is not installed.
    Guarantee: the same input gives the same predictor, bit for bit.
    """
    own = tuple(names)
    _check(features, own, service_ms, long_ms)
    rng = np.random.default_rng(seed)
    rows = np.arange(service_ms.size)
    if rows.size > MOST_REQUESTS:
        rows = np.sort(rng.choice(rows, MOST_REQUESTS, replace=False))
    matrix, times = np.ascontiguousarray(features[rows], np.float32), service_ms[rows].astype(np.float64)
    _enough(times, long_ms)
    constant = _constant(matrix)
    if constant.all():
        raise DataError(f"none of the features {', '.join(own)} varies; give some that differ between requests")
    together = np.arange(times.size) if groups is None else np.unique(groups[rows], return_inverse=True)[1]
    folds = _folds(together, times >= long_ms, rng)
    held_out = np.empty(times.size)
    for fold in range(FOLDS):
        out = folds == fold
        held_out[out] = _grown(matrix[~out], own, times[~out], long_ms, seed).predict(matrix[out])
    return TrainedPredictor(
        _grown(matrix, own, times, long_ms, seed),
        rows,
        held_out,
        quality(held_out, times, long_ms, groups=together, seed=seed),
        plain_rule(matrix, own, times, long_ms, folds),
        tuple(name for name, same in zip(own, constant, strict=True) if same),
    )


def dump_predictor(predictor: Predictor) -> bytes:
    """The predictor's bytes; the same predictor always gives the same."""
    trees = {name: getattr(predictor.forest, name).astype(form).tobytes() for name, form in _ARRAYS.items()}
    contents = _Contents(list(predictor.names), predictor.middle, predictor.long_ms, predictor.requests, trees)
    return _FORM.seal(msgspec.msgpack.encode(contents, order="deterministic"), level=9)


def load_predictor(data: bytes) -> Predictor:
    """A predictor from its bytes.

    Raises:
        ModelFileError: the bytes are damaged, of a newer release, or no predictor.
    """
    try:
        found = msgspec.msgpack.decode(_FORM.opened(data), type=_Contents)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"the predictor's contents cannot be read: {error}; train it again with this release"
        ) from error
    names = tuple(found.names)
    _FORM.want(0 < len(set(names)) == len(names), f"features {names[:5]}; want some, each once")
    _FORM.want(bool(abs(found.middle) < 50), f"a middle of {found.middle}; want a logarithm of milliseconds")
    _FORM.want(bool(0 < found.long_ms < np.inf), f"long from {found.long_ms} ms on; want a time above 0")
    _FORM.want(found.requests >= 1, f"{found.requests} requests; want 1 or more")
    _FORM.want(set(found.trees) == set(_ARRAYS), f"arrays {sorted(found.trees)[:9]}; want {sorted(_ARRAYS)}")
    arrays = {name: _FORM.array(found.trees[name], form, name) for name, form in _ARRAYS.items()}
    forest = Forest(len(names), _EVEN, **arrays)
    check(forest)
    return Predictor(names, found.middle, found.long_ms, found.requests, forest)


class _Contents(msgspec.Struct, forbid_unknown_fields=True):
    names: list[str]
    middle: float
    long_ms: float
    requests: int
    trees: dict[str, bytes]


# A forest is a sum in log-odds beside a probability; even odds add 0, and the sum is what trees of a time say, too.
_EVEN: Final = 0.5


def _grown(matrix: Float32Array, names: tuple[str, ...], times: Float64Array, long_ms: float, seed: int) -> Predictor:
    library = xgboost()
    logarithms = np.log(times)
    middle = float(logarithms.mean())
    data = library.QuantileDMatrix(matrix, label=logarithms - middle, nthread=1)
    forest = forest_of(library.train(_SETTINGS | {"seed": seed}, data, _TREES))
    return Predictor(names, middle, float(long_ms), times.size, replace(forest, base=_EVEN))


def _folds(groups: Int64Array, is_long: npt.NDArray[np.bool_], rng: np.random.Generator) -> Int64Array:
    """The fold of each request: groups dealt out in a drawn order, those with long requests first, so all get some."""
    count = int(groups.max()) + 1
    with_long = np.bincount(groups, is_long, count) > 0
    drawn = rng.permutation(count)
    dealt = np.concatenate([drawn[with_long[drawn]], drawn[~with_long[drawn]]])
    fold = np.empty(count, np.int64)
    fold[dealt] = np.arange(count) % FOLDS
    return np.asarray(fold[groups])


def _check(features: Float32Array, names: tuple[str, ...], service_ms: Float64Array, long_ms: float) -> None:
    if features.ndim != 2 or features.shape != (service_ms.size, len(names)) or not names:
        raise DataError(
            f"features of shape {features.shape} for {service_ms.size} times and {len(names)} names; want a row for "
            "each time and a column for each name"
        )
    if len(set(names)) != len(names):
        raise DataError(f"features {', '.join(names)}; want each name once")
    good = (service_ms > 0) & (service_ms < np.inf)
    if not good.all():
        place = int(np.argmin(good))
        raise DataError(f"the time of request {place} is {service_ms[place]} ms; want one above 0, or leave it out")
    if not 0 < long_ms < np.inf:
        raise DataError(f"long from {long_ms} ms on; want a time above 0")
    _refuse_infinite(features, names)


def _refuse_infinite(features: Float32Array, names: tuple[str, ...]) -> None:
    if np.isinf(features).any():
        row, column = (int(each) for each in np.argwhere(np.isinf(features))[0])
        raise DataError(f"{names[column]} of request {row} is {features[row, column]}; want a number, or NaN: unknown")


def _enough(times: Float64Array, long_ms: float) -> None:
    long = int((times >= long_ms).sum())
    if times.size < FEWEST_REQUESTS or long < FEWEST_LONG or times.size - long < FEWEST_LONG:
        raise TooFewDataError(
            f"{times.size:,} requests, {long:,} of them of {long_ms:g} ms or more; want {FEWEST_REQUESTS} or more, "
            f"with {FEWEST_LONG} or more of either kind: give more requests, or another threshold"
        )


def _constant(matrix: Float32Array) -> npt.NDArray[np.bool_]:
    first = matrix[0]
    return np.asarray(np.all((matrix == first) | (np.isnan(matrix) & np.isnan(first)), axis=0))
