"""Pages round-trip, and bytes that are no page are an error, not an answer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import CorruptPageError
from store.pages import read_pages, write_page
from store.tables import SERIES_PER_PAGE

ENTRIES = st.dictionaries(st.integers(0, SERIES_PER_PAGE - 1), st.binary(max_size=9), min_size=1).map(
    lambda entries: dict(sorted(entries.items()))
)


@given(st.lists(st.tuples(st.integers(0, 10**6), ENTRIES), max_size=5))
def test_pages_round_trip(pages: list[tuple[int, dict[int, bytes]]]) -> None:
    written = []
    for group, entries in pages:
        ids = np.array([group * SERIES_PER_PAGE + slot for slot in entries], np.int64)
        lengths = np.array([len(body) for body in entries.values()], np.int64)
        written.append((group, write_page(ids, lengths, b"".join(entries.values()))))
    contents = read_pages(written)
    assert contents.series.tolist() == [g * SERIES_PER_PAGE + slot for g, entries in pages for slot in entries]
    assert contents.page.tolist() == [n for n, (_, entries) in enumerate(pages) for _ in entries]
    assert contents.buffer == b"".join(body for _, entries in pages for body in entries.values())
    assert contents.lengths.tolist() == [len(body) for _, entries in pages for body in entries.values()]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x01",
        b"\x02\x00",
        b"\x03\x00",
        b"\x01\x05abc",
        b"\x01\xff" + bytes(2000),
        write_page(np.array([1, 2]), np.array([1, 1]), b"ab")[:-1],
        write_page(np.array([1, 2]), np.array([1, 1]), b"abc"),
        write_page(np.array([2, 1]), np.array([1, 1]), b"ab"),
    ],
)
def test_bytes_that_are_no_page_are_refused(data: bytes) -> None:
    with pytest.raises(CorruptPageError):
        read_pages([(0, data)])
