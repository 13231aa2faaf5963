"""Agents that tests feed by hand: a live stream over a socket, a loop that a test turns, a page that it scrapes."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import msgspec
import polars as pl

from agents.agent import Agent
from agents.config import AgentConfig
from agents.sources.configs import DatagramsConfig
from agents.sources.streams import BUILTIN_STREAMS
from pipeline.chain import Chain
from pipeline.partial import Partial
from pipeline.sql import compile_query
from tests.agents.world import MACHINE, records_in
from tests.fleet import START_NS
from wire.columns import unpack_columns
from wire.frame import decode_frame

HICCUPS = compile_query(
    "hiccups",
    "SELECT host, sketch(late_ns) AS late_ns FROM hiccups GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), host",
    dict(BUILTIN_STREAMS),
    {},
)
REQUESTS = compile_query(
    "requests",
    "SELECT route, sum(status) AS status_total FROM api_requests GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), route",
    dict(BUILTIN_STREAMS),
    {},
)


def until(condition: Callable[[], object], timeout_s: float = 60.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def turned(agent: Agent, done: Callable[[], object], timeout_s: float = 60.0) -> bool:
    return until(lambda: (agent.turn(), done())[1], timeout_s)


def send_requests(path: str, count: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(path)
        rows = [[START_NS + i, "/r", "GET", 200, 1.0] for i in range(count)]
        sender.send(msgspec.msgpack.encode({"stream": "api_requests", "rows": rows}))


def requests_agent(folder: Path, publisher: object, **changes: object) -> Agent:
    values: dict[str, object] = {
        "id": "agent-1",
        "spool_path": str(folder / "spool.db"),
        "policy": "all-src",
        "checkpoint_s": 60.0,
        "sources": (DatagramsConfig(stream="api_requests", path=str(folder / "rows.sock")),),
    }
    return Agent(AgentConfig(**(values | changes)), [REQUESTS], {}, publisher, machine=MACHINE)  # type: ignore[arg-type]


def received_of(folder: Path, query: str, chain: Chain) -> pl.DataFrame:
    """The merged answer of one of several queries in the log; a frame sent twice, after a kill, counts once."""
    parts: dict[tuple[str, int], Partial] = {}
    for record in records_in(folder / "log.db"):
        frame = decode_frame(record.payload)
        header = frame.header
        if (header.query, header.kind) == (query, "partial"):
            part = Partial.from_frame(chain.plan, unpack_columns(frame.body, Partial.schema(chain.plan)))
            parts[header.incarnation, header.sequence] = part
    return Partial.merge(list(parts.values())).sorted().to_frame()


def got(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()
    except OSError:
        return 0, b""
