"""The agent as a process: run, stopped, scraped, killed; and its reference page."""

import logging
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.errors import AgentError, MetricsPortError
from agents.own_metrics import METRICS
from agents.runner import run_agent
from agents.sources.streams import BUILTIN_STREAMS
from pipeline.chain import Chain
from pipeline.plan import encode_plan
from tests.agents.live import HICCUPS, REQUESTS, got, received_of, turned, until
from tests.agents.world import (
    PLAN,
    assert_same_answer,
    probe_file,
    publisher_to,
    received,
    records_in,
    replay_config,
    truth,
)
from tests.counterparts.choice import free_port
from tests.fleet import TABLES
from tests.promptness import promptly
from wire.frame import decode_frame

ROOT = Path(__file__).parents[2]


def test_run_agent_stops_within_its_time_and_serves_its_metrics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    config = AgentConfig(id="a", spool_path=str(tmp_path / "spool.db"), metrics_port=port, checkpoint_s=0.1)
    plans = [HICCUPS, REQUESTS]
    stop = threading.Event()
    with publisher_to(tmp_path / "log.db") as publisher:
        runner = threading.Thread(target=run_agent, args=(config, plans, {}, publisher, stop))
        with caplog.at_level(logging.INFO):
            runner.start()
            assert until(lambda: b'records_in_total{stream="hiccups"}' in got(port, "/metrics")[1])
        status, page = got(port, "/metrics")
        assert status == 200
        assert {line.split()[2] for line in page.decode().splitlines() if line.startswith("# TYPE")} <= set(METRICS)
        assert got(port, "/healthz") == (200, b"ok\n")
        assert got(port, "/else")[0] == 404
        with pytest.raises(MetricsPortError, match=rf"127.0.0.1:{port}.*agent\.metrics_port"):
            run_agent(
                msgspec.structs.replace(config, spool_path=str(tmp_path / "other.db")), plans, {}, publisher, stop
            )
        with promptly(1.5):
            stop.set()
            runner.join()
        assert "no query reads it streams=host," in caplog.text
    assert received(tmp_path / "log.db", Chain(HICCUPS, {})).heartbeats[-1].clean


CHILD = """
import logging, pathlib, sys, threading
from agents.config import AgentConfig
from agents.sources.configs import HiccupsConfig, HostConfig, ReplayConfig
from agents.runner import run_agent
from pipeline.plan import decode_plan
from tests.counterparts.choice import free_port
from tests.fleet import TABLES
from wire.embedded import EmbeddedPublisher
folder, data = pathlib.Path(sys.argv[1]), sys.argv[2]
config = AgentConfig(id="a", host="h", spool_path=str(folder / "spool.db"), checkpoint_s=0.05, epoch_s=0.05,
    policy="all-src",
    sources=(ReplayConfig(stream="probes", path=data, rows_per_s=20000), HiccupsConfig(), HostConfig()))
plans = [decode_plan((folder / name).read_bytes()) for name in ("probes.plan", "hiccups.plan")]
heavy = {"numba", "sqlalchemy", "fastapi", "xgboost", "pyarrow", "pandas"}
print("heavy:", *sorted(heavy & set(sys.modules)), flush=True)
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
run_agent(config, plans, TABLES, EmbeddedPublisher(folder / "log.db"), threading.Event())
"""


@pytest.mark.system
def test_kill_nine_at_random_moments_counts_every_record_of_a_file_once(tmp_path: Path) -> None:
    data, records = probe_file(tmp_path, 20_000)
    (tmp_path / "probes.plan").write_bytes(encode_plan(PLAN))
    (tmp_path / "hiccups.plan").write_bytes(encode_plan(HICCUPS))
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(data)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"}

    def lives() -> int:
        frames = (decode_frame(record.payload) for record in records_in(tmp_path / "log.db"))
        return len({frame.header.incarnation for frame in frames})

    for number, life_s in enumerate((0.15, 0.3, 0.21), 1):
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "heavy:\n"
            # A life begins with what it sends, not with the process: how long that takes depends on the machine.
            assert any(line.startswith("agent started") for line in process.stdout)
            assert until(lambda number=number: lives() == number)
            time.sleep(life_s)
            process.send_signal(signal.SIGKILL)
    with publisher_to(tmp_path / "log.db") as publisher:
        last = Agent(replay_config(tmp_path, data), [PLAN], TABLES, publisher, machine=None)
        assert len(last.spool.positions()) == 1
        assert turned(last, lambda: last.sources[0].source.finished, 60)
        last.checkpoint()
        # `close` publishes for 0.6 s only and leaves the rest to the next start, which does not come here.
        assert turned(last, lambda: not last.spool.frames, 60)
        last.close()
    assert_same_answer(received_of(tmp_path, PLAN.query, Chain(PLAN, TABLES)), truth(records))
    assert lives() == 4


def test_every_setting_metric_and_error_is_in_the_reference() -> None:
    pages = [
        ROOT / "docs/reference/agent.md",
        ROOT / "docs/reference/configuration.md",
        *ROOT.glob("docs/sources/*.md"),
    ]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    settings = list(AgentConfig.__struct_fields__)
    for kind in AgentConfig.__annotations__["sources"].__args__[0].__args__:
        settings += [kind.__struct_config__.tag, *kind.__struct_fields__]
    streams = [*BUILTIN_STREAMS, *(column for schema in BUILTIN_STREAMS.values() for column in schema)]
    errors = re.findall(r"class (\w+Error)", (ROOT / "agents" / "errors.py").read_text())
    wanted = [*settings, *METRICS, *streams, *errors]
    assert len(wanted) > 80
    assert [name for name in wanted if f"`{name}`" not in text and f"`{name}:" not in text] == []
    assert AgentError.__name__ in wanted
