"""Rows to groups: one dense code per row for its window and labels, without Python per row.

Each key turns into small integers (windows and integers by their distance from the smallest, text by first
appearance), the codes are packed into one integer by mixed radix, and squeezed to 0..n_groups-1 whenever the packed
range outgrows what a lookup array may cost. Which group gets which code is arbitrary; only equality counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import polars as pl

from pipeline.coded import Coded

IntArray: TypeAlias = npt.NDArray[np.int64]

WINDOW_COLUMN: Final = "window"
# A lookup array of this many slots plus 16 per row costs less than sorting the rows' codes.
_LOOKUP_SLOTS: Final = 65_536


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
    """Groups rows by window start and labels. Labels are what `label_codes` takes."""
    n = len(starts)
    codes, size = np.zeros(n, np.int64), 1
    if n and int(starts.min()) != int(starts.max()):
        low = int(starts.min())
        codes = (starts - low) // window_ns
        codes, size = _squeezed_if_sparse(codes, (int(starts.max()) - low) // window_ns + 1)
    for label in labels:
        more, radix = label_codes(label)
        if size == 1:
            codes, size = more, radix
        else:
            codes, size = _squeezed_if_sparse(codes * radix + more, size * radix)
    codes, size = _squeezed(codes, size)
    firsts = np.empty(size, np.int64)
    firsts[codes] = np.arange(n)
    return Grouping(codes, firsts)


def label_codes(label: pl.Series | Coded) -> tuple[IntArray, int]:
    """(codes int64[n], radix): equal codes for equal label text, all below radix. NULL and "" are one label."""
    if len(label) == 0:
        return np.empty(0, np.int64), 1
    if isinstance(label, Coded):
        return label.ranks, len(label.texts)
    dtype = label.dtype
    if dtype == pl.Boolean or dtype.is_integer():
        return _integer_codes(label.cast(pl.Int64))
    if dtype.is_float():
        label = label.cast(pl.String)
    if isinstance(label.dtype, pl.Enum):
        codes = _without_nulls(label).to_physical()
        return codes.to_numpy().astype(np.int64), len(label.dtype.categories)
    # Categories of its own: codes are 0, 1, 2, ... by first appearance and nothing outlives the call.
    codes = _without_nulls(label).cast(pl.Categorical(pl.Categories.random())).to_physical()
    array = codes.to_numpy().astype(np.int64)
    return array, int(array.max()) + 1


def label_text(label: pl.Series) -> pl.Series:
    """A label's values as the keys of partials show them: text, NULL as ""."""
    return _without_nulls(label.cast(pl.String))


def _without_nulls(label: pl.Series) -> pl.Series:
    return label.fill_null("") if label.null_count() else label


def _integer_codes(values: pl.Series) -> tuple[IntArray, int]:
    nulls = values.null_count()
    if nulls == len(values):
        return np.zeros(len(values), np.int64), 1
    low, high = values.min(), values.max()
    assert isinstance(low, int)
    assert isinstance(high, int)
    if high - low < _LOOKUP_SLOTS + 16 * len(values):
        codes = (values - low + 1).fill_null(0).to_numpy() if nulls else (values - low).to_numpy()
        return codes, high - low + 2
    distinct, inverse = np.unique(values.fill_null(low).to_numpy(), return_inverse=True)
    codes = inverse.astype(np.int64) + 1
    if nulls:
        codes[values.is_null().to_numpy()] = 0
    return codes, len(distinct) + 1


def _squeezed_if_sparse(codes: IntArray, size: int) -> tuple[IntArray, int]:
    return (codes, size) if size <= _LOOKUP_SLOTS + 16 * len(codes) else _squeezed(codes, size)


def _squeezed(codes: IntArray, size: int) -> tuple[IntArray, int]:
    """The same partition of the rows with codes 0..m-1, all in use."""
    if len(codes) == 0:
        return codes, 0
    if size <= _LOOKUP_SLOTS + 16 * len(codes):
        used = np.zeros(size, np.bool_)
        used[codes] = True
        places = np.cumsum(used, dtype=np.int64) - 1
        return places[codes], int(places[-1]) + 1
    distinct, inverse = np.unique(codes, return_inverse=True)
    return inverse.astype(np.int64), len(distinct)
