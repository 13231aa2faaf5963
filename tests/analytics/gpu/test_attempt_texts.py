"""Attempts from JSON and CSV, strictly read."""

import json

import pytest

from analytics.errors import DataError
from analytics.gpu.attempt_texts import attempts_from_text

ROW = {"job": "j", "number": 1, "submitted": "2026-01-01T00:00:00Z", "outcome": "failed"}
HEADER = "job,number,submitted,outcome,start,end,nodes,gpus,reason,template"


def test_json_lists_objects_and_lines_say_the_same() -> None:
    rows = [ROW, {**ROW, "number": 2, "gpus": 0.5, "nodes": ["a", "b"], "user": None}]
    forms = [json.dumps(rows), json.dumps({"attempts": rows}), "\n".join(json.dumps(row) for row in rows) + "\n\n"]
    found = [attempts_from_text(form, "json") for form in forms]
    assert found[0] == found[1] == found[2]
    assert [each.number for each in found[0]] == [1, 2]
    assert found[0][1].nodes == ("a", "b")
    assert found[0][1].gpus == 0.5


def test_csv_says_the_same_as_json() -> None:
    text = (
        f"{HEADER}\nj,1,2026-01-01T00:00:00Z,failed,1767225600000000000,2026-01-01T01:00:00+00:00,a;b c,8,gpu_ecc,x y\n"
    )
    (found,) = attempts_from_text(text, "csv")
    assert (found.job, found.number, found.nodes, found.gpus) == ("j", 1, ("a", "b", "c"), 8.0)
    assert found.runtime_s() == 3600
    assert (found.reason, found.template, found.user) == ("gpu_ecc", "x y", "")


def test_times_without_an_offset_are_utc_and_numbers_are_nanoseconds() -> None:
    moments = ["2026-01-01T00:00:00", "2026-01-01T01:00:00+01:00", "2026-01-01 00:00:00Z", 1767225600000000000]
    found = [attempts_from_text(json.dumps([{**ROW, "submitted": moment}]), "json")[0] for moment in moments]
    assert {each.submitted_ns for each in found} == {1767225600000000000}


def test_slurms_numeric_job_ids_are_texts() -> None:
    assert attempts_from_text(json.dumps([{**ROW, "job": 4711}]), "json")[0].job == "4711"


def test_nothing_at_all_is_no_attempt() -> None:
    assert attempts_from_text("[]", "json") == []
    assert attempts_from_text(f"{HEADER}\n", "csv") == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"outcome": "exploded"}, "outcome 'exploded'; want one of passed"),
        ({"outcome": ["failed"]}, "outcome"),
        ({"number": 0}, "number is 0"),
        ({"number": 1.5}, "number is 1.5; want a whole number"),
        ({"number": True}, "number is True"),
        ({"number": "one"}, "number is 'one'"),
        ({"gpus": -1}, "gpus is -1"),
        ({"gpus": float("nan")}, "gpus is nan"),
        ({"gpus": 1e400}, "gpus is inf"),
        ({"submitted": 1767225600}, "submitted is 1767225600; want a time such as"),
        ({"submitted": "yesterday"}, "submitted is 'yesterday'"),
        ({"submitted": None}, "no 'submitted'"),
        ({"start": "2026-01-01T02:00:00Z", "end": "2026-01-01T01:00:00Z"}, "ends 3600 s before it starts"),
        ({"nodes": [1]}, "nodes is"),
        ({"job": ""}, "job is ''"),
        ({"reason": 3}, "reason is 3"),
        ({"resaon": "x"}, "unknown field 'resaon'"),
    ],
)
def test_a_wrong_value_is_refused_with_its_row_and_field(change: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match="attempt 2: ") as found:
        attempts_from_text(json.dumps([ROW, {**ROW, **change}]), "json")
    assert said in str(found.value)


@pytest.mark.parametrize(
    ("text", "form", "said"),
    [
        ("{", "json", "no JSON"),
        ("", "json", "no JSON"),
        ('{"job": "j"}\nnonsense', "json", "line 2 is no JSON"),
        ("3", "json", "JSON of a int"),
        ("[3]", "json", "attempt 1 is a int"),
        ("[" * 100_000, "json", "want a list of attempts"),
        ("job,number\nj,1\n", "csv", "no column 'submitted'"),
        ("", "csv", "no column 'job'"),
        (f"{HEADER},job\n", "csv", "a column twice"),
        (f"{HEADER}\nj,1\n", "csv", "attempt 1: not 10 cells"),
        (f"{HEADER}\nj,1,2,3,4,5,6,7,8,9,10\n", "csv", "attempt 1: not 10 cells"),
        (f'{HEADER}\n"j', "csv", "want CSV with a header"),
    ],
)
def test_texts_of_no_known_form_are_refused(text: str, form: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        attempts_from_text(text, form)  # type: ignore[arg-type]
