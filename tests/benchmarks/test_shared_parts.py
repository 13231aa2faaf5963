"""Rounds, targets, tables and result files: what every area of benchmarks builds on."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import documented, results
from benchmarks.area import Area
from benchmarks.rounds import Candidate, Rounds, Spread, interleaved
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard, Target


class Clock:
    """A clock that candidates set forward themselves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


def test_a_spread_is_the_median_and_both_ends() -> None:
    assert Spread.of([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0)


def test_candidates_take_turns_and_the_first_one_changes_each_round() -> None:
    order: list[str] = []
    candidates = {name: Candidate(lambda _, name=name: order.append(name)) for name in "abc"}
    interleaved(candidates, rounds=3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"


def test_time_is_counted_per_unit_of_work_and_preparing_is_free() -> None:
    clock = Clock()
    candidate = Candidate(lambda _: clock.spend(6.0), lambda: clock.spend(100.0), per_run=3.0)
    found = interleaved({"a": candidate}, rounds=2, clock=clock)
    assert found.time_s("a") == Spread(2.0, 2.0, 2.0)
    assert found.rate("a").median == 0.5


def test_a_short_run_is_repeated_on_one_prepared_state() -> None:
    clock, prepared, runs = Clock(), [], []

    def run(_: object) -> None:
        runs.append(1)
        clock.spend(0.25)

    found = interleaved({"a": Candidate(run, lambda: prepared.append(1))}, rounds=1, least_s=1.0, clock=clock)
    assert len(prepared) == 3  # two to warm up
    assert len(runs) == 2 + 4
    assert found.time_s("a").median == 0.25


def test_ratios_are_taken_inside_a_round_before_their_median() -> None:
    # Round by round b needs 2, 2 and 8 times as long; the ratio of the medians would be 4.
    found = Rounds({"a": [1.0, 10.0, 2.0], "b": [2.0, 20.0, 16.0]})
    assert found.speedup("a", over="b") == Spread(2.0, 2.0, 8.0)
    assert found.speedup("b", over="a").median == 0.5


def test_a_candidate_that_raises_is_named_and_the_others_go_on() -> None:
    def broken(_: object) -> None:
        raise ValueError("no such thing")

    found = interleaved({"bad": Candidate(broken), "good": Candidate(lambda _: None)}, rounds=2)
    assert found.failed == {"bad": "ValueError: no such thing"}
    assert list(found.seconds) == ["good"]
    assert len(found.seconds["good"]) == 2


@pytest.mark.parametrize(
    ("target", "value", "line"),
    [
        (Target("quantiles.add_vs_fastest_peer", 20, ">="), 24.1, "reached 24.1 goal>=20"),
        (Target("quantiles.add_vs_fastest_peer", 20, ">="), 18.2, "missed 18.2 goal>=20"),
        (Target("a.b", 20, ">="), 20.0, "reached 20 goal>=20"),
        (Target("a.b", 430, "<="), 430.0, "reached 430 goal<=430"),
        (Target("a.b", 430, "<="), 431.0, "missed 431 goal<=430"),
        (Target("a.b", 0.5416, "<="), 0.541508, "reached 0.5415 goal<=0.5416"),
        (Target("a.b", 1_000_000, ">="), 610_000.4, "missed 610000 goal>=1e+06"),
        (Target("a.b", 1, ">="), math.nan, "missed nan goal>=1"),
        (Target("a.b", 1, "<="), math.nan, "missed nan goal<=1"),
        (Target("a.b", 1, "<="), math.inf, "missed inf goal<=1"),
    ],
)
def test_a_target_line_has_its_fixed_form(target: Target, value: float, line: str) -> None:
    assert target.line(value) == f"TARGET {target.id} {line}"


@pytest.mark.parametrize("value", [19.99996, 19.9999999999])
def test_rounding_never_makes_a_missed_target_look_reached(value: float) -> None:
    shown = Target("a.b", 20, ">=").line(value).split()[3]
    assert float(shown) < 20


def test_every_target_has_exactly_one_line_whatever_happened() -> None:
    board = Scoreboard([Target("a.one", 2, ">="), Target("a.two", 2, ">="), Target("a.three", 2, "<=")])
    board.score("a.one", 3.0)
    board.fail("a.two", "the peer broke")
    assert board.lines() == [
        "TARGET a.one reached 3 goal>=2",
        "  a.two: the peer broke",
        "TARGET a.two missed nan goal>=2",
        "  a.three: it was not measured",
        "TARGET a.three missed nan goal<=2",
    ]
    assert [(row["id"], row["value"], row["reached"]) for row in board.rows()] == [
        ("a.one", 3.0, True),
        ("a.two", None, False),
        ("a.three", None, False),
    ]


def test_a_target_takes_one_value_only_and_only_if_it_exists() -> None:
    board = Scoreboard([Target("a.one", 2, ">=")])
    board.score("a.one", 3.0)
    with pytest.raises(ValueError, match=r"a\.one was scored 3\.0 before"):
        board.score("a.one", 4.0)
    with pytest.raises(KeyError):
        board.score("a.other", 1.0)


def table() -> Table:
    """Two rows, with every kind of cell."""
    columns = [Column("who", "method"), Column("rate", "M/s", 2), Column("n", "values")]
    rows = [{"who": "one", "rate": 1234.5, "n": 10_000}, {"who": "the other|one", "rate": math.nan, "n": None}]
    return Table("t", "A title", columns, ["A note."], rows)


def test_text_tables_align_words_left_and_numbers_right() -> None:
    assert table().text().splitlines() == [
        "A title",
        "  A note.",
        "",
        "method              M/s  values",
        "one            1,234.50  10,000",
        "the other|one         -       -",
    ]


def test_markdown_tables_keep_a_bar_inside_its_cell() -> None:
    assert table().markdown().splitlines()[4:] == [
        "| method | M/s | values |",
        "| --- | --- | --- |",
        "| one | 1,234.50 | 10,000 |",
        "| the other\\|one | - | - |",
    ]


def test_a_table_survives_json() -> None:
    one = table()
    one.rows.pop()
    again = Table.from_data(json.loads(json.dumps(one.data())))
    assert again.text() == one.text()


def test_results_are_strict_json_with_nan_as_null(tmp_path: Path) -> None:
    path = results.path_of("area", quick=False, folder=tmp_path)
    board = Scoreboard([Target("a.b", 1, ">=")])
    long = [{"n": i, "text": "x" * 30} for i in range(40)]
    results.save(path, "area", False, {"commit": "c"}, [table()], board, took_s=3, long=long)
    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert content["tables"][0]["rows"][1]["rate"] is None
    assert (content["area"], content["quick"], content["commit"], content["took_s"]) == ("area", False, "c", 3)
    assert content["targets"][0]["line"] == "TARGET a.b missed nan goal>=1"
    assert content["long"] == [{"n": i, "text": "x" * 30} for i in range(40)]
    assert path.read_text(encoding="utf-8").count('{"n": ') == 40
    assert '\n  {"n": 7, "text"' in path.read_text(encoding="utf-8"), "a row is a line"
    assert [found.name for found in tmp_path.iterdir()] == ["area.json"]


def test_a_quick_run_has_a_file_of_its_own(tmp_path: Path) -> None:
    quick, full = (results.path_of("area", quick, tmp_path) for quick in (True, False))
    assert quick.name == "area.quick.json"
    assert full.name == "area.json"
    assert "*.quick.json" in (results.FOLDER / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_circumstances_name_hardware_python_and_every_package_even_absent_ones() -> None:
    found = results.circumstances(["numpy", "no-such-package-anywhere"])
    assert found["versions"]["no-such-package-anywhere"] is None
    assert found["versions"]["numpy"][0].isdigit()
    assert found["hardware"]["cores"] >= 1
    assert found["hardware"]["memory_gib"] > 0
    assert found["hardware"]["cpu"]
    assert {"commit", "dirty", "date", "python"} <= found.keys()


def test_docs_measures_first_where_there_is_no_full_run_and_then_only_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page, full, measured = tmp_path / "page.md", tmp_path / "bare.json", []
    page.write_text("before <!-- bare: numbers begin --> old <!-- bare: numbers end --> after", encoding="utf-8")
    real, once = documented.rewrite, Table("once", "The only table", [Column("n", "n")], rows=[{"n": 7}])

    def run(size: str, board: Scoreboard) -> list[Table]:
        measured.append(size)
        board.score("bare.n", 7)
        return [once]

    module = SimpleNamespace(run=run, found=lambda content: [f"- In words: {content['area']}."])
    monkeypatch.setattr("benchmarks.area.find_spec", lambda _: module)
    monkeypatch.setattr("benchmarks.area.import_module", lambda _: module)
    monkeypatch.setattr("benchmarks.area.results.path_of", lambda _, quick: tmp_path / "quick" if quick else full)
    monkeypatch.setattr("benchmarks.area.documented.rewrite", lambda *a, **more: real(*a, page, **more))
    monkeypatch.setenv("QUICK", "1")
    monkeypatch.setenv("POLARS_MAX_THREADS", "1")  # which a run sets for good where it is not set
    area = Area("bare", "Nothing", ("once",), (), (Target("bare.n", 5, ">="),), "full", "quick", findings="words")
    for _ in range(2):
        assert area.main(["--docs"]) == 0
    assert measured == ["full"]
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.index("- In words: bare.") < text.index("### The only table")
    assert "TARGET bare.n reached 7 goal>=5" in capsys.readouterr().out
