"""The receiver of datagrams: order, bursts, what the kernel drops, what our own queue cannot hold, addresses."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.errors import SourceError
from agents.sources import udp
from agents.sources.udp import Arrived, LostDatagrams, Receiver, udp_socket, unix_socket


@contextlib.contextmanager
def receiving(opened: socket.socket, **kwargs: object) -> Iterator[tuple[Receiver, socket.socket]]:
    """A receiver, and a socket that sends to it."""
    receiver = Receiver(opened, "test", **kwargs)  # type: ignore[arg-type]
    with socket.socket(opened.family, socket.SOCK_DGRAM) as sender:
        sender.connect(opened.getsockname())
        try:
            yield receiver, sender
        finally:
            receiver.close()


def datagrams_of(arrived: list[Arrived]) -> list[bytes]:
    return [datagram for one in arrived for datagram in one.datagrams]


def wait_for(receiver: Receiver, datagrams: int) -> None:
    """Until its thread has taken so many off the kernel's queue."""
    until = time.monotonic() + 60
    while receiver.datagrams < datagrams and time.monotonic() < until:
        time.sleep(0.002)
    assert receiver.datagrams == datagrams


@pytest.mark.parametrize("family", ["udp", "udp6", "unix"])
def test_what_was_sent_before_a_take_is_taken_in_order_and_once(tmp_path: Path, family: str) -> None:
    try:
        opened = {
            "udp": lambda: udp_socket("127.0.0.1:0"),
            "udp6": lambda: udp_socket("[::1]:0"),
            "unix": lambda: unix_socket(tmp_path / "s"),
        }[family]()
    except SourceError as error:
        pytest.skip(str(error))  # a host without IPv6
    with receiving(opened) as (receiver, sender):
        sent: list[bytes] = []
        for turn in range(3):
            mine = [f"{turn} {i}".encode() for i in range(300)]
            for datagram in mine:
                sender.send(datagram)
            sent += mine
            taken, lost = receiver.take()
            assert (datagrams_of(taken), lost) == (mine, [])
        assert receiver.datagrams == len(sent)
        assert receiver.address == (str(tmp_path / "s") if family == "unix" else receiver.address)


def test_empty_and_the_longest_datagrams_arrive_whole() -> None:
    with receiving(udp_socket("127.0.0.1:0")) as (receiver, sender):
        for size in (0, 65_507, 1):
            sender.send(b"x" * size)
        assert [len(one) for one in datagrams_of(receiver.take()[0])] == [0, 65_507, 1]
        assert receiver.too_long == 0


def test_one_that_is_too_long_is_left_out_and_counted_and_its_neighbours_stay(tmp_path: Path) -> None:
    with receiving(unix_socket(tmp_path / "s")) as (receiver, sender):
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20)
        for datagram in (b"before", b"x" * (udp.LONGEST_BYTES + 1), b"after"):
            sender.send(datagram)
        assert datagrams_of(receiver.take()[0]) == [b"before", b"after"]
        assert (receiver.datagrams, receiver.too_long) == (3, 1)


def test_what_the_kernel_drops_is_counted_in_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "_lengthen", lambda opened: opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1) or 0)
    with receiving(udp_socket("127.0.0.1:0"), clock_ns=lambda: 7_300_000_000) as (receiver, sender):
        if not receiver.tells_drops:
            pytest.skip("this kernel does not tell")
        with receiver._lock:  # so that nobody empties the queue
            for _ in range(500):
                sender.send(b"x" * 200)
        taken, lost = receiver.take()
        arrived = len(datagrams_of(taken))
        assert 0 < arrived < 500
        assert lost == [LostDatagrams(7_000_000_000, 500 - arrived, "kernel_full")]
        assert receiver.kernel_full == 500 - arrived
        assert receiver.take() == ([], [])


def test_what_waits_is_bounded_and_the_rest_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "WAITING_BYTES", 200 * (100 + udp.OVERHEAD_BYTES))
    with receiving(udp_socket("127.0.0.1:0"), clock_ns=lambda: 1_999_999_999) as (receiver, sender):
        for sent in range(100, 3001, 100):
            for _ in range(100):
                sender.send(b"x" * 100)
            wait_for(receiver, sent)  # the kernel's queue may be short here
        taken, lost = receiver.take()
        arrived = len(datagrams_of(taken))
        assert 0 < arrived <= 200
        assert lost == [LostDatagrams(1_000_000_000, 3000 - arrived, "queue_full")]
        sender.send(b"again")
        assert datagrams_of(receiver.take()[0]) == [b"again"]


def test_the_thread_takes_datagrams_without_being_asked(tmp_path: Path) -> None:
    with receiving(unix_socket(tmp_path / "s")) as (receiver, sender):
        for _ in range(200):  # a Unix socket holds ten, and its sender waits
            sender.send(b"x")
        wait_for(receiver, 200)


def test_after_the_end_what_waits_can_be_taken_and_the_address_is_free(tmp_path: Path) -> None:
    with receiving(unix_socket(tmp_path / "s")) as (receiver, sender):
        sender.send(b"last")
        receiver.close()
        receiver.close()
        assert datagrams_of(receiver.take()[0]) == [b"last"]
        assert receiver.take() == ([], [])
        assert not (tmp_path / "s").exists()
    with receiving(udp_socket("127.0.0.1:0")) as (receiver, _):
        address = receiver.address
        with pytest.raises(SourceError, match=f"cannot listen for UDP on {address}: .*set another address"):
            udp_socket(address)
        receiver.close()
        udp_socket(address).close()


@pytest.mark.parametrize("family", ["udp", "unix"])
def test_who_sends_behind_the_last_look_is_told(tmp_path: Path, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[type[OSError]] = []
    with receiving(udp_socket("127.0.0.1:0") if family == "udp" else unix_socket(tmp_path / "s")) as (receiver, sender):
        ended = receiver._thread.join

        def join() -> None:
            ended()
            for _ in range(2):  # by UDP the answer comes with the next one
                try:
                    sender.send(b"late")
                except OSError as error:
                    told.append(type(error))

        sender.send(b"in time")
        monkeypatch.setattr(receiver._thread, "join", join)
        receiver.close()
        monkeypatch.undo()
        assert datagrams_of(receiver.take()[0]) == [b"in time"]
    assert told == ([ConnectionRefusedError] if family == "udp" else [BrokenPipeError] * 2)


def test_a_stale_socket_file_is_replaced_and_one_in_use_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    unix_socket(path).close()
    held = unix_socket(path, 0o722)
    assert path.stat().st_mode & 0o777 == 0o722
    with pytest.raises(SourceError, match="another process listens there"):
        unix_socket(path)
    held.close()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(SourceError, match="is no socket"):
        unix_socket(tmp_path / "file")
    with pytest.raises(SourceError, match="at most 107"):
        unix_socket(tmp_path / ("x" * 120))


def test_addresses_that_are_not_ours_are_refused() -> None:
    for address, told in (
        ("192.0.2.1:0", "cannot listen for UDP on 192.0.2.1:0: "),
        ("127.0.0.1:99999", "port 99999; the highest is 65535"),
    ):
        with pytest.raises(SourceError, match=told):
            udp_socket(address)


def test_a_name_may_stand_for_an_address_of_either_family(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET6, socket.SOCK_DGRAM, 0, "", ("2001:db8::1", 0, 0, 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    with pytest.raises(SourceError, match=r"cannot listen for UDP on \[2001:db8::1\]:0: "):
        udp_socket("six:0")


def test_a_host_without_descriptors_or_threads_refuses_a_source_and_keeps_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(os, "eventfd", none_left)
        opened = unix_socket(tmp_path / "s")
        with pytest.raises(SourceError, match="Too many open files"):
            Receiver(opened, "x")
        assert (opened.fileno(), (tmp_path / "s").exists()) == (-1, False)
    with monkeypatch.context() as patch:
        patch.setattr(
            threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread"))
        )
        opened = unix_socket(tmp_path / "s")
        with pytest.raises(SourceError, match="can't start new thread"):
            Receiver(opened, "x")
        assert (opened.fileno(), (tmp_path / "s").exists()) == (-1, False)
    monkeypatch.setattr(socket, "socket", none_left)
    with pytest.raises(SourceError, match="Too many open files"):
        udp_socket("127.0.0.1:0")
    with pytest.raises(SourceError, match="Too many open files"):
        unix_socket(tmp_path / "s")
