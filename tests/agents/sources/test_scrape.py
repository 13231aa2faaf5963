"""The source `scrape` with targets that answer well, badly, slowly or not at all."""

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import trustme

from agents.config import AgentConfig
from agents.executor import Executor
from agents.sources import scrape
from agents.sources.configs import ScrapeConfig
from agents.sources.configured import configured_sources
from agents.sources.scrape_fetch import Fetched, FetchError
from agents.sources.streams import SCRAPE
from pipeline.sql import compile_query
from tests.agents.sources.scraped_pages import TEXT, WITHIN_S, Pages, Run, named, rows


@pytest.fixture
def pages() -> Iterator[Pages]:
    served = Pages()
    yield served
    served.close()


@pytest.fixture
def run() -> Iterator[Callable[..., Run]]:
    begun: list[Run] = []

    def begin(**settings: Any) -> Run:
        begun.append(Run(**settings))
        return begun[-1]

    yield begin
    for one in begun:
        one.source.close()


def test_pages_become_rows_with_the_columns_of_the_stream(pages: Pages, run: Callable[..., Run]) -> None:
    pages.answer("/metrics", b'# TYPE c_total counter\nc_total{code="200"} 5\ng 1.5\n')
    one = run(schema={**SCRAPE, "code": "string"}, targets=(pages.address,), job="shop")
    first = one.scraped()
    assert one.source.name == "scrape:shop"
    found = rows(first)
    assert found.columns == [name for name in one.source.streams["scrape"] if name != "host"]
    assert set(found["instance"]) == {pages.address}
    assert set(found["job"]) == {"shop"}
    assert named(first, "g") == [1.5]
    assert named(first, "up") == [1]
    assert named(first, "scrape_samples_scraped") == [2]
    assert named(first, "c_total") == []
    pages.answer("/metrics", b'# TYPE c_total counter\nc_total{code="200"} 9\ng 2.5\n')
    second = one.scraped()
    assert rows(second).filter(pl.col("name") == "c_total").select("code", "value").rows() == [("200", 4)]
    now_ns = time.time_ns()
    assert all(now_ns - 60 * 10**9 < ts <= now_ns for ts in rows(second)["ts"])
    assert one.source.missing() == {}


BAD = {
    "/cut": ("cut_off", b"g 1\nh 2", {}),
    "/shorter": ("cut_off", b"g 1\n", {"Content_Length": "100"}),
    "/500": ("http_status", b"g 1\n", {"status": 500}),
    "/html": ("not_metrics", b"<html>\n<p>x</p>\n", {}),
    "/bytes": ("bad_utf8", b"g{a=\"\xff\"} 1\n", {}),
    "/large": ("too_large", b"g 1\n" * 1000, {}),
    "/bomb": ("too_large", gzip.compress(bytes(10**7)), {"Content_Encoding": "gzip"}),
    "/half": ("cut_off", gzip.compress(b"g 1\n" * 500)[:-9], {"Content_Encoding": "gzip"}),
    "/nozip": ("encoding", b"g 1\n", {"Content_Encoding": "gzip"}),
    "/brotli": ("encoding", b"g 1\n", {"Content_Encoding": "br"}),
    "/loop": ("redirects", b"", {"status": 302, "Location": "/loop"}),
    "/file": ("redirects", b"", {"status": 302, "Location": "file:///etc/passwd"}),
    "/proto": ("not_metrics", b"\xff\xff\xff", {"Content_Type": "application/vnd.google.protobuf; encoding=delimited"}),
    "/series": ("too_many_series", "".join(f"s{i} 1\n" for i in range(60)).encode(), {}),
}  # fmt: skip


def test_every_bad_page_is_a_counted_failure_a_lost_record_and_a_state(pages: Pages, run: Callable[..., Run]) -> None:
    for path, (_, body, more) in BAD.items():
        pages.answer(path, body, **more)
    targets = tuple(f"http://{pages.address}{path}" for path in BAD)
    one = run(targets=targets, max_body_bytes=2048, max_series=50)
    batches = one.scraped(len(BAD))
    counters = one.source.counters()
    wanted = [reason for reason, *_ in BAD.values()]
    assert {key.removeprefix("failed_"): n for key, n in counters.items() if key.startswith("failed_") and n} == {
        reason: wanted.count(reason) for reason in wanted
    }
    assert named(batches, "up") == [0] * len(BAD)
    assert {(lost.count, lost.reason) for batch in batches for lost in batch.lost} == {(1, "scrape_failed")}
    assert len(one.source.missing()) == len(BAD)
    assert "60 series where 50 are left of max_series" in one.source.missing()[f"{pages.address}/series"]


def test_a_target_that_is_gone_gives_no_stale_values_and_what_it_would_have_given_is_lost(
    pages: Pages, run: Callable[..., Run]
) -> None:
    pages.answer("/metrics", b"g 1\nh 2\n")
    one = run(targets=(pages.address,))
    one.scraped()
    pages.answer("/metrics", b"", 503)
    batches = one.scraped()
    assert rows(batches)["name"].to_list() == ["up", "scrape_duration_seconds", "scrape_samples_scraped"]
    assert [lost.count for batch in batches for lost in batch.lost] == [2]
    assert "503" in one.source.missing()[pages.address]
    pages.answer("/metrics", b"g 1\nh 2\n")
    assert named(one.scraped(), "g") == [1]
    assert one.source.missing() == {}


def test_all_targets_together_have_no_more_series_than_allowed_and_who_shrinks_comes_in_again(
    pages: Pages, run: Callable[..., Run]
) -> None:
    def page(count: int) -> bytes:
        return "".join(f"s{i} 1\n" for i in range(count)).encode()

    pages.answer("/a", page(30))
    pages.answer("/b", page(30))
    one = run(targets=tuple(f"http://{pages.address}/{name}" for name in "ab"), max_series=50)
    for _ in range(3):  # not both of them, and not none of them either
        assert sorted(named(one.scraped(2), "up")) == [0, 1]
    pages.answer("/a", page(20))
    pages.answer("/b", page(20))
    one.scraped(2)
    assert named(one.scraped(2), "up") == [1, 1]


def test_a_refused_connection_and_an_unknown_name_are_failures_of_their_own(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def known(host: str, *more: Any, **named: Any) -> Any:
        if host == "no-such-host.invalid":  # resolvers may take long to say so, or name a host of their own
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return look_up(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", known)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))  # bound, but nobody listens
        one = run(targets=(f"127.0.0.1:{held.getsockname()[1]}", "no-such-host.invalid:1"))
        one.scraped(2)
    assert one.source.counters()["failed_refused"] == 1
    assert one.source.counters()["failed_unresolved"] == 1


def test_gzip_and_redirects_are_followed_without_telling_other_hosts_the_token(
    pages: Pages, run: Callable[..., Run], tmp_path: Path
) -> None:
    other = Pages()
    try:
        other.answer("/there", gzip.compress(b"g 7\n"), Content_Encoding="gzip")
        pages.answer("/metrics", b"", 301, Location="/moved")
        pages.answer("/moved", b"", 307, Location=f"http://{other.address}/there")
        token = tmp_path / "token"
        token.write_text("abc\n")
        one = run(targets=(pages.address,), bearer_token_path=str(token))
        assert named(one.scraped(), "g") == [7]
        assert [headers.get("Authorization") for _, headers in pages.seen] == ["Bearer abc"] * 2
        assert [headers.get("Authorization") for _, headers in other.seen] == [None]
        token.unlink()
        one.scraped()
        assert one.source.counters()["failed_credentials"] == 1
    finally:
        other.close()


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_page_in_several_gzip_members_is_read_to_its_end(pages: Pages, run: Callable[..., Run], size: int) -> None:
    text = b"".join(b'g{n="%d"} 1\n' % n for n in range(1000))
    packed = gzip.compress(text[:5000]) + gzip.compress(text[5000:]) + gzip.compress(b"") + bytes(3)

    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", TEXT)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        parts = [packed[at : at + size] for at in range(0, len(packed), size)]
        handler.wfile.write(b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n")

    pages.answers["/metrics"] = send
    one = run(targets=(pages.address,), max_body_bytes=len(text))
    assert len(named(one.scraped(), "g")) == 1000
    assert not one.source.missing()


def test_gzip_members_are_bounded_together(pages: Pages, run: Callable[..., Run]) -> None:
    pages.answer("/metrics", gzip.compress(b"g 1\n" * 200) * 2, Content_Encoding="gzip")
    one = run(targets=(pages.address,), max_body_bytes=1599)
    one.scraped()
    assert one.source.counters()["failed_too_large"] == 1


def test_where_no_thread_can_be_had_a_scrape_is_skipped_and_the_next_one_tried(
    pages: Pages, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pages.answer("/metrics", b"g 1\n")
    one = run(targets=(pages.address,))
    one.clock.now += 10
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", none_left)
        batches = one.source.poll()
    assert [lost.reason for batch in batches for lost in batch.lost] == ["scrape_skipped"]
    assert one.source.counters()["skipped"] == 1
    assert named(one.scraped(), "g") == [1]


def test_an_empty_label_of_a_target_is_null_in_all_its_rows(
    pages: Pages, run: Callable[..., Run], tmp_path: Path
) -> None:
    file = tmp_path / "targets.json"
    file.write_bytes(msgspec.json.encode([{"targets": [pages.address], "labels": {"zone": ""}}]))
    pages.answer("/metrics", b"g 1\n")
    one = run(schema=SCRAPE | {"zone": "string"}, targets_path=str(file))
    assert rows(one.scraped())["zone"].to_list() == [None] * 4


def test_targets_beyond_the_most_are_told(run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scrape, "MOST_TARGETS", 2)
    one = run(targets=("a.invalid:1", "b.invalid:1", "c.invalid:1"))
    assert one.source.missing()["more_targets"].startswith("1 beyond 2 targets")


def test_https_is_checked_against_the_authorities_that_are_named(
    pages: Pages, run: Callable[..., Run], tmp_path: Path
) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    pages.server.socket = context.wrap_socket(pages.server.socket, server_side=True)
    pages.answer("/metrics", b"g 7\n")
    trusting = run(targets=(f"https://{pages.address}",), ca_path=str(tmp_path / "ca.pem"))
    assert named(trusting.scraped(), "g") == [7]
    other = run(targets=(f"https://{pages.address}",))
    assert named(other.scraped(), "up") == [0]
    assert other.source.counters()["failed_tls"] == 1


def test_a_password_is_read_from_its_file_and_protobuf_is_asked_for_only_where_it_is_wanted(
    pages: Pages, run: Callable[..., Run], tmp_path: Path
) -> None:
    pages.answer("/metrics", b"g 1\n")
    (tmp_path / "password").write_text("secret\n")
    run(targets=(pages.address,), username="me", password_path=str(tmp_path / "password")).scraped()
    run(targets=(pages.address,), native_histograms=True).scraped()
    (_, first), (_, second) = pages.seen
    assert first["Authorization"] == "Basic bWU6c2VjcmV0"
    assert "protobuf" not in first["Accept"]
    assert second["Accept"].startswith("application/vnd.google.protobuf")
    assert "Authorization" not in second


def test_who_sends_a_byte_now_and_then_is_ended(pages: Pages, run: Callable[..., Run]) -> None:
    begun = threading.Event()

    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        begun.set()
        pages.over.wait(WITHIN_S)

    pages.answers["/metrics"] = drip
    one = run(targets=(pages.address,), timeout_s=10 * WITHIN_S, interval_s=10 * WITHIN_S)
    one.clock.now += 10 * WITHIN_S
    one.until(begun.is_set)
    one.clock.now += 10 * WITHIN_S + 0.6
    batches = one.until(lambda: one.source.counters()["scrapes"] == 1)
    assert one.source.counters()["failed_timeout"] == 1
    assert named(batches, "up") == [0]


class Held:
    """Fetches that end when a test says so."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.slow = True

    def __call__(self, url: str, _: ScrapeConfig) -> "HeldFetch":
        self.begun.append(url)
        return HeldFetch(self.slow and "slow" in url)


class HeldFetch:
    def __init__(self, slow: bool) -> None:
        self.slow = slow
        self.aborted = threading.Event()

    def run(self) -> Fetched:
        if self.slow:
            assert self.aborted.wait(WITHIN_S)
            raise FetchError("timeout", "too slow")
        return Fetched(TEXT, b"g 1\n")

    def abort(self) -> None:
        self.aborted.set()


def test_slow_targets_share_half_of_the_threads_so_that_the_others_go_on(run: Callable[..., Run]) -> None:
    held = Held()
    names = [f"slow{i}:1" for i in range(8)] + ["quick:1"]
    one = Run(targets=tuple(names), max_concurrent=8, interval_s=10.0, timeout_s=10.0)
    one.source._fetch = held
    *slow, quick = one.source._targets.values()

    def known() -> bool:
        return all(each.slow for each in slow) and not quick.runs

    try:
        for _ in range(8):
            under_way = one.running()
            one.clock.now += 10.6  # those are overdue now, and are ended
            one.until(lambda under_way=under_way: not any(each.is_alive() for each in under_way) and not quick.runs)
            if known():
                break
        assert known()
        before = held.begun.count(quick.target.url)
        for _ in range(3):
            samples = one.source.counters()["samples"]
            one.clock.now += 10
            one.until(lambda samples=samples: one.source.counters()["samples"] > samples and not quick.runs)
            running = [each for each in (*slow, quick) if each.runs]
            assert len(running) <= 8
            assert sum(each.slow for each in running) <= 4
        assert held.begun.count(quick.target.url) >= before + 3
    finally:
        one.source.close()


def test_targets_begin_at_places_within_the_interval_that_stay_the_same(run: Callable[..., Run]) -> None:
    names = tuple(f"h{i}:1" for i in range(200))
    first, second = (run(targets=names, interval_s=10.0) for _ in range(2))
    due = [one.due_s - 1000 for one in first.source._targets.values()]
    assert due == [one.due_s - 1000 for one in second.source._targets.values()]
    assert all(0 <= at < 10 for at in due)
    assert all(10 <= sum(place <= at < place + 2 for at in due) <= 70 for place in (0, 2, 4, 6, 8))


def test_a_scrape_that_could_not_begin_in_time_is_skipped_and_lost(run: Callable[..., Run]) -> None:
    one = run(targets=("127.0.0.1:9",))
    one.clock.now += 35
    batches = one.source.poll()
    skipped = one.source.counters()["skipped"]
    assert skipped in (2, 3)
    assert sum(lost.count for batch in batches for lost in batch.lost if lost.reason == "scrape_skipped") == skipped


def test_targets_of_a_file_come_and_go_when_it_changes(pages: Pages, run: Callable[..., Run], tmp_path: Path) -> None:
    pages.answer("/metrics", b"g 1\n")
    pages.answer("/other", b"g 2\n")
    path = tmp_path / "targets.yaml"

    def write(text: str) -> None:
        """At once, since the source may be reading."""
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").replace(path)

    write(f"- targets: ['{pages.address}']\n  labels: {{zone: b}}\n")
    one = run(schema={**SCRAPE, "zone": "string"}, targets_path=str(path))
    assert rows(one.scraped())["zone"].to_list() == ["b"] * 4
    write("- targets: [")
    one.clock.now += 5
    one.until(lambda: "targets_path" in one.source.missing())
    assert named(one.scraped(), "g") == [1]
    write(f"- targets: ['http://{pages.address}/other']\n")
    one.clock.now += 10
    one.until(lambda: any("other" in each.url for each in one.source._targets))
    assert named(one.scraped(), "g") == [2]
    assert one.source.missing() == {}
    assert one.source.counters()["targets_file_unusable"] == 1


def test_a_target_that_was_taken_out_while_it_answered_gives_nothing_more(tmp_path: Path) -> None:
    path, over = tmp_path / "targets.json", threading.Event()
    path.write_text('[{"targets": ["gone:1"]}]')

    class Late:
        def run(self) -> Fetched:
            assert over.wait(WITHIN_S)
            return Fetched(TEXT, b"g 1\n")

        def abort(self) -> None:
            over.set()

    one = Run(targets_path=str(path))
    one.source._fetch = lambda *_: Late()
    one.clock.now += 10
    one.source.poll()
    (scraped,) = one.source._targets.values()
    (tmp_path / "new").write_text("[]")
    (tmp_path / "new").replace(path)
    one.clock.now += 5
    one.until(lambda: not one.source._targets and not scraped.runs)
    assert over.is_set()
    assert one.source.poll() == []
    assert one.source.counters()["scrapes"] == 0
    one.source.close()


def test_a_closed_source_ends_at_once_while_a_target_does_not_answer(
    pages: Pages, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrape, "_CLOSED_WITHIN_S", WITHIN_S / 2)  # a busy machine may take the usual time itself
    begun = threading.Event()

    def never(_: BaseHTTPRequestHandler) -> None:
        begun.set()
        pages.over.wait(WITHIN_S)

    pages.answers["/metrics"] = never
    one = run(targets=(pages.address,))
    one.clock.now += 10
    one.until(begun.is_set)
    (thread,) = one.running()
    one.source.close()
    one.source.close()
    assert not thread.is_alive()
    assert one.source.poll() == []


def test_rows_that_nobody_polls_are_bounded_and_lost(
    pages: Pages, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.sources.scrape._MOST_WAITING_ROWS", 3)
    pages.answer("/metrics", b"g 1\nh 2\n")
    one = run(targets=(pages.address,))
    batches = one.scraped()
    assert [lost.count for batch in batches for lost in batch.lost] == [5]
    assert one.source.counters()["queue_full"] == 1


def test_a_query_over_a_histogram_gives_its_p99(pages: Pages, run: Callable[..., Run]) -> None:
    schema = {**SCRAPE, "path": "string"}
    sql = (
        "SELECT path, sketch(distribution) AS request_s FROM scrape WHERE name = 'http_request_duration_seconds' "
        "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), path"
    )
    plan = compile_query("latency", sql, {"scrape": schema}, {})
    text = (
        '# TYPE http_request_duration_seconds histogram\nhttp_request_duration_seconds_bucket{{path="/",le="{}"}} {}\n'
    )
    one = run(schema=schema, targets=(pages.address,))
    executor = Executor([plan], {}, "web1")
    for count in (0, 1000):
        lines = [text.format(bound, round(min(1, bound) * count)) for bound in (0.1, 0.5, 0.99, 1.0)]
        pages.answer("/metrics", "".join([*lines, text.format("+Inf", count)]).encode())
        for batch in one.scraped():
            executor.add(batch)
    (partial,) = [partial for delta in executor.take() for partial in delta.partials]
    (state,) = partial.states.values()
    assert state.column.totals().tolist() == [1000]
    assert state.column.quantiles([0.99])[0, 0] == pytest.approx(0.99, rel=0.05)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"targets": ["a:1"], "timeout_s": 20, "interval_s": 10},
        {"targets": ["a:1"], "username": "me"},
        {"targets": ["a:1"], "password_path": "x"},
        {"targets": ["a:1"], "username": "me", "password_path": "x", "bearer_token_path": "y"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"targets|timeout_s|password_path|bearer"):
        msgspec.convert(settings, ScrapeConfig)


def test_jobs_are_sources_of_their_own() -> None:
    entries = [{"kind": "scrape", "targets": ["a:1"], "job": job} for job in ("scrape", "shop")]
    config = msgspec.convert({"sources": entries, "streams": {"scrape": {"code": "string"}}}, AgentConfig)
    found = configured_sources(config, [])
    assert [source.name for source in found] == ["scrape", "scrape:shop"]
    assert found[0].streams["scrape"]["code"] == "string"
