"""The source `statsd` over real sockets: the clients that people use, bursts and losses, bad input, a whole agent."""

import contextlib
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from datadog.dogstatsd.base import DogStatsd
from statsd import StatsClient  # type: ignore[import-untyped]

from agents.agent import Agent
from agents.config import AgentConfig
from agents.errors import SourceError
from agents.reload import NewSetup
from agents.sources import statsd, udp
from agents.sources.configs import StatsdConfig
from agents.sources.source import Lost
from agents.sources.statsd import StatsdSource
from agents.sources.streams import STATSD, known_streams
from pipeline.chain import Chain
from pipeline.schema import check
from pipeline.sql import compile_query
from tests.agents.live import received_of
from tests.agents.sources.test_statsd_lines import NASTY
from tests.agents.world import MACHINE, publisher_to
from tests.counterparts.choice import free_port

NOW_NS = 1_795_400_000_250_000_000
SCHEMA = {**STATSD, "service": "string"}
PLAN = compile_query(
    "timers",
    "SELECT name, service, sketch(value, weight) AS statsd_timer_ms FROM statsd WHERE kind = 'timer' "
    "GROUP BY TUMBLE(ts, INTERVAL '10' SECOND), name, service",
    known_streams({"statsd": {"service": "string"}}),
    {},
)


@contextlib.contextmanager
def listening(schema: dict[str, str] = SCHEMA, clock_ns: int = NOW_NS, **settings: Any) -> Iterator[StatsdSource]:
    source = StatsdSource(StatsdConfig(**({"listen": "127.0.0.1:0"} | settings)), schema, clock_ns=lambda: clock_ns)
    source.open(None)
    try:
        yield source
    finally:
        source.close()


def port_of(source: StatsdSource) -> int:
    return int(source.addresses[0].rpartition(":")[2])


def send(source: StatsdSource, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for datagram in datagrams:
            sender.sendto(datagram, ("127.0.0.1", port_of(source)))


def rows_of(source: StatsdSource) -> list[tuple[Any, ...]]:
    """Name, kind, value, weight and tags of what the source gives."""
    return [row[1:] for batch in source.poll() for row in check(batch.rows, source_types(source)).rows()]


def source_types(source: StatsdSource) -> dict[str, str]:
    return {name: kind for name, kind in source.streams["statsd"].items() if name != "host"}


def test_what_the_client_statsd_sends_is_understood() -> None:
    with listening(STATSD) as source:
        client = StatsClient("127.0.0.1", port_of(source), prefix="app")
        client.incr("hits", 3)
        client.decr("hits")
        client.timing("took", 320.5)
        client.gauge("queue", 7)
        client.gauge("queue", -2, delta=True)
        client.gauge("queue", -5)  # two lines: to 0, then down
        client.set("users", 42)
        with client.pipeline() as pipe:
            pipe.incr("a")
            pipe.timing("b", 1)
        client.close()
        assert rows_of(source) == [
            ("app.hits", "counter", 3.0, 1), ("app.hits", "counter", -1.0, 1), ("app.took", "timer", 320.5, 1),
            ("app.queue", "gauge", 7.0, 1), ("app.queue", "gauge", 5.0, 1), ("app.queue", "gauge", 0.0, 1),
            ("app.queue", "gauge", -5.0, 1), ("app.a", "counter", 1.0, 1), ("app.b", "timer", 1.0, 1),
        ]  # fmt: skip
        assert source.counters()["sets"] == 1


@pytest.mark.parametrize("way", ["udp", "unix"])
def test_what_the_client_datadog_sends_is_understood(tmp_path: Path, way: str) -> None:
    path = tmp_path / "dsd.sock"
    with listening(socket_path=str(path), signed_gauges="set") as source:
        where: dict[str, Any] = (
            {"socket_path": str(path)} if way == "unix" else {"host": "127.0.0.1", "port": port_of(source)}
        )
        client = DogStatsd(**where, disable_telemetry=True, constant_tags=["service:web"])
        client.increment("hits", 2)
        client.gauge("level", -3.5)
        client.histogram("size", 10, tags=["route:/a"])
        client.distribution("took", 0.25)
        client.timing("slow", 12)
        client.gauge_with_timestamp("then", 1, NOW_NS // 10**9 - 60)
        client.event("deployed", "by hand")
        client.service_check("db", 0)
        client.set("users", 42)
        client.close_socket()
        batches = source.poll()
        rows = [row for batch in batches for row in batch.rows.rows()]
        assert [row[1:] for row in rows] == [
            ("hits", "counter", 2.0, 1, "web"), ("level", "gauge", -3.5, 1, "web"),
            ("size", "histogram", 10.0, 1, "web"), ("took", "distribution", 0.25, 1, "web"),
            ("slow", "timer", 12.0, 1, "web"), ("then", "gauge", 1.0, 1, "web"),
        ]  # fmt: skip
        assert [row[0] - NOW_NS for row in rows] == [0] * 5 + [-60 * 10**9 - 250_000_000]
        counters = source.counters()
        assert (counters["events"], counters["service_checks"], counters["sets"], counters["malformed"]) == (1, 1, 1, 0)
        assert source.missing() == {"tags": "left out, since `streams` declares no such columns of statsd: 'route'"}


def test_lines_that_the_client_datadog_gathers_into_few_datagrams_are_all_given() -> None:
    with listening() as source:
        # With an interval it has a thread that sleeps so long, and whoever starts a process from here waits for it.
        client = DogStatsd(
            host="127.0.0.1", port=port_of(source), disable_telemetry=True, disable_buffering=False, flush_interval=0
        )
        for value in range(1000):
            client.distribution("took", value)
        client.flush()
        rows = rows_of(source)
        client.stop()
        client.close_socket()
        assert [row[2] for row in rows] == [float(value) for value in range(1000)]
        assert source.counters()["datagrams"] < 100


def test_counters_are_scaled_by_their_rate_and_timers_weighted() -> None:
    with listening(STATSD) as source:
        send(source, b"c:3|c|@0.1\nt:5|ms|@0.3\nt:6:7|ms|@0.3\ng:1|g|@0.5")
        assert rows_of(source) == [
            ("c", "counter", 30.0, 1), ("t", "timer", 5.0, 3), ("t", "timer", 6.0, 3), ("t", "timer", 7.0, 4),
            ("g", "gauge", 1.0, 1),
        ]  # fmt: skip


def test_a_signed_gauge_moves_its_series_over_polls_unless_it_is_said_to_set_it() -> None:
    lines = [b"q:10|g|#service:a", b"q:-3|g|#service:a", b"q:-3|g|#service:b", b"q:+1|g|#service:a"]
    for mode, wanted in (("move", [10.0, 7.0, -3.0, 8.0]), ("set", [10.0, -3.0, -3.0, 1.0])):
        with listening(signed_gauges=mode) as source:
            found = []
            for line in lines:
                send(source, line)
                found += [row[2] for row in rows_of(source)]
            assert found == wanted


def test_a_time_of_its_own_is_believed_within_an_hour() -> None:
    now_s = NOW_NS // 10**9
    with listening(STATSD) as source:
        for at in (now_s - 3600, now_s + 3600, now_s - 3601, now_s + 3601, 0, 2**63 - 1, -(2**63), 10**30, "x"):
            send(source, f"a:1|c|T{at}".encode())
        times = [row[0] for batch in source.poll() for row in batch.rows.rows()]
        assert times == [(now_s - 3600) * 10**9, (now_s + 3600) * 10**9] + [NOW_NS] * 7
        assert source.counters()["time_off"] == 5  # the other two are no times


def test_nasty_datagrams_are_counted_and_what_follows_is_taken() -> None:
    draw = random.Random(3)
    with listening() as source:
        datagrams = [*NASTY, *(draw.randbytes(draw.randrange(2000)) for _ in range(200)), b"x" * 65_000, b"end:1|c"]
        for datagram in datagrams:
            send(source, datagram)
            source.poll()
        send(source, b"end:1|c")
        assert rows_of(source) == [("end", "counter", 1.0, 1, None)]
        counters = source.counters()
        assert counters["datagrams"] == len(datagrams) + 1
        assert min(counters[reason] for reason in ("malformed", "bad_utf8", "bad_values", "bad_rate", "sets")) > 0


def test_series_are_let_in_up_to_the_limit_and_the_rows_of_others_are_lost_and_named() -> None:
    with listening(max_series=1000) as source:
        kept = lost = 0
        for begin in range(0, 100_000, 10_000):
            for first in range(begin, begin + 10_000, 1000):
                lines = [b"took:1|ms|#service:%d,id%d:1" % (i, i) for i in range(first, first + 1000)]
                send(source, b"\n".join(lines))
            batches = source.poll()
            kept += sum(batch.rows.height for batch in batches)
            lost += sum(one.count for batch in batches for one in batch.lost if one.reason == "series_limit")
        assert (kept, lost) == (1000, 99_000)
        assert source.counters()["series_limit"] == 99_000
        assert source.missing()["series"].endswith("most rows were left out of 'took' (99000 rows)")
        assert len(source._tags.undeclared) <= 200


def test_what_the_kernel_drops_is_lost_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "_lengthen", lambda opened: opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1) or 0)
    with listening() as source:
        if not source._receivers[0].tells_drops:
            pytest.skip("this kernel does not tell")
        with source._receivers[0]._lock:  # so that nobody empties the queue
            send(source, *[b"a:1|c\nb:1|c\nc:1|c"] * 100)
        batches = source.poll()
        datagrams = source.counters()["datagrams"]
        assert 0 < datagrams < 100
        losses = [one for batch in batches for one in batch.lost]
        assert losses == [Lost(NOW_NS // 10**9 * 10**9, 3 * (100 - datagrams), "kernel_full")]
        assert source.counters()["kernel_full"] == 100 - datagrams


def test_a_large_burst_is_parsed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statsd, "BLOCK_BYTES", 1000)
    with listening() as source:
        send(source, *(b"took:%d|ms|@0.3" % i for i in range(300)))  # which the shortest queue of a kernel holds
        batches = source.poll()
        assert len(batches) > 1
        rows = pl.concat([batch.rows for batch in batches])
        assert rows["value"].to_list() == list(range(300))
        assert int(rows["weight"].sum()) == 1000


def test_what_is_too_much_for_one_poll_comes_with_the_next_and_is_not_vouched_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(statsd, "BLOCK_BYTES", 1)
    monkeypatch.setattr(statsd, "MOST_ROWS", 1)
    monkeypatch.setattr(udp, "SLOTS", 1)
    with listening() as source:
        send(source, *(b"took:%d:1|ms" % i for i in range(10)))
        found, behind = rows_of(source), source.measured_to_ns(NOW_NS + 9)
        assert 0 < len(found) < 20
        assert behind == NOW_NS
        while source.measured_to_ns(NOW_NS + 9) == NOW_NS:
            found += rows_of(source)
        assert [row[2] for row in found[::2]] == list(range(10))
        send(source, *(b"took:%d:1|ms" % i for i in range(10)))
        source.close()
        assert len(rows_of(source)) == 20


def test_it_goes_on_after_being_closed_and_opened_again(tmp_path: Path) -> None:
    with listening(socket_path=str(tmp_path / "s")) as source:
        send(source, b"a:1|c")
        source.close()
        source.close()
        assert [row[0] for row in rows_of(source)] == ["a"]
        source.open(None)
        send(source, b"b:1|c")
        assert [row[0] for row in rows_of(source)] == ["b"]
        assert source.counters()["datagrams"] == 2
        assert source.measured_to_ns(5) == 5


def test_a_port_or_path_in_use_is_refused_and_the_other_one_let_go(tmp_path: Path) -> None:
    with listening() as first:
        address = first.addresses[0]
        taken = StatsdSource(StatsdConfig(listen=first.addresses[0]), SCHEMA)
        with pytest.raises(SourceError, match="cannot listen for UDP"):
            taken.open(None)
    (tmp_path / "file").write_text("")
    both = StatsdSource(StatsdConfig(listen=address, socket_path=str(tmp_path / "file")), SCHEMA)
    with pytest.raises(SourceError, match="is no socket"):
        both.open(None)
    udp.udp_socket(address).close()


def agent_on(folder: Path, publisher: object, entry: StatsdConfig) -> Agent:
    config = AgentConfig(
        id="agent-1", host="h", policy="all-src", checkpoint_s=60.0, epoch_s=60.0, spool_path=str(folder / "spool.db"),
        sources=(entry,), streams={"statsd": {"service": "string"}},
    )  # fmt: skip
    return Agent(config, [PLAN], {}, publisher, machine=MACHINE)  # type: ignore[arg-type]


def statsd_of(agent: Agent) -> StatsdSource:
    (one,) = agent.sources
    assert isinstance(one.source, StatsdSource)
    return one.source


def reload(agent: Agent, entry: StatsdConfig) -> None:
    values = {field: getattr(agent._config, field) for field in AgentConfig.__struct_fields__}
    agent.reload(NewSetup.of(AgentConfig(**(values | {"sources": (entry,)})), [PLAN], {}))


def test_an_agent_counts_sampled_timers_by_their_weight_and_hands_its_port_over(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with publisher_to(tmp_path / "log.db") as publisher:
        agent = agent_on(tmp_path, publisher, StatsdConfig(listen=address))
        send(statsd_of(agent), *(b"took:%d|ms|@0.1|#service:web" % i for i in range(1, 101)))
        agent.turn()
        before = statsd_of(agent)
        send(before, b"took:7|ms|#service:old")
        reload(agent, StatsdConfig(listen=address, max_series=20))
        after = statsd_of(agent)
        assert after is not before
        with pytest.raises(SourceError, match="No such file"):  # by then the port was let go of
            reload(agent, StatsdConfig(listen=address, socket_path=str(tmp_path / "none" / "s")))
        assert statsd_of(agent) is after
        assert after.addresses == [address]
        send(after, b"took:9|ms|#service:new")
        agent.turn()
        agent.close()
    answer = received_of(tmp_path, "timers", Chain(PLAN, {}))
    counted = {service: (count, high) for service, count, high in answer.select(
        "service", pl.col("statsd_timer_ms.counts").list.sum(), "statsd_timer_ms.max"
    ).rows()}  # fmt: skip
    assert counted == {"new": (1, 9.0), "old": (1, 7.0), "web": (1000, 100.0)}


def test_the_thread_of_a_source_ends_with_it() -> None:
    with listening() as source:
        thread = source._receivers[0]._thread
        assert thread.is_alive()
    until = time.monotonic() + 60
    while thread.is_alive() and time.monotonic() < until:
        time.sleep(0.005)
    assert not thread.is_alive()
