"""Attempts of one's own, in every form that they may have."""

import json
from pathlib import Path

import pytest

from analytics.errors import DataError
from analytics.gpu.attempts import Attempt
from analytics.gpu.traces.columns import attempts_of
from analytics.gpu.traces.formats import read_trace

ROW = {"job": "j", "number": 1, "submitted": "2026-01-01T00:00:00Z", "outcome": "failed"}
HEADER = "job,number,submitted,outcome,start,end,nodes,gpus,reason,template"
FIRST_NS = 1767225600 * 10**9


def read(folder: Path, text: str) -> list[Attempt]:
    path = folder / "attempts"
    path.write_text(text, encoding="utf-8")
    return attempts_of(read_trace(path).attempts)


def test_json_lists_objects_and_lines_say_the_same(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "number": 2, "gpus": 0.5, "nodes": ["a", "b", "a"], "user": None}]
    forms = [json.dumps(rows), json.dumps({"attempts": rows}), "\n".join(json.dumps(row) for row in rows) + "\n\n"]
    found = [read(tmp_path, form) for form in forms]
    assert found[0] == found[1] == found[2]
    assert [(each.number, each.nodes, each.gpus) for each in found[0]] == [(1, (), 0.0), (2, ("a", "b"), 0.5)]


def test_csv_says_the_same_as_json(tmp_path: Path) -> None:
    text = f"{HEADER}\nj,1,2026-01-01T00:00:00Z,failed,{FIRST_NS},2026-01-01T01:00:00+00:00,a;b c;a,8,gpu_ecc,x y\n"
    (found,) = read(tmp_path, text)
    assert (found.job, found.number, found.nodes, found.gpus) == ("j", 1, ("a", "b", "c"), 8.0)
    assert found.runtime_s() == 3600
    assert (found.reason, found.template, found.user) == ("gpu_ecc", "x y", "")
    row = {**ROW, "start": FIRST_NS, "end": "2026-01-01 02:00:00+01:00", "nodes": "a;b c;a", "gpus": 8}
    assert read(tmp_path, json.dumps({**row, "reason": "gpu_ecc", "template": "x y"})) == [found]


def test_times_have_the_names_that_the_api_gives_them_and_their_older_ones_but_not_both(tmp_path: Path) -> None:
    times = FIRST_NS, "2026-01-01T01:00:00+00:00"
    (older,) = read(tmp_path, json.dumps({**ROW, "start": times[0], "end": times[1]}))
    assert older.runtime_s() == 3600
    assert read(tmp_path, json.dumps({**ROW, "started": times[0], "ended": times[1]})) == [older]
    header = "job,submitted,outcome,started"
    values = f"j,2026-01-01T00:00:00Z,failed,{times[0]}"
    assert read(tmp_path, f"{header},ended\n{values},{times[1]}\n") == [older]
    for text in (f"{header},start\n{values},{times[0]}\n", json.dumps({**ROW, "started": times[0], "start": times[0]})):
        with pytest.raises(DataError, match=r"started and start are the same time; leave one of them out"):
            read(tmp_path, text)


def test_exit_codes_and_signals_come_in_where_they_are_told(tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    texts = (
        json.dumps([{**ROW, "exit_code": 137, "signal": 9}, ROW]),
        "job,submitted,outcome,exit_code,signal\nj,2026-01-01T00:00:00Z,failed,137,9\nj,2026-01-01T00:00:00Z,failed,,\n",
    )
    for text in texts:
        path.write_text(text, encoding="utf-8")
        found = read_trace(path).attempts
        assert (found["exit_code"].to_list(), found["signal"].to_list()) == ([137, None], [9, None])


def test_slurms_numeric_job_ids_are_texts(tmp_path: Path) -> None:
    assert read(tmp_path, json.dumps([{**ROW, "job": 4711}]))[0].job == "4711"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outcome": "exploded"}, "Invalid enum value 'exploded'"),
        ({"number": 0}, "Expected `int` >= 1"),
        ({"number": True}, "$.number"),
        ({"gpus": -1}, "$.gpus"),
        ({"gpus": float("nan")}, "object 2"),
        ({"submitted": 1767225600}, "row 2 (counted from 1, a header aside), column submitted: '1767225600'"),
        ({"submitted": "yesterday"}, "column submitted: 'yesterday'; a time with its offset"),
        ({"end": "2026-01-01T00:00:00"}, "column end: '2026-01-01T00:00:00'"),
        ({"nodes": [1]}, "$.nodes"),
        ({"exit_code": -1}, "$.exit_code"),
        ({"job": ""}, "$.job"),
        ({"reason": 3}, "$.reason"),
        ({"resaon": "x"}, "unknown field `resaon`"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place(change: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError) as found:
        read(tmp_path, json.dumps([ROW, {**ROW, **change}]))
    assert said in str(found.value)


@pytest.mark.parametrize("number", ["0", "1.5", "3000000000", "1e300"])
def test_a_number_that_no_attempt_has_is_refused_in_csv_too(number: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"row 1 .*column number"):
        read(tmp_path, f"job,outcome,number\nj,failed,{number}\n")


@pytest.mark.parametrize(
    "text", ["{", "", '{"job": "j", "outcome": "failed"}\nnonsense', "3", "[3]", "[" * 9_000, "[]"]
)
def test_texts_of_no_known_form_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="attempts"):
        read(tmp_path, text)


@pytest.mark.parametrize("gpus", ["1e308", "2000000"])
def test_more_gpus_than_any_job_has_are_refused_in_csv_and_json(gpus: str, tmp_path: Path) -> None:
    # Such a number times a run time is infinite, which JSON cannot say.
    for text in (f"job,outcome,gpus\nj,failed,{gpus}\n", f'{{"job": "j", "outcome": "failed", "gpus": {gpus}}}'):
        with pytest.raises(DataError, match="gpus"):
            read(tmp_path, text)


@pytest.mark.parametrize("time", ["9999-12-31T00:00:00Z", "0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z"])
def test_times_beyond_what_nanoseconds_count_are_refused_and_not_wrapped(time: str, tmp_path: Path) -> None:
    for text in (f"job,outcome,submitted\nj,failed,{time}\n", json.dumps({**ROW, "submitted": time})):
        with pytest.raises(DataError, match=r"row 1 .*column submitted"):
            read(tmp_path, text)
