"""GET /api/v1/distribution against the records that went in."""

import csv
import io
import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from api.answer_models import DistributionAnswer
from api.config import ApiConfig
from quantiles.sketch_column import SketchColumn
from tests.api.world import BEGIN_NS, SECOND_NS, asking, fill, probe_records

PATH = "/api/v1/distribution"


def answered(response):
    """The answer, held against the model that OpenAPI shows."""
    assert response.status_code == 200, response.text
    DistributionAnswer.model_validate_json(response.content, strict=True)
    return response.json()


def bounded(bucket):
    return [float(end) for end in bucket[:2]]


def inside(values, bucket):
    """How many values the bucket's own words claim."""
    low, high = bounded(bucket)
    if low == high == 0:
        return int((values == 0).sum())
    return int(((values > low) & (values <= high) if high > 0 else (values >= low) & (values < high)).sum())


def test_every_bucket_holds_exactly_the_records_between_its_ends(client, world):
    answer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", by="tor", step="20s"))
    assert (answer["scale"], answer["step_ns"], len(answer["groups"])) == (6, 20 * SECOND_NS, 9)
    for group in answer["groups"]:
        rtt = (
            world.records.filter(tor=group["labels"]["tor"])
            .filter(pl.col("ts").is_between(group["start_ns"], group["end_ns"], closed="left"))["rtt_us"]
            .to_numpy()
        )
        assert [bucket[2] for bucket in group["buckets"]] == [inside(rtt, bucket) for bucket in group["buckets"]]
        assert sum(bucket[2] for bucket in group["buckets"]) == group["count"] == rtt.size
        assert (group["min"], group["max"], group["mean"]) == (rtt.min(), rtt.max(), rtt.sum() / rtt.size)
        ends = [bounded(bucket) for bucket in group["buckets"]]
        assert all(before[1] <= after[0] for before, after in pairwise(ends))
        assert group["below"] == []


def test_negative_zero_and_infinite_values_have_their_buckets(client, world):
    (group,) = answered(client.over_the_minute(PATH, metric="odd_ratio"))["groups"]
    odd = world.records["odd"].drop_nulls().drop_nans().to_numpy()
    assert [bucket[2] for bucket in group["buckets"]] == [inside(odd, bucket) for bucket in group["buckets"]]
    assert group["buckets"][0][:2] == ["-Infinity", -1.7976931348623157e308]
    assert group["buckets"][-1][:2] == [1.7976931348623157e308, "Infinity"]
    assert [0.0, 0.0] in [bucket[:2] for bucket in group["buckets"]]


@pytest.mark.parametrize("scale", range(7))
def test_a_coarser_scale_is_counted_as_if_the_records_had_gone_there(client, world, scale):
    answer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", scale=scale))
    rtt = world.records["rtt_us"].to_numpy()
    (group,) = answer["groups"]
    there = SketchColumn.from_values(rtt, np.zeros(rtt.size, np.int64), 1, scale)
    assert (answer["scale"], group["count"]) == (scale, rtt.size)
    assert [bucket[2] for bucket in group["buckets"]] == there.counts.tolist()
    assert [bucket[2] for bucket in group["buckets"]] == [inside(rtt, bucket) for bucket in group["buckets"]]


def test_at_most_so_many_buckets_are_given_at_one_scale_for_all_groups(client):
    whole = answered(client.over_the_minute(PATH, metric="probe_rtt_us", by="host"))
    most = max(len(group["buckets"]) for group in whole["groups"])
    assert answered(client.over_the_minute(PATH, metric="probe_rtt_us", by="host", max_buckets=most)) == whole
    fewer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", by="host", max_buckets=most - 1))
    assert fewer["scale"] == 5
    few = answered(client.over_the_minute(PATH, metric="probe_rtt_us", by="host", max_buckets=12))
    assert max(len(group["buckets"]) for group in few["groups"]) <= 12
    finer = answered(client.over_the_minute(PATH, metric="probe_rtt_us", by="host", scale=few["scale"] + 1))
    assert max(len(group["buckets"]) for group in finer["groups"]) > 12
    both = answered(client.over_the_minute(PATH, metric="probe_rtt_us", by="host", max_buckets=1_000, scale=2))
    assert both["scale"] == 2


def test_shares_below_limits_hold_the_exact_ones_between_low_and_high(client, world):
    limits = "1,100,147.5,200,500,6394,1e6,-3"
    (group,) = answered(client.over_the_minute(PATH, metric="probe_rtt_us", below=limits, scale=0))["groups"]
    rtt = world.records["rtt_us"].to_numpy()
    assert [entry["below"] for entry in group["below"]] == [1, 100, 147.5, 200, 500, 6394, 1e6, -3]
    for entry in group["below"]:
        exact = int((rtt <= entry["below"]).sum())
        assert entry["count_low"] <= exact <= entry["count_high"]
        assert entry["count_low"] <= entry["count"] <= entry["count_high"]
        for end in ("", "_low", "_high"):
            assert entry[f"fraction{end}"] == entry[f"count{end}"] / rtt.size
        around = entry["below"] * np.array([1 - group["error_bound"], 1 + group["error_bound"]])
        assert (rtt <= around.min()).sum() <= entry["count"] <= (rtt <= around.max()).sum()
    ends = {entry["below"]: entry["count"] for entry in group["below"]}
    assert (ends[-3], ends[1e6]) == (0, rtt.size)
    # Limits are counted at the metric's own scale, so they stay as tight as they can be whatever the buckets are.
    assert max(entry["fraction_high"] - entry["fraction_low"] for entry in group["below"]) < 0.02


def test_shares_of_nothing_are_null(tmp_path):
    records = probe_records(n=60).with_columns(odd=pl.lit(math.nan))
    with asking(fill(tmp_path / "nan.db", records).url) as client:
        (group,) = answered(client.over_the_minute(PATH, metric="odd_ratio", below="1"))["groups"]
    assert (group["buckets"], group["count"], group["nan_count"]) == ([], 0, 60)
    assert (group["below"][0]["count"], group["below"][0]["fraction"]) == (0, None)


def test_no_data_is_no_group(client):
    answer = answered(client.get(PATH, metric="probe_rtt_us", start="0", end="60", below="1", max_buckets=1))
    assert (answer["groups"], answer["scale"]) == ([], 6)


def test_csv_has_one_row_per_bucket_or_per_limit(client):
    asked = {"metric": "probe_rtt_us", "by": "host", "scale": 0, "below": "200,500"}
    answer = answered(client.over_the_minute(PATH, **asked))
    asked["format"] = "csv"
    header, *rows = csv.reader(io.StringIO(client.over_the_minute(PATH, **asked).text))
    assert header == ["host", "start", "end", "below", "count", "count_low", "count_high", "fraction", "fraction_low",
                      "fraction_high", "total", "error_bound", "coverage", "sampled_share"]  # fmt: skip
    assert [row[:1] + row[3:10] for row in rows] == [
        [group["labels"]["host"], *map(str, entry.values())] for group in answer["groups"] for entry in group["below"]
    ]
    del asked["below"]
    header, *rows = csv.reader(io.StringIO(client.over_the_minute(PATH, **asked).text))
    assert header == ["host", "start", "end", "lo", "hi", "count", "total", "error_bound", "coverage", "sampled_share"]
    assert [row[:1] + row[3:6] for row in rows] == [
        [group["labels"]["host"], *map(str, bucket)] for group in answer["groups"] for bucket in group["buckets"]
    ]
    assert {tuple(row[6:]) for row in rows} == {("3000", str(answer["groups"][0]["error_bound"]), "1.0", "1.0")}


@pytest.mark.parametrize(
    ("parameters", "parameter", "words"),
    [
        ({"scale": 7}, "scale", "finer than the metric's scale 6"),
        ({"scale": -1}, "scale", "below 0"),
        ({"scale": "fine"}, "scale", "not a whole number"),
        ({"scale": "9" * 30}, "scale", "finer"),
        ({"scale": "9" * 900}, "scale", "finer"),
        ({"max_buckets": 0}, "max_buckets", "below 1"),
        ({"max_buckets": 1}, "max_buckets", "even at scale 0"),
        ({"below": "NaN"}, "below", "no finite number"),
        ({"below": "1e999"}, "below", "no finite number"),
        ({"below": "inf"}, "below", "no finite number"),
        ({"below": "200ms"}, "below", "in the metric's unit"),
        ({"below": "1,,2"}, "below", "empty item"),
        ({"below": ",".join(map(str, range(33)))}, "below", "at most 32"),
        ({"metric": "probes_total"}, "metric", "is a count"),
    ],
)
def test_bad_questions_are_problems_that_help(client, parameters, parameter, words):
    response = client.over_the_minute(PATH, **{"metric": "probe_rtt_us", **parameters})
    assert (response.status_code, response.json()["parameter"]) == (400, parameter), response.text
    assert words in response.json()["detail"]


def test_more_buckets_than_allowed_are_refused_with_the_limit(world):
    with asking(world.url, ApiConfig(max_buckets=40)) as client:
        response = client.over_the_minute(PATH, metric="probe_rtt_us", step="10s")
        assert (response.status_code, response.json()["limit"]) == (400, 40)
        assert client.over_the_minute(PATH, metric="probe_rtt_us", scale=0).status_code == 200


def test_the_entity_tag_gives_304(client):
    asked = {"metric": "probe_rtt_us", "start": BEGIN_NS // SECOND_NS, "end": BEGIN_NS // SECOND_NS + 60, "step": "10s"}
    tag = client.get(PATH, **asked).headers["etag"]
    assert client.request("GET", PATH, params=asked, headers={"If-None-Match": tag}).status_code == 304
