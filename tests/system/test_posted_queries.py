"""Queries posted to running processes: data within seconds, a change that loses and doubles nothing, an end."""

import json
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.promptness import promptly
from tests.system.stack import Stack, until

pytestmark = pytest.mark.system

SECOND_NS = 10**9
RACKS = {"a": "r1", "b": "r1", "c": "r2"}
FIRST = """SELECT r.rack AS rack, count(*) AS sent_total FROM probes JOIN racks AS r ON probes.src = r.ip
GROUP BY TUMBLE(ts, INTERVAL '1' SECOND), r.rack"""
SECOND = FIRST.replace("AS sent_total", "AS sent_total, max(rtt_us) AS sent_rtt_max_us")
PATIENCE_S = 120


class Sender:
    """Sends probes of now to agents' sockets and remembers how many of each rack were of which second."""

    def __init__(self, sockets: list[Path]) -> None:
        self.sent: Counter[tuple[int, str]] = Counter()
        self.stop = threading.Event()
        self._sockets = [socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in sockets]
        for sender, path in zip(self._sockets, sockets, strict=True):
            sender.connect(str(path))
        self.thread = threading.Thread(target=self._run, daemon=True)

    def send(self, ts_ns: int) -> None:
        for sender in self._sockets:
            rows = [[ts_ns, src, 7, 0.5, 0] for src in RACKS]
            sender.send(msgspec.msgpack.encode({"stream": "probes", "rows": rows}))
            self.sent.update((ts_ns // SECOND_NS, rack) for rack in RACKS.values())

    def _run(self) -> None:
        while not self.stop.wait(0.01):
            self.send(time.time_ns())

    def end(self) -> None:
        self.stop.set()
        self.thread.join()
        for sender in self._sockets:
            sender.close()


def add_live_agent(stack: Stack, name: str, policy: str) -> Path:
    """An agent with a socket that asks the stack's API; it knows neither the table nor the query."""
    path = stack.folder / f"{name}.sock"
    agent = {
        "id": name,
        "policy": policy,
        "checkpoint_s": 0.2,
        "epoch_s": 0.1,
        "spool_path": str(stack.folder / f"{name}-spool.db"),
        "sources": [{"kind": "datagrams", "stream": "probes", "path": str(path)}],
        "plan_url": f"http://127.0.0.1:{stack.port}",
        "plan_poll_s": 0.3,
    }
    stack._write(name, {"agent": agent})
    return path


def ask(stack: Stack, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
    request = urllib.request.Request(f"http://127.0.0.1:{stack.port}{path}", data=body, method=method)
    request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def post(stack: Stack, sql: str) -> dict[str, Any]:
    return ask(stack, "POST", "/api/v1/queries", json.dumps({"name": "sent", "sql": sql}).encode())


def stored(stack: Stack, start_s: int, end_s: int) -> tuple[Counter[tuple[int, str]], dict[str, Any]]:
    """Counts by second and rack as the API answers them, and their coverage."""
    question = urllib.parse.urlencode(
        {"metric": "sent_total", "by": "rack", "step": "1s", "start": start_s, "end": end_s}
    )
    answer = ask(stack, "GET", f"/api/v1/values?{question}")
    counts = {(group["start_ns"] // SECOND_NS, group["labels"]["rack"]): group["value"] for group in answer["groups"]}
    return Counter(counts), answer["coverage"]


def answers(stack: Stack) -> bool:
    try:
        return bool(ask(stack, "GET", "/readyz"))
    except OSError:
        return False


def test_a_posted_query_shows_data_at_once_changes_without_loss_and_ends(tmp_path: Path) -> None:
    stack = Stack(tmp_path)
    stack._write("api", {"api": {"port": stack.port, "valid_from_lead_s": 3}})
    sockets = [add_live_agent(stack, "agent-1", "all-src"), add_live_agent(stack, "agent-2", "all-sp")]
    sender = None
    try:
        for name in ("api", "collector", "agent-1", "agent-2"):
            stack.start(name)
        until(lambda: answers(stack) and all(path.exists() for path in sockets), PATIENCE_S, "no start")
        sender = Sender(sockets)
        sender.thread.start()
        rows = json.dumps([{"ip": ip, "rack": rack} for ip, rack in RACKS.items()]).encode()
        ask(stack, "PUT", "/api/v1/tables/racks", rows)
        begun_s = time.time()
        with promptly(10):  # data of a posted query must show within seconds
            post(stack, FIRST)
            until(lambda: stored(stack, int(begun_s), int(begun_s) + 60)[0].total() > 0, PATIENCE_S, "no data")
        # From the second after the next on, both agents have run it for whole windows.
        until(lambda: stack.said("agent-1", "new=sent") == stack.said("agent-2", "new=sent") == 1, PATIENCE_S, "no run")
        from_s = int(time.time()) + 2

        changed_s = post(stack, SECOND)["valid_from_ns"] // SECOND_NS
        until(lambda: time.time() > changed_s + 1.5, PATIENCE_S, "the change does not come")
        sender.send(changed_s * SECOND_NS - 1)  # late ones belong to the version that was valid then
        sender.send(changed_s * SECOND_NS)
        ended_s = ask(stack, "DELETE", "/api/v1/queries/sent")["valid_until_ns"] // SECOND_NS
        until(lambda: time.time() > ended_s + 1.5, PATIENCE_S, "the end does not come")
        sender.end()

        wanted = {key: count for key, count in sender.sent.items() if from_s <= key[0] < ended_s}
        assert {changed_s - 1, changed_s, ended_s - 1} <= {second for second, _ in wanted}
        # Before the agents end: then they publish for a moment only, and leave the rest to their next start.
        until(lambda: stored(stack, from_s, ended_s)[0] == wanted, PATIENCE_S, f"stored as sent: {wanted}")
        for name in ("agent-1", "agent-2"):
            assert stack.stop(name) == 0
        assert stored(stack, from_s, ended_s)[0] == wanted
        assert stored(stack, ended_s, ended_s + 10)[0] == {}, "after its end nobody runs it"
        coverage = stored(stack, from_s, ended_s)[1]
        assert (coverage["ratio"], coverage["agents_reported"], coverage["agents_expected"]) == (1.0, 2, 2), coverage
        assert coverage["records_known"] == coverage["records_merged"] == sum(wanted.values())
        assert stored(stack, from_s, ended_s + 10)[1]["ratio"] == 1.0, "a retired query is expected of nobody"
        assert stack.said("collector", "dead letter") == 0
        assert stack.stop("collector") == 0
    except (AssertionError, urllib.error.URLError):
        print(stack.logs())
        raise
    finally:
        if sender is not None and not sender.stop.is_set():
            sender.end()
        stack.close()
