"""The stack of docker-compose.yml, run as processes: its start order, health checks, keys, data, and its end."""

import base64
import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.deployed import DEPLOY
from tests.deploy.stack_here import StackHere

pytestmark = pytest.mark.system
_WITHIN_S = 90.0


@pytest.fixture
def stack(tmp_path: Path, kafka_server: str, postgres_url: str) -> Iterator[StackHere]:
    secrets = tmp_path / "secrets"
    subprocess.run([str(DEPLOY / "make-secrets"), str(secrets)], check=True, capture_output=True, timeout=60)
    stack = StackHere(tmp_path, kafka_server, postgres_url, secrets)
    yield stack
    stack.close()


def asked(stack: StackHere, path: str, authorization: str = "") -> tuple[int, Any]:
    """Status and body of the API's answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{stack.api_port}{path}")
    if authorization:
        request.add_header("Authorization", authorization)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def page(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        return str(answer.read().decode())


def until(condition: Callable[[], bool], stack: StackHere, what: str) -> None:
    deadline = time.monotonic() + _WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {_WITHIN_S} s\n{stack.logs()}"
        time.sleep(0.1)


def test_the_stack_comes_up_in_order_measures_and_goes_down_in_time(stack: StackHere) -> None:
    stack.up()
    assert asked(stack, "/api/v1/status")[0] == 401, "beyond loopback nobody asks without a key"
    bearer = f"Bearer {stack.secret('grafana-key')}"
    basic = "Basic " + base64.b64encode(f"grafana:{stack.secret('grafana-key')}".encode()).decode()

    def value(metric: str) -> bool:
        query = urllib.parse.quote(f"histogram_count(sum(increase({metric}[1m])))")
        status, answer = asked(stack, f"/prometheus/api/v1/query?query={query}", basic)
        assert status == 200
        return any(float(sample["value"][1]) > 0 for sample in answer["data"]["result"])

    until(lambda: value("hiccup_us"), stack, "the agent's records in an answer, asked as Grafana asks")

    def shown(expression: str) -> list[float]:
        query = urllib.parse.quote(expression)
        status, answer = asked(stack, f"/prometheus/api/v1/query?query={query}", basic)
        assert status == 200
        return [float(sample["value"][1]) for sample in answer["data"]["result"]]

    def collectors_seen() -> bool:
        return shown("sum(collector_partitions_held_count)") == [6] and len(shown("collector_pending_bytes")) == 2

    until(collectors_seen, stack, "both collectors' own metrics, scraped by the agent")
    until(lambda: shown('fleet_agents_count{state="alive"}') == [1], stack, "the API's, with the agents' key")
    until(lambda: value("api_request_us"), stack, "the API's own latencies, by the socket that both mount")

    def held() -> float:
        return sum(
            float(line.split()[1])
            for name in ("collector-1", "collector-2")
            for line in page(stack.ports[name]).splitlines()
            if line.startswith("tailwatch_collector_partitions_held ")
        )

    until(lambda: held() == 6, stack, "both collectors' own pages")  # they may share anew at any time
    until(
        lambda: "tailwatch_agents_plan_polls_total" in page(stack.ports["agent"]), stack, "the agent asks for its plan"
    )
    failures = re.findall(r'_plan_failures_total{reason="(\w+)"}', page(stack.ports["agent"]))
    assert set(failures) <= {"unreachable"}, "its key is good"
    assert asked(stack, "/api/v1/queries", bearer)[0] == 200
    for name in ("topic", "migrate", "grafana-key", "agents-key"):
        stack.start(name)
        assert stack.processes.pop(name).wait(timeout=60) == 0, f"{name} may run at every start\n{stack.logs()}"
    assert [stack.stop(name) for name in ("agent", "collector-1", "collector-2", "api")] == [0, 0, 0, 0]
    assert stack.health("api") != ""
