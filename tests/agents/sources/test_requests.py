"""The source `requests`, asked as its clients do: answers, refusals, datagrams, bounds, the snippets of its page."""

import gzip
import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from agents.agent import Agent
from agents.config import AgentConfig
from agents.errors import SourceError
from agents.own_metrics import page_of
from agents.own_samples import source_samples
from agents.progress import SourceProgress
from agents.reload import NewSetup
from agents.sources import requests
from agents.sources.configs import RequestsConfig
from agents.sources.requests import RequestsSource
from agents.sources.source import Lost
from agents.sources.streams import BUILTIN_STREAMS
from agents.sources.udp import LostDatagrams
from pipeline.chain import Chain
from pipeline.sql import compile_query
from tests.agents.live import received_of, turned, until
from tests.agents.world import MACHINE, publisher_to
from tests.counterparts.choice import free_port

PAGE = (Path(__file__).parents[3] / "docs" / "sources" / "requests.md").read_text(encoding="utf-8")
GOOD = {"service": "search", "wait_ms": 1, "service_ms": 2.5}
PLAN = compile_query(
    "requests",
    "SELECT service, sketch(wait_us + service_us, weight) AS request_us, sum(weight) AS requests_total FROM requests "
    "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), service",
    dict(BUILTIN_STREAMS),
    {},
)
BOTH = RequestsConfig(listen="127.0.0.1:0", listen_udp="127.0.0.1:0")


@pytest.fixture
def make() -> Iterator[Callable[..., RequestsSource]]:
    opened: list[RequestsSource] = []

    def opener(**settings: Any) -> RequestsSource:
        config = msgspec.structs.replace(BOTH, **settings)
        opened.append(RequestsSource(config))
        opened[-1].open(None)
        return opened[-1]

    yield opener
    for source in opened:
        source.close()


def post(source: RequestsSource, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    named = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"http://127.0.0.1:{source.port}/v1/requests", body, named)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def rows_in(source: RequestsSource) -> pl.DataFrame:
    return pl.concat([batch.rows for batch in source.poll()])


def sent_to(source: RequestsSource, *datagrams: bytes) -> None:
    host, _, port = source.udp_address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for data in datagrams:
            sender.sendto(data, (host, int(port)))


def test_what_was_answered_with_success_is_in_the_next_poll(make: Callable[..., RequestsSource]) -> None:
    source = make()
    body = json.dumps([GOOD, {"service": "search"}, GOOD | {"trace": 1}]).encode()
    status, answer = post(source, body)
    assert (status, answer["accepted"], answer["left_out"], answer["ignored_fields"]) == (
        200, 2, {"no_times": 1}, ["trace"],
    )  # fmt: skip
    assert "neither a wait nor a service time" in answer["why"]["no_times"]
    assert rows_in(source)["wait_us"].to_list() == [1000.0, 1000.0]
    assert source.poll() == []
    counters = source.counters()
    assert {name: counters[name] for name in ("requests", "records", "no_times", "unknown_fields", "bad_values")} == {
        "requests": 1, "records": 2, "no_times": 1, "unknown_fields": 1, "bad_values": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (json.dumps(GOOD).encode(), {"Content_Type": "application/x-ndjson"}),
        (msgspec.msgpack.encode([GOOD]), {"Content_Type": "application/msgpack"}),
        (gzip.compress(json.dumps([GOOD]).encode(), mtime=0), {"Content_Encoding": "gzip"}),
    ],
    ids=["lines", "msgpack", "gzip"],
)
def test_every_form_is_taken(make: Callable[..., RequestsSource], body: bytes, headers: dict[str, str]) -> None:
    source = make()
    assert post(source, body, **headers) == (200, {"accepted": 1, "left_out": {}, "why": {}, "ignored_fields": []})


@pytest.mark.parametrize(
    ("status", "reason", "body", "headers"),
    [
        (415, "unknown_type", b"wait=1", {"Content_Type": "application/x-www-form-urlencoded"}),
        (415, "unknown_encoding", b"[]", {"Content_Encoding": "br"}),
        (400, "bad_gzip", b"[]", {"Content_Encoding": "gzip"}),
        (413, "too_large", b" " * 2**20, {}),
        (413, "too_large", gzip.compress(b" " * 2**24, mtime=0), {"Content_Encoding": "gzip"}),
    ],
)
def test_a_request_that_cannot_be_taken_is_told_why_and_counted(
    make: Callable[..., RequestsSource], status: int, reason: str, body: bytes, headers: dict[str, str]
) -> None:
    source = make(max_body_bytes=2**18)
    code, answer = post(source, body, **headers)
    assert (code, answer["reason"], bool(answer["error"])) == (status, reason, True)
    assert source.counters()[reason] == 1
    assert source.poll() == []


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, b"oops"), (400, b'[{"service": "a", "wait": 1}]'), (413, b"[" + b"{}," * 100_001 + b"{}]"), (200, b"[]")],
)
def test_a_batch_of_which_nothing_can_be_used_is_refused_with_its_reasons(
    make: Callable[..., RequestsSource], status: int, body: bytes
) -> None:
    code, answer = post(make(), body)
    assert (code, answer["accepted"]) == (status, 0)
    assert set(answer["why"]) == set(answer["left_out"])


def test_while_too_much_waits_a_batch_is_refused_whole_and_taken_later(
    make: Callable[..., RequestsSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "MOST_WAITING_ROWS", 2)
    source = make()
    body = json.dumps([GOOD, GOOD]).encode()
    assert [post(source, body)[0], post(source, body)[0]] == [200, 503]
    assert source.counters()["queue_full"] == 1
    assert rows_in(source).height == 2
    assert post(source, body)[0] == 200


def test_datagrams_are_taken_and_wrong_ones_counted(make: Callable[..., RequestsSource]) -> None:
    source = make()
    sent_to(source, json.dumps(GOOD).encode(), msgspec.msgpack.encode([GOOD, GOOD]), b"\xff", b"[" * 60_000)
    assert until(lambda: source.counters()["datagrams"] == 4)
    rows = rows_in(source)
    assert rows["service"].to_list() == ["search"] * 3
    assert source.counters()["malformed"] == 2


def test_a_burst_of_datagrams_is_taken_whole(
    make: Callable[..., RequestsSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "_ROWS_AT_ONCE", 100)
    source = make()
    for part in range(5):  # as many at once as the shortest queue of a kernel holds while nobody reads
        sent_to(source, *(json.dumps([GOOD | {"degree": part * 300 + i}]).encode() for i in range(300)))
        assert until(lambda part=part: source.counters()["datagrams"] == 300 * (part + 1))  # type: ignore[misc]
    assert rows_in(source)["degree"].to_list() == list(range(1500))


def test_datagrams_that_are_lost_count_as_the_samples_that_others_brought(
    make: Callable[..., RequestsSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make()
    sent_to(source, *[json.dumps([GOOD] * 5).encode()] * 3)
    assert until(lambda: source.counters()["datagrams"] == 3)
    source.poll()
    monkeypatch.setattr(source._receiver, "take", lambda: ([], [LostDatagrams(7, 2, "kernel_full")]))
    (batch,) = source.poll()
    assert batch.lost == (Lost(7, 10, "kernel_full"),)
    assert batch.rows.is_empty()


def test_services_beyond_the_limit_are_left_out_and_named_in_the_metrics(make: Callable[..., RequestsSource]) -> None:
    source = make(max_services=2)
    batch = [GOOD | {"service": name} for name in ("a", "b", "c", "c", 'd"\n' + "x" * 200)]
    status, answer = post(source, json.dumps(batch).encode())
    assert (status, answer["accepted"], answer["left_out"]) == (200, 2, {"series_limit": 3})
    assert "max_services" in answer["why"]["series_limit"]
    assert post(source, json.dumps(batch[2:3]).encode())[0] == 400
    (polled,) = source.poll()
    assert {one.reason for one in polled.lost} == {"series_limit"}
    assert sum(one.count for one in polled.lost) == 4
    assert "'c' (3 rows)" in source.missing()["series"]
    progress = SourceProgress.__new__(SourceProgress)
    progress.source, progress.failure = source, None
    page = page_of(source_samples([progress], {}, {}))
    assert 'tailwatch_agents_series{source="requests"} 2\n' in page
    assert 'tailwatch_agents_series_max{source="requests"} 2\n' in page
    assert 'tailwatch_agents_series_refused_total{source="requests"} 4\n' in page
    assert 'tailwatch_agents_series_offender_rows{source="requests",name="c"} 3\n' in page
    assert f'tailwatch_agents_series_offender_rows{{source="requests",name="d\\"?{"x" * 77}"}} 1\n' in page


def test_a_million_services_do_not_fill_the_memory(make: Callable[..., RequestsSource]) -> None:
    source = make(max_services=100, max_body_bytes=2**23)
    for part in range(4):
        batch = [{"service": f"{part}-{i}", "wait_us": 1} for i in range(30_000)]
        assert post(source, json.dumps(batch).encode())[1]["accepted"] == (100 if part == 0 else 0)
    assert (len(source.series_limit), source.series_limit.refused) == (100, 119_900)
    assert len(source.series_limit._offenders) <= 1000


def test_one_address_is_enough_and_one_that_is_taken_leaves_the_other_free(make: Callable[..., RequestsSource]) -> None:
    source = make(listen_udp="")
    assert post(source, json.dumps(GOOD).encode())[0] == 200
    only_udp = make(listen="")
    taken = RequestsSource(RequestsConfig(listen=f"127.0.0.1:{source.port}", listen_udp="127.0.0.1:0"))
    with pytest.raises(SourceError, match="cannot listen"):
        taken.open(None)
    sent_to(only_udp, json.dumps(GOOD).encode())
    assert until(lambda: only_udp.counters()["datagrams"] == 1)
    assert rows_in(only_udp).height == 1


def test_what_came_before_the_end_can_still_be_polled(make: Callable[..., RequestsSource]) -> None:
    source = make()
    post(source, json.dumps(GOOD).encode())
    sent_to(source, json.dumps(GOOD).encode())
    source.close()
    source.close()
    assert rows_in(source).height == 2
    source.open(None)
    assert post(source, json.dumps(GOOD).encode())[0] == 200


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def on_page_ports(source: RequestsSource, snippet: str) -> str:
    """The snippet with the port of the page replaced by this source's, which is any free one."""
    assert "4320" in snippet
    udp_port = source.udp_address.rpartition(":")[2]
    return snippet.replace("http://127.0.0.1:4320", f"http://127.0.0.1:{source.port}").replace(
        '("127.0.0.1", 4320)', f'("127.0.0.1", {udp_port})'
    )


def test_the_curl_of_the_page_is_answered_as_the_page_says(make: Callable[..., RequestsSource]) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    source = make()
    (snippet,) = blocks("sh")
    ran = subprocess.run(
        ["bash", "-c", on_page_ports(source, snippet)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() in PAGE
    (row,) = rows_in(source).to_dicts()
    sent = {"service": "search", "wait_us": 400.0, "service_us": 12_500.0, "predicted_us": 11_000.0, "degree": 2}
    assert {name: row[name] for name in sent} == sent


def test_the_python_of_the_page_sends_what_it_says(make: Callable[..., RequestsSource]) -> None:
    source = make()
    over_http, over_udp = blocks("python")
    for snippet in (over_http, over_udp):
        subprocess.run(
            [sys.executable, "-I", "-c", on_page_ports(source, snippet)], capture_output=True, timeout=60, check=True
        )
    assert until(lambda: source.counters()["datagrams"] == 1)
    rows = rows_in(source).select("service", "wait_us", "service_us", "degree").sort("degree").rows()
    assert rows == [("search", 400.0, 12_500.0, 2)] * 2


def test_when_threads_were_added_and_long_ones_at_work_stand_in_the_stream(make: Callable[..., RequestsSource]) -> None:
    source = make()
    sent = {"service": "search", "service_ms": 12.5, "raised_ms": 5, "long_threads": 3, "table_version": 7}
    assert post(source, json.dumps([sent]).encode())[0] == 200
    (row,) = rows_in(source).to_dicts()
    assert (row["raised_us"], row["long_threads"], "table_version" in row) == (5_000.0, 3, False)


def test_the_client_of_the_page_sends_again_what_a_busy_agent_refused(
    make: Callable[..., RequestsSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make()
    code = on_page_ports(source, blocks("python")[0]).partition('samples = RequestSamples("search")')[0]
    space: dict[str, Any] = {}
    exec(code.replace("threading.Thread(target=self._run, daemon=True).start()", "pass"), space)
    client = space["RequestSamples"]("search")
    client.add(0, wait_s=1, service_s=2)
    with monkeypatch.context() as full:
        full.setattr(requests, "MOST_WAITING_ROWS", 0)
        assert client.send() is None
    client.add(0, wait_s=3, service_s=2)
    assert client.send()["accepted"] == 2
    assert (client.dropped, rows_in(source)["wait_us"].to_list()) == (0, [1e6, 3e6])


def test_an_agent_makes_percentiles_of_what_it_was_sent(tmp_path: Path) -> None:
    config = AgentConfig(id="a", spool_path=str(tmp_path / "spool.db"), policy="all-src", sources=(BOTH,))
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], {}, publisher, machine=MACHINE)
        source = agent.sources[0].source
        assert isinstance(source, RequestsSource)
        post(source, json.dumps([GOOD | {"weight": 10}, GOOD | {"service_ms": 9}]).encode())
        assert turned(agent, lambda: agent.sources[0].rows == 2)
        agent.close()
    got = received_of(tmp_path, "requests", Chain(PLAN, {}))
    assert (got["rows"].sum(), got["requests_total.lo"].sum(), got["request_us.hi"].sum()) == (2, 11, 45_000.0)


def test_a_reload_changes_a_limit_while_the_ports_stay(tmp_path: Path) -> None:
    port = free_port()
    sources = (RequestsConfig(listen=f"127.0.0.1:{port}", listen_udp=f"127.0.0.1:{port}"),)
    config = AgentConfig(id="a", spool_path=str(tmp_path / "spool.db"), policy="all-src", sources=sources)
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = Agent(config, [PLAN], {}, publisher, machine=MACHINE)
        before = agent.sources[0].source
        assert isinstance(before, RequestsSource)
        assert post(before, json.dumps(GOOD).encode())[0] == 200
        changed = (msgspec.structs.replace(sources[0], max_services=1),)
        agent.reload(NewSetup.of(msgspec.structs.replace(config, sources=changed), [PLAN], {}))
        after = agent.sources[0].source
        assert isinstance(after, RequestsSource)
        assert (after is before, after.port, after.udp_address) == (False, port, f"127.0.0.1:{port}")
        assert post(after, json.dumps([GOOD, GOOD | {"service": "b"}]).encode())[1]["accepted"] == 1
        assert turned(agent, lambda: agent.sources[0].rows == 1)
        agent.close()
    assert received_of(tmp_path, "requests", Chain(PLAN, {}))["rows"].sum() == 2
