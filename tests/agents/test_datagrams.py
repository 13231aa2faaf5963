"""The datagram source: rows in, every bad datagram counted by its reason, nothing that makes it stop."""

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.errors import SourceError
from agents.sources import datagrams
from agents.sources.datagrams import DatagramsSource
from agents.sources.source import Lost
from agents.sources.streams import API_REQUESTS

ROW = [1_795_000_000_000_000_000, "/api/v1/quantiles", "GET", 200, 812.5]


@pytest.fixture
def source(tmp_path: Path) -> Iterator[DatagramsSource]:
    opened = DatagramsSource("api_requests", tmp_path / "rows.sock", API_REQUESTS)
    opened.open(None)
    yield opened
    opened.close()


def send(source: DatagramsSource, *datagrams: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(source._path))
        for datagram in datagrams:
            sender.send(datagram)


def datagram(rows: object, stream: str = "api_requests") -> bytes:
    return msgspec.msgpack.encode({"stream": stream, "rows": rows})


def test_back_to_back_datagrams_come_out_of_one_poll_in_order(source: DatagramsSource) -> None:
    send(source, *(datagram([[ROW[0] + i, "/r", "GET", 200, float(i)]] * 2) for i in range(300)))
    (batch,) = source.poll()
    assert batch.rows.columns == ["ts", "route", "method", "status", "api_request_us"]
    assert batch.rows["api_request_us"].to_list() == [float(i) for i in range(300) for _ in range(2)]
    assert source.poll() == []
    assert source.counters()["datagrams"] == 300


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "malformed"),
        (b"\xc1", "malformed"),
        (b"\x93\x01\x02", "malformed"),
        (msgspec.msgpack.encode({"rows": []}), "malformed"),
        (msgspec.msgpack.encode([1, 2]), "malformed"),
        (datagram([ROW], "probes"), "unknown_stream"),
        (datagram([ROW[:3]]), "bad_rows"),
        (datagram([[*ROW, 1]]), "bad_rows"),
        (datagram([[None, *ROW[1:]]]), "bad_rows"),
        (datagram([[2**63 - 1, *ROW[1:]]]), "bad_rows"),
        (datagram([[*ROW[:3], 2**63, 1.0]]), "bad_rows"),
        (datagram([ROW, [ROW[0], 5, "GET", 200, 1.0]]), "bad_rows"),
        (datagram("rows"), "bad_rows"),
        (b"x" * (2**18 + 1), "too_long"),
    ],
)
def test_a_bad_datagram_is_counted_and_the_next_one_counts(source: DatagramsSource, data: bytes, reason: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        sender.connect(str(source._path))
        try:
            sender.send(data)
        except OSError:
            pytest.skip("this kernel takes no datagram of that size")
        sender.send(datagram([[ROW[0], None, "GET", 200, 1]]))
    (batch,) = source.poll()
    assert batch.rows.to_dicts() == [
        {"ts": ROW[0], "route": None, "method": "GET", "status": 200, "api_request_us": 1.0}
    ]
    bad = {name: count for name, count in source.counters().items() if count and name != "datagrams"}
    assert bad == {reason: 1}


@given(data=st.binary(max_size=80))
def test_no_bytes_raise(data: bytes) -> None:
    source = DatagramsSource("api_requests", Path("unused"), API_REQUESTS)
    source._waiting.extend([data, datagram([ROW]), data])
    rows = pl.concat([batch.rows for batch in source.poll()])
    assert rows.rows() == [tuple(ROW)]
    assert sum(source.counters().values()) == 2


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "rows.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as left_over:
        left_over.bind(str(path))
    first = DatagramsSource("api_requests", path, API_REQUESTS)
    first.open(None)
    with pytest.raises(SourceError, match="another process listens"):
        DatagramsSource("api_requests", path, API_REQUESTS).open(None)
    assert stat.S_ISSOCK(path.stat().st_mode)
    first.close()
    assert not path.exists()


def test_what_arrived_before_the_close_can_still_be_polled(source: DatagramsSource) -> None:
    send(source, datagram([ROW]))
    source.close()
    assert [batch.rows.height for batch in source.poll()] == [1]


def test_a_path_that_cannot_be_a_socket_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "file"
    plain.write_text("x")
    with pytest.raises(SourceError, match="is no socket"):
        DatagramsSource("api_requests", plain, API_REQUESTS).open(None)
    with pytest.raises(SourceError, match="at most 107"):
        DatagramsSource("api_requests", tmp_path / ("x" * 120), API_REQUESTS).open(None)
    with pytest.raises(SourceError, match="cannot listen"):
        DatagramsSource("api_requests", tmp_path / "no" / "folder", API_REQUESTS).open(None)
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208


def test_rows_that_find_the_queue_full_are_lost_in_their_time(
    source: DatagramsSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = ROW[0] + 7 * 10**9  # type: ignore[operator]
    rows = [datagram([ROW]), datagram([[later, *ROW[1:]]] * 3), datagram([[later + 1, *ROW[1:]]] * 2), b"\xc1"]
    monkeypatch.setattr(datagrams, "WAITING_BYTES", len(rows[0]))
    send(source, *rows)
    (batch,) = source.poll()
    assert batch.rows.height == 1
    assert batch.lost == (Lost(later, 5, "queue_full"),)
    counts = {name: count for name, count in source.counters().items() if count}
    assert counts == {"datagrams": 4, "queue_full": 2, "malformed": 1}
    assert source.poll() == []


def test_odd_times_of_refused_rows_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datagrams, "REFUSED_SECONDS", 3)
    source = DatagramsSource("api_requests", Path("unused"), API_REQUESTS)
    for second in range(10):
        source._refuse(datagram([[second * 10**9, *ROW[1:]]]))
    (batch,) = source.poll()
    assert len(batch.lost) <= 5
    assert sum(lost.count for lost in batch.lost) == 10
