"""A model as bytes and back: never pickled, strictly read, refused with what was seen and wanted.

A sealed file (sealed.py) of MessagePack: names, trees as arrays, knots, thresholds, profile and card. The digest of its
contents is the model's.

Nothing in a file is run. Trees are proved to be trees before a booster is made of them (forest.py), numbers to be
finite, knots to rise. A model of other features is a ModelMismatchError, everything else a ModelFileError.
"""

import hashlib
import math
from dataclasses import asdict, replace
from typing import Any, Final, Literal

import msgspec
import numpy as np

from analytics.errors import ModelFileError, ModelMismatchError
from analytics.sealed import Form
from analytics.ssd.calibration import Calibration
from analytics.ssd.card import Card
from analytics.ssd.drift import BINS, Profile
from analytics.ssd.feature_names import FEATURES, FEATURES_VERSION
from analytics.ssd.forest import Forest, check
from analytics.ssd.matrix import CATEGORIES, Encoding
from analytics.ssd.model import Model

MAGIC: Final = b"TWDRIVES"
VERSION: Final = 1
#: Most bytes of a file, and of what is in it: a model of both horizons takes some 0.2 MB.
MOST_BYTES: Final = 64_000_000
_FORM: Final = Form(
    MAGIC,
    VERSION,
    MOST_BYTES,
    kind="model of drives",
    name="model",
    damaged="train it again, or fetch its file again",
    older="upgrade, or train again",
)
_array, _want = _FORM.array, _FORM.want
_ARRAYS: Final = {
    "sizes": "<i4",
    "left": "<i4",
    "right": "<i4",
    "column": "<i4",
    "value": "<f4",
    "unknown_left": "|u1",
    "cover": "<f4",
}


class _Horizon(msgspec.Struct, forbid_unknown_fields=True):
    days: int
    base: float
    trees: dict[str, bytes]
    margins: bytes
    values: bytes
    method: Literal["isotonic", "platt"]
    watch: float
    replace: float


class _Profile(msgspec.Struct, forbid_unknown_fields=True):
    edges: bytes
    models: list[str]
    rows: list[int]
    shares: bytes


class _Contents(msgspec.Struct, forbid_unknown_fields=True):
    features_version: str
    features: list[str]
    vocabulary: dict[str, list[str]]
    kinds: list[tuple[str | None, str | None]]
    horizons: list[_Horizon]
    profile: _Profile
    card: dict[str, Any]


def dump_model(model: Model) -> bytes:
    """The model's bytes; the same model always gives the same."""
    return _FORM.seal(_contents(model), level=9)


def with_digest(model: Model) -> Model:
    """The model with the digest of its contents."""
    return replace(model, digest=f"sha256:{hashlib.sha256(_contents(model)).hexdigest()}")


def load_model(data: bytes, *, features_version: str = FEATURES_VERSION) -> Model:
    """A model from its bytes.

    Raises:
        ModelFileError: the bytes are damaged, of a newer release, or no model.
        ModelMismatchError: the model was trained on other features than this release makes.
    """
    contents = _decoded(_FORM.opened(data))
    if contents.features_version != features_version:
        raise ModelMismatchError(
            f"the model was trained on features {contents.features_version[:80]!r}; this release makes "
            f"{features_version!r}: train it again"
        )
    other = [name for name in contents.features if name not in FEATURES]
    if other:
        raise ModelMismatchError(f"the model wants the feature {other[0][:80]!r}, which this release does not make")
    encoding = _encoding(contents)
    horizons = [each.days for each in contents.horizons]
    _want(bool(horizons) and horizons == sorted(set(horizons)), f"horizons {horizons[:5]}; want ascending ones")
    _want(all(1 <= days <= 3_650 for days in horizons), f"horizons {horizons[:5]}; want 1 to 3650 days")
    return Model(
        tuple(horizons),
        contents.features_version,
        encoding,
        {each.days: _forest(each, len(encoding.columns)) for each in contents.horizons},
        {each.days: _calibration(each) for each in contents.horizons},
        {each.days: _thresholds(each) for each in contents.horizons},
        frozenset(contents.kinds),
        _profile(contents),
        _card(contents.card),
        "sha256:" + hashlib.sha256(_FORM.opened(data)).hexdigest(),
    )


def _contents(model: Model) -> bytes:
    horizons = [
        _Horizon(
            days,
            model.forests[days].base,
            {name: getattr(model.forests[days], name).astype(form).tobytes() for name, form in _ARRAYS.items()},
            model.calibrations[days].margins.astype("<f8").tobytes(),
            model.calibrations[days].values.astype("<f8").tobytes(),
            model.calibrations[days].method,
            *(float(threshold) for threshold in model.thresholds[days]),
        )
        for days in model.horizons
    ]
    kinds = sorted(model.kinds, key=lambda pair: tuple((part is None, part or "") for part in pair))
    own = model.profile
    profile = _Profile(
        own.edges.astype("<f4").tobytes(), list(own.models), list(own.rows), own.shares.astype("<f4").tobytes()
    )
    return msgspec.msgpack.encode(
        _Contents(
            model.features_version,
            list(model.encoding.features),
            {name: list(model.encoding.vocabulary[name]) for name in CATEGORIES},
            kinds,
            horizons,
            profile,
            asdict(model.card),
        ),
        order="deterministic",
    )


def _decoded(contents: bytes) -> _Contents:
    try:
        return msgspec.msgpack.decode(contents, type=_Contents)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ModelFileError(
            f"the model's contents cannot be read: {error}; train it again with this release"
        ) from error


def _encoding(contents: _Contents) -> Encoding:
    _want(bool(contents.features), "no features; want some")
    _want(len(set(contents.features)) == len(contents.features), "a feature twice")
    _want(
        set(contents.vocabulary) == set(CATEGORIES), f"texts {sorted(contents.vocabulary)[:5]}; want {list(CATEGORIES)}"
    )
    for name, values in contents.vocabulary.items():
        _want(len(set(values)) == len(values), f"a value of {name!r} twice")
    return Encoding(tuple(contents.features), {name: tuple(contents.vocabulary[name]) for name in CATEGORIES})


def _forest(horizon: _Horizon, columns: int) -> Forest:
    _want(set(horizon.trees) == set(_ARRAYS), f"arrays {sorted(horizon.trees)[:9]}; want {sorted(_ARRAYS)}")
    arrays = {name: _array(horizon.trees[name], form, name) for name, form in _ARRAYS.items()}
    forest = Forest(columns, horizon.base, **arrays)
    check(forest)
    return forest


def _calibration(horizon: _Horizon) -> Calibration:
    margins, values = (_array(getattr(horizon, name), "<f8", name) for name in ("margins", "values"))
    _want(1 <= margins.size == values.size, f"{margins.size} and {values.size} knots; want equally many, 1 or more")
    _want(bool(np.isfinite(margins).all() and (np.diff(margins) > 0).all()), "margins of knots that do not rise")
    _want(bool(((values > 0) & (values < 1)).all()), "probabilities of knots outside 0 to 1")
    _want(bool((np.diff(values) >= 0).all()), "probabilities of knots that fall")
    return Calibration(margins, values, horizon.method)


def _thresholds(horizon: _Horizon) -> tuple[float, float]:
    both = horizon.watch, horizon.replace
    _want(all(0 < each <= 1 for each in both), f"thresholds {both}; want above 0, up to 1")
    _want(both[0] <= both[1], f"thresholds {both}; want watch not above replace")
    return both


def _profile(contents: _Contents) -> Profile:
    own, features = contents.profile, len(contents.features)
    edges, shares = _array(own.edges, "<f4", "edges"), _array(own.shares, "<f4", "shares")
    _want(edges.size == features * (BINS - 2), f"{edges.size} edges of bins; want {features * (BINS - 2)}")
    _want(len(own.models) == len(own.rows), f"{len(own.models)} models and {len(own.rows)} counts of rows")
    wanted = len(own.models) * features * BINS
    _want(shares.size == wanted, f"{shares.size} shares of bins; want {wanted}")
    _want(
        bool(not np.isnan(edges).any() and (np.diff(edges.reshape(features, -1)) >= 0).all()), "edges of bins that fall"
    )
    _want(bool(((shares >= 0) & (shares <= 1)).all()), "shares of bins outside 0 to 1")
    return Profile(
        tuple(contents.features),
        edges.reshape(features, BINS - 2),
        tuple(own.models),
        tuple(own.rows),
        shares.reshape(len(own.models), features, BINS),
    )


def _card(found: dict[str, Any]) -> Card:
    try:
        card = msgspec.convert(found, Card)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ModelFileError(f"the model's card cannot be read: {error}; train it again with this release") from error
    numbers = [*card.recipe.values(), *(each for both in card.thresholds.values() for each in both)]
    _want(all(math.isfinite(number) for number in numbers), "a number on the card that is not finite")
    return card
