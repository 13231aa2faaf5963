"""From a slow service to somebody's telephone: agent, collector, API, a real Prometheus and a real Alertmanager.

A service sends its latencies to the agent's source `statsd`. Prometheus scrapes /prometheus/federate and evaluates the
rules that `tailwatch grafana export` writes for it, as they are: the objective's fast rule looks at the last 30 s, and
is evaluated every 30 s. From one moment on one request in ten is slow; the clock runs from there until a webhook of
Alertmanager hears of it, and is printed. Windows of 10 s, as usual, and 10 s until the API shows them as settled.
"""

import json
import shutil
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.targets import Target
from tailwatch.grafana.config import GrafanaSettings, ObjectiveConfig
from tailwatch.grafana.objectives import objective_groups
from tailwatch.grafana.prometheus_rules import rules_on_federated
from tests.counterparts import alertmanager, prometheus
from tests.counterparts.choice import free_port, missing
from tests.system.stack import Stack, until

pytestmark = pytest.mark.system

TIME_TO_FIRE = Target("alert.time_to_fire_s", 60.0, "<=")
METRIC, THRESHOLD_MS = "checkout_ms", 100.0
ALERT = "TailwatchSloCheckoutMsFast"
SQL = f"""
    SELECT service, sketch(value, weight) AS {METRIC} FROM statsd WHERE name = 'checkout'
    GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), service
"""
_GENEROUS_S = 150.0
_SCRAPED_EVERY_S = 2


class Service:
    """Sends a hundred latencies a second, of 5 to 25 ms; while `is_slow`, every tenth takes 800 ms."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._ended = threading.Event()
        self._slow = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._first_slow_s: float | None = None

    def __enter__(self) -> "Service":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def become_slow(self) -> float:
        """Give the moment at which the first slow request was sent."""
        self._slow.set()
        until(lambda: self._first_slow_s is not None, 10, "the service is slow")
        assert self._first_slow_s is not None
        return self._first_slow_s

    def recover(self) -> None:
        self._slow.clear()

    def _run(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not self._ended.wait(0.1):
                tenth = 800 if self._slow.is_set() else 15
                lines = "\n".join(
                    f"checkout:{value}|ms|#service:web" for value in [5, 7, 8, 9, 12, 14, 18, 21, 25, tenth]
                )
                sender.sendto(lines.encode(), self._to)
                if self._slow.is_set() and self._first_slow_s is None:
                    self._first_slow_s = time.monotonic()


@contextmanager
def started(folder: Path, port: int) -> Iterator[Stack]:
    """Agent, collector and API for the service's latencies."""
    sections: dict[str, Any] = {
        "streams": {"statsd": {"service": "string"}},
        "tables": {},
        "queries": [{"name": "checkout", "sql": SQL}],
    }
    stack = Stack(folder, sections=sections, collector={"flush_interval_s": 1.0})
    stack.add_agent_with("agent", [{"kind": "statsd", "listen": f"127.0.0.1:{port}"}])
    try:
        for part in ("agent", "collector", "api"):
            stack.start(part)
        yield stack
    finally:
        stack.close()


def configuration(rules: Path, api_port: int, alerts: str) -> str:
    """A Prometheus that scrapes the API's federation and knows the rules."""
    scrape = {
        "job_name": "tailwatch",
        "metrics_path": "/prometheus/federate",
        "params": {"match[]": ['{__name__!=""}']},
        "honor_labels": True,
        "static_configs": [{"targets": [f"127.0.0.1:{api_port}"]}],
    }
    return json.dumps(
        {
            "global": {"scrape_interval": f"{_SCRAPED_EVERY_S}s", "evaluation_interval": "30s"},
            "rule_files": [str(rules)],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alerts]}]}]},
            "scrape_configs": [scrape],
        }
    )


def p99_ms(address: str) -> float | None:
    """What Prometheus knows of the service's newest window."""
    query = urllib.parse.urlencode({"query": f'{METRIC}{{quantile="0.99"}}'})
    with urllib.request.urlopen(f"{address}/api/v1/query?{query}", timeout=60) as answer:
        found = json.load(answer)["data"]["result"]
    return float(found[0]["value"][1]) if found else None


@pytest.mark.timeout(3 * _GENEROUS_S + 60)
def test_a_step_in_latency_fires_an_alert_and_its_end_resolves_it(
    tmp_path: Path, show_target: Callable[[str], None]
) -> None:
    program = shutil.which("prometheus") or missing("no Prometheus to test with: apt's prometheus is not installed")
    binary = alertmanager.program()
    objective = ObjectiveConfig(metric=METRIC, threshold=THRESHOLD_MS, by=("service",), min_count=50)
    rules = rules_on_federated(objective_groups(GrafanaSettings(objectives=(objective,))), {"team": "web"}, "")
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    port = free_port()
    with (
        alertmanager.receiving() as receiver,
        alertmanager.running(binary, receiver) as alerts,
        started(tmp_path, port) as stack,
        Service(port) as service,
        prometheus.running(program, configuration(tmp_path / "rules.yml", stack.port, alerts)) as address,
    ):

        def waited(condition: Callable[[], bool], what: str) -> None:
            try:
                until(condition, _GENEROUS_S, what)
            except AssertionError as error:
                raise AssertionError(f"{error}; {receiver.notices}\n{stack.logs()}") from error

        known: list[float] = []  # the first that it knows: a scrape that comes late makes the series absent again

        def has_a_window() -> bool:
            known.extend([] if (p99 := p99_ms(address)) is None else [p99])
            return bool(known)

        waited(has_a_window, "Prometheus has a window")
        assert known == [pytest.approx(25, rel=0.02)]
        assert receiver.notices == []
        slow_s = service.become_slow()
        waited(lambda: bool(receiver.of(ALERT, "firing")), f"{ALERT} fires")
        fired = receiver.of(ALERT, "firing")[0]
        show_target(TIME_TO_FIRE.line(fired.at_s - slow_s))
        service.recover()
        waited(lambda: bool(receiver.of(ALERT, "resolved")), f"{ALERT} is resolved")
        resolved = receiver.of(ALERT, "resolved")[0]
    assert fired.labels["service"] == resolved.labels["service"] == "web"
    wanted = {"severity": "critical", "managed_by": "tailwatch", "team": "web"}
    assert wanted.items() <= fired.labels.items()
    assert fired.annotations["summary"] == "checkout_ms service web misses its target of p99 at most 100 ms"
    assert fired.at_s < resolved.at_s
