"""The example as a program: it serves by the table it polls, sends all samples, and goes on when nobody answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.stand_in_api import stand_in_api, table_answer, taken

ROOT = Path(__file__).resolve().parents[2]


def served(*arguments: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "examples.parallel_service.server", "--seconds", "1", "--load", "0.1", *arguments],
        cwd=ROOT, env=os.environ | {"API_KEY": ""}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.system
def test_it_serves_by_the_table_and_sends_every_request_once(tmp_path: Path) -> None:
    kept = tmp_path / "table.json"
    first = json.loads(table_answer(7)[1])
    kept.write_text(json.dumps(first), encoding="utf-8")
    with stand_in_api() as api:
        api.say(taken())
        told = served("--api", api.url, "--table-file", str(kept), "--poll-s", "600", "--service", "pricing")
        posted = [one for one in api.asked if one.method == "POST"]
        samples = [sample for one in posted for sample in one.requests()]
    assert told["table_version"] == 7
    assert told["requests"] > 20
    unique = {one.path.partition("batch=")[2]: one.requests() for one in posted}
    assert sum(len(batch) for batch in unique.values()) == told["requests"] == told["samples_accepted"]
    assert {sample["table_version"] for sample in samples} == {7}
    assert {sample["degree"] for sample in samples} <= {1, 2}
    assert all(sample["cpu_us"] > 0 and sample["predicted_us"] > 0 for sample in samples)


@pytest.mark.system
def test_it_serves_when_nobody_answers() -> None:
    told = served("--api", "http://127.0.0.1:9", "--policy", "fixed", "--degree", "2")
    assert told["table_version"] == -1
    assert told["samples_accepted"] == 0
    assert told["samples_dropped"] == told["requests"] > 20
