"""The page: the states of up to 64 series of one metric in one window, as one blob.

    u8 page format = 1 | u8 n | n x u8 slot, ascending | n x u32 body length (LE) | the n bodies, one after another

A series' slot is its id modulo SERIES_PER_PAGE. Bodies are in the codec of their state (quantiles/FORMAT.md for
sketches, pipeline/states for the scalar ones). Reading many pages gives flat columns and one joined buffer, so that
thousands of sketches are decoded in one call.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import PipelineError
from pipeline.states import Described, State, state_class
from quantiles.errors import QuantilesError
from store.errors import CorruptPageError
from store.tables import SERIES_PER_PAGE

PAGE_FORMAT = 1
_HEADER_BYTES = 2
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


def write_page(series: Int64Array, lengths: Int64Array, bodies: bytes) -> bytes:
    """One page from ascending series ids of one group, their body lengths, and the bodies joined."""
    slots = (series % SERIES_PER_PAGE).astype(np.uint8)
    head = bytes((PAGE_FORMAT, slots.size))
    return head + slots.tobytes() + lengths.astype("<u4").tobytes() + bodies


def read_pages(pages: Sequence[tuple[int, bytes]]) -> PageContents:
    """The entries of all `(series_group, data)` pages, in order.

    Raises:
        CorruptPageError: a page's lengths do not add up or its slots are not ascending.
    """
    sizes = np.zeros(len(pages), np.int64)
    series: list[Int64Array] = []
    lengths: list[Int64Array] = []
    bodies: list[bytes] = []
    for index, (group, data) in enumerate(pages):
        slots, sized, body = _read_page(data)
        sizes[index] = slots.size
        series.append(group * SERIES_PER_PAGE + slots)
        lengths.append(sized)
        bodies.append(body)
    return PageContents(
        np.repeat(np.arange(len(pages), dtype=np.int64), sizes),
        np.concatenate(series) if series else np.zeros(0, np.int64),
        np.concatenate(lengths) if lengths else np.zeros(0, np.int64),
        b"".join(bodies),
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


def _read_page(data: bytes) -> tuple[Int64Array, Int64Array, bytes]:
    if len(data) < _HEADER_BYTES or data[0] != PAGE_FORMAT:
        raise CorruptPageError(
            f"a page of {len(data)} bytes starts with {data[:1].hex()!r}, wanted format {PAGE_FORMAT}"
        )
    n = data[1]
    bodies_at = _HEADER_BYTES + 5 * n
    if n > SERIES_PER_PAGE or len(data) < bodies_at:
        raise CorruptPageError(
            f"a page of {len(data)} bytes claims {n} series; at most {SERIES_PER_PAGE}, 5 bytes each"
        )
    slots = np.frombuffer(data, np.uint8, n, _HEADER_BYTES).astype(np.int64)
    lengths = np.frombuffer(data, "<u4", n, _HEADER_BYTES + n).astype(np.int64)
    if int(lengths.sum()) != len(data) - bodies_at or (np.diff(slots) <= 0).any():
        raise CorruptPageError(f"a page of {len(data)} bytes whose slots or lengths do not hold")
    return slots, lengths, data[bodies_at:]
