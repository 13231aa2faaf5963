"""Tailwatch asked about itself: an agent, a collector and an API run, and every built-in metric about them has data."""

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api import server
from api.app import create_app
from api.config import ApiConfig
from store.connect import upgrade
from tailwatch.query_set import compiled
from tailwatch.settings import load_settings
from tests.counterparts.choice import free_port
from tests.system.stack import until
from wire.embedded import EmbeddedPublisher

pytestmark = pytest.mark.system

WITHIN_S = 60.0
# By the API's clock the agent has been silent for so long, so that what is only shown of trouble is shown, too.
AHEAD_S = 60
OWN = {
    metric.name: plan.labels
    for plan in compiled(load_settings(None, environment={})).plans
    if plan.source.startswith("tailwatch_")
    for metric in plan.metrics
}


class Running:
    """All three; the API in a thread of this process, the others as programs."""

    def __init__(self, folder: Path, listener: socket.socket) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder / 'tailwatch.db'}"
        self.port = int(listener.getsockname()[1])
        collector_port = free_port()
        self._targets = [f"127.0.0.1:{collector_port}", f"127.0.0.1:{self.port}"]
        upgrade(self.url)
        config = {
            "data_dir": str(folder),
            "agent": {
                "id": "agent-1",
                "host": "h",
                "checkpoint_s": 0.2,
                "epoch_s": 0.1,
                "sources": [
                    {"kind": "hiccups"},
                    {"kind": "tailwatch", "targets": self._targets, "interval_s": 0.5, "timeout_s": 0.5},
                ],
            },
            "collector": {"flush_interval_s": 0.1, "metrics_port": collector_port},
        }
        (folder / "tailwatch.yaml").write_text(json.dumps(config))
        self._stop = threading.Event()
        api = ApiConfig(port=self.port)
        self._api = threading.Thread(target=server.serve, args=(api, self.url, self._stop, listener))
        self._api.start()
        self._parts = [self._start(part) for part in ("collector", "agent")]

    def _start(self, part: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tailwatch.cli", part, "run", "--config", str(self.folder / "tailwatch.yaml")]
        with (self.folder / f"{part}.log").open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    def result(self, expression: str) -> list[dict[str, Any]]:
        """Of windows that are still open, too: those end up to 10 s from now."""
        asked = urllib.parse.urlencode({"query": expression, "time": time.time() + 11})
        address = f"http://127.0.0.1:{self.port}/prometheus/api/v1/query?{asked}"
        with urllib.request.urlopen(address, timeout=60) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        """Of the first series."""
        found = self.result(expression)
        return float(found[0]["value"][1]) if found else None

    def logs(self) -> str:
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))

    def close(self) -> None:
        self._stop.set()
        for part in self._parts:
            part.kill()
            part.wait()
        self._api.join()


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(
        server,
        "create_app",
        lambda config, engine: create_app(config, engine, lambda: time.time_ns() + AHEAD_S * 10**9),
    )
    started = Running(tmp_path, server.bind(ApiConfig(port=0)))
    yield started
    started.close()


def test_every_metric_that_tailwatch_has_of_itself_has_data(running: Running) -> None:
    until(lambda: (running.value("collector_frames_count") or 0) > 0, WITHIN_S, f"frames:\n{running.logs()}")
    # What comes now was not yet on the collector's first page, so that it is growth.
    publisher = EmbeddedPublisher(running.folder / "log.db")
    publisher.publish(0, 1, b"no frame at all")
    until(lambda: bool(publisher.acknowledged(0.1)), WITHIN_S, "the log takes it")
    publisher.close()

    def all_there() -> bool:
        # The window in which it grew may have gone by when the last metric comes.
        grown = running.value("sum(sum_over_time(dead_letters_new_count[5m]))") or 0
        return grown > 0 and all(running.result(name) for name in OWN)

    until(all_there, WITHIN_S, "every metric, and a dead letter")
    # A few of them, to see that the numbers are those that they are called.
    assert len(OWN) > 35
    assert {one["metric"]["host"] for one in running.result("agent_cpu_cores")} == {"h"}
    assert running.value("agent_budget_cores") == 1.0
    assert running.value("agent_uplink_up_ratio") == 1.0
    assert running.value('agent_share_ratio{query="hiccups",proxy="1"}') is not None
    assert not running.result('agent_share_ratio{query=~"tailwatch_.*"}')
    assert sum(float(one["value"][1]) for one in running.result("collector_partitions_held_count")) == 4
    assert {one["metric"]["partition"] for one in running.result("collector_lag_count")} == {"0", "1", "2", "3"}
    assert {one["metric"]["reason"] for one in running.result("collector_flush_failures_count")} == {
        "fenced",
        "database",
        "refused",
    }
    assert running.value('fleet_agents_count{state="silent"}') == 1
    assert {one["metric"]["agent"] for one in running.result("agent_silent_s")} == {"agent-1"}
    assert {one["metric"]["covered"] for one in running.result("host_coverage_ratio")} == {"h"}
    assert 0 < (running.value("database_bytes / database_max_bytes") or 0) < 1
    assert running.value("histogram_quantile(0.5, sum(rate(collector_flush_s[1m])))") is not None
    assert running.value("sum(dead_letters_count)") == 1
    assert {one["value"][1] for one in running.result("target_up_ratio")} <= {"0", "1"}
