"""docker-compose.yml without an engine: its commands, configurations, health checks and waits, as processes here.

Names inside of the stack, mounted files and volumes are replaced by what stands for them here; all else is as the
containers get it. Kafka and PostgreSQL are those of tests/counterparts, Grafana is left out.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.architecture.project import ROOT
from tests.counterparts.choice import free_port
from tests.deploy.deployed import DEPLOY, compose, dockerfile_of, last, ours

_HEALTHY_WITHIN_S = 90.0
_GRACE = re.compile(r"(\d+)s")


class StackHere:
    """Our services of docker-compose.yml, each with a folder for its volumes, its configuration and its log."""

    def __init__(self, folder: Path, kafka: str, database: str, secrets: Path) -> None:
        """`database` is a whole address; of it, user, server and name go into the configurations."""
        self.folder = folder
        self.services: dict[str, Any] = ours(compose()["services"])
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.api_port = free_port()
        self.ports = {"agent": free_port(), "collector-1": free_port(), "collector-2": free_port()}
        self._secrets = secrets
        user_and_host, _, name = database.partition("://")[2].rpartition("/")
        self._names = {
            "kafka:19092": kafka,
            "tailwatch@postgres:5432/tailwatch": f"{user_and_host}/{name}",
            "http://api:8080": f"http://127.0.0.1:{self.api_port}",
            "api:8080": f"127.0.0.1:{self.api_port}",
            "collector-1:9102": f"127.0.0.1:{self.ports['collector-1']}",
            "collector-2:9102": f"127.0.0.1:{self.ports['collector-2']}",
            "/run/secrets/": f"{secrets}/",
            "/run/tailwatch/": f"{folder}/sockets/",
        }
        (folder / "sockets").mkdir()

    def up(self) -> None:
        """Start everything as compose would: whoever waits for others is started after them."""
        waiting = dict(self.services)
        while waiting:
            ready = [name for name, service in waiting.items() if not set(service.get("depends_on", {})) & set(waiting)]
            assert ready, f"a circle among {sorted(waiting)}"
            for name in ready:
                for other, how in waiting.pop(name).get("depends_on", {}).items():
                    self._await(other, how["condition"])
                self.start(name)
        for name, service in self.services.items():
            if not service.get("healthcheck", {}).get("disable"):
                self._await(name, "service_healthy")

    def start(self, name: str) -> None:
        """Run a service's command."""
        service = self.services[name]
        words = list(service.get("command", last(dockerfile_of(service), "CMD").words))
        command = [sys.executable, "-m", "tailwatch.cli", *(self._here(name, word) for word in words)]
        self._config(name, service)
        (self.folder / name).mkdir(exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self.folder / name, env=self._environment({})
            )

    def health(self, name: str) -> str:
        """What the service's health check says; empty when it is well."""
        service = self.services[name]
        environment = last(dockerfile_of(service), "ENV").text
        url = service.get("environment", {}).get("HEALTH_URL") or environment.partition("HEALTH_URL=")[2].split()[0]
        asked = {"HEALTH_URL": self._here(name, url)}
        done = subprocess.run(
            [sys.executable, str(DEPLOY / "healthcheck.py")],
            env=self._environment(asked), capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"

    def stop(self, name: str) -> int:
        """SIGTERM, as `docker stop` does; the exit code, or a failure where the grace period would not have done."""
        grace = _GRACE.fullmatch(self.services[name]["stop_grace_period"])
        assert grace is not None
        process = self.processes.pop(name)
        process.terminate()
        return process.wait(timeout=int(grace[1]))

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def secret(self, name: str) -> str:
        """What a secret's file holds."""
        return (self._secrets / name).read_text(encoding="utf-8").strip()

    def logs(self) -> str:
        """The parts' logs, for a failing test's message."""
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in sorted(self.folder.glob("*.log")))

    def _await(self, name: str, condition: str) -> None:
        if name not in self.services:  # Kafka and PostgreSQL, which answer already
            return
        deadline = time.monotonic() + _HEALTHY_WITHIN_S
        problem = "?"
        while problem:
            ended = self.processes[name].poll()
            if condition == "service_completed_successfully":
                problem = "" if ended == 0 else f"exit code {ended}"
                assert ended in (None, 0), f"{name} failed\n{self.logs()}"
            else:
                assert ended is None, f"{name} ended with {ended}\n{self.logs()}"
                problem = self.health(name)
            assert time.monotonic() < deadline or not problem, f"{name}: {problem}\n{self.logs()}"
            time.sleep(0.1 if problem else 0)

    def _here(self, name: str, text: str) -> str:
        """The text as it has to be here, for this service."""
        for there, here in self._names.items():
            text = text.replace(there, here)
        text = text.replace("/var/lib/tailwatch", str(self.folder / name))
        text = text.replace("/etc/tailwatch/", f"{self.folder}/{name}-")
        for port, own in (("9101", self.ports["agent"]), ("9102", self.ports.get(name, 9102)), ("8080", self.api_port)):
            text = re.sub(rf"(127\.0\.0\.1:|_port: |\bport: ){port}\b", rf"\g<1>{own}", text)
        return text

    def _config(self, name: str, service: dict[str, Any]) -> None:
        for config in service["configs"]:
            text = (ROOT / compose()["configs"][config["source"]]["file"]).read_text(encoding="utf-8")
            Path(self._here(name, config["target"])).write_text(self._here(name, text), encoding="utf-8")

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """Only what the image sets, and what finds our packages here."""
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "TAILWATCH_KERNELS": "numpy"}
        return environment | dict(more)
