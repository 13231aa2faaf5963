"""Arrays of integers in as few bytes as they need, before any compression.

An array travels as small unsigned numbers: each value minus the smallest, or, where that is narrower (time stamps in
order), each step to the next value minus the smallest step. An array of equal values takes no bytes at all.
Time stamps with a few gaps have wide steps too, but mostly small ones, which compress where differences would not.
The idea of a base and narrow deltas is that of TerseCades (ATC'18).
"""

from typing import Any, Final, TypeAlias

import msgspec
import numpy as np
import numpy.typing as npt

from wire.errors import CorruptFrameError

Int64Array: TypeAlias = npt.NDArray[np.int64]
# What a body may widen to: 16 MiB of int64, many times what agents put into one.
MAX_ITEMS: Final = 2 * 2**20
_UNSIGNED: Final[dict[int, np.dtype[Any]]] = {size: np.dtype(f"<u{size}") for size in (1, 2, 4)}
_PLANES: Final = (-2, -4)
_WHOLE: Final = np.dtype("<i8")
# Steps that are no narrower are taken if their mean is this much less than the span of the values.
_MUCH_LESS: Final = 256


class Narrowed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How an array of `items` integers is stored, `size` bytes for each.

    value[i] = base + stored[i]; with `steps`, value[0] = first and value[i] = value[i-1] + base + stored[i].
    Size 0 stores nothing: every stored[i] is 0. Size 8 is the int64 values themselves, base 0. Size -2 or -4 are as
    many bytes that lie in planes: first the lowest byte of every number, then the next one of each.
    """

    items: int
    size: int
    steps: bool
    base: int
    first: int

    @property
    def stored_bytes(self) -> int:
        """Bytes that follow in the body."""
        return self.items * abs(self.size)


def size_of_span(span: int) -> int:
    """Bytes of the narrowest form that holds 0..span."""
    if not span:
        return 0
    return next((size for size in _UNSIGNED if span < 1 << 8 * size), 8)


def narrow(values: npt.NDArray[np.int64 | np.int32], *, in_order: bool = True) -> tuple[Narrowed, bytes]:
    """The array as bytes, and how to widen them; steps are not tried on what is known to have no order."""
    if not values.size:
        return Narrowed(0, 0, steps=False, base=0, first=0), b""
    low, high = int(values.min()), int(values.max())
    size = size_of_span(high - low)
    if in_order and size > 1 and high - low < 2**63:
        steps = np.diff(values.astype(np.int64, copy=False))  # a step between two int32 need not be one
        step_low, step_high = int(steps.min()), int(steps.max())
        step_size = size_of_span(step_high - step_low)
        total = int(values[-1]) - int(values[0]) - step_low * steps.size
        if step_size < size or (step_size == size < 8 and _MUCH_LESS * total < steps.size * (high - low)):
            stored = np.zeros(values.size, np.int64)
            np.subtract(steps, step_low, out=stored[1:])
            how = Narrowed(values.size, _stored_size(step_size), steps=True, base=step_low, first=int(values[0]))
            return how, _bytes(stored, step_size)
    if size == 8:
        return Narrowed(values.size, 8, steps=False, base=0, first=0), values.astype(_WHOLE).tobytes()
    how = Narrowed(values.size, _stored_size(size), steps=False, base=low, first=0)
    return how, _bytes(values - low if low else values, size)


def narrow_codes(codes: npt.NDArray[np.uint8 | np.uint16 | np.uint32], kinds: int) -> tuple[Narrowed, bytes]:
    """As `narrow`, for numbers below `kinds` that stand in the narrowest type already."""
    size = size_of_span(kinds - 1)
    return Narrowed(codes.size, _stored_size(size), steps=False, base=0, first=0), _bytes(codes, size)


def widen(how: Narrowed, stored: bytes | memoryview, items: int) -> Int64Array:
    """The array of `items` integers again; a fresh array.

    Raises:
        CorruptFrameError: another number of items, an unknown size, or bytes that do not match.
    """
    if how.items != items or items > MAX_ITEMS:
        raise CorruptFrameError(f"{how.items} integers stored where {items} belong; at most {MAX_ITEMS}")
    if how.size == 8 and not how.steps:
        return np.frombuffer(stored, _WHOLE, items).astype(np.int64)
    if how.size in _PLANES:
        wide = _from_planes(np.frombuffer(stored, np.uint8, how.stored_bytes).reshape(-how.size, items))
    elif how.size in _UNSIGNED:
        wide = np.frombuffer(stored, _UNSIGNED[how.size], items).astype(np.int64)
    elif not how.size:
        wide = np.zeros(items, np.int64)
    else:
        raise CorruptFrameError(f"integers of {how.size} bytes; want 0, 1, 2, 4, 8, -2 or -4")
    if how.base:
        wide += how.base
    if how.steps and items:
        wide[0] = how.first
        np.cumsum(wide, out=wide)
    return wide


def _stored_size(size: int) -> int:
    """Of what is written: bytes in planes compress to a tenth less, as the upper ones repeat and the lowest do not."""
    return -size if -size in _PLANES else size


def _bytes(values: npt.NDArray[np.integer[Any]], size: int) -> bytes:
    if not size:
        return b""
    small = values.astype(_UNSIGNED[size], copy=False)
    if size == 1:
        return small.tobytes()
    return b"".join((small >> shift).astype(np.uint8).tobytes() for shift in range(0, 8 * size, 8))


def _from_planes(planes: npt.NDArray[np.uint8]) -> Int64Array:
    """Shifting whole planes takes a sixth of what turning them around does."""
    numbers: npt.NDArray[Any] = planes[-1].astype(_UNSIGNED[len(planes)])
    for plane in planes[-2::-1]:
        numbers <<= 8
        numbers |= plane
    wide: Int64Array = numbers.astype(np.int64)
    return wide
