"""Receives datagrams over UDP or a Unix socket in a thread, many with one call of the kernel, and counts what is lost.

Senders of datagrams come in bursts and never wait, so the kernel's queue is made long and is emptied as soon as there
is something: recvmmsg takes up to SLOTS datagrams at once, and a short pause lets them gather: 0.7 us of CPU for a
small one instead of 1.6 (benchmarks/sources/statsd.py has the sum). What the kernel had no room for it counts itself
(SO_MEMINFO); what finds the queue here full is counted too, so that a source can report both as lost.
"""

import contextlib
import ctypes
import errno
import logging
import mmap
import os
import select
import socket
import stat
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from agents.errors import SourceError
from agents.sources.listening import listening_address

log = logging.getLogger(__name__)

#: What one datagram may have; UDP allows fewer.
LONGEST_BYTES: Final = 2**16
#: How much may wait to be taken, and what a datagram takes beside its bytes.
WAITING_BYTES: Final = 2**25
OVERHEAD_BYTES: Final = 200
SLOTS: Final = 128
# More than the kernel's queue can hold of the smallest datagrams, so that a drain takes all that was there.
_DRAIN_CALLS: Final = 512
_BUFFER_BYTES: Final = 2**23
# Datagrams gather for so long where the kernel's queue is long enough for a burst; ten of a Unix socket are not.
_PAUSE_S: Final = 0.005
_LONG_QUEUE_BYTES: Final = 2**21
_PATH_BYTES: Final = 107  # what sockaddr_un holds
_SECOND_NS: Final = 10**9
# Of asm-generic/socket.h; Python's module does not name them.
_SO_RCVBUFFORCE: Final = 33
_SO_MEMINFO: Final = 55
_MEMINFO: Final = struct.Struct("9I")
_MEMINFO_DROPS: Final = 8
_BEGINS: Final = range(0, SLOTS * LONGEST_BYTES, LONGEST_BYTES)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p), ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p), ("vectors_length", ctypes.c_size_t),
        ("control", ctypes.c_void_p), ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )  # fmt: skip


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (("header", _Header), ("length", ctypes.c_uint))


@dataclass(frozen=True, slots=True)
class Arrived:
    """Up to SLOTS datagrams in the order of arrival; `at_ns` is when they were taken off the kernel's queue."""

    at_ns: int
    datagrams: list[bytes]


@dataclass(frozen=True, slots=True)
class LostDatagrams:
    """`count` datagrams of the second `ts_ns` that nobody will see; `reason` is kernel_full or queue_full."""

    ts_ns: int
    count: int
    reason: str


def udp_socket(listen: str) -> socket.socket:
    """A socket bound to HOST:PORT; port 0 is one that is free.

    Raises:
        SourceError: the address is not this host's, the port is in use, or there is no descriptor left.
    """
    address = listening_address(listen, socket.SOCK_DGRAM)
    opened = _socket(address.family)
    try:
        opened.bind((address.host, address.port))
    except OSError as error:
        opened.close()
        raise SourceError(
            f"cannot listen for UDP on {address.shown}: {error}; set another address or port, or stop who has it"
        ) from error
    return opened


def unix_socket(path: Path, mode: int | None = None) -> socket.socket:
    """A socket bound to `path`, with these permissions; a socket file that nobody listens on any more is replaced.

    Raises:
        SourceError: the path is too long, in use, not a socket, or its folder is not writable.
    """
    if len(bytes(path)) > _PATH_BYTES:
        raise SourceError(f"{path}: {len(bytes(path))} bytes; a socket's path has at most {_PATH_BYTES}")
    opened = _socket(socket.AF_UNIX)
    try:
        _remove_stale(path)
        opened.bind(str(path))
        if mode is not None:
            path.chmod(mode)
    except OSError as error:
        opened.close()
        raise SourceError(f"{path}: cannot listen for datagrams: {error}; set another path") from error
    except SourceError:
        opened.close()
        raise
    return opened


class Receiver:
    """Everything that arrives at one socket, from now until it is closed; what waits then can still be taken once.

    Attributes:
        datagrams: received.
        too_long: those of them that were longer than LONGEST_BYTES, which are left out.
        kernel_full: datagrams that the kernel dropped.
        queue_full: datagrams that found WAITING_BYTES here.
    """

    def __init__(self, opened: socket.socket, name: str, *, clock_ns: Callable[[], int] = time.time_ns) -> None:
        """Own the socket and start the thread; `name` says in the log which socket it is."""
        self.datagrams = self.too_long = self.kernel_full = self.queue_full = 0
        self._socket = opened
        self._name = name
        self._clock_ns = clock_ns
        self._path = opened.getsockname() if opened.family == socket.AF_UNIX else None
        opened.setblocking(False)
        self._pause_s = _PAUSE_S if _lengthen(opened) >= _LONG_QUEUE_BYTES and self._path is None else 0.0
        self._tells_drops = True
        self._lock = threading.Lock()
        self._batch = _Batch()
        self._waiting: list[Arrived] = []
        self._waiting_bytes = 0
        self._lost: dict[tuple[int, str], int] = {}
        self._kernel_drops = self._read_drops()
        self._open = True
        try:
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError as error:
            self._let_go()
            raise SourceError(f"{name}: nothing can be received: {error}") from error
        self._thread = threading.Thread(target=self._run, name=f"receive {name}", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the host's limit of threads
            os.close(self._wake)
            self._let_go()
            raise SourceError(f"{name}: nothing can be received: {error}") from error

    @property
    def address(self) -> str:
        """Where datagrams can be sent to: HOST:PORT, or the path; of an open one."""
        if self._path is not None:
            return str(self._path)
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def tells_drops(self) -> bool:
        """Whether the kernel says how many datagrams it dropped; one before Linux 4.12 does not."""
        return self._tells_drops

    def take(self) -> tuple[list[Arrived], list[LostDatagrams]]:
        """All that was sent before this call and not taken yet, in order, and what is lost."""
        with self._lock:
            if self._open:
                self._drain()
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            lost, self._lost = self._lost, {}
        return waiting, [LostDatagrams(second * _SECOND_NS, n, reason) for (second, reason), n in lost.items()]

    def close(self) -> None:
        """Receive what is there, then listen no more; may be called twice."""
        with self._lock:
            if not self._open:
                return
            if self._path is not None:
                Path(self._path).unlink(missing_ok=True)
            _refuse_more(self._socket)
            self._drain()
            self._open = False
            os.eventfd_write(self._wake, 1)
        self._thread.join()
        self._socket.close()
        os.close(self._wake)

    def _let_go(self) -> None:
        self._socket.close()
        if self._path is not None:
            Path(self._path).unlink(missing_ok=True)

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        pause = select.poll()
        pause.register(self._wake, select.POLLIN)
        while self._open:
            poller.poll()
            with self._lock:
                if self._open:
                    self._drain()
            if self._pause_s:
                pause.poll(1000 * self._pause_s)

    def _drain(self) -> None:
        """Move what the kernel has to our queue; the lock is held."""
        now_ns = self._clock_ns()
        for _ in range(_DRAIN_CALLS):
            try:
                got, too_long = self._batch.receive(self._socket.fileno())
            except OSError as error:
                log.warning("datagrams cannot be received socket=%s error=%s", self._name, error)
                break
            self.datagrams += len(got) + too_long
            self.too_long += too_long
            self._keep(got, now_ns)
            if len(got) + too_long < SLOTS:
                break
        drops = self._read_drops()
        if drops != self._kernel_drops:
            new = (drops - self._kernel_drops) % 2**32  # the kernel's counter has 32 bits
            self._kernel_drops = drops
            self.kernel_full += new
            self._lose(now_ns, "kernel_full", new)

    def _keep(self, got: list[bytes], now_ns: int) -> None:
        if not got:
            return
        size = sum(map(len, got)) + OVERHEAD_BYTES * len(got)
        if self._waiting_bytes + size > WAITING_BYTES:
            self.queue_full += len(got)
            self._lose(now_ns, "queue_full", len(got))
            return
        self._waiting_bytes += size
        self._waiting.append(Arrived(now_ns, got))

    def _lose(self, now_ns: int, reason: str, count: int) -> None:
        key = now_ns // _SECOND_NS, reason
        self._lost[key] = self._lost.get(key, 0) + count

    def _read_drops(self) -> int:
        if not self._tells_drops:
            return 0
        try:
            told = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, _MEMINFO.size)
            return int(_MEMINFO.unpack(told)[_MEMINFO_DROPS])
        except (OSError, struct.error):
            self._tells_drops = False
            return 0


class _Batch:
    """Room for SLOTS datagrams, and the call that fills it."""

    def __init__(self) -> None:
        self._receive = _recvmmsg()
        self._room = mmap.mmap(-1, SLOTS * LONGEST_BYTES)  # pages that no datagram reaches take no memory
        base = ctypes.addressof(ctypes.c_char.from_buffer(self._room))
        self._vectors = (_Vector * SLOTS)()
        self._messages = (_Message * SLOTS)()
        size = ctypes.sizeof(_Vector)
        for i in range(SLOTS):
            self._vectors[i].base = base + i * LONGEST_BYTES
            self._vectors[i].length = LONGEST_BYTES
            self._messages[i].header.vectors = ctypes.addressof(self._vectors) + i * size
            self._messages[i].header.vectors_length = 1
        step = (ctypes.sizeof(_Message),)
        told = memoryview(self._messages).cast("B")
        self._lengths = np.ndarray((SLOTS,), np.uint32, told, _Message.length.offset, step)
        self._flags = np.ndarray((SLOTS,), np.int32, told, _Header.flags.offset, step)

    def receive(self, descriptor: int) -> tuple[list[bytes], int]:
        """Datagrams that wait at a socket that does not block, and how many others were too long."""
        count = self._receive(descriptor, self._messages, SLOTS, socket.MSG_DONTWAIT, None)
        if count < 0:
            code = ctypes.get_errno()
            if code in (errno.EAGAIN, errno.EINTR):
                return [], 0
            raise OSError(code, os.strerror(code))
        lengths, truncated = self._lengths[:count].tolist(), self._flags[:count] & socket.MSG_TRUNC
        room = self._room
        got = [room[begin : begin + length] for begin, length in zip(_BEGINS, lengths, strict=False)]
        too_long = int(np.count_nonzero(truncated))
        if too_long:
            got = [datagram for datagram, cut in zip(got, truncated.tolist(), strict=True) if not cut]
        return got, too_long


def _socket(family: socket.AddressFamily) -> socket.socket:
    try:
        return socket.socket(family, socket.SOCK_DGRAM)
    except OSError as error:  # no descriptors left, say
        raise SourceError(f"no socket can be had: {error}") from error


def _recvmmsg() -> Callable[..., int]:
    call = ctypes.CDLL(None, use_errno=True).recvmmsg
    call.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    call.restype = ctypes.c_int
    return call


def _lengthen(opened: socket.socket) -> int:
    """Ask for a long queue in the kernel, beyond the host's limit where this process may; how long it is."""
    with contextlib.suppress(OSError):  # the default will do
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
    with contextlib.suppress(OSError):
        opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    return opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _refuse_more(opened: socket.socket) -> None:
    """Let senders be told, by ECONNREFUSED or EPIPE, from now on: what came after the last look would vanish unseen."""
    with contextlib.suppress(OSError):
        if opened.family == socket.AF_UNIX:
            opened.shutdown(socket.SHUT_RD)
        else:
            opened.connect(opened.getsockname())  # from then on only from itself


def _remove_stale(path: Path) -> None:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SourceError(f"{path}: exists and is no socket; set another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as knock:
        try:
            knock.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
            return
    raise SourceError(f"{path}: another process listens there; set another path or stop it")
