"""The stack of docker-compose.yml in containers, where a Docker engine answers: built, healthy, and asked."""

import json
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.project import ROOT, files
from tests.counterparts.choice import docker_engine, missing
from tests.deploy.deployed import compose

pytestmark = [pytest.mark.system, pytest.mark.timeout(2400)]
_UP_WITHIN_S = 1800
_ANSWERS_WITHIN_S = 120.0
# Nothing is published: somebody may use the ports of this machine.
_OVERRIDE = "services: {api: {ports: !reset []}, grafana: {ports: !reset []}}\n"


class Engine:
    """One project of `docker compose` on a copy of the checkout."""

    def __init__(self, folder: Path) -> None:
        self._command = ["docker", "compose", "--project-name", f"tailwatch-test-{uuid.uuid4().hex[:8]}"]
        self._command += ["--file", "docker-compose.yml", "--file", "unpublished.yml"]
        self._folder = folder

    def run(self, *words: str, timeout_s: float = 300.0) -> str:
        """Stdout of a command of compose; what it says on stderr becomes part of the failure."""
        done = subprocess.run(
            [*self._command, *words], cwd=self._folder, capture_output=True, text=True, check=False, timeout=timeout_s
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def secret(self, name: str) -> str:
        return (self._folder / "deploy/secrets" / name).read_text(encoding="utf-8").strip()


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    why_not = docker_engine()
    if why_not is not None:
        missing(why_not)
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        missing("the Docker engine answers, but `docker compose` is not installed")
    for path in files():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, copy)
    (tmp_path / "unpublished.yml").write_text(_OVERRIDE, encoding="utf-8")
    subprocess.run([str(tmp_path / "deploy/make-secrets")], check=True, capture_output=True, timeout=60)
    engine = Engine(tmp_path)
    try:
        yield engine
    finally:
        engine.run("down", "--volumes", "--remove-orphans", "--timeout", "20")


def test_the_stack_runs_in_containers_and_grafana_reaches_it(engine: Engine) -> None:
    engine.run("config", "--quiet")
    engine.run("up", "--build", "--detach", "--wait", "--wait-timeout", str(_UP_WITHIN_S), timeout_s=_UP_WITHIN_S + 60)
    listed = [json.loads(line) for line in engine.run("ps", "--all", "--format", "json").splitlines()]
    states = {each["Service"]: (each["State"], each.get("Health", ""), each["ExitCode"]) for each in listed}
    assert set(states) == set(compose()["services"])
    once = {"topic", "migrate", "grafana-key", "agents-key"}
    assert {name: state for name, (state, _, code) in states.items() if name in once and code != 0} == {}
    assert {
        name: seen for name, seen in states.items() if name not in once and seen[:2] != ("running", "healthy")
    } == {}
    key = f"TAILWATCH_API_KEY={engine.secret('grafana-key')}"
    query = ["exec", "-T", "--env", key, "api", "tailwatch", "query", "hiccup_us", "--start", "-1m", "--output", "json"]
    deadline = time.monotonic() + _ANSWERS_WITHIN_S
    while "p99" not in (said := engine.run(*query)) and "0.99" not in said:
        assert time.monotonic() < deadline, said
        time.sleep(1)
    admin = f"http://admin:{engine.secret('grafana-admin-password')}@127.0.0.1:3000"
    health = f"{admin}/api/datasources/uid/tailwatch/health"
    assert '"status":"OK"' in engine.run("exec", "-T", "grafana", "wget", "-qO-", health).replace(" ", "")
    agent = engine.run("exec", "-T", "agent", "sh", "-c", "id -u; touch /opt/x 2>&1; cat /proc/1/status | grep CapEff")
    assert agent.splitlines()[0] == "10001"
    assert "Read-only file system" in agent
    assert int(agent.rpartition(":")[2], 16) == 0
