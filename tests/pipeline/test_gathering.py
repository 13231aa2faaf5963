"""Partials gathered one by one: the very partial that merging all of them gives, whatever comes in which order."""

import itertools
import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import key_rows
from pipeline.chain import Chain
from pipeline.coded import Coded
from pipeline.gathering import Gathering
from pipeline.key_rows import KeyRows
from pipeline.partial import Partial
from pipeline.plan import Plan
from quantiles.errors import StateOverflowError
from tests.fleet import SQL, TABLES, WINDOW_NS, probe_plan, probe_records
from tests.stored import assert_same

LABELS = ["src", "s.tor", "src || s.tor"]


def plan_with(labels: int) -> Plan:
    """The fleet's query, grouped by so many labels."""
    names = "".join(f"{label} AS label_{place}, " for place, label in enumerate(LABELS[:labels]))
    groups = "".join(f", {label}" for label in LABELS[:labels])
    return probe_plan(SQL.replace("s.tor AS tor, ", names).replace("SECOND), s.tor", f"SECOND){groups}"))


def coded(partial: Partial) -> Partial:
    """The same with its labels as codes, as frames bring them."""
    labels = {}
    for name in partial.plan.labels:
        texts = ["in no row", *partial.keys[name].unique().to_list()]
        labels[name] = Coded(np.array([texts.index(text) for text in partial.keys[name]], np.int64), texts)
    return Partial.from_columns(partial.plan, partial.to_columns() | labels)


@pytest.mark.parametrize("labels", [0, 1, 2, 3])
def test_any_split_gathers_to_what_one_merge_gives(labels: int) -> None:
    plan = plan_with(labels)
    assert len(plan.labels) == labels
    chain = Chain(plan, TABLES)
    records = probe_records(400, seed=5).with_columns(pl.col("rtt_us").abs())

    @given(cuts=st.lists(st.integers(0, 400), max_size=12), seed=st.integers(0, 99))
    def law(cuts: list[int], seed: int) -> None:
        shuffled = records.sample(fraction=1, shuffle=True, seed=seed)
        edges = [0, *sorted(cuts), 400]
        gathering = Gathering(plan)
        for place, (low, high) in enumerate(itertools.pairwise(edges)):
            part = chain.finish(chain.prepare(shuffled[low:high]), after=0)
            gathering.add(part if place % 2 else coded(part))
        assert_same(gathering.partial(), chain.finish(chain.prepare(records), after=0))
        assert len(gathering) == len(gathering.partial())

    law()


def test_numbers_that_wait_are_merged_before_they_outgrow_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.gathering.WAITING_GROUPS", 4)
    plan = probe_plan()
    chain, gathering, parts = Chain(plan, TABLES), Gathering(plan), []
    for seed in range(30):
        parts.append(chain.finish(chain.prepare(probe_records(20, seed=seed, windows=1 + seed // 5)), after=0))
        gathering.add(parts[-1])
        waiting = gathering._states["probes_total"]._waiting  # type: ignore[union-attr]
        assert waiting <= len(gathering) + 4
    found, wanted = gathering.partial().sorted().to_frame(), Partial.merge(parts).sorted().to_frame()
    assert found["probes_total.n"].to_list() == wanted["probes_total.n"].to_list()
    assert found["rtt_min_us.value"].to_list() == wanted["rtt_min_us.value"].to_list()


def test_nothing_gathered_is_an_empty_partial_and_an_empty_one_adds_nothing() -> None:
    plan = probe_plan()
    gathering = Gathering(plan)
    gathering.add(Partial.empty(plan))
    assert len(gathering) == 0


def test_a_partial_that_is_refused_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = probe_plan()
    chain, gathering = Chain(plan, TABLES), Gathering(plan)
    first, second = (chain.finish(chain.prepare(probe_records(40, seed=9, windows=n)), after=0) for n in (1, 3))
    gathering.add(first)
    before = gathering.partial().sorted().to_frame()
    monkeypatch.setattr("quantiles.growing_column.COUNT_LIMIT", 50)
    with pytest.raises(StateOverflowError):
        gathering.add(second)
    assert gathering.partial().sorted().to_frame().equals(before)
    monkeypatch.undo()
    gathering.add(second)
    assert_same(gathering.partial(), Partial.merge([first, second]))


keys = st.tuples(st.integers(-3, 3), st.sampled_from(["", "a", "b", "ß", "a,b"]), st.sampled_from(["", "x", "é", "y"]))


@given(batches=st.lists(st.lists(keys, max_size=9), max_size=9), tables=st.booleans())
def test_a_key_keeps_its_row_and_no_two_keys_share_one(batches: list[list[tuple[int, str, str]]], tables: bool) -> None:
    free, per_pair = (key_rows.FREE_SLOTS, key_rows.SLOTS_PER_PAIR) if tables else (0, 0)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(key_rows, "FREE_SLOTS", free)
        patched.setattr(key_rows, "SLOTS_PER_PAIR", per_pair)
        known, expected = KeyRows(["left", "right"]), {}
        for batch in batches:
            windows = np.array([window * WINDOW_NS for window, *_ in batch], np.int64)
            labels = [pl.Series([key[place] for key in batch], dtype=pl.String) for place in (1, 2)]
            rows = known.rows(windows, labels).tolist()
            for key, row in zip(batch, rows, strict=True):
                assert expected.setdefault(key, row) == row
        assert sorted(expected.values()) == list(range(len(known))) == list(range(len(expected)))
        windows, texts = known.keys()
        shown = zip((windows // WINDOW_NS).tolist(), texts["left"], texts["right"], strict=True)
        assert list(shown) == sorted(expected, key=lambda key: expected[key])


def test_rows_of_many_keys_are_found_by_table_and_by_search() -> None:
    rng = random.Random(1)
    pairs = [(rng.randrange(3_000), rng.randrange(3_000)) for _ in range(4_000)]
    known = KeyRows(["left", "right"])
    expected: dict[tuple[int, int], int] = {}
    for start in range(0, len(pairs), 400):
        some = pairs[start : start + 400]
        labels = [pl.Series([f"tor-{pair[place]}" for pair in some]) for place in (0, 1)]
        for pair, row in zip(some, known.rows(np.zeros(400, np.int64), labels).tolist(), strict=True):
            assert expected.setdefault(pair, row) == row
    assert known._pairs[0]._table is None  # the labels' table would have been too large
    assert known._pairs[1]._table is not None
    assert sorted(expected.values()) == list(range(len(known)))
