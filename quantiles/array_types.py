"""The array types that signatures of this package name, and the checks every array from a caller passes once."""

from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from quantiles.errors import SampleError

IntArray: TypeAlias = npt.NDArray[np.int64]
CellArray: TypeAlias = npt.NDArray[np.int32]
FloatArray: TypeAlias = npt.NDArray[np.float64]
ByteArray: TypeAlias = npt.NDArray[np.uint8]
UnsignedArray: TypeAlias = npt.NDArray[np.uint32]
TokenArray: TypeAlias = npt.NDArray[np.uint64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
SampleArray: TypeAlias = IntArray | FloatArray


class Slots(NamedTuple):
    """Rows of counts in one piece of memory.

    Row r has widths[r] slots of sizes[r] bytes (1, 2, 4 or 8; 0: no slots), one after the other from the byte
    places[r], a multiple of the size; the first one counts the cell firsts[r]. Bytes come in a multiple of 8.
    """

    memory: ByteArray
    places: IntArray
    firsts: CellArray
    widths: CellArray
    sizes: ByteArray


class Pairs(NamedTuple):
    """Cells and counts of sketches: sketch i has cells[offsets[i]:offsets[i + 1]], ascending, and the counts there."""

    offsets: IntArray
    cells: CellArray
    counts: IntArray


def as_samples(values: npt.ArrayLike) -> SampleArray:
    """Samples as int64 or float64, one-dimensional; no copy where they are that already.

    Integers of any width become int64 and float32 becomes float64, both without loss.

    Raises:
        SampleError: another type (object, text, complex, bool), another shape, or an unsigned value above 2**63 - 1.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise SampleError(f"samples have {array.ndim} dimensions, wanted 1: pass a flat array")
    if array.dtype.kind == "f" and array.dtype.itemsize <= np.dtype(np.float64).itemsize:
        return array.astype(np.float64, copy=False)
    if array.size == 0 and not isinstance(values, np.ndarray):
        return array.astype(np.float64)  # an empty list has no type of its own
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise SampleError(f"unsigned sample {int(array.max())} is above 2**63 - 1: convert the column to float64")
    if array.dtype.kind in "iu":
        return array.astype(np.int64, copy=False)
    raise SampleError(f"samples are of type {array.dtype}, wanted integers or floats: convert the column first")


def as_groups(groups: npt.ArrayLike, n: int, n_groups: int) -> IntArray:
    """Group codes as int64[n], each checked to lie in 0..n_groups-1.

    Raises:
        SampleError: another type, another length, or a code outside the range.
    """
    given = np.asarray(groups)
    if given.shape != (n,) or (given.dtype.kind not in "iu" and n):
        raise SampleError(f"groups are {given.dtype}{list(given.shape)}, wanted integers[{n}], one per row")
    codes = given.astype(np.int64, copy=False)
    if n and int(codes.view(np.uint64).max()) >= n_groups:  # one pass for both ends: negative codes are the largest
        seen = f"{int(given.min())} to {int(given.max())}"
        raise SampleError(f"group codes run from {seen}, wanted 0..{n_groups - 1}: make them dense first")
    return codes


def as_weights(weights: npt.ArrayLike, n: int) -> IntArray:
    """Weights as int64[n], each at least 1; one number stands for n of them.

    Raises:
        SampleError: fractions, zero, negative numbers, another type or another length.
    """
    array = np.asarray(weights)
    if array.dtype.kind not in "iu" and array.size:
        raise SampleError(f"weights are of type {array.dtype}, wanted positive integers: counts are whole numbers")
    if array.shape not in ((), (n,)):
        raise SampleError(f"weights have shape {list(array.shape)}, wanted [{n}]: one per value, or a single one")
    if array.size and (int(array.min()) < 1 or int(array.max()) > np.iinfo(np.int64).max):
        seen = int(array.min()) if int(array.min()) < 1 else int(array.max())
        raise SampleError(f"weight is {seen}, wanted 1..2**63-1: leave out what counts nothing, subtract what goes")
    return np.ascontiguousarray(np.broadcast_to(array.astype(np.int64), (n,)))
