"""`tailwatch tail simulate`: its table, as data, drawn; what it cannot use."""

import json
from pathlib import Path

import numpy as np
import pytest

from tailwatch.cli import main

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
