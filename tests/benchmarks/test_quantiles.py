"""The sketch benchmarks: the quick run as a user starts it, and the parts that decide what its numbers mean."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quantiles import __main__ as command
from benchmarks.quantiles import documented
from benchmarks.quantiles.adding import Outcome, fastest_peer, filled, ranks_beside, score
from benchmarks.quantiles.data_sets import GENERATORS, REAL_VARIABLE, generated, service_times
from benchmarks.quantiles.errors import MILLION, dense_levels, errors_pct, nearest_ranks
from benchmarks.quantiles.goals import MAX_ERROR, TAIL_EXACT, TARGETS, score_errors
from benchmarks.quantiles.peers.exact import SORT, SUM
from benchmarks.quantiles.peers.method import LEVELS, Method
from benchmarks.quantiles.peers.registry import ADAPTERS, Field, load_field
from benchmarks.quantiles.peers.tailwatch import NUMBA, NUMPY
from benchmarks.quantiles.sizing import Sizing
from benchmarks.rounds import Rounds
from benchmarks.tables import Table
from benchmarks.targets import Scoreboard
from quantiles._kernels import choice
from quantiles.sketch import Sketch

ROOT = Path(__file__).resolve().parents[2]
TARGET_LINE = re.compile(r"TARGET (quantiles\.\w+) (reached|missed) (nan|[0-9.]+) goal(>=|<=)([0-9.]+)")

# As the issue names them.
WANTED = {
    "quantiles.add_vs_fastest_peer": ">=20",
    "quantiles.add_vs_npsort": ">=3",
    "quantiles.add_vs_npsum": ">=0.35",
    "quantiles.numpy_vs_fastest_peer": ">=6",
    "quantiles.decode_merge_vs_fastest_peer": ">=2.5",
    "quantiles.bytes_sigma05": "<=430",
    "quantiles.bytes_sigma1": "<=630",
    "quantiles.max_error_pct": "<=0.5416",
    "quantiles.tail_exact": ">=1",
    "quantiles.worst_cliff": "<=6",
}


@pytest.fixture(autouse=True)
def _own_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Adapters choose kernels for the whole process; afterwards the choice is what it was."""
    monkeypatch.setattr(choice, "_chosen", dict(choice._chosen))


def test_the_quick_run_gives_every_target_once_and_a_result_file(tmp_path: Path) -> None:
    out = tmp_path / "quantiles.json"
    command = [sys.executable, "-m", "benchmarks.quantiles", "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"QUICK": "1"}, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line.startswith("TARGET")]
    matches = [TARGET_LINE.fullmatch(line) for line in lines]
    assert None not in matches, lines
    assert {m[1]: f"{m[4]}{m[5]}" for m in matches if m} == WANTED
    assert len(lines) == len(WANTED)
    assert "nan" not in "".join(lines), done.stdout[-3000:]

    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["quick"] is True
    assert [target["line"] for target in content["targets"]] == lines
    names = [table["name"] for table in content["tables"]]
    for wanted in ("adding NetMon-like", "merging NetMon-like", "grouped", "cliffs Pareto", "sizes", "accuracy"):
        assert wanted in names
    added = {row["method"] for row in content["tables"][names.index("adding NetMon-like")]["rows"]}
    assert added == {method.name for method in load_field().methods}
    assert set(content["absent"]) == set(load_field().absent)
    notes = " ".join(note for table in content["tables"] for note in table["notes"])
    assert " failed" not in notes


def test_the_targets_are_those_of_the_issue() -> None:
    assert {target.id: f"{target.sense}{target.goal:g}" for target in TARGETS} == WANTED


@pytest.mark.parametrize("name", sorted(GENERATORS))
def test_a_data_set_is_positive_and_repeatable(name: str) -> None:
    values = generated(name, 5_000, seed=7)
    assert values.dtype == np.float64
    assert len(values) == 5_000
    assert values.min() > 0
    assert np.array_equal(values, generated(name, 5_000, seed=7))
    assert not np.array_equal(values, generated(name, 5_000, seed=8))


@pytest.mark.parametrize(
    ("name", "millionths", "wanted"),
    [("NetMon-like", 500_000, 798), ("NetMon-like", 990_000, 1_874), ("Pareto", 500_000, 20), ("Pareto", 900_000, 100)],
)
def test_a_data_set_has_the_quantiles_it_is_fitted_to(name: str, millionths: int, wanted: float) -> None:
    ordered = np.sort(generated(name, 400_000))
    assert ordered[nearest_ranks(len(ordered), [millionths])[0] - 1] == pytest.approx(wanted, rel=0.02)


def test_real_service_times_are_read_or_skipped_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(REAL_VARIABLE, str(tmp_path))
    values, sentence = service_times()
    assert values is None
    assert REAL_VARIABLE in sentence


def test_real_service_times_come_from_every_run_of_a_query(real_data: Path) -> None:
    values, sentence = service_times()
    assert values is not None
    assert len(values) > 100_000
    assert values.min() > 0
    assert f"{len(values):,}" in sentence


def test_nearest_ranks_are_whole_number_arithmetic() -> None:
    assert nearest_ranks(100, [0, 1, 70_000, 500_000, 999_000, MILLION]).tolist() == [1, 1, 7, 50, 100, 100]


def test_errors_are_relative_to_the_value_at_the_nearest_rank() -> None:
    ordered = np.array([10.0, 20.0, 40.0])
    assert errors_pct(ordered, [0.5, 1.0], [21.0, 40.0]) == pytest.approx([5.0, 0.0])
    assert errors_pct(ordered, [0.5], [None]) == [math.inf]
    assert errors_pct(ordered, [0.5], [math.nan]) == [math.inf]


def test_a_rank_beside_is_forgiven_only_where_asked_for() -> None:
    ordered = np.array([10.0, 20.0, 40.0])
    assert errors_pct(ordered, [0.5], [40.0]) == [100.0]
    assert errors_pct(ordered, [0.5], [40.0], beside=1) == [0.0]
    assert errors_pct(ordered, [0.5], [44.0], beside=1) == pytest.approx([10.0])


def test_dense_levels_run_from_0_to_1_and_reach_far_into_both_tails() -> None:
    levels = dense_levels(1_000)
    assert levels == sorted(set(levels))
    assert (levels[0], levels[-1]) == (0, MILLION)
    assert {1, 999_999, 999_990, 500_000} <= set(levels)


FIELD = load_field()


def test_every_adapter_is_loaded_or_named_as_absent() -> None:
    assert {method.package for method in FIELD.methods} | set(FIELD.absent) == set(ADAPTERS.values())
    assert set(FIELD.absent) <= {"chdb"}, "only chdb may be missing: the others are in the group `bench`"
    assert {NUMBA, NUMPY} <= {method.name for method in FIELD.methods}


@pytest.mark.parametrize("package", ["boost_histogram", "rddsketch", "polars"])
def test_a_peer_that_is_not_installed_is_named(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"benchmarks.quantiles.peers.{package}")
    field = load_field()
    name = ADAPTERS[package]
    assert name in field.absent
    assert not [method for method in field.methods if method.package == name]
    assert any(note.startswith(f"{name} is absent: not installed") for note in field.notes())


@pytest.mark.parametrize("method", FIELD.methods, ids=lambda method: method.name)
def test_an_adapter_answers_about_right_by_all_its_ways(method: Method) -> None:
    values = generated("uniform", 4_000)
    ordered = np.sort(values)
    method.ready()

    def off(answers: list[float]) -> float:
        return max(errors_pct(ordered, LEVELS, answers, ranks_beside(method)))

    if method.load is not None and method.ask is not None:
        assert off(method.ask(method.load(values), LEVELS)) < 2.5
    if method.quantiles is None:
        return
    state = filled(method, values)
    assert off(method.quantiles(state, LEVELS)) < 2.5
    parts = [filled(method, part) for part in np.split(values, 4)]
    if method.merge is not None:
        assert off(method.quantiles(method.merge(parts), LEVELS)) < 2.5
        assert off(method.quantiles(method.merge(parts), LEVELS)) < 2.5, "merging changed what it merged"
    if method.to_bytes is not None and method.merge_bodies is not None:
        bodies = [method.to_bytes(part) for part in parts]
        assert all(isinstance(body, bytes) for body in bodies)
        assert off(method.quantiles(method.merge_bodies(bodies), LEVELS)) < 2.5


def test_our_adapters_run_the_kernels_they_name() -> None:
    for name, module in ((NUMBA, "numba_kernels"), (NUMPY, "numpy_kernels")):
        FIELD.named(name).ready()
        assert choice.kernels() is choice.load_kernels(module.removesuffix("_kernels"))
    states = [filled(FIELD.named(name), generated("Pareto", 3_000)) for name in (NUMBA, NUMPY)]
    counts = [state.column().counts.tolist() for state in states if isinstance(state, Sketch)]
    assert len(counts) == 2
    assert counts[0] == counts[1]


def sketch_named(name: str, mergeable: bool = True) -> Method:
    """A third-party sketch that only has to have a name."""
    return Method(
        name=name,
        package="x",
        kind="sketch",
        guarantee="value error",
        promise="",
        takes="array",
        merge=(lambda states: states) if mergeable else None,
    )


def test_the_peer_is_the_fastest_mergeable_sketch_that_is_accurate_here() -> None:
    field = Field([sketch_named("a"), sketch_named("b"), sketch_named("c"), sketch_named("no merge", False)], {})
    rounds = Rounds({"a": [1e-9], "b": [2e-9], "c": [3e-9], "no merge": [1e-10]})
    errors = {"a": [0.1, 0.1, 0.1, 1.2], "b": [0.9, 0.1, 0.1, 1.0], "c": [0.0] * 4, "no merge": [0.0] * 4}
    assert fastest_peer(field, rounds, errors) == "b"
    assert fastest_peer(field, Rounds({}), {}) is None


def outcome(name: str, ours_s: float, peer: str | None = "peer") -> Outcome:
    """One data set where all rivals need 10 s and both our kernels the given time."""
    methods = {NUMBA: [ours_s], NUMPY: [ours_s], "peer": [10.0], SORT: [10.0], SUM: [10.0]}
    return Outcome(name, Rounds(methods), {}, {}, peer)


def test_targets_of_adding_take_the_worst_data_set_and_name_it() -> None:
    board = Scoreboard(TARGETS[:4])
    score([outcome("easy", 0.25), outcome("hard", 4.0), outcome("middling", 1.0)], board)
    rows = {row["id"]: row for row in board.rows()}
    assert {row["value"] for row in rows.values()} == {2.5}
    remark = str(rows["quantiles.add_vs_fastest_peer"]["remark"])
    assert "worst of 3 data sets: hard, 2.5" in remark
    assert "best: easy, 40" in remark


def test_a_data_set_without_a_fit_peer_leaves_no_ratio_to_it() -> None:
    board = Scoreboard(TARGETS[:4])
    score([outcome("easy", 0.25), outcome("odd", 0.25, peer=None)], board)
    values = {row["id"]: row["value"] for row in board.rows()}
    assert values["quantiles.add_vs_fastest_peer"] is None
    assert values["quantiles.add_vs_npsort"] == 40.0


def test_a_table_that_breaks_takes_only_its_own_targets_with_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(_: Field, __: Sizing, board: Scoreboard) -> list[Table]:
        board.score("quantiles.bytes_sigma05", 400.0)
        raise RuntimeError("out of luck")

    monkeypatch.setenv("POLARS_MAX_THREADS", "1")
    monkeypatch.setattr(command, "TABLES", {"sizes": broken})
    assert command.main(["--quick", "--only", "sizes", "--out", str(tmp_path / "out.json")]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith("TARGET")]
    assert sorted(line.split()[1] for line in lines) == sorted(WANTED)
    assert "TARGET quantiles.bytes_sigma05 reached 400 goal<=430" in lines
    assert sum("missed nan" in line for line in lines) == len(WANTED) - 1
    assert "table sizes failed: RuntimeError: out of luck" in printed
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))["quick"] is True


class Experiment:
    """What the targets read of the window experiment."""

    def __init__(self, max_error_pct: float, tail_exact: bool) -> None:
        self.max_error_pct = max_error_pct
        self.tail_exact = tail_exact


@pytest.mark.parametrize(
    ("tables", "experiment", "verdicts"),
    [
        (0.5, Experiment(0.54, True), ["reached 0.54", "reached 1"]),
        (0.55, Experiment(0.54, True), ["missed 0.55", "reached 1"]),
        (0.5, Experiment(0.6, False), ["missed 0.6", "missed 0"]),
        (math.nan, Experiment(0.5, True), ["missed nan", "reached 1"]),
        (0.5, None, ["missed nan", "missed nan"]),
    ],
)
def test_the_error_targets_need_tables_and_windows(
    tables: float, experiment: Experiment | None, verdicts: list[str]
) -> None:
    board = Scoreboard([target for target in TARGETS if target.id in {MAX_ERROR, TAIL_EXACT}])
    score_errors(board, tables, experiment, "it broke")
    lines = [line for line in board.lines() if line.startswith("TARGET")]
    assert [" ".join(line.split()[2:4]) for line in lines] == verdicts


def test_the_numbers_of_the_page_come_from_the_results(tmp_path: Path) -> None:
    page, file = tmp_path / "page.md", tmp_path / "quantiles.json"
    content = {
        "quick": False, "date": "2026-01-02T03:04:05+00:00", "commit": "0123456789abcdef", "dirty": True, "took_s": 5,
        "hardware": {"cores": 2, "cpu": "some", "memory_gib": 4.0, "system": "Linux"}, "python": "3.11",
        "versions": {"numpy": "2.0", "chdb": None}, "absent": {"chdb": "not installed"},
        "targets": [{"line": "TARGET quantiles.worst_cliff missed 7.5 goal<=6", "remark": "sorted"}],
        "tables": [], "windows": {"plots": ["burst.png"]},
    }  # fmt: skip
    file.write_text(json.dumps(content), encoding="utf-8")
    page.write_text(f"before\n{documented.BEGIN}\nold 99\n{documented.END}\nafter\n", encoding="utf-8")
    documented.rewrite(file, page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old 99" not in text
    assert "| `quantiles.worst_cliff` | <=6 | 7.5 | missed | sorted |" in text
    assert "![burst](images/quantiles/burst.png)" in text
    assert "0123456789ab with uncommitted changes" in text
    documented.rewrite(file, page)
    assert page.read_text(encoding="utf-8") == text

    file.write_text(json.dumps(content | {"quick": True}), encoding="utf-8")
    with pytest.raises(ValueError, match="quick run"):
        documented.rewrite(file, page)


def test_the_page_names_every_adapter_table_and_target() -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    written = text.partition(documented.BEGIN)[0]  # by hand, not by the last run
    for method in FIELD.methods:
        assert f"`{method.name}`" in written, method.name
    for package in ADAPTERS.values():
        assert package in written, package
    for target in WANTED:
        assert f"`{target}`" in written, target
