"""The bytes of one scalar state, fixed in size per kind, so that n of them are one array and no loop.

    u8 format = 1 | u8 kind | u8 flags | fields, little-endian 64-bit words

kind: 1 count, 2 sum, 3 min, 4 max, 5 avg. flags: bit 0 set for integer values, bit 1 set when the group had a value.
Fields: count: n. sum: hi, lo. min, max: the value. avg: n, hi, lo. Words are int64, or float64 where bit 0 is clear
(n is always int64). An absent state has all fields 0. Equal states have equal bytes; every NaN is the same NaN.
Bodies of sketches are in quantiles/codec.py.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from pipeline.errors import StateError

IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
Words: TypeAlias = npt.NDArray[np.int64] | npt.NDArray[np.float64]

FORMAT: Final = 1
KINDS: Final = {"count": 1, "sum": 2, "min": 3, "max": 4, "avg": 5}
_INTEGER, _PRESENT = 1, 2
_NAN: Final = np.float64(np.nan).view(np.int64)


def encode(kind: str, integer: bool, present: BoolArray, fields: Sequence[Words]) -> tuple[bytes, IntArray]:
    """(bodies one behind the other, their lengths int64[n])."""
    bodies = np.zeros(len(present), _layout(len(fields)))
    bodies["format"], bodies["kind"] = FORMAT, KINDS[kind]
    bodies["flags"] = integer * _INTEGER + present * _PRESENT
    for k, words in enumerate(fields):
        if words.dtype == np.float64:
            words = np.where(np.isnan(words), np.nan, words)  # noqa: PLW2901 -- one NaN of all NaNs
        bodies["words"][:, k] = words.view(np.int64)
    return bodies.tobytes(), np.full(len(present), bodies.dtype.itemsize, np.int64)


def decode(
    kind: str, integer: bool, floats: Sequence[bool], buffer: bytes | memoryview, lengths: IntArray
) -> tuple[BoolArray, list[Words]]:
    """(present, fields) of n bodies; floats[k] says whether field k is float64.

    Raises:
        StateError: bytes that `encode` does not write for this kind.
    """
    layout = _layout(len(floats))
    if len(buffer) != layout.itemsize * len(lengths) or np.any(lengths != layout.itemsize):
        raise StateError(
            f"{kind}: {len(lengths)} bodies in {len(buffer)} bytes; want {layout.itemsize} bytes each, read them again"
        )
    bodies = np.frombuffer(buffer, layout)
    flags = bodies["flags"]
    for name, seen, wanted in (
        ("format", bodies["format"], FORMAT),
        ("kind", bodies["kind"], KINDS[kind]),
        ("integer flag", flags & _INTEGER, int(integer)),
        ("unknown flags", flags & ~np.uint8(_INTEGER | _PRESENT), 0),
    ):
        wrong = np.flatnonzero(seen != wanted)
        if len(wrong):
            raise StateError(f"{kind}: body {wrong[0]} has {name} {seen[wrong[0]]}; want {wanted}")
    present = (flags & _PRESENT) != 0
    words = bodies["words"]
    if np.any(words[~present] != 0):
        raise StateError(f"{kind}: a group without values has a value; the bytes are damaged")
    fields = [np.ascontiguousarray(words[:, k]) for k in range(len(floats))]
    for k, is_float in enumerate(floats):
        if is_float and np.any(np.isnan(fields[k].view(np.float64)) & (fields[k] != _NAN)):
            raise StateError(f"{kind}: a NaN of unusual bits, which is never written; the bytes are damaged")
    return present, [f.view(np.float64) if is_float else f for f, is_float in zip(fields, floats, strict=True)]


def _layout(n_words: int) -> np.dtype[np.void]:
    return np.dtype([("format", "u1"), ("kind", "u1"), ("flags", "u1"), ("words", "<i8", (n_words,))])
