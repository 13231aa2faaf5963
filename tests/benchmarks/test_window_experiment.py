"""The window experiment: its bursts, its check of AOMG, and one quick run of all of it."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quantiles import plots, window_methods
from benchmarks.quantiles.data_sets import generated
from benchmarks.quantiles.window_experiment import (
    LEVELS,
    PERIODS,
    WINDOW,
    Case,
    Guarantee,
    WindowResults,
    measure,
    run,
    slides_of,
    sub_windows,
)
from benchmarks.quantiles.window_methods import AOMG_LARGE, AOMG_SMALL, EXACT, KLL, AomgMethod, nearest_rank
from quantiles.array_types import FloatArray


@pytest.fixture(scope="module")
def results() -> WindowResults:
    return run(quick=True)


def test_every_full_window_holds_exactly_one_burst() -> None:
    stream = np.arange(1.0, 40 * 16_384 + 1)
    pieces = list(sub_windows(stream, 16_384, burst_every=8, offset=7))
    changed = [int(np.sum(piece != stream[i * 16_384 : (i + 1) * 16_384])) for i, piece in enumerate(pieces)]
    assert [sum(changed[i : i + 8]) for i in range(33)] == [131] * 33
    assert pieces[7][-131:].tolist() == (10 * stream[7 * 16_384 : 8 * 16_384][-131:]).tolist()
    assert np.array_equal(stream, np.arange(1.0, 40 * 16_384 + 1))  # the stream itself is left alone


def test_without_bursts_the_sub_windows_are_the_stream() -> None:
    stream = generated("Pareto", 5000)
    assert np.array_equal(np.concatenate(list(sub_windows(stream, 1000, None))), stream)


def test_a_rank_is_the_one_of_the_level_as_it_is_written() -> None:
    assert (nearest_rank(0.07, 100), nearest_rank(0.999, WINDOW), nearest_rank(0.0, 5)) == (7, 130_941, 1)
    assert (nearest_rank(1.0, 5), nearest_rank(0.2, 5), nearest_rank(0.200001, 5)) == (5, 1, 2)


@pytest.mark.parametrize("name", window_methods.METHODS)
def test_every_method_answers_for_the_newest_window_only(name: str) -> None:
    """What has left the window is 1,000 times larger: any of it would show."""
    values = generated("uniform", 12 * 1000)
    values[: 4 * 1000] *= 1000
    method = window_methods.make(name, 8000, 1000, (0.1, 0.5, 0.9))
    for begin in range(0, 12_000, 1000):
        method.add(values[begin : begin + 1000])
    ordered = np.sort(values[4000:])
    assert method.quantiles() == pytest.approx(ordered[[799, 3999, 7199]], rel=0.02)
    assert method.state_bytes() > 0


def test_the_check_finds_an_answer_that_is_wrong() -> None:
    method = AomgMethod(4000, 1000, LEVELS, tail=32)
    method.add(generated("Pareto", 1000))
    ordered = np.sort(generated("Pareto", 1000))
    right, wrong, inexact = Guarantee(), Guarantee(), Guarantee()
    right.check(method, ordered, "here")
    assert right.tail_exact
    assert 0 < right.max_error_pct <= 0.5416
    wrong.check(method, ordered * 1.01, "there")
    assert not wrong.tail_exact
    assert wrong.max_error_pct > 0.9
    assert wrong.worst.startswith("there, k=32, q=")
    moved = ordered.copy()
    moved[-32] *= 1 + 1e-12  # the last rank that few-k reaches
    inexact.check(method, moved, "tail")
    assert not inexact.tail_exact


def test_equal_runs_give_equal_errors() -> None:
    stream = generated("NetMon-like", 3 * WINDOW)
    names = tuple(name for name in window_methods.METHODS if name != KLL)
    case = Case("NetMon-like", True, 32_768, 3, names)
    first, second = (
        [(row["method"], row["quantile"], row["mean_error_pct"]) for row in measure(case, stream, Guarantee())]
        for _ in range(2)
    )
    assert first == second


def test_the_stream_is_long_enough_for_the_windows_of_a_full_run() -> None:
    assert {period: slides_of(period) for period in PERIODS} == dict.fromkeys(PERIODS[:5], 64) | {
        32_768: 37,
        65_536: 19,
    }


class TestQuickRun:
    def test_aomg_keeps_its_guarantee(self, results: WindowResults) -> None:
        assert 0.5 < results.max_error_pct <= 0.5416, results.worst
        assert results.tail_exact
        assert results.answers_checked > 10_000

    def test_rows_are_json_and_complete(self, results: WindowResults) -> None:
        assert json.loads(json.dumps(results.rows)) == results.rows
        seen = {(row["data_set"], row["burst"], row["method"], row["quantile"]) for row in results.rows}
        for data in ("NetMon-like", "Pareto"):
            for burst in (False, True):
                for name in window_methods.METHODS:
                    assert {q for q in LEVELS if (data, burst, name, q) in seen} == set(LEVELS)

    def test_exact_is_exact_and_aomg_with_a_long_tail_is_exact_at_p999(self, results: WindowResults) -> None:
        for row in results.rows:
            if row["method"] == EXACT or (row["method"] == AOMG_LARGE and row["quantile"] == 0.999):
                assert row["max_error_pct"] == 0
            if row["method"] in (AOMG_SMALL, AOMG_LARGE):
                assert float(str(row["max_error_pct"])) <= 0.5416

    def test_every_table_says_that_data_is_synthetic(self, results: WindowResults) -> None:
        assert len(results.tables()) == 4
        for table in results.tables():
            assert "synthetic" in table.text()

    def test_plots_are_written(self, results: WindowResults, tmp_path: Path) -> None:
        drawn = plots.draw(results, tmp_path / "images")
        assert [path.name for path in drawn] == ["window-error-by-quantile.png", "window-error-through-burst.png"]
        for path in drawn:
            assert path.read_bytes().startswith(b"\x89PNG")
            assert path.stat().st_size > 30_000

    def test_the_burst_of_the_timeline_comes_and_goes(self, results: WindowResults) -> None:
        exact: FloatArray = np.array([row["exact"] for row in results.timeline if row["method"] == EXACT], float)
        inside = np.array([row["burst_in_window"] for row in results.timeline if row["method"] == EXACT])
        assert inside.tolist() == [False] * 8 + [True] * 8 + [False] * 8
        assert exact[inside].min() > 3 * exact[~inside].max()
