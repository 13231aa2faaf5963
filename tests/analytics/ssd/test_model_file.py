"""Bytes that are no model of this release are refused, whatever they are."""

import hashlib
from functools import cache

import msgspec
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from analytics.errors import ModelFileError, ModelMismatchError
from analytics.ssd.model import Model
from analytics.ssd.model_file import MOST_BYTES, dump_model, load_model
from tests.analytics.ssd.learning_rows import learnable, quick_model

pytest.importorskip("xgboost")


@cache
def _bytes() -> bytes:
    return dump_model(quick_model())


def _resealed(contents: bytes) -> bytes:
    """A file with these contents whose digest is right."""
    return _bytes()[:12] + hashlib.sha256(contents).digest() + zstandard.compress(contents)


def _contents() -> dict:
    return msgspec.msgpack.decode(zstandard.decompress(_bytes()[44:]))


def test_a_model_comes_back_the_same() -> None:
    again = load_model(_bytes())
    features = learnable().features
    first, second = quick_model().probabilities(features), again.probabilities(features)
    for horizon in (5, 10):
        assert np.array_equal(first[horizon], second[horizon])
    assert np.array_equal(quick_model().contributions(features.head(9), 5), again.contributions(features.head(9), 5))
    assert again.digest == quick_model().digest
    assert again.card == quick_model().card
    assert again.thresholds == quick_model().thresholds
    assert again.kinds == quick_model().kinds
    assert dump_model(again) == _bytes()


@given(place=st.integers(0, 10**6), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere_is_refused(place: int, bit: int) -> None:
    changed = bytearray(_bytes())
    changed[place % len(changed)] ^= 1 << bit
    try:
        again = load_model(bytes(changed))
    except ModelFileError:
        return
    # Bits that zstd itself ignores change nothing.
    assert again.digest == quick_model().digest


@given(
    data=st.one_of(st.binary(max_size=200), st.integers(0, 10**6).map(lambda size: _bytes()[: size % len(_bytes())]))
)
def test_bytes_that_are_no_whole_model_are_refused(data: bytes) -> None:
    with pytest.raises(ModelFileError):
        load_model(data)


_SMALL = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=40),
    st.lists(st.integers(-2, 3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


@given(picks=st.lists(st.integers(0, 10**6), min_size=1, max_size=6), value=_SMALL)
def test_contents_with_a_part_exchanged_are_refused_or_still_a_model(picks: list[int], value: object) -> None:
    contents = _contents()
    _exchange(contents, picks, value)
    _load_and_use(_resealed(msgspec.msgpack.encode(contents)))


@given(place=st.integers(0, 10**6), change=st.binary(min_size=1, max_size=8))
def test_overwritten_contents_under_a_right_digest_are_refused_or_still_a_model(place: int, change: bytes) -> None:
    contents = bytearray(zstandard.decompress(_bytes()[44:]))
    at = place % len(contents)
    contents[at : at + len(change)] = change[: len(contents) - at]
    _load_and_use(_resealed(bytes(contents)))


def _exchange(part: object, picks: list[int], value: object) -> None:
    """Walk down by the picks and exchange what stands there."""
    keys = list(part) if isinstance(part, dict) else list(range(len(part)))  # type: ignore[arg-type]
    key = keys[picks[0] % len(keys)]
    inner = part[key]  # type: ignore[index]
    if len(picks) > 1 and isinstance(inner, dict | list) and inner:
        _exchange(inner, picks[1:], value)
    else:
        part[key] = value  # type: ignore[index]


def _load_and_use(data: bytes) -> Model | None:
    try:
        model = load_model(data)
    except (ModelFileError, ModelMismatchError):
        return None
    features = learnable().features.head(20)
    if set(model.encoding.features) <= set(features.columns):
        for p in model.probabilities(features).values():
            assert ((p > 0) & (p < 1)).all()
    model.card.markdown()
    return model


def test_a_model_of_other_features_is_a_mismatch_that_names_both_versions() -> None:
    with pytest.raises(ModelMismatchError, match=r"'sha256:.*'; this release makes 'sha256:other'"):
        load_model(_bytes(), features_version="sha256:other")


def test_a_feature_that_this_release_does_not_make_is_a_mismatch() -> None:
    contents = _contents()
    contents["features"][0] = "phase_of_moon"
    with pytest.raises(ModelMismatchError, match="'phase_of_moon', which this release does not make"):
        load_model(_resealed(msgspec.msgpack.encode(contents)))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "begins with b''; want b'TWDRIVES'"),
        (b"\x80\x04\x95pickle" + b"\0" * 60, "no model of drives"),
        (b"TWDRIVES\x02\0\0\0" + b"\0" * 60, "version 2; this release reads version 1"),
        (b"TWDRIVES\x01\0\0\0" + b"\0" * 60, "bytes are damaged|says it holds"),
    ],
)
def test_what_was_seen_and_wanted_is_named(data: bytes, said: str) -> None:
    with pytest.raises(ModelFileError, match=said):
        load_model(data)


def test_a_small_file_that_would_unpack_to_gigabytes_is_refused_before() -> None:
    bomb = zstandard.compress(b"\0" * (MOST_BYTES + 1))
    with pytest.raises(ModelFileError, match="says it holds 64000001 bytes"):
        load_model(_bytes()[:44] + bomb)
