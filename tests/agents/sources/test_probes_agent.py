"""Probes in a whole agent: its metrics, and reloads that change peers, ports and keys."""

import os
import socket
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.errors import SourceError
from agents.reload import NewSetup
from agents.sources.configs import ProbesConfig
from agents.sources.probes import ProbesSource
from agents.sources.probes_peers import peer_of
from agents.sources.streams import BUILTIN_STREAMS
from pipeline.chain import Chain
from pipeline.sql import compile_query
from tests.agents.live import received_of, turned, until
from tests.agents.sources.test_probes import quick
from tests.agents.world import MACHINE, publisher_to, received
from tests.counterparts.choice import free_port

PLAN = compile_query(
    "probes",
    "SELECT peer, sketch(latency_us) AS probe_us, sum(failed) AS probe_failures_total, count(*) AS probes_total "
    "FROM peer_probes GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), peer",
    dict(BUILTIN_STREAMS),
    {},
)


def agent_config(folder: Path, *sources: ProbesConfig, **more: Any) -> AgentConfig:
    return AgentConfig(id="a", spool_path=str(folder / "spool.db"), policy="all-src", sources=sources, **more)


def test_an_agent_makes_latencies_and_loss_of_it_and_announces_where_it_is_found(tmp_path: Path) -> None:
    here, there = free_port(), free_port()
    config = agent_config(tmp_path, quick(listen=f"127.0.0.1:{here}", peers=(f"127.0.0.1:{there}",), interval_s=0.2))
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], {}, publisher, machine=MACHINE)
        probing = agent.sources[0].source
        assert isinstance(probing, ProbesSource)
        assert turned(agent, lambda: agent.sources[0].rows >= 3 and probing.announced)
        agent.checkpoint()
        agent.close()
    got = received_of(tmp_path, "probes", Chain(PLAN, {}))
    statuses = received(tmp_path / "log.db", Chain(PLAN, {})).statuses
    assert got["rows"].sum() == got["probe_failures_total.lo"].sum() >= 3
    assert f"127.0.0.1:{here}" in {status.probes for status in statuses}


def knocked(port: int) -> str:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return connection.makefile("rb").read().decode()


def test_a_reload_changes_peers_while_the_port_stays_open_and_nobody_is_probed_early(tmp_path: Path) -> None:
    port = free_port()
    first = quick(listen=f"127.0.0.1:{port}", peers=("127.0.0.1:1",), interval_s=3600.0, max_per_s=0.0001)
    config = agent_config(tmp_path, first)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], {}, publisher, machine=MACHINE)
        before = agent.sources[0].source
        assert isinstance(before, ProbesSource)
        assert before._loop is not None
        key = peer_of("127.0.0.1:1").key
        with before._loop._turn:
            before._loop._schedule.go_on_from({key: time.monotonic()})
        assert before._listener is not None
        listening = os.fstat(before._listener.fileno()).st_ino
        changed = msgspec.structs.replace(first, peers=("127.0.0.1:1", "127.0.0.1:2"), max_per_s=1000.0)
        agent.reload(NewSetup.of(msgspec.structs.replace(config, sources=(changed,)), [PLAN], {}))
        after = agent.sources[0].source
        assert isinstance(after, ProbesSource)
        assert after is not before
        assert after._listener is not None
        assert os.fstat(after._listener.fileno()).st_ino == listening, "it is the very same socket"
        assert knocked(port).startswith("HTTP/1.1 200 OK")
        assert after._loop is not None
        assert key in after._loop._schedule.sent_s
        assert until(lambda: len(after._loop._schedule._due) == 2)  # type: ignore[union-attr]
        with after._loop._turn:
            due = {key: at_s for at_s, key in after._loop._schedule._due}
        assert due[key] > time.monotonic() + 3000
        agent.close()


def test_a_reload_that_fails_leaves_the_port_and_the_probes_as_they_were(tmp_path: Path) -> None:
    port = free_port()
    first = quick(listen=f"127.0.0.1:{port}", peers=(f"127.0.0.1:{free_port()}",), timeout_s=0.2, interval_s=0.2)
    config = agent_config(tmp_path, first)
    with publisher_to(tmp_path / "log.db") as publisher, socket.create_server(("127.0.0.1", 0)) as taken:
        agent = Agent(config, [PLAN], {}, publisher, machine=MACHINE)
        wrong = msgspec.structs.replace(first, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(SourceError, match="in use"):
            agent.reload(NewSetup.of(msgspec.structs.replace(config, sources=(wrong,)), [PLAN], {}))
        rows = agent.sources[0].rows
        assert turned(agent, lambda: agent.sources[0].rows > rows + 2)
        assert knocked(port).startswith("HTTP/1.1 200 OK")
        agent.close()


def test_another_api_key_or_address_takes_another_source(tmp_path: Path) -> None:
    source = quick(listen=f"127.0.0.1:{free_port()}")
    config = agent_config(tmp_path, source)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], {}, publisher, machine=MACHINE)
        before = agent.sources[0].source
        agent.reload(NewSetup.of(msgspec.structs.replace(config, epoch_s=0.5), [PLAN], {}))
        assert agent.sources[0].source is before
        url = f"http://127.0.0.1:{free_port()}"
        agent.reload(NewSetup.of(msgspec.structs.replace(config, plan_url=url), [PLAN], {}))
        assert agent.sources[0].source is not before
        agent.close()


def test_a_port_that_is_taken_or_no_address_is_refused_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        source = ProbesSource(ProbesConfig(listen=f"127.0.0.1:{taken.getsockname()[1]}"), AgentConfig(id="a"))
        with pytest.raises(SourceError, match="in use; set another address"):
            source.open(None)
    with pytest.raises(SourceError, match="no address"):
        ProbesSource(ProbesConfig(listen="nowhere.invalid:1"), AgentConfig(id="a")).open(None)
