"""`tailwatch gpu report`: tables and JSON of a trace, and errors that name what is wrong with it."""

import json
from pathlib import Path

import polars as pl
import pytest

from tailwatch.cli import main
from tests.analytics.gpu.made_up_attempts import cluster
from tests.analytics.gpu.traces.layouts import pai, philly_job, philly_log, philly_run


@pytest.fixture(scope="module")
def attempts(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A made-up cluster with one bad node, as a table of one's own."""
    frame = cluster(1, jobs=1500, bad={"synthetic-n7": 20.0}, diagnosed=True)
    path = tmp_path_factory.mktemp("gpu") / "attempts.csv"
    nodes = pl.col("nodes").list.join(";")
    frame.with_columns(nodes).drop("node_gpus", "node_count", "template", "busy").write_csv(path)
    return str(path)


def test_the_report_names_the_bad_node_the_reasons_and_what_is_not_told(
    attempts: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gpu", "report", attempts, "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{attempts} [synthetic] (attempts): 1,500 jobs, ")
    assert lines[1].startswith("SYNTHETIC")
    assert "not told: no utilisation: it was not read, or the trace does not measure it" in lines
    found = next(i for i, line in enumerate(lines) if line.startswith("Nodes that stand out: "))
    assert lines[found].startswith("Nodes that stand out: 1 of 60 (infrastructure failures against GPU hours, ")
    assert lines[found + 2].split()[0] == "synthetic-n7"
    assert any(line.strip().startswith("gpu_ecc ") for line in lines)
    assert any(line.startswith("  again with the same reason, import_error: ") for line in lines)
    assert "  and 27 more (--top, --output json)" in lines  # of 30 users
    assert all(len(line) < 160 for line in lines)


def test_json_has_all_of_it_and_plots_are_named(
    attempts: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Drawing takes seconds, and is tested where it lives.
    monkeypatch.setattr("analytics.gpu.report_plots.plots", lambda *given: {"nodes": given[2].encode()})
    folder = tmp_path / "new" / "plots"
    flags = ["--output", "json", "--plots", str(folder), "--plot-format", "svg", "--alpha", "0.01"]
    assert main(["gpu", "report", attempts, *flags]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["overview"]["jobs"] == 1500
    assert answer["node_test"]["alpha"] == 0.01
    assert len(answer["failures_by"]["user"]) == 30
    assert answer["plots"] == [str(folder / "nodes.svg")]
    assert (folder / "nodes.svg").read_bytes() == b"svg"


def test_published_layouts_are_found_out_and_utilisation_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gpu", "report", str(pai(tmp_path, sensors=True)), "--utilisation"]) == 0
    shown = capsys.readouterr().out
    assert "(alibaba): 3 jobs, 3 attempts, 2 users, 3 nodes" in shown
    assert "Utilisation by GPUs:" in shown
    assert "note: all times are shifted by the publisher" in shown
    run = philly_run("2017-10-07 02:00:00", "2017-10-07 01:00:00", m1=1)
    log = philly_log(
        tmp_path / "log", philly_job("x\x1b[31m", run) | {"user": "u\x1b[31m"}, philly_job("y", run, status="Failed")
    )
    assert main(["gpu", "report", str(log), "--format", "philly"]) == 0
    shown = capsys.readouterr().out
    assert "odd: 2 attempts end before they start; their run time is unknown (the first: job x" in shown
    assert "not told: no reasons: the trace brings no logs and no attempt carries a diagnosis" in shown
    assert "\x1b" not in shown


def test_errors_are_one_line_with_the_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = philly_log(tmp_path / "log", philly_job("x", status="Done"))
    assert main(["gpu", "report", str(log)]) == 1
    error = capsys.readouterr().err
    assert f"{log}, job 1 (x), field status: 'Done'; Pass, Killed or Failed is wanted" in error
    assert main(["gpu", "report", str(tmp_path / "none")]) == 1
    assert "none cannot be read" in capsys.readouterr().err
    for flags in (["--alpha", "0"], ["--top", "0"], ["--format", "excel"]):
        with pytest.raises(SystemExit) as left:
            main(["gpu", "report", str(log), *flags])
        assert left.value.code == 2
