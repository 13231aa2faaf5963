"""Real processes for system tests: agents, a collector and an API on one folder, started, killed and watched."""

import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import sqlalchemy as sa

from store.connect import open_engine, upgrade
from store.coverage import Coverage, coverage
from store.errors import UnknownMetricError
from store.registry import metric
from tests.counterparts.choice import free_port
from tests.fleet import HOSTS, SCHEMA, SQL, probe_plan
from tests.stored import stored_partial
from wire.kafka_settings import KafkaConfig

KILLED_AT = Path(__file__).parent / "killed_at.py"
STRUCK_IN_FLUSH = Path(__file__).parent / "struck_in_flush.py"
PLAN = probe_plan()
_DAYS_S = 400 * 86_400
# The records are days old: windows must not become coarser while a test that takes its time looks at them.
KEPT = {"own_windows_s": _DAYS_S, "minutes_s": _DAYS_S, "hours_s": _DAYS_S}


def until(condition: Callable[[], bool], timeout_s: float, what: str) -> None:
    """Wait for a condition; a test fails with `what` when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.05)


def kafka_transport(config: KafkaConfig) -> dict[str, Any]:
    """The section `transport` of a configuration."""
    defaults = msgspec.to_builtins(KafkaConfig())
    changed = {key: value for key, value in msgspec.to_builtins(config).items() if value != defaults[key]}
    return {"kind": "kafka", "kafka": changed}


@dataclass
class Stack:
    """One folder with a database, a log and configurations; `parts` are the running processes by name.

    What a part is, its name says up to the first dash: agent, collector or api. `sections` stand in every
    configuration, in place of the probes, their query and their table.
    """

    folder: Path
    url: str = ""
    transport: dict[str, Any] = field(default_factory=dict)
    collector: dict[str, Any] = field(default_factory=dict)
    sections: dict[str, Any] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.url = self.url or f"sqlite:///{self.folder / 'tailwatch.db'}"
        upgrade(self.url)
        self.engine = open_engine(self.url)
        HOSTS.frame.write_csv(self.folder / "hosts.csv")
        self.add_collector("collector")
        self._write("api", {})

    def add_collector(self, name: str) -> None:
        """One more collector; its name begins with `collector`."""
        self._write(name, {})

    def add_agent(
        self,
        name: str,
        records: pl.DataFrame,
        *,
        policy: str,
        rows_per_s: float | None,
        transport: dict[str, Any] | None = None,
    ) -> None:
        """An agent `name` that replays these records, over a transport of its own where one is given."""
        path = self.folder / f"{name}.csv"
        records.drop("host").write_csv(path)
        source = {"kind": "replay", "stream": "probes", "path": str(path), "time_column": "ts", "time_unit": "ns"}
        if rows_per_s is not None:
            source["rows_per_s"] = rows_per_s  # type: ignore[assignment]
        agent = {
            "id": name,
            "host": "h",
            "policy": policy,
            "checkpoint_s": 0.2,
            "epoch_s": 0.1,
            "spool_path": str(self.folder / f"{name}-spool.db"),
            "sources": [source],
        }
        self._write(name, {"agent": agent} | ({"transport": transport} if transport else {}))

    def add_agent_with(self, name: str, sources: list[dict[str, Any]]) -> None:
        """An agent `name` with these sources and otherwise its defaults."""
        agent = {"id": name, "host": name, "spool_path": str(self.folder / f"{name}-spool.db"), "sources": sources}
        self._write(name, {"agent": agent})

    def command(self, name: str) -> list[str]:
        """What follows `tailwatch` to run a part."""
        return [name.partition("-")[0], "run", "--config", str(self.folder / f"{name}.json")]

    def start(
        self, name: str, *, kill_file: Path | str | None = None, kill_at: int = 0, strike_file: Path | None = None
    ) -> None:
        """Start a part; with `kill_at`, it is killed before its n-th SQL statement on `kill_file`, or on PostgreSQL.

        With `strike_file`, that file may strike a collector later (struck_in_flush.py).
        """
        entry = [sys.executable, "-m", "tailwatch.cli"]
        if kill_file is not None:
            entry = [sys.executable, str(KILLED_AT), str(kill_file), str(kill_at)]
        elif strike_file is not None:
            entry = [sys.executable, str(STRUCK_IN_FLUSH), str(strike_file)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.parts[name] = subprocess.Popen([*entry, *self.command(name)], stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        """kill -9, as it would come from outside."""
        part = self.parts.pop(name)
        part.send_signal(signal.SIGKILL)
        part.wait()

    def stop(self, name: str) -> int:
        """SIGTERM; returns the exit code."""
        part = self.parts.pop(name)
        part.terminate()
        return part.wait(timeout=10)

    def close(self) -> None:
        """End what still runs."""
        for name in list(self.parts):
            self.kill(name)
        self.engine.dispose()

    def stored_records(self) -> int:
        """Records in the stored windows (those that passed the filter and the join)."""
        try:
            partial = stored_partial(self.engine, PLAN)
        except UnknownMetricError:  # no collector has registered the plan yet
            return 0
        return 0 if partial is None else sum(partial.record_counts().values())

    def finished_agents(self) -> int:
        """Agents whose replay is through and has been reported as such."""
        with self.engine.connect() as connection:
            return int(
                connection.execute(
                    sa.text("SELECT count(*) FROM progress WHERE watermark_ns = 9223372036854775807")
                ).scalar_one()
            )

    def coverage(self, start_ns: int, end_ns: int) -> Coverage:
        """Coverage of the sketch metric."""
        with self.engine.connect() as connection:
            return coverage(connection, metric(connection, "rtt_us"), start_ns, end_ns, time.time_ns())

    def ask(self, path: str) -> Any:
        """An answer of the running API."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return json.load(answer)

    def said(self, name: str, what: str) -> int:
        """How often a part's log says something."""
        path = self.folder / f"{name}.log"
        return path.read_text().count(what) if path.exists() else 0

    def logs(self) -> str:
        """The parts' logs, for a failing test's message."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def _write(self, name: str, sections: dict[str, Any]) -> None:
        columns = {column: kind for column, kind in SCHEMA.items() if column not in ("ts", "host")}
        config = {
            "data_dir": str(self.folder),
            "database": {"url": self.url},
            "log_level": "info",
            "builtin_queries": False,
            "streams": {"probes": columns},
            "tables": {"hosts": str(self.folder / "hosts.csv")},
            "queries": [{"name": "probes", "sql": SQL}],
            "transport": self.transport,
            "collector": {"id": name, "flush_interval_s": 0.2, "retention": KEPT} | self.collector,
            "api": {"port": self.port},
        }
        # JSON is YAML, and needs no quoting rules of our own.
        (self.folder / f"{name}.json").write_text(json.dumps(config | self.sections | sections))
