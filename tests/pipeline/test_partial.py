"""Partials: their flat form, and that a frame that is not one can only raise PartialError."""

import numpy as np
import polars as pl
import pytest

from pipeline.coded import Coded
from pipeline.errors import PartialError
from pipeline.partial import Partial
from pipeline.ragged import Ragged
from tests.pipeline.probes import T2T, TUMBLE, chain_of, compiled, records

SQL = f"""
SELECT src, sketch(rtt_us) AS a_us, count(*) AS b_total, sum(load) AS c_s, min(size_b) AS d_bytes, avg(rtt_us) AS e_us
FROM probes {TUMBLE}, src
"""
ROWS = records(
    src=["b", "a", None, "a", "a"],
    rtt_us=[1, 100, 2**53 + 1, None, -5],
    load=[0.5, float("nan"), None, 1.5, -0.0],
    size_b=[None, 3, 9, 4, 5],
).with_columns(ts=pl.Series([0, 0, 1, 2, 10**10]))
PLAN = compiled(SQL)
PARTIAL = chain_of(SQL).finish(chain_of(SQL).prepare(ROWS), 0)
FRAME = PARTIAL.sorted().to_frame()


def test_the_flat_form_is_the_keys_and_the_parts_of_each_state():
    assert dict(FRAME.schema) == Partial.schema(PLAN)
    assert FRAME.select("window", "rows", "src").rows() == [(0, 1, ""), (0, 2, "a"), (0, 1, "b"), (10**10, 1, "a")]
    assert FRAME["a_us.counts"].to_list() == [[1], [1], [1], [1]]
    assert FRAME["d_bytes.value"].to_list() == [9, 3, None, 5]
    assert Partial.from_frame(PLAN, FRAME).to_frame().equals(FRAME)


def test_record_counts_and_windows():
    assert PARTIAL.record_counts() == {0: 4, 10**10: 1}
    windows = PARTIAL.split_windows()
    assert list(windows) == [0, 10**10]
    assert [len(partial) for partial in windows.values()] == [3, 1]
    assert Partial.merge(list(windows.values())).sorted().to_frame().equals(FRAME)
    assert Partial.empty(PLAN).split_windows() == {}
    assert Partial.empty(PLAN).record_counts() == {}


def test_an_empty_partial_adds_nothing():
    assert Partial.merge([Partial.empty(PLAN), PARTIAL, Partial.empty(PLAN)]).sorted().to_frame().equals(FRAME)
    assert len(Partial.merge([Partial.empty(PLAN), Partial.empty(PLAN)])) == 0


def test_partials_of_two_versions_do_not_merge():
    other = Partial.empty(compiled(T2T))
    with pytest.raises(PartialError, match=f"cannot merge versions .*{PLAN.version}"):
        Partial.merge([PARTIAL, other])
    with pytest.raises(PartialError, match="no partial"):
        Partial.merge([])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("b_total.n"), "has columns"),
        (lambda f: f.select(f.columns[::-1]).with_columns(b_total=1), "has columns"),
        (lambda f: f.with_columns(pl.col("rows").cast(pl.Int32)), "has columns"),
        (lambda f: f.with_columns(src=pl.lit(None, pl.String)), "NULL key"),
        (lambda f: f.with_columns(window=pl.col("window") + 1), "off the grid"),
        (lambda f: f.with_columns(rows=pl.lit(0, pl.Int64)), "a group of 0 records"),
        (lambda f: pl.concat([f, f]), "a key twice"),
        (lambda f: f.with_columns(pl.lit(-1, pl.Int64).alias("b_total.n")), "missing or negative"),
        (lambda f: f.with_columns(pl.lit(None, pl.Int64).alias("b_total.n")), "missing or negative"),
        (lambda f: f.with_columns(pl.lit(None, pl.Float64).alias("c_s.lo")), "half of a sum is missing"),
        (lambda f: f.with_columns(pl.lit(1.0, pl.Float64).alias("c_s.lo")), "half of a sum|remainder"),
        (lambda f: f.with_columns(pl.lit(2**32, pl.Int64).alias("e_us.lo")), "outside 0..2\\*\\*32-1"),
        (lambda f: f.with_columns(pl.lit(0, pl.Int64).alias("e_us.n")), "a count stands without a sum"),
        (lambda f: f.with_columns(pl.lit([1, 2], pl.List(pl.Int64)).alias("a_us.counts")), "one count per cell"),
        (lambda f: f.with_columns(pl.lit(None, pl.List(pl.Int32)).alias("a_us.gaps")), "has NULL for a list"),
        (lambda f: f.with_columns(pl.lit([None], pl.List(pl.Int32)).alias("a_us.gaps")), "has NULL for a list"),
        (lambda f: f.with_columns(pl.lit(None, pl.Int64).alias("a_us.nan")), "is missing"),
        (lambda f: f.with_columns(pl.lit([0], pl.List(pl.Int64)).alias("a_us.counts")), "a count below 1"),
        (lambda f: f.with_columns(pl.lit([2**31 - 1], pl.List(pl.Int32)).alias("a_us.gaps")), "outside scale 6"),
        (lambda f: f.with_columns(pl.lit(7.0, pl.Float64).alias("a_us.max")), "maximum"),
        (lambda f: f.with_columns(pl.lit(None, pl.Float64).alias("a_us.min")), "minimum"),
    ],
)
def test_a_frame_that_is_no_partial_of_the_plan_says_why(change, message):
    with pytest.raises(PartialError, match=message):
        Partial.from_frame(PLAN, change(FRAME))


def test_lists_may_be_flat_arrays_and_must_be_lists_of_the_same_lengths():
    columns = Partial.from_frame(PLAN, FRAME).to_columns()
    assert Partial.from_columns(PLAN, columns).to_frame().equals(FRAME)
    gaps = columns["a_us.gaps"]
    assert isinstance(gaps, Ragged)
    wrong = {
        "no column of lists": columns["a_us.nan"],
        "one count per cell": Ragged(np.append(gaps.lengths[1:], gaps.lengths[:1] + 1), np.append(gaps.items, 1)),
        "cells out of order|outside scale": Ragged(gaps.lengths, np.full_like(gaps.items, 2**40, np.int64)),
    }
    for message, column in wrong.items():
        with pytest.raises(PartialError, match=message):
            Partial.from_columns(PLAN, columns | {"a_us.gaps": column})
    with pytest.raises(PartialError, match=r"b_total\.n is a column of lists"):
        Partial.from_columns(PLAN, columns | {"b_total.n": gaps})
    with pytest.raises(PartialError, match="has columns"):
        Partial.from_columns(PLAN, dict(list(columns.items())[1:]))


def test_labels_may_be_codes_of_texts_and_no_key_may_come_twice_under_two_codes():
    columns = Partial.from_frame(PLAN, FRAME).sorted().to_columns()
    texts = columns["src"].unique().sort(descending=True).to_list()
    codes = np.array([texts.index(text) for text in columns["src"]])
    found = Partial.from_columns(PLAN, columns | {"src": Coded(codes, [*texts, "unused"])})
    assert found.to_frame().equals(Partial.from_columns(PLAN, columns).to_frame())
    order = np.arange(len(found))[::-1]
    assert found.take(order).labels()[0].to_series("src").equals(found.take(order).keys["src"])
    twice = {name: column[[2, 2]] for name, column in FRAME.to_dict().items()}
    arrays = {name: Ragged.from_series(one) if one.dtype == pl.List else one for name, one in twice.items()}
    with pytest.raises(PartialError, match="a key twice"):
        Partial.from_columns(PLAN, arrays | {"src": Coded(np.array([0, 1]), ["b", "b"])})


def test_sorted_is_the_byte_order_of_the_labels():
    rows = records(src=["b", "B", "é", "", "a"], rtt_us=[1] * 5)
    assert chain_of(SQL).finish(chain_of(SQL).prepare(rows), 0).sorted().keys["src"].to_list() == [
        "",
        "B",
        "a",
        "b",
        "é",
    ]
