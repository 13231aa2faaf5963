"""The page: the states of up to 64 series of one metric in one window, as one blob.

    u8 page format = 1 | u8 n | n x u8 slot, ascending | n x u32 body length (LE) | the n bodies, one after another

In format 2, for bodies of text, the last part is packed (packed_bodies.py). A series' slot is its id modulo
SERIES_PER_PAGE. Bodies are in the codec of their state (quantiles/FORMAT.md for sketches, pipeline/line_bodies.py for
lines, pipeline/states for the scalar ones). Reading many pages gives flat columns and one joined buffer, so that
thousands of sketches are decoded in one call.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from pipeline.errors import PipelineError
from pipeline.line_bodies import slices
from pipeline.plan import LINE_FUNCTIONS
from pipeline.states import Described, SketchState, State, state_class
from quantiles.errors import QuantilesError
from quantiles.merged_bodies import merge_bodies
from store.errors import CorruptPageError
from store.packed_bodies import pack, unpack
from store.tables import SERIES_PER_PAGE

PAGE_FORMAT = 1
PACKED_FORMAT = 2
FORMATS = (PAGE_FORMAT, PACKED_FORMAT)
_HEADER_BYTES = 2
# Up to so many pages of one or two series each are read one by one.
_FEW = 48
Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PageContents:
    """Many pages read together: entry i is one series' body.

    Attributes:
        page: int64[n], which of the given pages the entry comes from.
        series: int64[n], series ids.
        lengths: int64[n], body bytes; the bodies stand in `buffer` in this order.
    """

    page: Int64Array
    series: Int64Array
    lengths: Int64Array
    buffer: bytes

    def only(self, entries: Int64Array) -> "PageContents":
        """The contents with these entries alone, in this order."""
        ends = np.cumsum(self.lengths)
        bodies = slices(np.frombuffer(self.buffer, np.uint8), (ends - self.lengths)[entries], ends[entries])
        return PageContents(self.page[entries], self.series[entries], self.lengths[entries], bodies.tobytes())


def write_page(series: Int64Array, lengths: Int64Array, bodies: bytes, *, packed: bool = False) -> bytes:
    """One page from ascending series ids of one group, their body lengths, and the bodies joined."""
    slots = (series % SERIES_PER_PAGE).astype(np.uint8)
    head = bytes((PACKED_FORMAT if packed else PAGE_FORMAT, slots.size))
    return head + slots.tobytes() + lengths.astype("<u4").tobytes() + (pack(bodies) if packed else bodies)


def read_pages(pages: Sequence[tuple[int, bytes]]) -> PageContents:
    """The entries of all `(series_group, data)` pages, in order; one pass over all of them, however small each is.

    Raises:
        CorruptPageError: a page's lengths do not add up, its slots are not ascending, or it cannot be unpacked.
    """
    if len(pages) <= _FEW:
        few = _read_few(pages)
        if few is not None:
            return few
    flat = np.frombuffer(b"".join([data for _, data in pages]), np.uint8)
    sizes = np.array([len(data) for _, data in pages], np.int64)
    starts = np.cumsum(sizes) - sizes
    if (sizes < _HEADER_BYTES).any():
        raise _damaged(pages, sizes < _HEADER_BYTES)
    n = flat[starts + 1].astype(np.int64)
    bodies_at = _HEADER_BYTES + 5 * n
    packed = flat[starts] == PACKED_FORMAT
    bad = ((flat[starts] != PAGE_FORMAT) & ~packed) | (n > SERIES_PER_PAGE) | (sizes < bodies_at)
    if bad.any():
        raise _damaged(pages, bad)
    page = np.repeat(np.arange(len(pages), dtype=np.int64), n)
    place = np.arange(page.size) - np.repeat(np.cumsum(n) - n, n)
    slots = flat[starts[page] + _HEADER_BYTES + place].astype(np.int64)
    at = starts[page] + _HEADER_BYTES + n[page] + 4 * place
    lengths = sum((flat[at + byte].astype(np.int64) << 8 * byte for byte in range(4)), np.zeros(page.size, np.int64))
    unpacked = np.bincount(page, lengths, len(pages)).astype(np.int64)
    bad = (unpacked != sizes - bodies_at) & ~packed
    bad[page[1:][(np.diff(slots) <= 0) & (np.diff(page) == 0)]] = True
    if bad.any():
        raise _damaged(pages, bad)
    groups = np.array([group for group, _ in pages], np.int64)
    bodies = [data[end:] for (_, data), end in zip(pages, bodies_at.tolist(), strict=True)]
    for place in np.flatnonzero(packed).tolist():
        bodies[place] = unpack(bodies[place], int(unpacked[place]))
    buffer = b"".join(bodies)
    return PageContents(page, groups[page] * SERIES_PER_PAGE + slots, lengths, buffer)


def _read_few(pages: Sequence[tuple[int, bytes]]) -> PageContents | None:
    """As read_pages, without the fixed cost of thirty array operations; None for many entries, or for a bad page."""
    if sum([data[1] for _, data in pages if len(data) >= _HEADER_BYTES]) > 2 * _FEW:
        return None
    page: list[int] = []
    series: list[int] = []
    lengths: list[int] = []
    bodies: list[bytes] = []
    for place, (group, data) in enumerate(pages):
        if len(data) < _HEADER_BYTES or data[0] != PAGE_FORMAT or data[1] > SERIES_PER_PAGE:
            return None
        n = data[1]
        end = _HEADER_BYTES + 5 * n
        slots = data[_HEADER_BYTES : _HEADER_BYTES + n]
        if len(data) < end or any(low >= high for low, high in pairwise(slots)):
            return None
        sizes = struct.unpack_from(f"<{n}I", data, _HEADER_BYTES + n)
        if sum(sizes) != len(data) - end:
            return None
        page += [place] * n
        series += [group * SERIES_PER_PAGE + slot for slot in slots]
        lengths += sizes
        bodies.append(data[end:])
    return PageContents(
        np.array(page, np.int64), np.array(series, np.int64), np.array(lengths, np.int64), b"".join(bodies)
    )


def decode_states(function: str, metric: Described, contents: PageContents) -> State:
    """The states of all entries, decoded in one call.

    Raises:
        CorruptPageError: a body is not a state of this metric.
    """
    try:
        return state_class(function).from_bodies(metric, contents.buffer, contents.lengths)
    except (PipelineError, QuantilesError) as error:
        raise CorruptPageError(f"a stored page holds a body that is no {function} state: {error}") from error


def merged_states(function: str, metric: Described, contents: PageContents, groups: Int64Array, n_groups: int) -> State:
    """The states of all entries, decoded and merged into one per group in one pass.

    Args:
        groups: int64[n], the group of each entry, 0..n_groups-1; entries of a negative group are left out.
    Raises:
        CorruptPageError: a body is not a state of this metric.
    """
    left_out = groups < 0
    codes = np.where(left_out, n_groups, groups) if left_out.any() else groups
    n_codes = n_groups + bool(left_out.any())
    if function in LINE_FUNCTIONS and left_out.any():  # text is not decoded to be left out
        entries = np.flatnonzero(~left_out)
        return merged_states(function, metric, contents.only(entries), groups[entries], n_groups)
    if function == "sketch":
        try:
            merged: State = SketchState(
                merge_bodies(contents.buffer, contents.lengths, codes, n_codes, metric.scale, metric.integer)
            )
        except QuantilesError as error:
            raise CorruptPageError(f"a stored page holds a body that is no {function} state: {error}") from error
    else:
        merged = decode_states(function, metric, contents).reduce(codes, n_codes)
    return merged.take(np.arange(n_groups)) if n_codes > n_groups else merged


def _damaged(pages: Sequence[tuple[int, bytes]], bad: npt.NDArray[np.bool_]) -> CorruptPageError:
    """What is wrong with the first bad page."""
    group, data = pages[int(np.flatnonzero(bad)[0])]
    seen = f"the page of series group {group}, {len(data)} bytes,"
    if len(data) < _HEADER_BYTES or data[0] not in FORMATS:
        return CorruptPageError(
            f"{seen} starts with {data[:1].hex()!r}, wanted format {PAGE_FORMAT} or {PACKED_FORMAT}"
        )
    if data[1] > SERIES_PER_PAGE or len(data) < _HEADER_BYTES + 5 * data[1]:
        return CorruptPageError(f"{seen} claims {data[1]} series; at most {SERIES_PER_PAGE}, 5 bytes each")
    return CorruptPageError(f"{seen} has slots or lengths that do not hold")
