"""What sacct prints comes in as attempts: requeued runs are counted, lists of nodes spelled out."""

from pathlib import Path

import pytest

from analytics.errors import DataError
from analytics.gpu.traces.columns import with_durations
from analytics.gpu.traces.formats import detected, read_trace
from analytics.gpu.traces.slurm import node_names
from tests.analytics.gpu.traces.layouts import table

HEADER = "JobIDRaw|User|Partition|State|Submit|Start|End|NodeList|AllocTRES|JobName"
GPUS = "billing=64,cpu=64,gres/gpu:a100=4,gres/gpu=8,node=2"


def test_requeued_runs_are_attempts_in_the_order_of_their_starts(tmp_path: Path) -> None:
    path = table(
        tmp_path / "sacct.txt",
        HEADER,
        f'7|ann|gpu|COMPLETED|1000|9000|12600|gpu[08-09]|{GPUS}|say "hi',
        f"7|ann|gpu|NODE_FAIL|1000|2000|5600|gpu[01-02]|{GPUS}|x",
        "8|bob|gpu|CANCELLED by 1001|3000|Unknown|4000|None assigned||x",
        "9|bob|cpu|OUT_OF_MEMORY|3000|3001|4000|c1|cpu=1,mem=4G|x",
        "9.batch||cpu|OUT_OF_MEMORY|3000|3001|4000|c1|cpu=1,mem=4G|x",
        "10|bob|gpu|RUNNING|3000|3001|Unknown|c1|gres/gpu:a100=1,gres/gpu:t4=2|x",
    )
    assert detected(path) == ("slurm", path)
    found = with_durations(read_trace(path).attempts)
    assert found["number"].to_list() == [2, 1, 1, 1, 1]
    assert found["outcome"].to_list() == ["passed", "node_failure", "killed", "failed", "running"]
    assert found["nodes"].to_list() == [["gpu08", "gpu09"], ["gpu01", "gpu02"], [], ["c1"], ["c1"]]
    assert found["gpus"].to_list() == [8.0, 8.0, None, 0.0, 3.0]
    assert found["node_gpus"].to_list() == [[4.0, 4.0], [4.0, 4.0], [], [0.0], [3.0]]
    assert found["runtime_s"].to_list() == [3600.0, 3600.0, None, 999.0, None]
    assert found["queued_s"].to_list() == [None, 1000.0, None, 1.0, 1.0]


def test_a_time_in_nobodys_zone_is_refused_and_one_with_an_offset_taken(tmp_path: Path) -> None:
    row = "7|ann|gpu|FAILED|{0}|{0}|{0}|n1|gres/gpu=1|x"
    path = table(tmp_path / "sacct.txt", HEADER, row.format("2026-01-01T00:00:00+0100"))
    assert read_trace(path).attempts["start_ns"].to_list() == [1767222000000000000]
    table(path, HEADER, row.format("2026-01-01T00:00:00"))
    with pytest.raises(DataError, match=r"row 1 .* column Submit: '2026-01-01T00:00:00'; a time with its offset"):
        read_trace(path)


def test_exit_codes_and_signals_are_told_of_what_is_over(tmp_path: Path) -> None:
    row = "{0}|ann|gpu|{1}|1000|2000|{2}|n1|gres/gpu=1|{3}"
    rows = [
        row.format(7, "FAILED", 3000, "1:0"), row.format(8, "FAILED", 3000, "0:9"),
        row.format(9, "RUNNING", "Unknown", "0:0"), row.format(10, "COMPLETED", 3000, ""),
    ]  # fmt: skip
    path = table(tmp_path / "sacct.txt", HEADER.replace("JobName", "ExitCode"), *rows)
    found = read_trace(path).attempts
    assert found["exit_code"].to_list() == [1, 0, None, None]
    assert found["signal"].to_list() == [0, 9, None, None]
    table(path, HEADER.replace("JobName", "ExitCode"), rows[0], row.format(8, "FAILED", 3000, "nine"))
    with pytest.raises(DataError, match=r"row 2 .* column ExitCode: 'nine'; an exit code and a signal such as 1:0"):
        read_trace(path)


def test_restarts_number_the_runs_also_where_the_first_ones_are_missing(tmp_path: Path) -> None:
    row = "7|ann|gpu|NODE_FAIL|1000|{0}|{1}|n1|gres/gpu=1|{2}"
    header = HEADER.replace("JobName", "Restarts")
    path = table(tmp_path / "sacct.txt", header, row.format(5000, 6000, 3), row.format(3000, 4000, 2))
    assert read_trace(path).attempts["number"].to_list() == [4, 3]
    table(path, HEADER, row.format(5000, 6000, "x"), row.format(3000, 4000, "x"))
    assert read_trace(path).attempts["number"].to_list() == [2, 1]


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        ("a", ("a",)),
        ("a[1-3],b", ("a1", "a2", "a3", "b")),
        ("a[08-10,12]", ("a08", "a09", "a10", "a12")),
        ("r[1-2]n[1-2]x", ("r1n1x", "r1n2x", "r2n1x", "r2n2x")),
        ("None assigned", ()),
    ],
)
def test_lists_of_nodes_are_spelled_out(listed: str, names: tuple[str, ...]) -> None:
    assert node_names(listed) == names


@pytest.mark.parametrize("listed", ["a[1-3", "a1]", "a[[1]]", "a[x]", "a,,b", "a[]", "a[0-999999999]", "a[1-2-3]"])
def test_what_is_no_list_of_nodes_is_refused(tmp_path: Path, listed: str) -> None:
    with pytest.raises(DataError, match=r"is no list of nodes"):
        node_names(listed)
    path = table(tmp_path / "sacct.txt", HEADER, f"7|ann|gpu|FAILED|1|2|3|{listed}|gres/gpu=1|x")
    with pytest.raises(DataError, match=r"row 1 .* column NodeList"):
        read_trace(path)
