"""Where lines begin and end in a block of bytes, around a place; nothing is split that is not asked for."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt

from analytics.gpu.cleaning import LONGEST_LINE
from analytics.gpu.cleaning_blocks import CARRIAGE_RETURN, LINE_FEED

#: (number, bytes) of a line without its end.
Raw = tuple[int, bytes]


class Places(Protocol):
    """What is looked for in a block."""

    def places(self, data: bytes) -> Iterable[int]:
        """Where the first one begins between two line ends or carriage returns, in ascending order."""

    def next(self, data: bytes, at: int, end: int) -> int:
        """Where the next one begins, -1 for nowhere before the end."""


def pieces_with(wanted: Places, data: bytes, feeds: npt.NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    """(start, end, line from 0) of what lies between line ends or carriage returns and holds what is wanted.

    A piece that is too long comes in several, each cut around a place; `feeds` are those of line feeds.
    """
    places = np.fromiter(wanted.places(data), np.int64)
    if not places.size:
        return
    ends = feeds
    if b"\r" in data:
        seen = np.frombuffer(data, np.uint8)
        ends = np.flatnonzero((seen == LINE_FEED) | (seen == CARRIAGE_RETURN))
    bounds = np.concatenate(([-1], ends, [len(data)]))
    which = ends.searchsorted(places)
    starts = bounds[which] + 1
    rows = zip(
        places.tolist(), starts.tolist(), bounds[which + 1].tolist(), feeds.searchsorted(starts).tolist(), strict=True
    )
    for place, start, end, line in rows:
        if end - start <= LONGEST_LINE:
            yield start, end, line
            continue
        at, done = place, start
        while at >= 0:
            first, done = _around(at, done, end)
            yield first, done, line
            at = wanted.next(data, done, end)


def lines_before(data: bytes, at: int, number: int, count: int) -> list[Raw]:
    """Up to `count` lines that end before the line at a place, in order; `number` is that line's."""
    found: list[Raw] = []
    end = data.rfind(b"\n", 0, at)
    while end >= 0 and len(found) < count:
        start = data.rfind(b"\n", 0, end) + 1
        number -= 1
        found.append((number, shown(data[start:end])))
        end = start - 1
    return found[::-1]


def lines_after(data: bytes, at: int, number: int, count: int) -> list[Raw]:
    """Up to `count` lines that begin after the line at a place, in order; `number` is that line's."""
    found: list[Raw] = []
    start = data.find(b"\n", at) + 1
    while 0 < start < len(data) and len(found) < count:
        end = data.find(b"\n", start)
        number += 1
        found.append((number, shown(data[start : end if end >= 0 else len(data)])))
        start = end + 1
    return found


def first_lines(data: bytes, number: int, count: int) -> list[Raw]:
    """Up to `count` lines from the start of a block whose first line has that number."""
    end = data.find(b"\n")
    first = (number, shown(data[: end if end >= 0 else len(data)]))
    return [first, *lines_after(data, 0, number, count - 1)] if data else []


def start_of_last(data: bytes, feeds: npt.NDArray[np.int64], count: int) -> tuple[int, int]:
    """Where the last `count` lines begin, and how many lines stand before them."""
    before = len(feeds) - data.endswith(b"\n") - count
    return (int(feeds[before]) + 1, before + 1) if before >= 0 else (0, 0)


def shown(raw: bytes) -> bytes:
    """What a terminal shows of a line at last: the piece behind the last carriage return, cut to a bounded length."""
    raw = raw.rstrip(b"\r")
    return raw[raw.rfind(b"\r") + 1 :][:LONGEST_LINE]


def _around(at: int, first: int, end: int) -> tuple[int, int]:
    """What is looked at of a long piece around a place in [first, end)."""
    if end - first <= LONGEST_LINE:
        return first, end
    return max(first, at - LONGEST_LINE // 2), min(end, at + LONGEST_LINE // 2)
