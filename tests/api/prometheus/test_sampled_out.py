"""An expression over windows out of which agents sampled records says so, and over others says nothing."""

import pytest

from tests.api.prometheus.test_queries import END, QUERY, RANGE
from tests.api.world import asking, fill, probe_records


@pytest.fixture(params=["sqlite", "postgresql"])
def sampled(request, tmp_path):
    address = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return fill(tmp_path / "sampled.db", probe_records(n=60), address=address, sampled_out=3)


def test_answers_over_sampled_windows_warn_with_the_number_of_records(sampled):
    with asking(sampled.url) as client:
        for query in ("sum(increase(probes_total[1m]))", "histogram_quantile(0.9, sum(rate(probe_rtt_us[1m])))"):
            answer = client.get(QUERY, query=query, time=str(END)).json()
            assert answer["data"]["result"]
            (warning,) = answer["warnings"]
            # Three per agent and window: two agents, six windows.
            assert warning.startswith("agents over their CPU budget sampled out 36 records in windows read of prob")
        answer = client.get(RANGE, query="probe_rtt_max_us", start=str(END - 30), end=str(END), step="10").json()
        assert len(answer["warnings"]) == 1
        before = client.get(QUERY, query="sum(increase(probes_total[1m]))", time=str(END - 3_600)).json()
        assert "warnings" not in before


def test_one_warning_names_a_few_of_many_metrics(sampled):
    with asking(sampled.url) as client:
        answer = client.get(QUERY, query='sum by (__name__) ({__name__=~".+"})', time=str(END)).json()
    (warning,) = answer["warnings"]
    assert "sampled out 36 records" in warning
    assert "and 5 more:" in warning


def test_answers_over_windows_that_hold_everything_say_nothing(client):
    answer = client.get(QUERY, query="sum(increase(probes_total[1m]))", time=str(END)).json()
    assert "warnings" not in answer
