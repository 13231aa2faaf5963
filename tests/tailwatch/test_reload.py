"""`tailwatch agent run` is told by SIGHUP to read its configuration again, while a replay runs."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.chain import Chain
from tailwatch.errors import ConfigError
from tailwatch.reloading import refuse_what_needs_a_restart
from tailwatch.settings import load_settings
from tests.agents.live import got, until
from tests.agents.world import Received, assert_same_answer, probe_file, received, truth
from tests.counterparts.choice import free_port
from tests.fleet import HOSTS, SCHEMA, SQL, TABLES, probe_plan

COUNTS = "SELECT src, count(*) AS n_total FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src"
ROWS = 20_000


class RunningAgent:
    """The command with a configuration that is written anew before each signal."""

    def __init__(self, folder: Path) -> None:
        data, self.records = probe_file(folder, ROWS)
        HOSTS.frame.write_csv(folder / "hosts.csv")
        self.folder = folder
        self.port = free_port()
        self.source: dict[str, Any] = {"kind": "replay", "stream": "probes", "path": str(data), "rows_per_s": 50}
        self.agent = {"id": "a", "host": "h", "checkpoint_s": 0.1, "epoch_s": 0.1, "metrics_port": self.port}
        self.write()
        command = [sys.executable, "-m", "tailwatch.cli", "agent", "run", "--config", str(folder / "tailwatch.yaml")]
        with (folder / "agent.log").open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def write(self, *more: str, source: dict[str, Any] | None = None, **agent: object) -> None:
        """The configuration: one query of probes, and more of them."""
        queries = [{"name": "probes", "sql": SQL}, *({"name": f"more{i}", "sql": sql} for i, sql in enumerate(more))]
        settings = {
            "data_dir": str(self.folder),
            "builtin_queries": False,
            "streams": {"probes": {name: kind for name, kind in SCHEMA.items() if name not in ("ts", "host")}},
            "tables": {"hosts": str(self.folder / "hosts.csv")},
            "queries": queries,
            "agent": self.agent | {"sources": [self.source | (source or {})]} | agent,
        }
        (self.folder / "tailwatch.yaml").write_text(json.dumps(settings), encoding="utf-8")

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def value(self, metric: str) -> float:
        page = got(self.port, "/metrics")[1].decode()
        found = re.search(rf"^tailwatch_agents_{re.escape(metric)} (\S+)$", page, re.MULTILINE)
        return float(found[1]) if found else -1.0

    def wait_for(self, what: Callable[[], object]) -> None:
        assert until(lambda: what() or self.process.poll() is not None, 30), self.said()
        assert self.process.poll() is None, self.said()

    def sent(self) -> Received:
        """What a collector would have received by now of the first query."""
        return received(self.folder / "log.db")

    def said(self) -> str:
        return (self.folder / "agent.log").read_text()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningAgent]:
    agent = RunningAgent(tmp_path)
    yield agent
    agent.process.kill()
    agent.process.wait()


@pytest.mark.system
def test_budget_policy_and_queries_change_under_a_replay_and_the_answer_stays_exact(running: RunningAgent) -> None:
    records_in = 'records_in_total{stream="probes"}'
    applied, refused = 'reloads_total{result="applied"}', 'reloads_total{result="refused"}'
    running.wait_for(lambda: running.value(records_in) > 0)
    running.write(COUNTS, policy="all-sp", budget={"cores": 0.5}, runtime={"probe_epochs": 2})
    running.reload()
    running.wait_for(lambda: running.value(applied) == 1)
    since = running.value(records_in)
    running.write("SELECT nothing FROM nowhere", policy="all-src", epoc_s=1)
    running.reload()
    running.wait_for(lambda: running.value(refused) == 1)
    status, text = got(running.port, "/healthz")
    assert status == 200
    assert "unknown key; did you mean epoch_s?" in text.decode()
    assert running.value("reload_last_refused") == 1
    running.write("SELECT nothing FROM nowhere")
    running.reload()
    running.wait_for(lambda: running.value(refused) == 2)
    assert "reload: refused: " in got(running.port, "/healthz")[1].decode()
    running.wait_for(lambda: running.value(records_in) > since + 100)
    assert running.value(records_in) < ROWS, "all of this came while the file was read"
    running.write(policy="all-src", budget={"cores": 1.0}, source={"rows_per_s": None})
    running.reload()
    running.reload()
    running.wait_for(lambda: running.value(records_in) == ROWS)
    assert running.value("reload_last_refused") == 0
    assert got(running.port, "/healthz") == (200, b"ok\n")
    # An agent that ends publishes for a moment only, and leaves the rest to a next start, which does not come here.
    running.wait_for(lambda: sum(window.n_in for window in running.sent().manifest().windows().values()) == ROWS)
    running.process.send_signal(signal.SIGTERM)
    assert running.process.wait(10) == 0, running.said()
    whole = running.sent()
    assert_same_answer(whole.merged(), truth(running.records))
    assert whole.manifest().conserved()
    counted = received(running.folder / "log.db", Chain(probe_plan(COUNTS, "more0"), TABLES)).manifest().windows()
    assert 0 < sum(window.n_in for window in counted.values()) < ROWS
    assert len({header.incarnation for header in whole.headers}) == 1


def test_what_only_a_restart_can_change_is_refused_with_its_place_and_without_its_value(tmp_path: Path) -> None:
    running = load_settings(None, environment={}).settings
    path = tmp_path / "tailwatch.yaml"
    kafka = "servers: [b:9092], sasl: plain, sasl_user: u, sasl_password: secret"
    path.write_text(f"transport:\n  kind: kafka\n  kafka: {{{kafka}}}\n")
    loaded = load_settings(path, environment={"TAILWATCH_DATA_DIR": str(tmp_path)})
    with pytest.raises(ConfigError) as refused:
        refuse_what_needs_a_restart(running, loaded)
    said = str(refused.value)
    assert [line.split(": ")[1] for line in said.splitlines()][:2] == ["data_dir", "transport.kind"]
    assert f"{path}:2:" in said
    assert "needs a restart" in said
    assert "transport.kafka.sasl_password" in said
    assert "secret" not in said
    refuse_what_needs_a_restart(loaded.settings, loaded)
