"""What a collector counts of itself, and where it shows it."""

import socket
import urllib.error
import urllib.request

import pytest

from collector import own_metrics
from collector.errors import MetricsPortError


def shown() -> dict[tuple[str, str], float]:
    return {
        (sample.name, "".join(sample.labels.values())): sample.value
        for family in own_metrics.REGISTRY.collect()
        for sample in family.samples
    }


def test_what_is_counted_by_reason_or_query_is_there_before_anything_happened() -> None:
    own_metrics.know_queries(["never_refused"])
    found = shown()
    assert found["tailwatch_collector_records_over_series_max_total", "never_refused"] == 0
    reasons = {label for name, label in found if name == "tailwatch_collector_flush_failures_total"}
    assert {"fenced", "database", "refused"} <= reasons


def test_a_port_that_is_taken_is_one_sentence_with_the_settings() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MetricsPortError, match=rf"127\.0\.0\.1:{port}: .*collector\.metrics_port"):
            own_metrics.serve("127.0.0.1", port)


def test_a_collector_that_writes_nothing_is_not_healthy_and_still_shows_its_metrics() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    own_metrics.serve("127.0.0.1", port)

    def page(path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    # A collector that another test killed never gave its partitions back: they age on in this process.
    own_metrics.flush_age_seconds.clear()
    own_metrics.flush_age_seconds.labels("90001").set(1.0)
    own_metrics.flush_age_seconds.labels("90002").set_function(lambda: 59.0)
    try:
        assert page("/healthz") == (200, "ok\n")
        own_metrics.flush_age_seconds.labels("90002").set_function(lambda: 61.0)
        status, said = page("/healthz")
        assert status == 503
        assert "nothing of 1 partitions was written to the database for more than 60 s" in said
        assert "partition 90002, 61 s" in said
        status, said = page("/metrics")
        assert (status, "tailwatch_collector_frames_total" in said) == (200, True)
    finally:
        own_metrics.flush_age_seconds.remove("90001")
        own_metrics.flush_age_seconds.remove("90002")
    assert page("/healthz") == (200, "ok\n")
