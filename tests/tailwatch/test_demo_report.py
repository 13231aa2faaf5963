"""What the demo shows, read from a stand-in API: rates, this run's share of old totals, and silence."""

import pytest

from tailwatch import demo_report
from tailwatch.demo_report import Reader, Summary, summary_text
from tests.tailwatch.stand_in import StandIn

HICCUPS = {
    "values": [{"q": 0.5, "value": 79.0}, {"q": 0.99, "value": 1234.5}, {"q": 0.999, "value": 20000.0}],
    "count": 9000,
    "error_bound": 0.005415,
    "coverage": {"ratio": 1.0},
}


def totals(records: int) -> dict[str, object]:
    return {"totals": {"records": records, "windows": 12, "bytes": 123_456}}


def test_the_rate_is_taken_from_step_to_step(api: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(demo_report.time, "monotonic", lambda: now)
    reader = Reader(api.url)
    api.put("/api/v1/quantiles", {"groups": [{"values": [{"q": 0.99, "value": 812.0}]}]})
    rates = []
    for second in range(9):
        now = float(second)
        api.put("/api/v1/status", totals(2000 * (second // 2)))
        state = reader.state()
        assert state is not None
        rates.append(state.records_per_s)
    assert rates == [0, 0, 1000, 1000, 1000, 1000, 1000, 1000, 1000]
    assert state.text() == "1,000 events/s in | 12 windows merged | 123 kB on the wire | hiccup p99 812 us"


def test_a_pipeline_that_stands_still_is_not_shown_at_its_old_rate(
    api: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(demo_report.time, "monotonic", lambda: now)
    reader = Reader(api.url)
    api.put("/api/v1/quantiles", {"groups": []})
    texts = {}
    for now, records in ((0.0, 0), (2.0, 2_000), (7.0, 2_000), (14.0, 2_000), (16.0, 4_000)):
        api.put("/api/v1/status", totals(records))
        state = reader.state()
        assert state is not None
        texts[now] = state.text().partition(" | ")[0]
    assert texts[7.0] == "1,000 events/s in"
    assert texts[14.0] == "0 events/s in (nothing new for 12 s, the logs say why)"
    assert texts[16.0].endswith(" events/s in")


def test_a_metric_nobody_registered_yet_is_no_failure(api: StandIn) -> None:
    api.put("/api/v1/status", totals(0))
    api.put("/api/v1/quantiles", {"status": 404, "detail": "unknown metric"}, 404)
    state = Reader(api.url).state()
    assert state is not None
    assert state.text().endswith("hiccup p99 not measured yet")


def test_an_api_that_does_not_answer_has_no_state() -> None:
    assert Reader("http://127.0.0.1:1").state() is None
    assert Summary.read("http://127.0.0.1:1", 0, {}) is None


def test_a_summary_counts_this_run_only(api: StandIn) -> None:
    api.put("/api/v1/status", totals(10_000))
    api.put("/api/v1/quantiles", {"groups": [HICCUPS]})
    summary = Summary.read(api.url, 1_795_000_000_250_000_000, {"records": 9_000, "windows": 2, "bytes": 0})
    assert summary is not None
    assert summary.measured
    assert api.asked[-1][1][-1] == ("start", "1795000000.250")
    assert summary_text(summary).splitlines()[1:] == [
        "  events             1,000",
        "  windows merged     10",
        "  bytes on the wire  123,456",
        "  hiccup p50         79 us",
        "  hiccup p99         1234 us",
        "  hiccup p99.9       20,000 us",
        "  hiccups counted    9,000",
        "  error bound        0.5415 % of each value",
        "  coverage           100 %",
    ]


@pytest.mark.parametrize("groups", [[], [{**HICCUPS, "count": 0}]])
def test_a_run_without_values_measured_nothing(api: StandIn, groups: list[object]) -> None:
    api.put("/api/v1/status", totals(10))
    api.put("/api/v1/quantiles", {"groups": groups})
    summary = Summary.read(api.url, 0, {})
    assert summary is not None
    assert not summary.measured


def test_a_run_without_any_group_says_so(api: StandIn) -> None:
    api.put("/api/v1/status", totals(10))
    api.put("/api/v1/quantiles", {"groups": []})
    summary = Summary.read(api.url, 0, {})
    assert summary is not None
    assert summary_text(summary).splitlines()[-1].split() == ["hiccup_us", "no", "data"]
