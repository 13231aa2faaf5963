"""`tailwatch tail simulate`: its table, as data, drawn; what it cannot use."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analytics.tail.comparison import QUANTILES, Figure, PolicyAtLoad
from analytics.tail.policies import TargetTable
from analytics.tail.policy_table import PolicyTable
from analytics.tail.table_search import FoundTable
from tailwatch.cli import main
from tailwatch.tail_report import as_text

SMALL = ["tail", "simulate", "--requests", "20000", "--seeds", "2"]


def test_it_prints_each_load_with_intervals_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    times = tmp_path / "times.csv"
    times.write_text("query,us\n" + "".join(f"q{i},{value}\n" for i, value in enumerate([900, 4_000, 150_000])))
    plot = tmp_path / "policies.png"
    assert main([*SMALL, "--workload", str(times), "--loads", "0.2,0.4", "--plot", str(plot)]) == 0
    told = capsys.readouterr()
    assert told.out.startswith(
        f"[simulated] {times}: 20,000 requests x 2 seeds at each load\ntargets by threads_and_queue"
    )
    assert told.out.count("\nload 0.") == 2
    assert "\npolicy " in told.out
    assert "\ntpc without correction " in told.out
    assert " ±" in told.out
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_targets_classes_and_policies_fit_the_times_of_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    times = tmp_path / "times.csv"
    # Synthetic: a thousandth of web search, so that nothing of its own scale would be of use.
    times.write_text("us\n" + "".join(f"{value}\n" for value in [3.6] * 85 + [40.0] * 10 + [100.0] * 3 + [198.0] * 2))
    flags = ["--workload", str(times), "--loads", "0.3", "--seeds", "1"]
    assert main([*SMALL, *flags, "--class-edges", "0.03,0.08", "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["class_edges_ms"], found["long_ms"]) == ([0.03, 0.08], 0.08)
    assert found["targets_tried_ms"][0] == pytest.approx(0.015)
    by_policy = {row["policy"]: row for row in found["policies"]}
    assert {"ramp-up 0.005 ms", "ramp-up 0.01 ms", "ramp-up 0.02 ms"} <= set(by_policy)
    worth = {name: row["quantiles_ms"]["0.99"]["value"] for name, row in by_policy.items()}
    assert worth["tpc"] < worth["sequential"] * 0.7
    assert main([*SMALL, *flags, "--long-ms", "0.1"]) == 0
    shown = capsys.readouterr().out
    assert "\nclasses of work from " in shown
    assert " ms with speed-ups of web search, long from 0.1 ms; targets tried: " in shown
    assert main([*SMALL, "--long-ms", "3"]) == 1
    assert "are for a file of service times" in capsys.readouterr().err


def test_quantiles_that_few_requests_lie_beyond_are_told_and_whose_mean_it_is() -> None:
    figure = Figure(5.0, None, None)
    row = PolicyAtLoad("sequential", 0.3, figure, {0.5: figure, 0.95: figure}, figure, Figure(0.3, None, None), False)
    found = FoundTable(TargetTable("in_system", 3.0, (50.0,)), 1.0, 9)
    lines = as_text(PolicyTable("web", (row,), found, "in_system", 20_000, 1, 40)).splitlines()
    assert lines[0].endswith(", quantiles of the slowest of 40 servers, means of one")
    assert lines[-1] == "not shown are p99, p99.9, p99.99: fewer than 10 requests of a run lie beyond them"
    whole = replace(row, quantiles_ms=dict.fromkeys(QUANTILES, figure))
    lines = as_text(PolicyTable("web", (whole,), found, "in_system", 200_000, 1, 1)).splitlines()
    assert lines[0].endswith("1 seeds at each load")
    assert lines[-1].startswith("sequential ")


def test_as_data_it_says_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--loads", "0.3", "--fan-out", "10", "--metric", "in_system", "--output", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["simulated"], found["workload"], found["fan_out"]) == (True, "bing-like (synthetic)", 10)
    assert found["target_table"]["metric"] == "in_system"
    by_policy = {row["policy"]: row for row in found["policies"]}
    assert by_policy["sequential"]["quantiles_ms"]["0.99"]["value"] > by_policy["tpc"]["quantiles_ms"]["0.99"]["value"]
    assert by_policy["tpc"]["corrected_ratio"]["value"] > 0
    assert all(np.isfinite(row["mean_ms"]["low"]) for row in found["policies"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read"),
        ("a,b\n1,2\n", "has the columns a, b; want one of ms, us, s, ns"),
        ("ms\n1\nx\n", "has 'x' in row 3, column ms; want times above 0"),
        ("ms\n1\n-2\n", "has -2 in row 3, column ms"),
        ("ms\n", "has no rows, column ms"),
    ],
)
def test_files_that_hold_no_service_times_are_told_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, words: str
) -> None:
    path = tmp_path / "times.csv"
    if content is not None:
        path.write_text(content)
    assert main([*SMALL, "--workload", str(path)]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--loads", "0.3,x"], "are no loads"),
        (["--loads", "0.3,0.3"], "are no loads"),
        (["--burstiness", "0"], "is no squared variation"),
        (["--requests", "10"], "20000"),
    ],
)
def test_flags_that_cannot_be_meant_are_refused(
    capsys: pytest.CaptureFixture[str], flags: list[str], words: str
) -> None:
    with pytest.raises(SystemExit):
        main(["tail", "simulate", *flags])
    assert words in capsys.readouterr().err


def test_where_nothing_can_be_drawn_is_said_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--plot", str(tmp_path / "x.jpg")]) == 1
    assert "want a file ending in .png or .svg" in capsys.readouterr().err
