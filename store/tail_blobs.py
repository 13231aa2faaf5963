"""Recorded requests in a blob: columns as analytics/tail/samples.py takes them, in order of arrival.

    format (1 byte) | zstd, with checksum:  length of the head (4) | head (msgpack) | first arrival (8) | columns

Times are kept to the nanosecond, arrivals as steps from one to the next; store/column_blobs.py finds by itself that a
sender counts in whole microseconds. What was not told (NaN, a negative count) takes next to nothing.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from store.column_blobs import Reader, Values, pack
from store.errors import CorruptPageError

BLOB_FORMAT: Final = 3
TIMES: Final = ("wait_us", "service_us", "predicted_us", "cpu_us", "raised_us")
COUNTS: Final = ("degree", "degree_final", "in_system", "active_threads", "long_threads", "table_version")
#: What a reader is given: float64 for TIMES (NaN: not told), int64 for the others (-1: a count was not told).
COLUMNS: Final = ("arrival_ns", *TIMES, *COUNTS, "explored", "weight")
_STEPS: Final = "arrival_step_ns"
_WHAT: Final = "a batch of requests"
_FIRST: Final = struct.Struct("<q")
_NS_PER_US: Final = 1e3
_UNTOLD: Final = {"explored": 0, "weight": 1}

RequestColumns = Mapping[str, npt.NDArray[Any]]


def encode(columns: RequestColumns) -> bytes:
    """The blob of columns that lie in order of arrival, with at least one row; a column may be missing."""
    arrivals = np.asarray(columns["arrival_ns"], np.int64)
    series = [pl.Series(_STEPS, np.diff(arrivals, prepend=arrivals[:1]))]
    for name in COLUMNS[1:]:
        if name not in columns:
            continue
        if name in TIMES:
            micros = np.asarray(columns[name], np.float64)
            known = np.isfinite(micros)
            whole = np.rint(np.where(known, micros, 0.0) * _NS_PER_US).astype(np.int64)
        else:
            whole = np.asarray(columns[name], np.int64)
            known = whole >= 0
        one = pl.Series(name, whole)
        series.append(one if known.all() else one.set(pl.Series(~known), None))
    return pack(BLOB_FORMAT, pl.DataFrame(series), [_FIRST.pack(int(arrivals[0]))])


def decode(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """All of COLUMNS, fresh arrays of one length, in order of arrival.

    Raises:
        CorruptPageError: the bytes are no such blob, damaged, or of a newer release.
    """
    reader = Reader(data, BLOB_FORMAT, _WHAT)
    rows = reader.head.rows
    (first,) = _FIRST.unpack(reader.take(_FIRST.size))
    found = reader.columns()
    for name, values in found.items():
        if values.kind != "int" or (name == _STEPS and values.valid is not None):
            raise CorruptPageError(f"column {name!r} of {_WHAT} holds {values.kind}, wanted whole numbers")
    if _STEPS not in found:
        raise CorruptPageError(f"{_WHAT} says nothing of arrivals")
    steps = found[_STEPS].items
    if rows and (steps.min() < 0 or first < 0 or int(steps.sum(dtype=np.float64)) > 2**62):
        raise CorruptPageError(f"{_WHAT} has requests that are not in order of arrival")
    columns: dict[str, npt.NDArray[Any]] = {"arrival_ns": first + np.cumsum(steps)}
    for name in TIMES:
        columns[name] = _told(found.get(name), rows, -1) / _NS_PER_US
        columns[name][columns[name] < 0] = np.nan
    for name in (*COUNTS, *_UNTOLD):
        columns[name] = _told(found.get(name), rows, _UNTOLD.get(name, -1))
    return columns


def _told(values: Values | None, rows: int, otherwise: int) -> npt.NDArray[np.int64]:
    if values is None:
        return np.full(rows, otherwise, np.int64)
    items: npt.NDArray[np.int64] = values.items
    return items if values.valid is None else np.where(values.valid, items, otherwise)
