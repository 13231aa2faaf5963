"""`tailwatch query` against a stand-in API: what it asks, what it prints, how it fails."""

import json
import shlex

import pytest

from tailwatch.cli import main
from tailwatch.commands.query import number_text
from tests.tailwatch.stand_in import StandIn

COVERAGE = {
    "ratio": 0.875,
    "agents_reported": 1,
    "agents_expected": 2,
    "records_known": 8,
    "records_merged": 7,
    "interrupted": False,
}
HEAD = {
    "metric": "m_us",
    "query": "m",
    "function": "sketch",
    "unit": "us",
    "by": ["host"],
    "start": "2026-11-22T07:00:00Z",
    "end": "2026-11-22T07:01:00Z",
    "step_ns": None,
    "coverage": COVERAGE,
}
GROUP = {
    "labels": {"host": "a"},
    "start": "2026-11-22T07:00:00Z",
    "values": [{"q": 0.5, "value": 79.25}, {"q": 0.999, "value": 123456.7}],
    "error_bound": 0.005415,
    "count": 60000,
    "min": 1.0,
    "max": "Infinity",
}


def test_the_question_is_passed_on_as_it_was_asked(api: StandIn) -> None:
    api.put("/api/v1/quantiles", {**HEAD, "groups": [GROUP]})
    words = shlex.split("m_us -q 0.5 -q 0.999 --by host --by rack --where dc:x:1 --start -5m --end now --step 10s")
    assert main(["query", *words, "--url", api.url + "/"]) == 0
    assert api.asked == [
        (
            "/api/v1/quantiles",
            [
                ("metric", "m_us"),
                ("by", "host"),
                ("by", "rack"),
                ("where", "dc:x:1"),
                ("start", "-5m"),
                ("end", "now"),
                ("step", "10s"),
                ("q", "0.5,0.999"),
            ],
        )
    ]


def test_the_table_shows_values_and_how_far_to_trust_them(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/quantiles", {**HEAD, "groups": [GROUP, {**GROUP, "labels": {"host": "longer"}, "count": 7}]})
    assert main(["query", "m_us", "--url", api.url]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "m_us in us, 2026-11-22T07:00:00Z to 2026-11-22T07:01:00Z",
        "",
        "host      p50    p99.9   count  min       max",
        "a       79.25  123,457  60,000    1  Infinity",
        "longer  79.25  123,457       7    1  Infinity",
        "",
        "values within 0.54 % of the exact ones, coverage 87.5 %, 1 of 2 agents",
    ]


def test_steps_have_a_column_of_their_own(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/quantiles", {**HEAD, "by": [], "step_ns": 10, "groups": [{**GROUP, "labels": {}}]})
    assert main(["query", "m_us", "--url", api.url]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["start", "p50", "p99.9", "count", "min", "max"]


def test_json_is_the_apis_own_answer(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {**HEAD, "groups": [GROUP]}
    api.put("/api/v1/quantiles", answer)
    assert main(["query", "m_us", "--output", "json", "--url", api.url]) == 0
    assert json.loads(capsys.readouterr().out) == answer


def test_csv_is_the_apis_own_answer(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/quantiles", b"host,value\r\n\xc3\xa4,1\r\n")
    api.media_type = "text/csv; charset=utf-8"
    assert main(["query", "m_us", "--where", "host=~a|b", "--output", "csv", "--url", api.url]) == 0
    assert capsys.readouterr().out == "host,value\r\nä,1\r\n"
    assert api.asked[0][1] == [
        ("metric", "m_us"), ("where", "host=~a|b"), ("start", "-5m"), ("q", "0.5,0.9,0.99"), ("format", "csv")
    ]  # fmt: skip


def test_what_is_no_csv_is_recognised(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/quantiles", b"<html>")
    assert main(["query", "m_us", "--output", "csv", "--url", api.url]) == 1
    assert "no CSV" in capsys.readouterr().err


def test_no_data_is_said_in_words(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/quantiles", {**HEAD, "groups": []})
    assert main(["query", "m_us", "--url", api.url]) == 0
    assert capsys.readouterr().out.startswith("no data for m_us from 2026")


def test_a_metric_that_is_no_sketch_is_asked_for_its_value(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/quantiles", {"type": "urn:tailwatch:problem:wrong-kind-of-metric", "detail": "a count"}, 400)
    api.put("/api/v1/values", {**HEAD, "groups": [{"labels": {"host": "a"}, "value": 12345}]})
    assert main(["query", "n_total", "--url", api.url]) == 0
    assert capsys.readouterr().out.splitlines()[2:4] == ["host   value", "a     12,345"]
    assert main(["query", "n_total", "-q", "0.5", "--url", api.url]) == 1
    assert capsys.readouterr().err == "error: a count\n"


def test_a_metric_that_keeps_lines_is_asked_for_them_and_none_steers_the_terminal(
    api: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    problem = {"type": "urn:tailwatch:problem:wrong-kind-of-metric", "detail": "a first_lines"}
    api.put("/api/v1/quantiles", problem | {"instead": "/api/v1/lines?metric=app_error_lines"}, 400)
    line = {"time": "2026-11-22T07:00:01Z", "time_ns": 1, "place": 0, "text": "error \x1b[31mred"}
    group = {"labels": {"host": "a"}, "start": HEAD["start"], "lines": [line], "lines_seen": 1_200}
    api.put("/api/v1/lines", {**HEAD, "metric": "app_error_lines", "groups": [group]})
    assert main(["query", "app_error_lines", "--by", "host", "--url", api.url]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "app_error_lines, 2026-11-22T07:00:00Z to 2026-11-22T07:01:00Z"
    assert printed[2:4] == ["host=a: 1 of 1,200 lines", r"  2026-11-22T07:00:01Z  error \x1b[31mred"]
    assert printed[-1] == "coverage 87.5 %, 1 of 2 agents"
    api.put("/api/v1/lines", {**HEAD, "step_ns": 10, "groups": [group | {"labels": {}}]})
    assert main(["query", "app_error_lines", "--url", api.url]) == 0
    assert capsys.readouterr().out.splitlines()[2] == "1 of 1,200 lines from 2026-11-22T07:00:00Z"


def test_a_refusal_is_one_readable_message(api: StandIn, capsys: pytest.CaptureFixture[str]) -> None:
    api.put("/api/v1/quantiles", {"detail": "unknown metric 'm_u'", "nearest": "m_us", "status": 404}, 404)
    assert main(["query", "m_u", "--url", api.url]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: unknown metric 'm_u'; did you mean m_us?\n"


def test_the_key_of_the_environment_is_shown_and_its_absence_explained(
    api: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    api.put("/api/v1/quantiles", {**HEAD, "groups": []})
    monkeypatch.setenv("TAILWATCH_API_KEY", "tw_abc_def\n")
    assert main(["query", "m_us", "--url", api.url]) == 0
    monkeypatch.delenv("TAILWATCH_API_KEY")
    api.put("/api/v1/quantiles", {"detail": "this API wants a key", "status": 401}, 401)
    assert main(["query", "m_us", "--url", api.url]) == 1
    assert api.keys == ["Bearer tw_abc_def", None]
    assert capsys.readouterr().err == "error: this API wants a key; `tailwatch` sends the one in $TAILWATCH_API_KEY\n"


def test_a_key_does_not_follow_a_redirect(api: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILWATCH_API_KEY", "tw_abc_def")
    api.put("/api/v1/quantiles", f"{api.url}/elsewhere".encode(), 302)
    api.put("/elsewhere", {**HEAD, "groups": []})
    assert main(["query", "m_us", "--url", api.url]) == 0
    assert api.keys == ["Bearer tw_abc_def", None]


@pytest.mark.parametrize("key", ["tw_abc\ntw_def", "tw_ä"])
def test_what_cannot_be_a_key_is_refused_without_being_repeated(
    api: StandIn, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("TAILWATCH_API_KEY", key)
    assert main(["query", "m_us", "--url", api.url]) == 1
    said = capsys.readouterr().err
    assert "TAILWATCH_API_KEY holds more than an API key" in said
    assert key[:4] not in said.replace("tw_ and", "")
    assert api.asked == []


@pytest.mark.parametrize(("content", "status"), [(b"<html>", 200), (b"[1]", 200), (b"<html>", 502), (b"[1]", 404)])
def test_another_program_at_the_address_is_recognised(
    api: StandIn, capsys: pytest.CaptureFixture[str], content: bytes, status: int
) -> None:
    api.put("/api/v1/quantiles", content, status)
    assert main(["query", "m", "--url", api.url]) == 1
    assert "not as a Tailwatch API does" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:8080", "ftp://x", "http://"])
def test_an_unreachable_api_is_named_with_what_to_do(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", "m", "--url", url]) == 1
    error = capsys.readouterr().err
    assert url in error
    assert "--url" in error or "http://HOST:PORT" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0, "0"),
        (12345, "12,345"),
        (0.000123456, "0.0001235"),
        (99999.6, "100,000"),
        ("-Infinity", "-Infinity"),
    ],
)
def test_numbers_show_the_digits_that_mean_something(value: float | str | None, text: str) -> None:
    assert number_text(value) == text
