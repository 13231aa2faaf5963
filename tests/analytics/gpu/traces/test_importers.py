"""Each published layout comes in as attempts; what is missing or odd is told, never made up."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt
from analytics.gpu.traces.columns import ATTEMPTS, attempts_of, frame_of, with_durations
from analytics.gpu.traces.formats import detected, read_trace
from tests.analytics.gpu.traces.layouts import ACME, KALOS, pai, philly_job, philly_log, philly_run, table

RUN = philly_run("2017-10-07 01:12:09", "2017-10-07 01:13:23", m47=8)


def test_phillys_attempts_before_the_last_failed_and_the_last_ends_as_the_job(tmp_path: Path) -> None:
    second = philly_run("2017-10-07 01:13:30", "2017-10-09 06:53:12", m412=8, m413=2)
    trace = read_trace(philly_log(tmp_path / "cluster_job_log", philly_job("application_1", RUN, second)))
    assert trace.form == "philly"
    assert attempts_of(trace.attempts) == [
        Attempt("application_1", 1, "ce2f4c", "ee9e8c", ("m47",), 8.0, 1507363899000000000, 1507363929000000000,
                1507364003000000000, "failed"),
        Attempt("application_1", 2, "ce2f4c", "ee9e8c", ("m412", "m413"), 10.0, 1507363899000000000,
                1507364010000000000, 1507557192000000000, "passed"),
    ]  # fmt: skip
    found = with_durations(trace.attempts)
    assert found["runtime_s"].to_list() == [74.0, 193182.0]
    assert found["queued_s"].to_list() == [30.0, None]  # a retry's wait began with its own failure, not with submission
    assert found["gpu_s"].to_list() == [592.0, 1931820.0]
    assert found["node_gpus"].to_list() == [[8.0], [8.0, 2.0]]


def test_phillys_gaps_are_unknown_and_counted(tmp_path: Path) -> None:
    log = philly_log(
        tmp_path / "log.json",
        philly_job("never", status="Killed"),
        philly_job("lost", philly_run("None", None, m1=1), RUN, status="Failed"),
        philly_job("runs", philly_run("2017-10-07 02:00:00", None, m1=1)),
        philly_job(
            "back", philly_run("2017-10-07 02:00:00", "2017-10-07 01:00:00", m1=1), submitted="2017-10-08 00:00:00"
        ),
    )
    trace = read_trace(log)
    rows = trace.attempts.select("job", "outcome", "start_ns", "end_ns", "gpus")
    assert rows["outcome"].to_list() == ["killed", "failed", "failed", "running", "passed"]
    assert rows.row(0) == ("never", "killed", None, None, None)
    assert rows.row(1)[2:4] == (None, None)
    assert with_durations(trace.attempts)["runtime_s"].to_list() == [None, None, 74.0, None, None]
    assert {(oddity.count, oddity.what.split(";")[0].split(":")[0], oddity.first) for oddity in trace.oddities} == {
        (2, "attempts are over and have no start", "job never, attempt 1"),
        (1, "attempts end before they start", "job back, attempt 1"),
        (1, "attempts start before they were submitted", "job back, attempt 1"),
    }


def test_the_hour_that_the_clock_shows_twice_costs_no_run_its_time(tmp_path: Path) -> None:
    # At 02:00 PDT on 5 November 2017 the clock went back to 01:00 PST.
    run = philly_run("2017-11-05 01:50:00", "2017-11-05 01:10:00", m1=1)
    over = philly_run("2017-11-05 00:30:00", "2017-11-05 03:00:00", m1=1)
    trace = read_trace(philly_log(tmp_path / "log", philly_job("a", run), philly_job("b", over)))
    assert with_durations(trace.attempts)["runtime_s"].to_list() == [1200.0, 12600.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"status": "Done"}, "job 2 (j2), field status: 'Done'; Pass, Killed or Failed is wanted"),
        ({"jobid": " "}, "job 2, field jobid: nothing; a name is wanted"),
        ({"attempts": [RUN, RUN | {"detail": [{"ip": 7}]}]}, "job 2: Expected `str`, got `int` - at `$.attempts[1]."),
        ({"attempts": [RUN | {"end_time": "7 Oct"}]}, "job 2 (j2), attempt 1, field end_time: '7 Oct'; a time such as"),
        ({"submitted_time": "2017-03-12 02:30:00"}, "field submitted_time: '2017-03-12 02:30:00'"),
    ],
)  # fmt: skip
def test_a_job_that_cannot_be_used_is_named_with_its_field(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    log = philly_log(tmp_path / "log", philly_job("j1", RUN), philly_job("j2", RUN) | change)
    with pytest.raises(DataError) as refused:
        read_trace(log)
    assert said in str(refused.value)
    assert str(refused.value).startswith(str(log))


def test_acmes_jobs_come_in_with_the_times_themselves(tmp_path: Path) -> None:
    path = table(
        tmp_path / "trace_kalos.csv",
        KALOS,
        "dlc1,uf794,8,64,960,1000,100.0,Other,FAILED,2023-05-17 11:00:58+00:00,2023-05-17 11:01:08+00:00,"
        "2023-05-17 11:01:16+00:00,2023-05-17 11:01:16+00:00,,18,10.0,1152.0",
        "dlc2,uf794,8,64,960,1000,100.0,Pretrain,NODE_FAIL,2023-05-17 19:28:42+08:00,2023-05-17 11:28:54+00:00,"
        "2023-05-17 11:30:04+00:00,,2023-05-17 11:30:04+00:00,82,12.0,5248.0",
        "dlc3,uf1,1,0,96,100,,Other,RUNNING,2023-05-17 12:00:00+00:00,2023-05-17 12:00:00+00:00,,,,,0.0,",
    )
    trace = read_trace(path)
    found = with_durations(trace.attempts)
    assert found["runtime_s"].to_list() == [8.0, 70.0, None]  # the column duration says 18, which began with submission
    assert found["queued_s"].to_list() == [10.0, 12.0, 0.0]
    assert found["outcome"].to_list() == ["failed", "node_failure", "running"]
    assert found.select("gpus", "node_count", "queue", "user").row(1) == (64.0, 8, "Pretrain", "uf794")
    assert found["nodes"].to_list() == [[], [], []]


def test_a_cell_of_acme_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    times = "2023-03-01 00:18:22+08:00,2023-03-01 00:18:54+08:00,2023-03-01 00:20:51+08:00"
    row = f"1,u,1,8,128,Other,FAILED,{times},117,32,936.0"
    path = table(tmp_path / "trace_seren.csv", ACME, row, row.replace("FAILED", "EXPLODED"))
    with pytest.raises(
        DataError, match=r"trace_seren.csv, row 2 \(counted .*\), column state: 'EXPLODED'; one of COMPLETED"
    ):
        read_trace(path)
    path = table(path, ACME, row.replace(",8,", ",eight,"))
    with pytest.raises(DataError, match=r"row 1 .* column gpu_num: 'eight'; a number from 0 up to"):
        read_trace(path)
    path = table(path, ACME.replace("end_time", "ended"), row)
    with pytest.raises(DataError, match="has no column end_time; it has job_id, user"):
        read_trace(path)


def test_alibabas_tables_become_jobs_with_fractions_of_gpus(tmp_path: Path) -> None:
    trace = read_trace(pai(tmp_path))
    found = with_durations(trace.attempts)
    assert trace.form == "alibaba"
    assert found["gpus"].to_list() == [0.5, 2.0, 4.0]
    assert found["queue"].to_list() == ["MISC", "V100", "T4"]
    assert found["outcome"].to_list() == ["passed", "failed", "running"]
    assert found["runtime_s"].to_list() == [600.0, 500.0, None]
    assert found["queued_s"].to_list() == [100.0, 100.0, None]
    assert found["nodes"].to_list() == [["m1"], ["m1", "m2", "m4"], []]  # the server beside the workers has no GPU
    assert found["node_gpus"].to_list() == [[0.5], [1.0, 0.5, 0.5], []]  # a worker that moved held half the run each
    assert found["node_count"].to_list() == [1, 3, None]


def test_alibabas_jobs_start_with_their_task_where_instances_are_missing(tmp_path: Path) -> None:
    trace = read_trace(pai(tmp_path, instances=False) / "pai_job_table.csv")
    assert with_durations(trace.attempts)["queued_s"].to_list() == [40.0, 5.0, None]
    assert trace.attempts["nodes"].to_list() == [[], [], []]


def test_alibabas_tables_may_be_packed_and_have_their_header(tmp_path: Path) -> None:
    plain = read_trace(pai(tmp_path)).attempts
    for path in tmp_path.glob("*.csv"):
        head = b"job_name,inst_id,user,status,start_time,end_time\n" if "job" in path.name else b""
        (tmp_path / f"{path.name}.gz").write_bytes(gzip.compress(head + path.read_bytes()))
        path.unlink()
    assert read_trace(tmp_path).attempts.equals(plain)


def test_a_table_of_alibaba_that_is_missing_or_wrong_is_named(tmp_path: Path) -> None:
    pai(tmp_path)
    table(tmp_path / "pai_task_table.csv", "j1,t,1.0,Terminated,1.0,2.0,600.0,29.3,half,MISC")
    with pytest.raises(DataError, match=r"pai_task_table\.csv, row 1 .* column plan_gpu: 'half'"):
        read_trace(tmp_path)
    (tmp_path / "pai_task_table.csv").unlink()
    with pytest.raises(DataError, match=r"has no pai_task_table\.csv; wanted are"):
        read_trace(tmp_path)


def test_attempts_of_ones_own_come_back_from_csv_and_json(tmp_path: Path) -> None:
    given = [
        Attempt(
            "j", 1, "u", "q", ("n1", "n2"), 16.0, 0, 10**9, 5 * 10**9, "node_failure", "gpu_ecc", "infrastructure", "x"
        ),
        Attempt("k", 1, "", "", (), 0.5, 7, None, None, "running"),
    ]
    fields = [name for name in Attempt.__slots__ if name != "nodes"]
    lines = [",".join([*fields, "nodes"])] + [
        ",".join(["" if (v := getattr(a, name)) is None else str(v) for name in fields] + [";".join(a.nodes)])
        for a in given
    ]
    frame = read_trace(table(tmp_path / "mine.csv", *lines)).attempts
    assert attempts_of(frame) == given
    assert frame.equals(frame_of(given))
    import msgspec

    (tmp_path / "mine.jsonl").write_bytes(b"\n".join(msgspec.json.encode(one) for one in given))
    assert attempts_of(read_trace(tmp_path / "mine.jsonl").attempts) == given
    assert dict(frame.schema) == {name: kind() if isinstance(kind, type) else kind for name, kind in ATTEMPTS.items()}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"job": "j", "outcome": "fine"}', "object 1: Invalid enum value 'fine' - at `$.outcome`"),
        ('{"job": "j", "outcome": "failed", "gpu": 1}', "object 1: Object contains unknown field `gpu`"),
        ('{"job": "j", "outcome": "failed", "gpus": -1}', "Expected `float` >= 0.0 - at `$.gpus`"),
    ],
)
def test_an_object_of_ones_own_that_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    with pytest.raises(DataError) as refused:
        read_trace(tmp_path / "mine.json")
    assert said in str(refused.value)


def test_times_of_ones_own_may_be_texts(tmp_path: Path) -> None:
    path = table(
        tmp_path / "m.csv", "job,outcome,start,end", "j,failed,2026-01-01T00:00:00Z,2026-01-01 01:00:05.5+01:00"
    )
    assert with_durations(read_trace(path).attempts)["runtime_s"].to_list() == [5.5]


def test_the_form_is_found_out_or_said_to_be_unknown(tmp_path: Path) -> None:
    folder = tmp_path / "pai"
    folder.mkdir()
    assert detected(pai(folder)) == ("alibaba", folder)
    assert detected(folder / "pai_task_table.csv") == ("alibaba", folder)
    log = philly_log(tmp_path / "cluster_job_log", philly_job("j", RUN))
    assert detected(tmp_path) == detected(log) == ("philly", log)
    log.unlink()
    with pytest.raises(DataError, match="holds pai; wanted are Philly's cluster_job_log"):
        detected(tmp_path)
    for text, said in (
        ("hello world\n1\n", "begins with 'hello world'"),
        ('[{"a": 1}]', "its first object is"),
        ("", "'nothing'"),
    ):
        (tmp_path / "x.txt").write_text(text)
        with pytest.raises(DataError) as refused:
            detected(tmp_path / "x.txt")
        assert said in str(refused.value)
    (tmp_path / "x.txt").write_text("[]")
    with pytest.raises(DataError, match="holds no jobs"):
        read_trace(tmp_path / "x.txt", "philly")


def test_phillys_samples_belong_to_who_held_the_gpu_then(tmp_path: Path) -> None:
    philly_log(
        tmp_path / "cluster_job_log",
        philly_job("a", philly_run("2017-10-03 00:00:00", "2017-10-03 00:02:00", m1=2)),
        philly_job("b", philly_run("2017-10-03 00:02:00", "2017-10-03 00:04:00", m1=1, m2=1)),
        philly_job("c", philly_run("2017-10-03 00:00:00", "2017-10-03 00:04:00", m3=1)),
    )
    table(
        tmp_path / "cluster_gpu_util",
        "time,machineId," + ",".join(f"gpu{number}_util" for number in range(8)),
        "2017-10-03 00:00:00 PDT,m1,10.0,30.0,99.0,99.0,99.0,99.0,99.0,99.0,",
        "2017-10-03 00:01:00 PDT,m1,20.0,NA,99.0,99.0,99.0,99.0,99.0,99.0,",
        "2017-10-03 00:02:00 PDT,m1,80.0,99.0,",
        "2017-10-03 00:03:00 PDT,m2,60.0,99.0,",
        "2017-10-03 00:04:00 PDT,m1,99.0,99.0,",
        "2017-10-03 00:01:00 PDT,m9,99.0,99.0,",
    )
    busy = read_trace(tmp_path, utilisation=True).attempts["busy"].to_list()
    assert busy == [pytest.approx(0.2), pytest.approx(0.7), None]
    (tmp_path / "cluster_gpu_util").unlink()
    with pytest.raises(DataError, match="has no cluster_gpu_util"):
        read_trace(tmp_path, utilisation=True)


def test_alibabas_sensors_are_held_against_what_was_asked_for(tmp_path: Path) -> None:
    busy = read_trace(pai(tmp_path, sensors=True), utilisation=True).attempts["busy"].to_list()
    assert busy == [pytest.approx(0.32), pytest.approx(0.6), None]


def test_a_trace_without_utilisation_says_so(tmp_path: Path) -> None:
    path = table(tmp_path / "m.csv", "job,outcome", "j,failed")
    with pytest.raises(DataError, match="of the form attempts does not tell how busy"):
        read_trace(path, utilisation=True)


def test_attempts_without_any_time_are_no_attempts_to_learn_from() -> None:
    frame = frame_of([Attempt("j", 1, "", "", (), 1.0, 0, None, None, "killed")]).with_columns(
        submitted_ns=pl.lit(None, dtype=pl.Int64)
    )
    with pytest.raises(DataError, match="1 attempts have neither a time of submission nor a start, the first of job j"):
        attempts_of(frame)


def test_times_of_philly_beyond_what_nanoseconds_count_are_refused(tmp_path: Path) -> None:
    path = philly_log(
        tmp_path / "cluster_job_log", philly_job("j", philly_run("2017-10-07 01:12:09", "9999-12-31 00:00:00", m=1))
    )
    with pytest.raises(DataError, match="field end_time: '9999-12-31 00:00:00'"):
        read_trace(path)
