"""GET /api/v1/values: every scalar aggregate against the records."""

import pytest

from api.answer_models import ValuesAnswer
from tests.api.world import asking, fill, probe_records

PATH = "/api/v1/values"


def answered(response):
    assert response.status_code == 200, response.text
    ValuesAnswer.model_validate_json(response.content, strict=True)
    return response.json()


@pytest.mark.parametrize(
    ("metric", "function", "truth"),
    [
        ("probes_total", "count", lambda rtt: rtt.len()),
        ("probe_rtt_sum_us", "sum", lambda rtt: rtt.sum()),
        ("probe_rtt_min_us", "min", lambda rtt: rtt.min()),
        ("probe_rtt_max_us", "max", lambda rtt: rtt.max()),
        ("probe_rtt_mean_us", "avg", lambda rtt: rtt.sum() / rtt.len()),
    ],
)
def test_each_aggregate_is_merged_over_agents_and_windows(client, world, metric, function, truth):
    answer = answered(client.over_the_minute(PATH, metric=metric, by="tor"))
    assert answer["function"] == function
    assert len(answer["groups"]) == 3
    for group in answer["groups"]:
        rtt = world.records.filter(tor=group["labels"]["tor"])["rtt_us"]
        assert group["value"] == truth(rtt)
        assert group["count"] == (rtt.len() if function == "avg" else None)


def test_steps_and_where_work_as_for_quantiles(client, world):
    answer = answered(client.over_the_minute(PATH, metric="probes_total", step="20s", where="host:host1"))
    assert [group["value"] for group in answer["groups"]] == [1_000] * 3


def test_a_sum_with_nan_is_null(client):
    (group,) = answered(client.over_the_minute(PATH, metric="odd_sum_ratio"))["groups"]
    assert group["value"] is None


def test_an_integer_sum_beyond_64_bits_keeps_every_digit(tmp_path):
    records = probe_records(n=6).with_columns(rtt_us=2**62 + 1)
    with asking(fill(tmp_path / "large.db", records).url) as client:
        response = client.over_the_minute(PATH, metric="probe_rtt_sum_us")
    assert answered(response)["groups"][0]["value"] == 6 * (2**62 + 1)


def test_a_group_without_values_has_null_and_not_zero(tmp_path):
    records = probe_records(n=6).with_columns(rtt_us=None).cast({"rtt_us": int})
    with asking(fill(tmp_path / "null.db", records).url) as client:
        sums = answered(client.over_the_minute(PATH, metric="probe_rtt_sum_us"))["groups"]
        means = answered(client.over_the_minute(PATH, metric="probe_rtt_mean_us"))["groups"]
    assert [group["value"] for group in sums] == [None]
    assert [(group["value"], group["count"]) for group in means] == [(None, 0)]


def test_a_sketch_is_sent_to_the_quantiles_route(client):
    response = client.over_the_minute(PATH, metric="probe_rtt_us")
    assert response.status_code == 400
    assert response.json()["instead"] == "/api/v1/quantiles?metric=probe_rtt_us"
    assert "probes_total" in response.json()["detail"]


def test_what_instead_names_does_answer(client):
    for path, metric in ((PATH, "probe_rtt_us"), ("/api/v1/quantiles", "probes_total")):
        instead = client.over_the_minute(path, metric=metric).json()["instead"]
        assert client.get(instead).status_code == 200
