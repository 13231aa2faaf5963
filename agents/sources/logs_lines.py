"""Blocks of bytes as records: where each begins and ends, without a Python object per line.

A block is the bytes of whole lines, perhaps of several files one after the other. Patterns read fields off it by
position: eight bytes at once as a little-endian word, which NumPy gathers for all records in one call. What becomes
text is cut out of the block by Polars, which keeps no copy of it.
Invariant: `data` ends with PADDING zero bytes that belong to no record, so that words behind the last record exist.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

Ints: TypeAlias = npt.NDArray[np.int64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Words: TypeAlias = npt.NDArray[np.uint64]
Octets: TypeAlias = npt.NDArray[np.uint8]

PADDING: Final = bytes(64)
_NEWLINE: Final = 10
_RETURN: Final = 13


@dataclass(frozen=True)
class Records:
    """Records of a block: record i is data[starts[i]:ends[i]], without its line end; both in order."""

    data: bytes
    starts: Ints
    ends: Ints

    def __len__(self) -> int:
        """How many."""
        return self.starts.size

    @cached_property
    def octets(self) -> Octets:
        """The block's bytes, padding included."""
        return np.frombuffer(self.data, np.uint8)

    @cached_property
    def words(self) -> Words:
        """words[i] are the eight bytes from i on, the first one lowest."""
        return np.ndarray((len(self.data) - 7,), "<u8", self.data, strides=(1,))

    @cached_property
    def texts(self) -> pl.Series:
        """Each record as text; bytes that are no UTF-8 are replaced."""
        return cut_out(self, self.starts, self.ends)

    def of(self, which: Ints | Bools) -> "Records":
        """Some of them."""
        return Records(self.data, self.starts[which], self.ends[which])

    def example(self, which: int) -> bytes:
        """The bytes of one."""
        return self.data[self.starts[which] : self.ends[which]]


def lines_of(data: bytes) -> Records:
    """The lines of whole-line bytes, empty ones left out; a carriage return before the line end is part of that."""
    padded = data + PADDING
    octets = np.frombuffer(padded, np.uint8)
    ends = np.flatnonzero(octets == _NEWLINE)
    starts = np.empty_like(ends)
    starts[:1] = 0
    starts[1:] = ends[:-1] + 1
    returned = octets[ends - 1] == _RETURN
    if returned.any():
        ends = ends - returned
    filled = ends > starts
    if not filled.all():
        starts, ends = starts[filled], ends[filled]
    return Records(padded, starts, ends)


def records_of_texts(texts: pl.Series) -> Records:
    """Texts, none of them NULL, as records of a block of their own."""
    data = b"\n".join(text.encode() for text in texts.to_list()) + b"\n" + PADDING
    lengths = texts.str.len_bytes().to_numpy().astype(np.int64)
    ends = np.cumsum(lengths + 1) - 1
    return Records(data, ends - lengths, ends)


def cut_out(records: Records, starts: Ints, ends: Ints, there: Bools | None = None, name: str = "") -> pl.Series:
    """data[starts[i]:ends[i]] as text, NULL where it is not `there`; bytes that are no UTF-8 are replaced."""
    block = pl.lit(pl.Series([records.data]))  # a series is taken as it is, bytes would be copied for each plan
    cuts = block.bin.slice(pl.Series(starts), pl.Series(np.maximum(ends - starts, 0)))
    found = pl.select(cuts.alias(name)).to_series()
    try:
        texts = found.cast(pl.String)
    except pl.exceptions.ComputeError:
        texts = pl.Series(name, [cut.decode("utf-8", "replace") for cut in found.to_list()], dtype=pl.String)
    if there is not None and not there.all():
        texts = pl.select(pl.when(pl.Series(there)).then(texts).alias(name)).to_series()
    return texts


def broken_in(records: Records) -> list[int]:
    """Which of them are no UTF-8."""
    return [which for which in range(len(records)) if not is_text(records.example(which))]


def is_text(data: bytes) -> bool:
    """Whether it is UTF-8."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def place_of(records: Records, octet: int, at: Ints, ends: Ints, most: int = 8192) -> Ints:
    """Where `octet` stands first in [at, ends); `ends` where it does not, or not within about `most` bytes."""
    found = ends.copy()
    left = np.arange(at.size)
    ones, highs = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
    pattern = np.uint64(octet) * ones
    step = 0
    while left.size and step < most:
        place = at[left] + step
        inside = place < ends[left]
        left, place = left[inside], place[inside]
        # The lowest byte that becomes zero is marked rightly; those above it may not be, but only the lowest counts.
        differs = records.words[place] ^ pattern
        marks = (differs - ones) & ~differs & highs
        hit = marks != 0
        lowest = marks[hit]
        offset = np.bitwise_count((lowest & (~lowest + np.uint64(1))) - np.uint64(1)) >> 3
        found[left[hit]] = np.minimum(place[hit] + offset, ends[left[hit]])
        left = left[~hit]
        step += 8
    return found
