"""Table 8: from an event at the agent to its presence in a REST answer, through a broker, with default settings."""

import random
import socket
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np

from benchmarks.collector.brokers import broker, session, topic
from benchmarks.collector.goals import FRESHNESS
from benchmarks.collector.processes import METRIC, STREAM, Processes
from benchmarks.collector.sizing import Sizing
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard

POLL_S = 0.05
PATIENCE_S = 60.0
COLUMNS = [
    Column("events", "events"), Column("median", "median s", 2), Column("p90", "p90 s", 2),
    Column("p99", "p99 s", 2), Column("worst", "worst s", 2),
]  # fmt: skip


def run(size: Sizing, board: Scoreboard) -> list[Table]:
    """Events one by one at random times; the API is asked all the time for the count up to now."""
    table = Table("freshness", "8. Freshness: from an event at the agent to a REST answer that counts it", COLUMNS)
    table.notes = [
        "One process each: agent (datagram source), collector, API; tansu, SQLite; open windows count.",
        "Default settings" + (f", but a session of {size.session_s:g} s." if size.session_s else "."),
        f"Events at random moments, {size.event_gap_s:g} s apart on average; a question every {POLL_S * 1e3:g} ms.",
        "The time until the answer is in hand counts.",
    ]
    try:
        with broker() as address, TemporaryDirectory(prefix="tailwatch-bench-") as folder:
            config = topic(address, f"freshness-{time.time_ns()}", **session(size.session_s))
            processes = Processes(Path(folder), config)
            try:
                ages = np.array(_ages(processes, size))
            finally:
                processes.close()
    except RuntimeError as error:
        board.fail(FRESHNESS, f"no broker: {error}")
        table.notes.append(f"Nothing was measured: {error}")
        return [table]
    p99 = float(np.quantile(ages, 0.99, method="inverted_cdf"))
    table.rows.append({
        "events": len(ages), "median": float(np.median(ages)), "p90": float(np.quantile(ages, 0.9)), "p99": p99,
        "worst": float(ages.max()),
    })  # fmt: skip
    board.score(FRESHNESS, p99, f"p99 of {len(ages)} events, nearest rank; worst {ages.max():.2f}")
    return [table]


def _ages(processes: Processes, size: Sizing) -> list[float]:
    """Seconds from sending each event to an answer that counts it."""
    for name in ("collector", "agent", "api"):
        processes.start(name)
    processes.wait(processes.socket.exists, "the agent listens")
    processes.wait(lambda: processes.ask("/readyz") is not None, "the API is ready")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(processes.socket))
        # Until the group has formed and the first event is through, nothing is steady.
        _send(sender)
        processes.wait(lambda: _count(processes) >= 1, "the first event arrives", PATIENCE_S)
        return _timed(processes, size, lambda: _send(sender))


def _timed(processes: Processes, size: Sizing, send: Callable[[], None]) -> list[float]:
    chance = random.Random(8)
    sent: list[float] = []
    ages: list[float] = []
    next_send = time.monotonic()
    deadline = next_send + PATIENCE_S + 2 * size.events * size.event_gap_s
    while len(ages) < size.events:
        now = time.monotonic()
        if len(sent) < size.events and now >= next_send:
            send()
            sent.append(now)
            next_send = now + chance.uniform(0, 2 * size.event_gap_s)
        counted = _count(processes) - 1  # without the one that came before
        now = time.monotonic()
        ages += [now - sent[place] for place in range(len(ages), min(counted, len(sent)))]
        if now > deadline:
            raise TimeoutError(f"{len(ages)} of {size.events} events were counted in time")
        time.sleep(max(0.0, min(POLL_S, next_send - time.monotonic())) or POLL_S / 5)
    assert counted == size.events, f"{counted} events counted, {size.events} sent"
    return ages


def _send(sender: socket.socket) -> None:
    sender.send(msgspec.msgpack.encode({"stream": STREAM, "rows": [[time.time_ns(), "probe"]]}))


def _count(processes: Processes) -> int:
    """All events so far, those of the open window included."""
    answer = processes.ask(f"/api/v1/values?metric={METRIC}&start=-1h&end=now%2B10s")
    groups = answer["groups"] if answer else []
    return int(groups[0]["value"]) if groups else 0
