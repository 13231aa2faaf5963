"""Answers as CSV: the same numbers as JSON, readable by any CSV reader, harmless in a spreadsheet."""

import csv
import io

import polars as pl
import pytest

from api.csv_answers import guarded
from tests.api.world import BEGIN_NS, END_NS, SECOND_NS, asking, fill, probe_records

RANGE = {"start": str(BEGIN_NS // SECOND_NS), "end": str(END_NS // SECOND_NS)}


def rows_of(response):
    """Header and rows; every line ends as RFC 4180 has it, and every row is as long as the header."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/csv; charset=utf-8; header=present"
    assert response.headers["vary"].split(", ")[0] == "Accept"
    header, *rows = csv.reader(io.StringIO(response.text, newline=""), strict=True)
    assert response.text.count("\r\n") == len(rows) + 1
    assert {len(row) for row in rows} <= {len(header)}
    return header, rows


def test_quantiles_have_one_row_per_group_step_and_level(client):
    asked = {"metric": "probe_rtt_us", "q": "0.5,0.99", "by": ["tor", "host"], "step": "20s"}
    answer = client.over_the_minute("/api/v1/quantiles", **asked).json()
    header, rows = rows_of(client.over_the_minute("/api/v1/quantiles", **asked, format="csv"))
    assert header == ["tor", "host", "start", "end", "q", "value", "error_bound", "count", "nan_count", "min", "max",
                      "mean", "coverage", "sampled_share"]  # fmt: skip
    assert len(rows) == 6 * 3 * 2
    wanted = [
        [
            group["labels"]["tor"], group["labels"]["host"], group["start"], group["end"], str(value["q"]),
            *(str(number) for number in (
                value["value"], group["error_bound"], group["count"], group["nan_count"], group["min"],
                group["max"], group["mean"], group["coverage"]["ratio"],
                group["coverage"]["sampled_share"],
            )),
        ]
        for group in answer["groups"]
        for value in group["values"]
    ]  # fmt: skip
    assert rows == wanted


def test_values_have_one_row_per_group_and_step(client):
    asked = {"metric": "probe_rtt_mean_us", "by": "tor", "step": "20s"}
    answer = client.over_the_minute("/api/v1/values", **asked).json()
    header, rows = rows_of(client.over_the_minute("/api/v1/values", **asked, format="csv"))
    assert header == ["tor", "start", "end", "value", "count", "coverage", "sampled_share"]
    assert rows == [
        [g["labels"]["tor"], g["start"], g["end"], str(g["value"]), str(g["count"]), "1.0", "1.0"]
        for g in answer["groups"]
    ]


def test_what_json_has_no_word_for_is_a_word_or_an_empty_field(client):
    _, rows = rows_of(client.over_the_minute("/api/v1/quantiles", metric="odd_ratio", q="0,1", format="csv"))
    assert [row[3] for row in rows] == ["-Infinity", "Infinity"]
    assert {row[9] for row in rows} == {""}
    _, rows = rows_of(client.over_the_minute("/api/v1/values", metric="odd_sum_ratio", format="csv"))
    assert rows[0][2:4] == ["", ""]


def test_sums_keep_every_digit(tmp_path):
    records = probe_records(n=6).with_columns(rtt_us=2**62 + 1)
    with asking(fill(tmp_path / "large.db", records).url) as client:
        _, rows = rows_of(client.over_the_minute("/api/v1/values", metric="probe_rtt_sum_us", format="csv"))
    assert rows[0][2] == str(6 * (2**62 + 1))


def test_no_data_is_a_header_alone(client):
    header, rows = rows_of(client.get("/api/v1/values", metric="probes_total", start="0", end="60", format="csv"))
    assert (header[0], rows) == ("start", [])


def test_label_values_survive_quoting_and_no_spreadsheet_takes_them_for_formulas(tmp_path):
    odd = ['=HYPERLINK("http://x")', "+1+1", "-2", "@SUM(A1)", "\tx", 'a "b", c', "two\r\nlines", "ä;Ω", "'x", ""]
    records = probe_records(n=60).with_columns(tor=pl.Series([odd[i % len(odd)] for i in range(60)]))
    with asking(fill(tmp_path / "odd.db", records).url) as client:
        response = client.over_the_minute("/api/v1/values", metric="probes_total", by="tor", format="csv")
        assert response.status_code == 200
        _, *rows = csv.reader(io.StringIO(response.text, newline=""), strict=True)
        plain = client.over_the_minute("/api/v1/values", metric="probes_total", by="tor").json()
    harmless = {
        '=HYPERLINK("http://x")': "'=HYPERLINK(\"http://x\")", "+1+1": "'+1+1", "@SUM(A1)": "'@SUM(A1)", "\tx": "'\tx"
    }  # fmt: skip
    assert [row[0] for row in rows] == [harmless.get(value, value) for value in sorted(odd)]
    assert [group["labels"]["tor"] for group in plain["groups"]] == sorted(odd)


@pytest.mark.parametrize(
    ("text", "shown"), [("-1.5e3", "-1.5e3"), ("-1-1", "'-1-1"), ("\n=1", "'\n=1"), ("a=1", "a=1")]
)
def test_numbers_need_no_guard(text, shown):
    assert guarded(text) == shown


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("text/csv", "text/csv"),
        ("text/csv, */*", "text/csv"),
        ("TEXT/CSV ; header=present", "text/csv"),
        ("application/json;q=0.5, text/csv;q=0.9", "text/csv"),
        ("text/*", "text/csv"),
        ("*/*", "application/json"),
        ("", "application/json"),
        ("text/csv;q=0.5, */*", "application/json"),
        ("text/csv, application/json", "application/json"),
        ("text/csv;q=0", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        (";;q=,,q=2;;", "application/json"),
    ],
)
def test_the_accept_header_chooses_and_format_overrides_it(client, accept, kind):
    for path, metric in (("/api/v1/quantiles", "probe_rtt_us"), ("/api/v1/values", "probes_total")):
        response = client.request("GET", path, params={"metric": metric}, headers={"Accept": accept})
        assert response.headers["content-type"].partition(";")[0] == kind
        for given, wanted in (("csv", "text/csv"), ("json", "application/json")):
            response = client.request(
                "GET", path, params={"metric": metric, "format": given}, headers={"Accept": accept}
            )
            assert response.headers["content-type"].partition(";")[0] == wanted


def test_another_format_is_refused(client):
    response = client.get("/api/v1/quantiles", metric="probe_rtt_us", format="xml")
    assert (response.status_code, response.json()["parameter"]) == (400, "format")


def test_json_and_csv_have_tags_of_their_own(client):
    asked = {"metric": "probe_rtt_us", **RANGE}
    tags = [client.get("/api/v1/quantiles", **asked, format=form).headers["etag"] for form in ("json", "csv")]
    assert tags[0] != tags[1]
    for form, tag, status in (("csv", tags[1], 304), ("csv", tags[0], 200), ("json", tags[1], 200)):
        response = client.request(
            "GET", "/api/v1/quantiles", params={**asked, "format": form}, headers={"If-None-Match": tag}
        )
        assert response.status_code == status


def test_a_label_named_as_a_column_gets_a_name_of_its_own(client):
    from api.csv_answers import csv_answer

    class Asked:
        class headers:  # noqa: N801
            getlist = staticmethod(lambda _: [])

    answer = csv_answer(Asked, ["host", "count"], ["start", "count"], [["a", "b", "t", 1]], 0)
    assert answer.body == b"host,label_count,start,count\r\na,b,t,1\r\n"
