"""The same answers, worked out slowly and exactly: what the tests of quantiles compare with.

Nothing here shares code, tables or floating-point steps with the package: cells come from integer powers, ranks from
fractions, sums from fractions, bytes from a loop over FORMAT.md's rules.
"""

import math
import struct
from collections import Counter
from fractions import Fraction


def cell(x: float, scale: int) -> int:
    """The cell of x, by raising x to the power 2**scale as an integer."""
    n = 1 << scale
    if x == 0:
        return 0
    if x < 0:
        return -cell(-x, scale)
    if math.isinf(x):
        return 1024 * n + 1075 * n + 1
    numerator, denominator = x.as_integer_ratio()
    exponent = 1 - denominator.bit_length()
    upper = (numerator**n - 1).bit_length() + exponent * n  # smallest j with x**n <= 2**j
    return (upper - 1) + 1075 * n + 1


def rank(q: float, n: int) -> int:
    """Nearest rank; a product within four roundings of a whole number is that number."""
    product = Fraction(q) * n
    nearest = round(product)
    if abs(product - nearest) <= Fraction(4, 2**53) * product:
        return max(1, nearest)
    return max(1, math.ceil(product))


def quantile(values: list[float], q: float) -> float:
    """The exact value at the nearest rank; NaN are no values."""
    ordered = sorted(float(x) for x in values if not math.isnan(x))
    return ordered[rank(q, len(ordered)) - 1]


def exact_sum(values: list[float] | list[int]) -> Fraction:
    """The sum without any rounding."""
    return sum((Fraction(x) for x in values), Fraction(0))


def sketch(values: list[float], scale: int) -> dict[str, object]:
    """Cells, counts and the rest of the state, from Python's own containers."""
    numbers = [float(x) for x in values if not math.isnan(x)]
    counts = Counter(cell(x, scale) for x in numbers)
    return {
        "cells": sorted(counts),
        "counts": [counts[c] for c in sorted(counts)],
        "nan_count": len(values) - len(numbers),
        "min": min(numbers) + 0.0 if numbers else None,
        "max": max(numbers) + 0.0 if numbers else None,
    }


def body(state: dict[str, object], scale: int, integer_sum: int | None, float_sum: tuple[float, float] | None) -> bytes:
    """One body, written by the rules of FORMAT.md one token after the other."""
    cells, counts = state["cells"], state["counts"]
    flags = (integer_sum is not None) + 2 * (state["nan_count"] > 0) + 4 * bool(cells)
    tokens = [1, flags, scale]
    if state["nan_count"]:
        tokens.append(state["nan_count"])
    if cells:
        tokens += [_reversed_bits(state["min"]), _reversed_bits(state["max"])]
        if integer_sum is not None:
            high = integer_sum >> 32
            tokens += [2 * high if high >= 0 else -2 * high - 1, integer_sum & 0xFFFFFFFF]
        else:
            tokens += [_reversed_bits(part) for part in float_sum]
    before = None
    for here, count in zip(cells, counts, strict=True):
        gap = 0 if before is None else here - before - 1
        before = here
        if 1 <= gap <= 8 and count <= 4:
            tokens.append(96 + 4 * (gap - 1) + count - 1)
            continue
        if gap:
            tokens.append(128 + 2 * (gap - 1) + 1)
        tokens.append(count - 1 if count <= 96 else 128 + 2 * (count - 97))
    return b"".join(varint(token) for token in tokens)


def varint(token: int) -> bytes:
    """LEB128: seven bits a byte, low ones first, the high bit set on all but the last byte."""
    out = bytearray()
    while token >= 0x80:
        out.append(token & 0x7F | 0x80)
        token >>= 7
    out.append(token)
    return bytes(out)


def _reversed_bits(x: float) -> int:
    return int.from_bytes(struct.pack("<d", math.nan if math.isnan(x) else x), "big")
