"""GET /api/v1/lines: kept lines against the records, and that nothing takes them for numbers."""

import csv
import io

import pytest

from api.answer_models import LinesAnswer
from api.config import ApiConfig
from api.list_models import MetricsPage
from api.routes import lines as lines_route
from pipeline.line_rule import FIRST, LAST
from store.connect import open_engine, upgrade
from tests.api.lines_world import add_lines, log_lines
from tests.api.world import END_NS, NOW_NS, SECOND_NS, asking
from tests.kept_lines import exactly

PATH = "/api/v1/lines"


def seen_by(rows, job):
    return [(ts, place, text) for ts, _, of, text, place in rows.iter_rows() if of == job]


@pytest.fixture(scope="module")
def logs(tmp_path_factory):
    """A database with those lines."""
    path = tmp_path_factory.mktemp("lines") / "tailwatch.db"
    upgrade(f"sqlite:///{path}")
    engine = open_engine(f"sqlite:///{path}")
    add_lines(engine)
    engine.dispose()
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def asked(logs):
    with asking(logs) as client:
        yield client


def answered(response):
    assert response.status_code == 200, response.text
    LinesAnswer.model_validate_json(response.content, strict=True)
    return response.json()


def shown(group):
    return [(line["time_ns"], line["place"], line["text"]) for line in group["lines"]]


@pytest.mark.parametrize(("metric", "rule"), [("job_first_lines", FIRST), ("job_last_lines", LAST)])
def test_the_lines_of_each_group_are_those_that_one_pass_keeps(asked, metric, rule):
    answer = answered(asked.over_the_minute(PATH, metric=metric, by="job"))
    assert (answer["function"], answer["unit"]) == (rule.function, "lines")
    assert answer["coverage"]["ratio"] == 1.0
    for group in answer["groups"]:
        lines = seen_by(log_lines(), group["labels"]["job"])
        if metric == "job_first_lines":
            lines = [line for line in lines if "fine" not in line[2]]
        assert shown(group) == exactly(lines, rule)
        assert (group["lines_seen"], group["bytes_seen"]) == (len(lines), sum(len(t.encode()) for *_, t in lines))
        assert group["all_kept"] == (len(group["lines"]) == len(lines))
    assert [group["all_kept"] for group in answer["groups"]] == ([True, False] if rule is FIRST else [False, False])


def test_steps_where_and_max_lines_pick_lines(asked):
    answer = answered(
        asked.over_the_minute(PATH, metric="job_last_lines", where="job=job-1", step="20s", max_lines="2")
    )
    rows = seen_by(log_lines(), "job-1")
    for group in answer["groups"]:
        inside = [line for line in rows if group["start_ns"] <= line[0] < group["end_ns"]]
        assert shown(group) == inside[-2:]
        assert not group["all_kept"]
    assert len(answer["groups"]) == 3
    (first,) = answered(asked.over_the_minute(PATH, metric="job_first_lines", where="job=job-1", max_lines="3"))[
        "groups"
    ]
    assert shown(first) == [line for line in rows if "fine" not in line[2]][:3]
    assert first["lines"][0]["time"].startswith("2026-11-22T07:00:00")


def test_csv_has_a_row_per_line_and_no_spreadsheet_takes_one_for_a_formula(asked):
    asking_for = {"metric": "job_first_lines", "by": "job", "max_lines": "4"}
    response = asked.over_the_minute(PATH, **asking_for, format="csv")
    header, *rows = csv.reader(io.StringIO(response.text, newline=""), strict=True)
    assert header == ["job", *lines_route.COLUMNS]
    group = answered(asked.over_the_minute(PATH, **asking_for))["groups"][1]
    assert [row[5].removeprefix("'") for row in rows] == [line["text"] for line in group["lines"]]
    assert next(row[5] for row in rows if "1+1" in row[5]).startswith("'=1+1")
    assert {(row[6], row[7]) for row in rows} == {(str(group["lines_seen"]), str(group["bytes_seen"]))}


def test_an_answer_that_no_window_has_anything_for_has_no_groups(asked):
    assert answered(asked.get(PATH, metric="job_first_lines", start="0", end="60"))["groups"] == []
    assert asked.get(PATH, metric="job_first_lines", start="0", end="60", format="csv").text.count("\n") == 1


def test_the_same_question_is_answered_from_before_and_keeps_its_tag(asked):
    first, again = (asked.over_the_minute(PATH, metric="job_first_lines", by="job") for _ in range(2))
    other = asked.over_the_minute(PATH, metric="job_first_lines", by="job", max_lines="1")
    assert first.content == again.content != other.content
    assert first.headers["etag"] == again.headers["etag"] != other.headers["etag"]


def test_answers_too_large_are_refused_with_a_way_out(logs, asked, monkeypatch):
    assert asked.over_the_minute(PATH, metric="job_first_lines", max_lines="0").status_code == 400
    with asking(logs, ApiConfig(max_text_bytes=2_000)) as client:
        refused = client.over_the_minute(PATH, metric="job_last_lines", by="job")
        assert refused.status_code == 400
        assert "max_lines" in refused.json()["detail"]
        assert client.over_the_minute(PATH, metric="job_last_lines", by="job", max_lines="2").status_code == 200
    monkeypatch.setattr(lines_route, "MOST_GROUPS", 3)
    refused = asked.over_the_minute(PATH, metric="job_last_lines", by="job", step="10s")
    assert refused.status_code == 400
    assert "at most 3" in refused.json()["detail"]


def test_each_kind_of_metric_is_sent_to_its_own_route(asked):
    for metric, own in (
        ("job_first_lines", PATH),
        ("job_lines_total", "/api/v1/values"),
        ("place_bytes", "/api/v1/quantiles"),
    ):
        for path in (PATH, "/api/v1/values", "/api/v1/quantiles"):
            response = asked.over_the_minute(path, metric=metric)
            if path == own:
                assert response.status_code == 200
            else:
                assert response.json()["instead"] == f"{own}?metric={metric}"
    page = asked.get("/api/v1/metrics")
    MetricsPage.model_validate_json(page.content, strict=True)
    hrefs = {metric["name"]: metric["href"] for metric in page.json()["metrics"]}
    assert hrefs["job_last_lines"] == f"{PATH}?metric=job_last_lines"
    series = asked.over_the_minute("/api/v1/series", metric="job_last_lines").json()["series"]
    assert [one["labels"]["job"] for one in series] == ["job-0", "job-1"]


def test_prometheus_leaves_lines_out_and_refuses_one_that_is_named(asked):
    v1, now = "/prometheus/api/v1", str(NOW_NS // SECOND_NS)
    for text in ("job_first_lines", "rate(job_last_lines[1m])", '{__name__="job_first_lines"}'):
        response = asked.get(f"{v1}/query", query=text, time=now)
        assert response.status_code == 422
        assert "/api/v1/lines?metric=job_" in response.json()["error"]
    found = asked.get(f"{v1}/query", query='{__name__=~"job.*",job="job-0"}', time=str(END_NS // SECOND_NS)).json()
    assert [one["metric"]["__name__"] for one in found["data"]["result"]] == ["job_lines_total"]
    names = asked.get(f"{v1}/label/__name__/values").json()["data"]
    assert names == ["job_lines_total", "place_bytes"]
    assert sorted(asked.get(f"{v1}/metadata").json()["data"]) == names
    text = asked.get("/prometheus/federate", **{"match[]": ['{__name__=~".*lines.*"}', "job_first_lines"]}).text
    assert "job_lines_total" in text
    assert "job_first_lines" not in text
