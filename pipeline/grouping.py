"""Rows to groups: one dense code per row for its window and labels, without Python per row.

Keys that are small numbers (windows, integers, codes of Enums) are packed into one number by mixed radix. Where that
ranges over few values a table numbers the groups; else one sort does, of the number above the row's place in one
unsigned integer, because sorting plain integers costs a tenth of what an argsort or a dictionary of texts does
(0.3 ms for 33,000 rows). Texts, and numbers too many for the bits there are, go in as hashes; what came together is
then compared, so that no collision can join two keys. Which group gets which code is arbitrary; only equality counts.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.coded import Coded

IntArray: TypeAlias = npt.NDArray[np.int64]
UnsignedArray: TypeAlias = npt.NDArray[np.uint64]

WINDOW_COLUMN: Final = "window"
# A table of this many slots, and of as many per row, costs less than sorting the rows' codes.
_LOOKUP_SLOTS: Final = 8_192
_SLOTS_PER_ROW: Final = 8
_BITS: Final = 64
# Odd, its bits without pattern: 2**64 / golden ratio, as in Fibonacci hashing (Knuth, TAOCP 3, 6.4).
_MIXER: Final = np.uint64(0x9E3779B97F4A7C15)
_HALF: Final = np.uint64(32)


@dataclass(frozen=True, slots=True)
class Grouping:
    """codes int64[n] in 0..n_groups-1, every code in use; firsts int64[n_groups]: some row of each group."""

    codes: IntArray
    firsts: IntArray

    @property
    def n_groups(self) -> int:
        """Number of groups."""
        return len(self.firsts)


def window_starts(times: IntArray, window_ns: int) -> IntArray:
    """Start of each time's tumbling window: floor(ts / window_ns) * window_ns, floor for negatives too."""
    if len(times) == 0:
        return np.empty(0, np.int64)
    first, last = int(times.min()) // window_ns, int(times.max()) // window_ns
    if first == last:  # the usual batch: far cheaper than one division per row
        return np.full(len(times), first * window_ns, np.int64)
    return np.floor_divide(times, window_ns) * window_ns


def group(starts: IntArray, window_ns: int, labels: Sequence[pl.Series | Coded]) -> Grouping:
    """Groups rows by window start and labels: text, numbers, booleans, or codes; NULL and "" are one label."""
    n = len(starts)
    if n == 0:
        return Grouping(np.empty(0, np.int64), np.empty(0, np.int64))
    keys = [key for key in (_window_key(starts, window_ns), *(_label_key(label) for label in labels)) if key.varies]
    numbers = [key for key in keys if isinstance(key, _Numbers)]
    size = math.prod(key.size for key in numbers)
    row_bits = (n - 1).bit_length()
    if len(numbers) < len(keys) or (size - 1).bit_length() > _BITS - row_bits:
        grouping = _by_sort(_mixed(keys), row_bits)
        mine = grouping.firsts[grouping.codes]
        rest = np.flatnonzero(mine != np.arange(n))
        if all(key.same(rest, mine[rest]) for key in keys):
            return grouping
        return _one_by_one(keys, n)
    if size <= _LOOKUP_SLOTS + _SLOTS_PER_ROW * n:
        return _by_table(_packed(numbers, n).view(np.int64), size)
    return _by_sort(_packed(numbers, n) << np.uint64(row_bits), row_bits)


def is_constant(texts: pl.Series) -> bool:
    """Whether one text, not NULL, stands in every row; mostly the first and the last one tell."""
    first = texts[0]
    return first is not None and texts[-1] == first and bool((texts == first).all()) and not texts.null_count()


def rows_of(column: pl.Series, places: IntArray) -> pl.Series:
    """The column's rows at these places; a fifth of what `gather` costs, which goes through a lazy frame."""
    return column[pl.Series(places.astype(np.uint32))]


def label_text(label: pl.Series) -> pl.Series:
    """A label's values as the keys of partials show them: text, NULL as ""."""
    if isinstance(label.dtype, pl.Enum) and not label.null_count():
        return label.dtype.categories[label.to_physical()]  # a tenth of what the cast costs
    return _without_nulls(label.cast(pl.String))


def _without_nulls(label: pl.Series) -> pl.Series:
    return label.fill_null("") if label.null_count() else label


@dataclass(frozen=True, slots=True)
class _Numbers:
    """A key as numbers in 0..size-1: equal keys, equal numbers."""

    codes: UnsignedArray
    size: int

    @property
    def varies(self) -> bool:
        return self.size > 1

    def hashes(self) -> UnsignedArray:
        return self.codes

    def same(self, left: IntArray, right: IntArray) -> bool:
        return bool((self.codes[left] == self.codes[right]).all())


@dataclass(frozen=True, slots=True)
class _Texts:
    """A key as text without NULL."""

    texts: pl.Series

    @property
    def varies(self) -> bool:
        return not is_constant(self.texts)

    def hashes(self) -> UnsignedArray:
        return self.texts.hash().to_numpy()

    def categories(self) -> UnsignedArray:
        """Equal texts, equal numbers; nothing outlives the call."""
        return self.texts.cast(pl.Categorical(pl.Categories.random())).to_physical().to_numpy().astype(np.uint64)

    def same(self, left: IntArray, right: IntArray) -> bool:
        return bool((rows_of(self.texts, left) == rows_of(self.texts, right)).all())


def _window_key(starts: IntArray, window_ns: int) -> _Numbers:
    low, high = int(starts.min()), int(starts.max())
    if low == high:
        return _Numbers(np.zeros(0, np.uint64), 1)
    return _Numbers(((starts - low) // window_ns).view(np.uint64), (high - low) // window_ns + 1)


def _label_key(label: pl.Series | Coded) -> "_Numbers | _Texts":
    if isinstance(label, Coded):
        return _Numbers(label.ranks.view(np.uint64), len(label.texts))
    dtype = label.dtype
    if isinstance(dtype, pl.Enum):
        codes = _without_nulls(label).to_physical().to_numpy().astype(np.uint64)
        return _Numbers(codes, len(dtype.categories))
    if dtype == pl.Boolean or dtype.is_integer():
        return _integers(label.cast(pl.Int64))
    return _Texts(_without_nulls(label.cast(pl.String)))


def _integers(values: pl.Series) -> _Numbers | _Texts:
    """By their distance from the smallest, NULL being one more than the largest."""
    nulls = values.null_count()
    if nulls == len(values):
        return _Numbers(np.zeros(0, np.uint64), 1)
    low, high = values.min(), values.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    found = values.fill_null(low).to_numpy() if nulls else values.to_numpy()
    if nulls and high - low + 1 == 1 << _BITS:  # no number is left for NULL
        return _Texts(values.cast(pl.String).fill_null(""))
    codes = found.view(np.uint64) - np.uint64(low % (1 << _BITS))  # which wraps around to the distance
    if nulls:
        codes[values.is_null().to_numpy()] = high - low + 1
    return _Numbers(codes, high - low + 1 + (nulls > 0))


def _packed(keys: Sequence[_Numbers], n: int) -> UnsignedArray:
    """One number per row; all sizes multiplied must fit."""
    if not keys:
        return np.zeros(n, np.uint64)
    codes = keys[0].codes
    for key in keys[1:]:
        codes = codes * np.uint64(key.size)
        codes += key.codes
    return codes


def _mixed(keys: Sequence[_Numbers | _Texts]) -> UnsignedArray:
    """One hash per row, good in its upper bits."""
    mixed = keys[0].hashes() * _MIXER
    for key in keys[1:]:
        mixed ^= mixed >> _HALF
        mixed += key.hashes()
        mixed *= _MIXER
    mixed ^= mixed >> _HALF
    mixed *= _MIXER
    return mixed


def _by_table(codes: IntArray, size: int) -> Grouping:
    """Every code finds one row that has it: whichever was written last."""
    rows = np.arange(len(codes), dtype=np.int32)
    chosen = np.empty(size, np.int32)
    chosen[codes] = rows
    mine = chosen[codes]
    firsts = np.flatnonzero(mine == rows)
    numbers = np.empty(len(codes), np.int64)
    numbers[firsts] = np.arange(len(firsts))
    return Grouping(numbers[mine], firsts)


def _by_sort(upper: UnsignedArray, row_bits: int) -> Grouping:
    """Rows are of one group when all but the lowest `row_bits` bits are equal."""
    n, low = len(upper), np.uint64((1 << row_bits) - 1)
    tagged = upper & ~low
    tagged |= np.arange(n, dtype=np.uint64)
    tagged.sort()
    order = (tagged & low).view(np.int64)
    tagged >>= np.uint64(row_bits)
    begins = np.empty(n, np.bool_)
    begins[0] = True
    np.not_equal(tagged[1:], tagged[:-1], out=begins[1:])
    codes = np.empty(n, np.int64)
    codes[order] = np.cumsum(begins, dtype=np.int64) - 1
    return Grouping(codes, order[begins])


def _one_by_one(keys: Sequence[_Numbers | _Texts], n: int) -> Grouping:
    """Without hashes: each key's values numbered, then the pairs of those numbers and the numbers before."""
    codes = np.zeros(n, np.int64)
    for key in keys:
        _, numbers = np.unique(key.codes if isinstance(key, _Numbers) else key.categories(), return_inverse=True)
        _, codes = np.unique(codes * n + numbers, return_inverse=True)
    _, firsts = np.unique(codes, return_index=True)
    return Grouping(codes, firsts)
