"""Table 3: DogStatsD lines from a socket to p99 by service, many lines to a datagram and one.

Ours is the whole way of an agent: datagrams received, lines taken apart, tags, times, the query's chain with sketches.
Beside it a loop in Python that keeps values in lists, and StatsD's own server, on node. Another process sends, no
faster than the receiver takes, so nobody drops anything; whoever has not received every line has no number.
"""

import socket
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from agents.sources.configs import StatsdConfig
from agents.sources.statsd import StatsdSource
from agents.sources.streams import known_streams
from benchmarks.rounds import Candidate, interleaved
from benchmarks.sources.feeding import Answer, answer_of, fed
from benchmarks.sources.goals import DOGSTATSD_LINES
from benchmarks.sources.peer_rows import peer_row
from benchmarks.sources.sending import Sender
from benchmarks.sources.sizing import Sizing
from benchmarks.sources.statsd_server import StatsdServer, why_not
from benchmarks.tables import Column, Table
from benchmarks.targets import Scoreboard
from pipeline.sql import compile_query

OURS: Final = "tailwatch, a line per datagram"
NODE: Final = "StatsD on node"
PACKED: Final = 24  # lines of these lengths fill what clients put into one UDP datagram, 1432 bytes
PACKED_UNIX: Final = 140  # and into 8192 bytes
# What may wait in the queues of receivers: half of what they have, by default 208 KiB.
_OURS_WAITING: Final = 2**22
_OTHERS_WAITING: Final = 2**16
_GIVEN_UP_S: Final = 10.0
STREAMS: Final = known_streams({"statsd": {"service": "string", "route": "string"}})
PLAN: Final = compile_query(
    "timers",
    "SELECT service, sketch(value, weight) AS api_ms FROM statsd WHERE kind = 'timer' "
    "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), service",
    STREAMS,
    {},
)
COLUMNS: Final = [
    Column("who", "who"), Column("median", "lines/s", 0), Column("low", "lowest", 0), Column("high", "highest", 0),
    Column("ratio", "ours / peer", 1), Column("state", ""),
]  # fmt: skip


def run(sizing: Sizing, board: Scoreboard) -> list[Table]:
    """The table."""
    table = Table("statsd", "3. DogStatsD lines to p99 by service", COLUMNS)
    table.notes.append("lines such as " + next(statsd_lines(1)) + ", sent by another process; CPU time of the receiver")
    table.notes.append(f"{sizing.statsd_lines:,} lines, for peers the first {sizing.slow_lines:,}")
    table.notes.append(f"many: {PACKED} to a datagram of UDP, {PACKED_UNIX} to one of a Unix socket")
    table.notes.append("StatsD on node receives, parses and stores; no percentile is computed while it is measured")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tailwatch-statsd-")))
        lines = list(statsd_lines(sizing.statsd_lines))
        whole = Work.of(folder / "whole", lines)
        part = Work.of(folder / "part", lines[: sizing.slow_lines])
        candidates, servers = _candidates(whole, part, folder, stack)
        clock = partial(_cpu_s, servers)
        found = interleaved(candidates, sizing.rounds, clock=clock)
    for who in candidates:
        table.rows.append(peer_row(who, found, _compared(who)))
    if reason := why_not():
        table.rows.append({"who": NODE, "median": None, "low": None, "high": None, "ratio": None, "state": reason})
    if OURS in found.seconds:
        what = "one to a datagram: received, taken apart, through a query with sketch(value, weight) by service"
        board.score(DOGSTATSD_LINES, found.rate(OURS).median, what)
    else:
        board.fail(DOGSTATSD_LINES, found.failed[OURS])
    return [table]


def statsd_lines(count: int) -> Iterator[str]:
    """Timers with two tags that are wanted and one that is not, from one fixed seed."""
    draw = np.random.default_rng(8)
    took = draw.lognormal(2.5, 1.2, count)
    service, route = draw.integers(0, 8, count), draw.integers(0, 40, count)
    for i in range(count):
        yield f"api.request.took:{took[i]:.3f}|ms|#service:web{service[i]},route:/api/{route[i]},env:prod"


@dataclass(frozen=True, slots=True)
class Work:
    """A file of lines, and their exact p99 by service."""

    path: Path
    count: int
    exact: Answer

    @staticmethod
    def of(path: Path, lines: list[str]) -> "Work":
        """Write the file."""
        path.write_text("\n".join(lines), encoding="ascii")
        values: dict[str, list[float]] = defaultdict(list)
        for line in lines:
            values[line.split("service:", 1)[1].split(",", 1)[0]].append(float(line.split(":", 1)[1].split("|", 1)[0]))
        return Work(path, len(lines), {service: _p99(took) for service, took in values.items()})

    def check(self, answer: Answer) -> None:
        """AssertionError unless every line was counted and each p99 is within the sketch's error."""
        for service, (count, p99) in answer.items():
            wanted = self.exact[service]
            if count != wanted[0] or abs(p99 - wanted[1]) > 0.005416 * wanted[1]:
                raise AssertionError(f"{service}: {count} values with p99 {p99}, wanted {wanted}")
        if answer.keys() != self.exact.keys():
            raise AssertionError(f"services {sorted(answer)}, wanted {sorted(self.exact)}")


def _candidates(
    whole: Work, part: Work, folder: Path, stack: ExitStack
) -> tuple[dict[str, Candidate], list[StatsdServer]]:
    """By name; and the servers whose CPU counts as well."""
    found: dict[str, Candidate] = {}

    def add(who: str, work: Work, lines: int, address: str, most: int, receive: Callable[[Sender], Any]) -> None:
        sender = Sender(work.path, lines, address, most)
        stack.callback(sender.close)
        found[who] = Candidate(lambda _: receive(sender), per_run=work.count)

    for who, lines in ((OURS, 1), ("tailwatch, many lines", PACKED)):
        address = f"127.0.0.1:{_free_port()}"
        add(who, whole, lines, address, _OURS_WAITING, partial(_ours, whole, StatsdConfig(listen=address)))
    path = str(folder / "socket")
    config = StatsdConfig(listen="", socket_path=path)
    add("tailwatch, many lines, Unix socket", whole, PACKED_UNIX, path, 0, partial(_ours, whole, config))
    servers = []
    for how, lines in (("a line per datagram", 1), ("many lines", PACKED)):
        port = _free_port()
        receive = partial(_by_loop, part, port)
        add(f"Python, a loop, {how}", part, lines, f"127.0.0.1:{port}", _OTHERS_WAITING, receive)
        if not why_not():
            port = _free_port()
            server = StatsdServer(port, _free_port(), folder)
            stack.callback(server.close)
            servers.append(server)
            address = f"127.0.0.1:{port}"
            add(f"{NODE}, {how}", part, lines, address, _OTHERS_WAITING, partial(_by_server, part, server))
    return found, servers


def _ours(work: Work, config: StatsdConfig, sender: Sender) -> None:
    """What an agent makes of it."""
    source = StatsdSource(config, STREAMS["statsd"])
    started, until = False, time.monotonic() + _GIVEN_UP_S

    def is_over() -> bool:
        nonlocal started
        if not started:
            started = True
            sender.go()
        time.sleep(0.02)
        return source.counters()["records"] >= work.count or time.monotonic() > until

    answer = answer_of(fed(source, PLAN, is_over), "api_ms")
    sender.wait()
    work.check(answer)


def _by_loop(work: Work, port: int, sender: Sender) -> None:
    """What a script of an evening does."""
    values: dict[str, list[float]] = defaultdict(list)
    count = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", port))
        receiver.settimeout(_GIVEN_UP_S)
        sender.go()
        while count < work.count:
            for line in receiver.recv(2**16).decode().split("\n"):
                head, kind, *fields = line.split("|")
                _, _, value = head.partition(":")
                tags = next(field for field in fields if field.startswith("#"))[1:]
                named = dict(tag.partition(":")[::2] for tag in tags.split(","))
                if kind == "ms":
                    values[named["service"]].append(float(value))
                count += 1
    sender.wait()
    work.check({service: _p99(took) for service, took in values.items()})


def _by_server(work: Work, server: StatsdServer, sender: Sender) -> None:
    server.forget()
    before = server.received()
    sender.go()
    sender.wait()
    until = time.monotonic() + _GIVEN_UP_S
    while server.received() - before < work.count and time.monotonic() < until:
        time.sleep(0.02)
    if server.received() - before != work.count:
        raise AssertionError(f"received {server.received() - before} of {work.count} lines")


def _cpu_s(servers: list[StatsdServer]) -> float:
    """Of this process and of the servers: only one of all is at work at a time."""
    return time.process_time() + sum(server.cpu_s() for server in servers)


def _p99(values: list[float]) -> tuple[int, float]:
    """How many, and the one at the nearest rank."""
    rank = max(1, int(np.ceil(0.99 * len(values))))
    return len(values), float(np.sort(values)[rank - 1])


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def _compared(who: str) -> str | None:
    """A peer is compared with ours on the same datagrams."""
    if who.startswith("tailwatch"):
        return None
    return OURS if who.endswith("a line per datagram") else "tailwatch, many lines"
