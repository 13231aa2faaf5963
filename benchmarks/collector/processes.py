"""Real agents, collectors and an API over a broker, each with the settings that Tailwatch has by default."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from store.connect import upgrade
from wire.kafka_settings import KafkaConfig

STREAM, METRIC = "events", "events_total"
QUERY = f"SELECT kind, count(*) AS {METRIC} FROM {STREAM} GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), kind"
STARTS_WITHIN_S = 60.0


@dataclass
class Processes:
    """One folder with a database and configurations; `parts` run, by name. What a part is, its name begins with."""

    folder: Path
    kafka: KafkaConfig
    parts: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    port: int = field(default_factory=lambda: _free_port())  # noqa: PLW0108  # it stands below

    def __post_init__(self) -> None:
        self.url = f"sqlite:///{self.folder / 'tailwatch.db'}"
        upgrade(self.url)

    @property
    def socket(self) -> Path:
        """Where the agent takes datagrams."""
        return self.folder / "events.sock"

    def start(self, name: str) -> None:
        """Start a part: agent, collector, api, or one of these with a dash and more."""
        defaults = msgspec.to_builtins(KafkaConfig())
        changed = {key: value for key, value in msgspec.to_builtins(self.kafka).items() if value != defaults[key]}
        source = {"kind": "datagrams", "stream": STREAM, "path": str(self.socket)}
        settings: dict[str, Any] = {
            "data_dir": str(self.folder),
            "database": {"url": self.url},
            "builtin_queries": False,
            "streams": {STREAM: {"kind": "string"}},
            "queries": [{"name": STREAM, "sql": QUERY}],
            "transport": {"kind": "kafka", "kafka": changed},
            "agent": {"sources": [source]},
            "collector": {"id": name},
            "api": {"port": self.port},
        }
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(settings), encoding="utf-8")
        command = [sys.executable, "-m", "tailwatch.cli", name.partition("-")[0], "run", "--config", str(path)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.parts[name] = subprocess.Popen(command, stdout=log, stderr=log, env=_without_settings())

    def kill(self, name: str) -> None:
        """kill -9."""
        part = self.parts.pop(name)
        part.send_signal(signal.SIGKILL)
        part.wait()

    def close(self) -> None:
        """End what still runs."""
        for name in list(self.parts):
            self.kill(name)

    def ask(self, path: str) -> Any:
        """An answer of the API, or None where it does not answer or knows no such metric yet."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
                return json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return None

    def wait(self, condition: Callable[[], bool], what: str, timeout_s: float = STARTS_WITHIN_S) -> None:
        """Wait for a condition.

        Raises:
            TimeoutError: it did not come, with the ends of the parts' logs.
        """
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                logs = [f"{path.name}: {path.read_text()[-500:]}" for path in sorted(self.folder.glob("*.log"))]
                raise TimeoutError(f"{what}: not within {timeout_s:g} s; {' | '.join(logs)}")
            time.sleep(0.02)


def _without_settings() -> dict[str, str]:
    """The environment without what would overlay the settings above."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TAILWATCH_")}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
