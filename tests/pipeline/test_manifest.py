"""Manifests add up, travel flat, and say whether every record is accounted for."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ManifestError
from pipeline.manifest import MANIFEST_SCHEMA, Manifest, WindowCounts, drained, dropped, window_counts

ITEMS = ["in", "filtered", "local", "sampled_out", drained(0), drained(3), dropped("spool_full")]
ENTRIES = st.lists(st.tuples(st.sampled_from(ITEMS), st.sampled_from([-10, 0, 10]), st.integers(0, 2**40)))


def manifest_of(entries: list[tuple[str, int, int]]) -> Manifest:
    manifest = Manifest()
    for item, window, count in entries:
        manifest.add(item, np.array([window]), np.array([count]))
    return manifest


@given(ENTRIES, ENTRIES)
def test_merging_adds_in_any_order_and_the_flat_form_keeps_all(first, second):
    a, b = manifest_of(first), manifest_of(second)
    assert Manifest.merge([a, b]) == Manifest.merge([b, a]) == manifest_of(first + second)
    assert Manifest.from_frame(Manifest.merge([a, b]).to_frame()) == manifest_of(first + second)
    assert Manifest.from_frame(pl.concat([a.to_frame(), b.to_frame()])) == manifest_of(first + second)


def test_windows_show_each_fate():
    manifest = manifest_of(
        [("in", 0, 10), ("filtered", 0, 1), (drained(2), 0, 4), (dropped("old"), 0, 2), ("in", 10, 1)]
    )
    manifest.add_counts("local", {0: 3, 10: 1})
    assert manifest.windows() == {
        0: WindowCounts(10, 1, 3, [0, 0, 4], 0, {"old": 2}),
        10: WindowCounts(n_in=1, n_local=1),
    }
    assert manifest.conserved()


def test_a_record_lost_or_counted_twice_breaks_conservation():
    assert not manifest_of([("in", 0, 10), ("local", 0, 9)]).conserved()
    assert not manifest_of([("in", 0, 10), ("local", 0, 11)]).conserved()
    assert not manifest_of([("in", 0, 10), ("local", 10, 10)]).conserved()


@pytest.mark.parametrize("item", ["out", "drained", "drained.-1", "drained.01", "dropped.", "dropped.A b", "in\n"])
def test_an_unknown_item_is_refused(item):
    with pytest.raises(ManifestError, match="want in, filtered, local"):
        Manifest().add(item, np.array([0]), np.array([1]))


def test_a_negative_count_is_refused():
    with pytest.raises(ManifestError, match="is -1; want 0 or more"):
        Manifest().add("in", np.array([0]), np.array([-1]))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"window": [0], "item": ["in"]}), "has columns"),
        (pl.DataFrame({"window": [0], "item": ["in"], "rows": [0]}), "at least 1 row"),
        (pl.DataFrame({"window": [0], "item": ["gone"], "rows": [1]}), "item 'gone'"),
        (pl.DataFrame({"window": [None], "item": ["in"], "rows": [1]}, schema=MANIFEST_SCHEMA), "want a window"),
    ],
)
def test_a_frame_that_is_no_manifest_says_why(frame, message):
    with pytest.raises(ManifestError, match=message):
        Manifest.from_frame(frame)


@given(st.lists(st.integers(-(10**12), 10**12)), st.sampled_from([1, 10**9, 10**10]))
def test_window_counts_are_the_rows_of_each_window(times, window_ns):
    windows, counts = window_counts(pl.DataFrame({"ts": times}, schema={"ts": pl.Int64}), window_ns)
    truth: dict[int, int] = {}
    for time in times:
        truth[time // window_ns * window_ns] = truth.get(time // window_ns * window_ns, 0) + 1
    assert dict(zip(windows.tolist(), counts.tolist(), strict=True)) == truth
    assert windows.tolist() == sorted(windows.tolist())
