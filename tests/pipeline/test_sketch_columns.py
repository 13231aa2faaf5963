"""Columns of sketches: merged, counted, carried along by filters, joins and cuts; anything else in them is told."""

import numpy as np
import polars as pl
import pytest

from pipeline.errors import SchemaError, StateError
from pipeline.schema import check
from pipeline.sketch_cells import bytes_of, cells_of
from pipeline.sketch_state import SketchState
from quantiles.bins import bins_of
from quantiles.dense_bodies import Runs
from quantiles.histogram_bodies import Said, exponential_bodies
from quantiles.sketch_column import SketchColumn
from tests.pipeline.probes import TUMBLE, chain_of, histograms, records


def test_cells_are_merged_and_counted_by_group():
    cells = histograms([[1, 2], [4], [8, 16]])
    rows = records(dst=["a", "a", "b", "b", "b"], dist=[cells[0], None, cells[1], cells[2], None])
    sql = f"SELECT dst, sketch(dist) AS x_us, count(dist) AS n, count(*) AS all_n FROM probes {TUMBLE}, dst"
    found = chain_of(sql).finish(rows, 0).sorted()
    assert [found.states[name].answers() for name in ("x_us", "n", "all_n")] == [[3, 28], [1, 2], [2, 3]]


def test_a_merged_histogram_answers_as_the_values_themselves():
    values = np.random.default_rng(5).lognormal(6, 1, 20_000)
    parts = np.array_split(values, 40)
    each = [SketchColumn.from_values(part, np.zeros(len(part), np.int64), 1, scale=8) for part in parts]
    owners = np.repeat(np.arange(40), [len(one.cells) for one in each])
    bins = np.concatenate([one.cells.astype(np.int64) for one in each]) - bins_of(8).first_cell
    runs = Runs.of_pairs(owners, bins, np.concatenate([one.counts for one in each]), 40)
    said = Said(*(np.array([f(part) for part in parts]) for f in (np.sum, np.min, np.max)))
    bodies = exponential_bodies(np.full(40, 8), Runs.none(40), runs, np.zeros(40, np.int64), said)
    rows = records(dist=cells_of(bodies, "dist").to_list())
    (state,) = chain_of(f"SELECT sketch(dist) AS x_us FROM probes {TUMBLE}").finish(rows, 0).states.values()
    assert isinstance(state, SketchState)
    exact = SketchColumn.from_values(values, np.zeros(len(values), np.int64), 1)
    for part in ("cells", "counts", "minima", "maxima"):
        assert np.array_equal(getattr(state.column, part), getattr(exact, part)), part
    assert np.isclose(state.column.sums.values()[0], values.sum())


def test_filters_joins_and_cases_carry_cells_along():
    cells = histograms([[1], [2], [4]])
    rows = records(src=["10.0.0.1", "10.0.0.2", "x"], ok=[True, False, True], dist=cells)
    sql = f"""SELECT s.tor AS tor, sketch(CASE WHEN ok THEN dist END) AS x_us, sketch(dist) AS y_us
        FROM probes JOIN hosts AS s ON probes.src = s.ip WHERE dist IS NOT NULL {TUMBLE}, s.tor"""
    chain = chain_of(sql)
    assert chain.schema_at(2)["dist"] == "sketch"
    found = chain.finish(chain.prepare(rows), 0).sorted()
    assert found.keys["tor"].to_list() == ["tor-1", "tor-2"]
    assert (found.states["x_us"].answers(), found.states["y_us"].answers()) == ([1, 0], [1, 2])


@pytest.mark.parametrize("cell", [b"", b"x", bytes(56), bytes(64)])
def test_what_is_no_sketch_is_told_with_its_column_and_place(cell):
    rows = records(dist=[None, *histograms([[1]]), cell])
    with pytest.raises(StateError, match="column 'x_us' of sketches: body 1 is "):
        chain_of(f"SELECT sketch(dist) AS x_us FROM probes {TUMBLE}").finish(rows, 0)


def test_only_bytes_are_sketches_and_bytes_are_nothing_else():
    with pytest.raises(SchemaError, match="'h' holds String, want sketch"):
        check(pl.DataFrame({"h": ["a"]}), {"h": "sketch"})
    with pytest.raises(SchemaError, match="'h' holds Int64, want sketch"):
        check(pl.DataFrame({"h": [1]}), {"h": "sketch"})
    for kind in ("string", "int64", "float64", "bool"):
        with pytest.raises(SchemaError, match=f"'h' holds Binary, want {kind}"):
            check(pl.DataFrame({"h": [b"a"]}), {"h": kind})
    assert check(pl.DataFrame({"h": [None]}), {"h": "sketch"})["h"].dtype == pl.Binary


def test_a_refused_histogram_is_null():
    bodies = exponential_bodies(
        np.array([6, -2]), Runs.none(2), Runs(np.zeros(2, np.int64), np.array([0, 1, 2]), np.ones(2, np.int64)),
        np.zeros(2, np.int64), Said.nothing(2),
    )  # fmt: skip
    cells = cells_of(bodies, "h")
    assert cells.is_null().to_list() == [False, True]
    assert bytes_of(cells.drop_nulls())[0] == bodies.data
