"""DDSketch protobuf messages of sketches-go (both ways) and ddsketch-py (reading), which number their bins differently.

With the same gamma and offset o, bin i holds gamma**(i-o) <= x < gamma**(i-o+1) in Go and gamma**(i-1-o) < x <=
gamma**(i-o) in Python, and nothing in the bytes says which it is: read in the wrong dialect every value is off by a
whole bin, so the caller must say. Bin k of ours is i - o in Go and i - 1 - o in Python where gamma = 2**(2**-s); a
value just on a bound may be on either side of it, which the error bound covers. Messages hold no sum, minimum,
maximum, NaN or infinities. The bytes themselves are in ddsketch_wire.py.
"""

import math
import sys
from enum import StrEnum
from typing import cast

import numpy as np
import numpy.typing as npt

from quantiles.array_types import FloatArray, IntArray
from quantiles.bins import DEFAULT_SCALE, MAX_SCALE, MIN_SCALE
from quantiles.converters import ddsketch_wire
from quantiles.converters.ddsketch_wire import DDSketchMessage, StoreMessage
from quantiles.converters.errors import ConversionError
from quantiles.converters.outcomes import ReadSketch, Written
from quantiles.converters.reading import sketch_of_bins, sketch_of_values
from quantiles.converters.signed_bins import BinCounts, SignedBins, signed_bins, whole_counts
from quantiles.errors import CorruptSketchError
from quantiles.sketch import Sketch

# Two gammas are one if their logarithms agree to this, the tolerance of sketches-go itself: writing gamma down and
# computing it back costs up to 1e-13. At the largest index that moves a bound by 3e-7 of a bin.
GAMMA_TOLERANCE = 1e-12

INTERPOLATIONS = ("none", "linear", "quadratic", "cubic")
COARSEST_GAMMA = 2.0
LARGEST_OFFSET = 2.0**32


class Dialect(StrEnum):
    """Whose numbering of bins a message uses."""

    GO = "go"
    PYTHON = "python"


def to_ddsketch(sketch: Sketch, scale: int | None = None) -> Written[bytes]:
    """The sketch as a message in the Go dialect, gamma = 2**(2**-s), offset 0, no interpolation.

    Args:
        scale: coarser than the sketch's; None for its own.
    Returns:
        The bytes, and how many NaN and infinities they leave out. Counts are float64, exact up to 2**53 a bin.
    Raises:
        ConversionError: a scale finer than the sketch's.
    """
    bins = signed_bins(sketch, scale)
    message = DDSketchMessage(
        2.0 ** (0.5**bins.scale),
        positive=_store(bins.positive),
        negative=_store(bins.negative),
        zero_count=float(bins.zero_count),
    )
    return Written(ddsketch_wire.encode(message), bins.nan_count + bins.minus_infinite + bins.plus_infinite)


def from_ddsketch(
    data: bytes | memoryview, dialect: Dialect | str, scale: int | None = None, count_factor: float | None = None
) -> ReadSketch:
    """The sketch of a message; sum, minimum and maximum are estimates.

    Args:
        dialect: "go" or "python", whichever library wrote it.
        scale: of the sketch; None for the message's where gamma is 2**(2**-s) with s in 0..8, and 6 elsewhere.
        count_factor: what to multiply counts by before they are rounded to whole ones; None takes whole counts only.
    Raises:
        CorruptSketchError: bytes that are no such message, or numbers in them that no sketch has.
        ConversionError: an interpolated mapping, gamma above 2, an offset without meaning, or fractional counts.
    Guarantee: exact where gamma is one of ours and the offset whole; else every value moves to the bin of its own
        bin's representative, and the added error is in the result.
    """
    shift = 1 if _dialect(dialect) is Dialect.PYTHON else 0
    message = ddsketch_wire.decode(data)
    _check_mapping(message)
    whole_offset = message.index_offset == math.floor(message.index_offset)
    if shift and not whole_offset:
        raise ConversionError(
            f"indexOffset is {message.index_offset!r}, wanted a whole number: ddsketch-py rounds others towards zero, "
            "so bin 0 is two bins in one"
        )
    counts, rank_error = whole_counts(
        np.concatenate([[message.zero_count], message.negative.counts, message.positive.counts]), count_factor
    )
    split = 1 + len(message.negative.counts)
    zero_count, negative, positive = int(counts[0]), counts[1:split], counts[split:]
    zero_threshold = sys.float_info.min * message.gamma if zero_count else 0.0  # what is smaller is a zero to both
    own_scale = _scale_of(message.gamma)
    if own_scale is None or not whole_offset:
        wanted = DEFAULT_SCALE if scale is None else scale
        values, weights = _moved(message, message.index_offset + shift, (zero_count, negative, positive))
        alpha = (message.gamma - 1) / (message.gamma + 1)
        return sketch_of_values(values, weights, alpha, wanted, zero_threshold, rank_error)
    first = int(message.index_offset) + shift
    source = SignedBins(
        own_scale,
        BinCounts.of(message.negative.indexes - first, negative),
        BinCounts.of(message.positive.indexes - first, positive),
        zero_count,
    )
    return sketch_of_bins(source, scale, zero_threshold, rank_error)


def _moved(
    message: DDSketchMessage, offset: float, counts: tuple[int, IntArray, IntArray]
) -> tuple[FloatArray, IntArray]:
    """Representatives of the bins with values, ascending, and their counts."""
    values = np.concatenate(
        [
            [0.0],
            -_representatives(message.negative.indexes - offset, message.gamma),
            _representatives(message.positive.indexes - offset, message.gamma),
        ]
    )
    weights = np.concatenate([[counts[0]], *counts[1:]])
    beyond = ~np.isfinite(values) | (values == 0)
    beyond[0] = False
    if np.any(beyond & (weights > 0)):
        raise CorruptSketchError("a bin counts values beyond those of a float64; its index, offset or gamma is wrong")
    order = np.argsort(values, kind="stable")
    order = order[weights[order] > 0]
    return values[order], weights[order]


def _store(side: BinCounts) -> StoreMessage:
    return StoreMessage(side.bins, side.counts.astype(np.float64))


def _dialect(dialect: Dialect | str) -> Dialect:
    try:
        return Dialect(dialect)
    except ValueError:
        raise ConversionError(f"dialect is {dialect!r}, wanted 'go' or 'python': who wrote the message?") from None


def _check_mapping(message: DDSketchMessage) -> None:
    if message.interpolation not in range(len(INTERPOLATIONS)):
        raise CorruptSketchError(f"interpolation is {message.interpolation}, wanted 0: the message is damaged or newer")
    if message.interpolation:
        raise ConversionError(
            f"the mapping is interpolated ({INTERPOLATIONS[message.interpolation]}), wanted none: its bins are not "
            "exponential; use a logarithmic mapping there"
        )
    if not (1 < message.gamma < math.inf and abs(message.index_offset) <= LARGEST_OFFSET):
        raise CorruptSketchError(
            f"gamma is {message.gamma!r} and indexOffset {message.index_offset!r}, wanted a finite gamma above 1 and "
            "an offset within 32 bits: there is no mapping"
        )
    if message.gamma > COARSEST_GAMMA * (1 + GAMMA_TOLERANCE):
        raise ConversionError(f"gamma is {message.gamma!r}, wanted at most 2: a sketch has no bins so coarse")


def _scale_of(gamma: float) -> int | None:
    """s where gamma = 2**(2**-s), s in 0..8; else None."""
    width = math.log2(gamma)
    for scale in range(MIN_SCALE, MAX_SCALE + 1):
        if abs(width * 2**scale - 1) <= GAMMA_TOLERANCE:
            return scale
    return None


def _representatives(bins: npt.NDArray[np.floating], gamma: float) -> FloatArray:
    """2 * gamma**(k+1) / (1 + gamma), the harmonic mean of the ends of bin k; inf or 0 beyond the floats."""
    with np.errstate(over="ignore", under="ignore"):
        return cast("FloatArray", np.exp2((bins + 1) * math.log2(gamma) + math.log2(2 / (1 + gamma))))
