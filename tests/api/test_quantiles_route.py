"""GET /api/v1/quantiles against the records that went in."""

import math
import sqlite3

import numpy as np
import polars as pl
import pytest

from api.answer_models import QuantilesAnswer
from api.config import ApiConfig
from store.connect import open_engine
from tests.api.world import (
    BEGIN_NS,
    END_NS,
    SECOND_NS,
    WINDOW_NS,
    add,
    asking,
    fill,
    probe_records,
)
from tests.promptness import promptly

PATH = "/api/v1/quantiles"


def answered(response):
    """The answer, held against the model that OpenAPI shows."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "application/json"
    QuantilesAnswer.model_validate_json(response.content, strict=True)
    return response.json()


def nearest_rank(values, q):
    ordered = np.sort(np.asarray(values))
    return float(ordered[max(1, math.ceil(round(q * ordered.size, 9))) - 1])


def test_one_group_over_everything_matches_the_records(client, world):
    answer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", q="0,0.5,0.9,0.99,0.999,1"))
    rtt = world.records["rtt_us"].to_numpy()
    (group,) = answer["groups"]
    assert group["labels"] == {}
    assert group["error_bound"] == pytest.approx(0.005415, abs=1e-6)
    for entry in group["values"]:
        truth = nearest_rank(rtt, entry["q"])
        assert abs(entry["value"] - truth) <= group["error_bound"] * truth * (1 + 1e-9)
    assert group["values"][0]["value"] == group["min"] == rtt.min()
    assert group["values"][-1]["value"] == group["max"] == rtt.max()
    assert group["count"] == rtt.size
    assert group["mean"] == rtt.sum() / rtt.size
    assert answer["rule"] == "nearest-rank"
    assert (answer["unit"], answer["function"], answer["query"]) == ("us", "sketch", "probe_rtt")


def test_groups_by_label_are_merged_over_the_other_labels(client, world):
    answer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", q="0.99", by="tor"))
    assert [group["labels"] for group in answer["groups"]] == [{"tor": f"t:{i}, a"} for i in range(3)]
    for group in answer["groups"]:
        rtt = world.records.filter(tor=group["labels"]["tor"])["rtt_us"].to_numpy()
        truth = nearest_rank(rtt, 0.99)
        assert group["count"] == rtt.size
        assert abs(group["values"][0]["value"] - truth) <= group["error_bound"] * truth * (1 + 1e-9)


def test_where_keeps_only_series_with_that_value_colons_and_commas_included(client, world):
    answer = answered(
        client.over_the_minute(PATH, metric="probe_rtt_us", by="host", where=["tor:t:1, a", "host:host0"])
    )
    (group,) = answer["groups"]
    assert group["labels"] == {"host": "host0"}
    assert group["count"] == world.records.filter(tor="t:1, a", host="host0").height


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        (["tor=t:1, a"], pl.col("tor") == "t:1, a"),
        (["tor!=t:1, a"], pl.col("tor") != "t:1, a"),
        (["tor=~t:[01].*"], pl.col("tor").is_in(["t:0, a", "t:1, a"])),
        (["tor=~t:0"], pl.lit(False)),  # a whole value, not a part of it
        (["tor!~.*[02], a", "host!=host0"], (pl.col("tor") == "t:1, a") & (pl.col("host") == "host1")),
        (["tor!="], pl.lit(True)),
        (["tor:"], pl.lit(False)),
    ],
)
def test_where_compares_as_its_operator_says(client, world, where, kept):
    answer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", where=where))
    assert sum(group["count"] for group in answer["groups"]) == world.records.filter(kept).height


def test_a_regex_bomb_costs_no_time(client):
    with promptly(2):
        for bomb in ("(a+)+$" * 100, "(" * 400 + ")" * 400, "(.*)" * 200, "(?:(?:a{60}){60}){60}", "((t:1)*)*, a"):
            response = client.over_the_minute(PATH, metric="probe_rtt_us", where=f"tor=~{bomb}")
            assert response.status_code in (200, 400)


def test_where_without_a_match_is_an_empty_answer_with_coverage(client):
    answer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", where="tor:nowhere"))
    assert answer["groups"] == []
    assert answer["coverage"]["records_known"] == 6_000


def test_steps_cut_the_range_and_each_has_its_own_window(client, world):
    answer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", q="0.5", step="20s"))
    assert [(group["start_ns"], group["end_ns"]) for group in answer["groups"]] == [
        (BEGIN_NS + i * 20 * SECOND_NS, BEGIN_NS + (i + 1) * 20 * SECOND_NS) for i in range(3)
    ]
    assert sum(group["count"] for group in answer["groups"]) == world.records.height
    assert [group["coverage"]["records_known"] for group in answer["groups"]] == [2_000] * 3
    assert answer["step_ns"] == 20 * SECOND_NS


def test_a_step_is_rounded_up_to_whole_windows_and_the_answer_says_so(client):
    answer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", step="15s"))
    assert answer["step_ns"] == 2 * WINDOW_NS
    assert answered(client.over_the_minute(PATH, metric="probe_rtt_us", step="1s"))["step_ns"] == WINDOW_NS


def test_times_are_aligned_outwards_to_windows_and_shown_in_both_forms(client):
    answer = answered(
        client.get(PATH, metric="probe_rtt_us", start="2026-11-22T07:00:13.5Z", end="2026-11-22T07:00:21Z")
    )
    assert (answer["start"], answer["end"]) == ("2026-11-22T07:00:10Z", "2026-11-22T07:00:30Z")
    assert (answer["start_ns"], answer["end_ns"]) == (BEGIN_NS + WINDOW_NS, BEGIN_NS + 3 * WINDOW_NS)
    assert answer["groups"][0]["count"] == 2_000


def test_relative_times_count_from_now(client):
    answer = answered(client.get(PATH, metric="probe_rtt_us", start="-23s", end="now-13s"))
    assert (answer["start_ns"], answer["end_ns"]) == (END_NS - 2 * WINDOW_NS, END_NS - WINDOW_NS)
    assert answered(client.get(PATH, metric="probe_rtt_us"))["groups"][0]["count"] == 6_000


def test_an_empty_range_is_an_empty_answer(client):
    answer = answered(client.get(PATH, metric="probe_rtt_us", start="2020-01-01T00:00:00Z", end="2020-01-02T00:00:00Z"))
    assert answer["groups"] == []
    assert set(answer["coverage"]) >= {"ratio", "agents_reported", "agents_expected", "records_known"}


def test_complete_data_has_coverage_one(client):
    coverage = answered(client.over_the_minute(PATH, metric="probe_rtt_us"))["coverage"]
    assert coverage == {
        "ratio": 1.0,
        "agents_reported": 2,
        "agents_expected": 2,
        "records_known": 6_000,
        "records_merged": 6_000,
        "interrupted": False,
        "sampled_out": 0,
        "sampled_share": 1.0,
    }


def test_lost_records_lower_coverage(tmp_path):
    lossy = fill(tmp_path / "lossy.db", lost=100)
    with asking(lossy.url) as client:
        coverage = answered(client.over_the_minute(PATH, metric="probe_rtt_us"))["coverage"]
    assert (coverage["records_known"], coverage["records_merged"]) == (7_200, 6_000)
    assert coverage["ratio"] == pytest.approx(6_000 / 7_200)


def test_records_sampled_out_lower_coverage_and_are_named(tmp_path):
    sampled = fill(tmp_path / "sampled.db", sampled_out=100)
    with asking(sampled.url) as client:
        answer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", step="10s", by="host"))
    coverage = answer["coverage"]
    assert (coverage["records_known"], coverage["records_merged"]) == (7_200, 6_000)
    assert (coverage["sampled_out"], coverage["sampled_share"]) == (1_200, pytest.approx(6_000 / 7_200))
    assert coverage["ratio"] == pytest.approx(6_000 / 7_200)
    assert {group["coverage"]["sampled_out"] for group in answer["groups"]} == {200}


def test_nan_is_counted_apart_and_infinities_are_words_never_bare_json(client, world):
    response = client.over_the_minute(PATH, metric="odd_ratio", q="0,0.5,1")
    assert b"NaN" not in response.content
    assert b":Infinity" not in response.content
    (group,) = answered(response)["groups"]
    odd = world.records["odd"].drop_nulls()
    assert group["nan_count"] == odd.is_nan().sum()
    assert group["count"] == odd.is_not_nan().sum()
    assert (group["min"], group["max"], group["mean"]) == ("-Infinity", "Infinity", None)
    assert [value["value"] for value in group["values"]][::2] == ["-Infinity", "Infinity"]


def test_a_group_of_nothing_but_nan_has_null_values(tmp_path):
    records = probe_records(n=60).with_columns(odd=pl.lit(math.nan))
    with asking(fill(tmp_path / "nan.db", records).url) as client:
        (group,) = answered(client.over_the_minute(PATH, metric="odd_ratio", q="0.5"))["groups"]
    assert group["values"] == [{"q": 0.5, "value": None}]
    assert (group["count"], group["nan_count"], group["min"], group["mean"]) == (0, 60, None, None)


def test_the_entity_tag_gives_304_until_the_answer_changes(client, world):
    first = client.over_the_minute(PATH, metric="probe_rtt_us")
    tag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"
    range_of = {"start": BEGIN_NS // SECOND_NS, "end": END_NS // SECOND_NS}
    strong = tag.removeprefix("W/")  # weak, because this client takes gzip
    for offered in (tag, strong, f'"other", W/{strong}', "*"):
        again = client.request(
            "GET", PATH, params={"metric": "probe_rtt_us", **range_of}, headers={"If-None-Match": offered}
        )
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
    other = client.request(
        "GET", PATH, params={"metric": "probe_rtt_us", "q": "0.1", **range_of}, headers={"If-None-Match": tag}
    )
    assert other.status_code == 200


def test_late_data_changes_the_entity_tag(tmp_path):
    world = fill(tmp_path / "late.db", probe_records(n=600))
    with asking(world.url) as client:
        before = client.over_the_minute(PATH, metric="probe_rtt_us")
        engine = open_engine(world.url)
        add(engine, world.plan, probe_records(seed=8, n=60), 0, "agent-host0")
        engine.dispose()
        after = client.over_the_minute(PATH, metric="probe_rtt_us")
    assert before.json()["groups"][0]["count"] == 600
    assert after.json()["groups"][0]["count"] == 660
    assert before.headers["etag"] != after.headers["etag"]


@pytest.mark.parametrize(
    ("parameters", "status", "members", "words"),
    [
        ({"metric": "probe_rt_us"}, 404, {"nearest": "probe_rtt_us", "parameter": "metric"}, "did you mean"),
        ({"metric": "x"}, 404, {"parameter": "metric"}, "known: odd_ratio"),
        ({"metric": "probe_rtt_us", "by": "hots"}, 404, {"nearest": "host", "parameter": "by"}, "unknown label"),
        ({"metric": "probe_rtt_us", "where": "tors:1"}, 404, {"nearest": "tor", "parameter": "where"}, "unknown label"),
        ({"metric": "probe_rtt_us", "where": "tor=~["}, 400, {"parameter": "where"}, "missing ]"),
        ({"metric": "probe_rtt_us", "q": "99"}, 400, {"parameter": "q"}, "did you mean 0.99?"),
        ({"metric": "probe_rtt_us", "q": "NaN"}, 400, {"parameter": "q"}, "not a number"),
        ({"metric": "probe_rtt_us", "start": "soon"}, 400, {"parameter": "start"}, "accepted:"),
        ({"metric": "probe_rtt_us", "start": "now", "end": "-1h"}, 400, {"parameter": "start"}, "not before"),
        ({"metric": "probe_rtt_us", "start": "0", "step": "1"}, 400, {"limit": 11_000, "parameter": "step"}, "steps"),
        ({"metric": "probe_rtt_us", "strat": "-5m"}, 400, {"nearest": "start", "parameter": "strat"}, "did you mean"),
        ({"metric": ["a", "b"]}, 400, {"parameter": "metric"}, "more than once"),
        ({"metric": "a\x00b"}, 400, {"parameter": "metric"}, "zero byte"),
        ({"metric": "m" * 2_000}, 400, {"parameter": "metric"}, "longer than the 1000"),
        ({}, 400, {"parameter": "metric"}, "metric is missing"),
        ({"metric": "probes_total"}, 400, {"instead": "/api/v1/values?metric=probes_total"}, "odd_ratio, probe_rtt_us"),
    ],
)
def test_bad_questions_are_problems_that_help(client, parameters, status, members, words):
    response = client.get(PATH, **parameters)
    problem = response.json()
    assert (response.status_code, problem["status"]) == (status, status)
    assert response.headers["content-type"] == "application/problem+json"
    assert words in problem["detail"]
    assert {name: problem.get(name) for name in members} == members


def test_more_groups_than_allowed_are_refused_with_the_limit(world):
    with asking(world.url, ApiConfig(max_groups=5)) as client:
        response = client.over_the_minute(PATH, metric="probe_rtt_us", by="tor", step="10s")
    assert response.status_code == 400
    assert response.json()["limit"] == 5
    assert "18 groups" in response.json()["detail"]


def test_a_damaged_page_is_a_500_that_says_so_and_other_ranges_still_answer(tmp_path, caplog):
    world = fill(tmp_path / "damaged.db", probe_records(n=600))
    with sqlite3.connect(world.path) as database:
        database.execute("UPDATE pages SET data = x'01ff00' WHERE window_ns = ?", [BEGIN_NS])
    database.close()
    with asking(world.url) as client:
        whole = client.over_the_minute(PATH, metric="probe_rtt_us")
        rest = client.get(PATH, metric="probe_rtt_us", start="2026-11-22T07:00:10Z", end="now")
    assert (whole.status_code, whole.json()["type"]) == (500, "urn:tailwatch:problem:damaged-data")
    assert "Traceback" not in whole.text
    assert "CorruptPageError" in caplog.text
    assert answered(rest)["groups"][0]["count"] == 500
