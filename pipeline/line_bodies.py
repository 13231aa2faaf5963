"""The bytes of kept lines, of many groups at once.

    u8 format = 1 | u8 kind | u16 lines | i64 texts seen | i64 bytes seen
    per line: i64 time | i64 place | u16 bytes of its text
    the texts one behind the other, UTF-8

Little-endian; kind: 6 first_lines, 7 last_lines (1 to 5 are numbers, state_bodies.py). Equal states have equal bytes.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from pipeline.coded import IntArray
from pipeline.errors import StateError
from pipeline.state_bodies import FORMAT

ByteArray = npt.NDArray[np.uint8]
KINDS: Final = {"first_lines": 6, "last_lines": 7}
_HEAD: Final = np.dtype([("format", "u1"), ("kind", "u1"), ("lines", "<u2"), ("n", "<i8"), ("seen_bytes", "<i8")])
_LINE: Final = np.dtype([("time", "<i8"), ("place", "<i8"), ("length", "<u2")])


@dataclass(frozen=True, slots=True)
class Parts:
    """The arrays of a state: n, seen_bytes and counts have one entry per group, times, places and lengths per line."""

    n: IntArray
    seen_bytes: IntArray
    counts: IntArray
    times: IntArray
    places: IntArray
    lengths: IntArray
    text: ByteArray


def encode(function: str, parts: Parts) -> tuple[bytes, IntArray]:
    """(bodies one behind the other, their lengths int64[n])."""
    heads = np.zeros(parts.n.size, _HEAD)
    heads["format"], heads["kind"], heads["lines"] = FORMAT, KINDS[function], parts.counts
    heads["n"], heads["seen_bytes"] = parts.n, parts.seen_bytes
    lines = np.zeros(parts.times.size, _LINE)
    lines["time"], lines["place"], lines["length"] = parts.times, parts.places, parts.lengths
    texts = text_bytes(parts.counts, parts.lengths)
    lengths = _HEAD.itemsize + parts.counts * _LINE.itemsize + texts
    if not parts.times.size:
        return heads.tobytes(), lengths
    pieces: list[bytes | memoryview] = []
    head, line, text = memoryview(heads.tobytes()), memoryview(lines.tobytes()), memoryview(parts.text.tobytes())
    heads_at = range(0, len(head) + 1, _HEAD.itemsize)
    lines_at = pairwise([0, *(np.cumsum(parts.counts) * _LINE.itemsize).tolist()])
    texts_at = pairwise([0, *np.cumsum(texts).tolist()])
    for (a, b), (c, d), (e, f) in zip(pairwise(heads_at), lines_at, texts_at, strict=True):
        pieces += [head[a:b], line[c:d], text[e:f]]
    return b"".join(pieces), lengths


def decode(function: str, buffer: bytes | memoryview, lengths: IntArray) -> Parts:
    """The arrays in bodies whose sizes fit together; what they hold is not looked at.

    Raises:
        StateError: they are not bodies of this aggregate.
    """
    flat = np.frombuffer(buffer, np.uint8)
    if flat.size != int(lengths.sum()) or np.any(lengths < _HEAD.itemsize):
        raise StateError(
            f"{function}: {lengths.size} bodies in {flat.size} bytes; want {_HEAD.itemsize} or more each, read again"
        )
    ends = np.cumsum(lengths)
    starts = ends - lengths
    heads = _structs(flat, starts, _HEAD)
    for name, seen, wanted in (("format", heads["format"], FORMAT), ("kind", heads["kind"], KINDS[function])):
        wrong = np.flatnonzero(seen != wanted)
        if wrong.size:
            raise StateError(f"{function}: body {wrong[0]} has {name} {seen[wrong[0]]}; want {wanted}")
    counts = heads["lines"].astype(np.int64)
    texts_at = starts + _HEAD.itemsize + counts * _LINE.itemsize
    if np.any(texts_at > ends):
        raise StateError(f"{function}: a body ends inside its lines; the bytes are damaged")
    nth = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
    lines = _structs(flat, np.repeat(starts + _HEAD.itemsize, counts) + nth * _LINE.itemsize, _LINE)
    line_bytes = lines["length"].astype(np.int64)
    if np.any(text_bytes(counts, line_bytes) != ends - texts_at):
        raise StateError(f"{function}: a body's texts are not as long as its lines say; the bytes are damaged")
    text = slices(flat, texts_at, ends)
    n, seen_bytes, times, places = (
        fields.astype(np.int64) for fields in (heads["n"], heads["seen_bytes"], lines["time"], lines["place"])
    )
    return Parts(n, seen_bytes, counts, times, places, line_bytes, text)


def text_bytes(counts: IntArray, lengths: IntArray) -> IntArray:
    """Bytes of text of each group, given how many lines it has and how long they are."""
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    last = np.cumsum(counts)
    found: IntArray = ends[last] - ends[last - counts]
    return found


def slices(flat: ByteArray, starts: IntArray, ends: IntArray) -> ByteArray:
    """flat[starts[i]:ends[i]] one behind the other; neighbours are copied in one go, a slice costs 0.1 us."""
    filled = ends > starts
    starts, ends = starts[filled], ends[filled]
    if not starts.size:
        return np.empty(0, np.uint8)
    begins = np.ones(starts.size, np.bool_)
    begins[1:] = starts[1:] != ends[:-1]
    stops = np.append(begins[1:], True)
    view = flat.data
    pieces = [view[a:b] for a, b in zip(starts[begins].tolist(), ends[stops].tolist(), strict=True)]
    return np.frombuffer(b"".join(pieces), np.uint8)


def _structs(flat: ByteArray, starts: IntArray, layout: np.dtype[np.void]) -> npt.NDArray[np.void]:
    """The structures that begin at these places."""
    places = starts[:, None] + np.arange(layout.itemsize)
    found: npt.NDArray[np.void] = flat[places].view(layout).reshape(-1)
    return found
