"""Who may import whom, what an agent loads, and whose packages are used."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.project import PACKAGES, ROOT

HEAVY = {
    "numba",
    "sqlalchemy",
    "fastapi",
    "xgboost",
    "pyarrow",
    "alembic",
    "pandas",
    "uvicorn",
    "pydantic",
    "sqlglot",
    "kafka",
    "psycopg",
    "pynvml",
}

AGENT = """
import contextlib, json, os, pathlib, resource, signal, sqlite3, sys, threading, time

def stop_when_it_has_worked():
    log = f"file:{pathlib.Path(sys.argv[1]).parent}/data/log.db?mode=ro"
    until, frames = time.monotonic() + 40, 0
    while (frames <= 4 or "http" not in sys.modules) and time.monotonic() < until:
        time.sleep(0.2)
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(log, uri=True)) as found:
            (frames,) = found.execute("SELECT count(*) FROM records").fetchone()
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=stop_when_it_has_worked, daemon=True).start()
from tailwatch.cli import main
code = main(["agent", "run", "--config", sys.argv[1]])
print(json.dumps({"code": code, "modules": sorted({name.partition(".")[0] for name in sys.modules})}))
"""


def test_imports_go_down_the_layers_only() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_a_collector_loads_no_library_of_analytics_before_there_is_something_to_analyse() -> None:
    code = (
        "import sys, sqlalchemy\n"
        "from collector.config import CollectorConfig\n"
        "from collector.jobs.drives import DriveRounds\n"
        "from collector.jobs.gpu_jobs import GpuRounds\n"
        "for job in (DriveRounds, GpuRounds):\n"
        "    job(CollectorConfig(), sqlalchemy.create_engine('sqlite://'), 'tester')\n"
        "print(sorted({'xgboost', 'drain3', 'sklearn', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.system
def test_an_agent_loads_nothing_it_does_not_need(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("ts,src,rtt_us\n1795000000000000000,a,5\n", encoding="utf-8")
    config = tmp_path / "tailwatch.yaml"
    config.write_text(
        """\
data_dir: data
streams: {probes: {src: string, rtt_us: int64}}
queries:
  - name: probes
    sql: SELECT src, sketch(rtt_us) AS probe_rtt_us FROM probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), src
agent:
  checkpoint_s: 0.25
  plan_url: http://127.0.0.1:9
  plan_poll_s: 0.2
  sources:
    - kind: hiccups
    - kind: host
    - {kind: replay, stream: probes, path: rows.csv}
    - {kind: datagrams, stream: api_requests, path: api.sock}
""",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", AGENT, str(config)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["code"] == 0, done.stderr
    assert "polars" in found["modules"]
    assert "http" in found["modules"], "it must have asked for a plan"
    assert HEAVY.intersection(found["modules"]) == set()
    with sqlite3.connect(tmp_path / "data" / "log.db") as log:
        (frames,) = log.execute("SELECT count(*) FROM records").fetchone()
    log.close()
    assert frames > 4, "the agent must have worked for this test to mean anything"


@pytest.mark.parametrize("name", [name for name in PACKAGES if name != "tailwatch"])
def test_a_foreign_package_of_the_same_name_stops_the_start(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("raise SystemExit('the foreign package was run')\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tailwatch.cli", "config", "show"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"error: the package {name!r} comes from {tmp_path / name}, wanted {ROOT / name}; another project has the same "
        "package name: install tailwatch into an environment of its own and clear PYTHONPATH\n"
    )
