"""A Unix datagram socket on which other programs on this host send rows, without ever waiting for the agent.

One datagram is a msgpack map {"stream": name, "rows": [[ts_ns, value, ...], ...]}: ts first, then the stream's columns
in their order, without host. The kernel queues as few as ten datagrams, so a thread of its own takes them off at
once. A datagram is taken whole or counted with its reason and left out; no bytes can make the agent stop. The rows of
those that find the queue full are counted as lost in their time, the others are not known to be rows.
"""

import contextlib
import errno
import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, cast

import msgspec
import polars as pl

from agents.errors import SourceError
from agents.sources.source import Batch, Lost
from agents.sources.udp import unix_socket
from pipeline.schema import HOST_COLUMN, MAX_TIME_NS, MIN_TIME_NS, SKETCH, TIME_COLUMN, Schema, polars_schema

log = logging.getLogger(__name__)

LONGEST_DATAGRAM_BYTES: Final = 2**18
WAITING_BYTES: Final = 2**23
REFUSED_SECONDS: Final = 1024
_SECOND_NS: Final = 10**9
_SOCKET_BUFFER_BYTES: Final = 2**22
_WAKE_S: Final = 0.2

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Time = Annotated[int, msgspec.Meta(ge=MIN_TIME_NS, le=MAX_TIME_NS)]
_VALUE_TYPES: Final[dict[str, Any]] = {"int64": _Int64, "float64": float, "string": str, "bool": bool}


class _Datagram(msgspec.Struct, frozen=True):
    stream: str
    rows: msgspec.Raw


class DatagramsSource:
    """The rows of one stream that arrive at one socket."""

    replayable: Final = False
    finished: Final = False
    lag_rows: Final = None

    def __init__(self, stream: str, path: Path, schema: Schema) -> None:
        """`schema` is the stream's whole schema: the order of its columns is the order in a row.

        Raises:
            SourceError: a column holds sketches, which no row of a datagram can bring.
        """
        if SKETCH in schema.values():
            raise SourceError(f"datagrams source: stream {stream!r} has a column of sketches; declare plain columns")
        self.name = f"datagrams:{stream}:{path.absolute()}"
        self._stream = stream
        self._path = path
        self._schema = schema
        columns = {name: kind for name, kind in schema.items() if name not in (TIME_COLUMN, HOST_COLUMN)}
        self._types = polars_schema({TIME_COLUMN: "int64"} | columns)
        values: list[Any] = [_VALUE_TYPES[kind] | None for kind in columns.values()]
        row: Any = tuple.__class_getitem__((_Time, *values))
        self._rows: msgspec.msgpack.Decoder[list[tuple[object, ...]]] = msgspec.msgpack.Decoder(list[row], strict=True)
        self._datagram = msgspec.msgpack.Decoder(_Datagram, strict=True)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._refused: dict[int, int] = {}  # second -> rows that found the queue full
        self._counters = {
            "datagrams": 0,
            "malformed": 0,
            "unknown_stream": 0,
            "bad_rows": 0,
            "too_long": 0,
            "queue_full": 0,
        }

    @property
    def streams(self) -> Mapping[str, Schema]:
        """The one stream."""
        return {self._stream: self._schema}

    def open(self, position: bytes | None) -> None:
        """Listen; a socket file that nobody listens on any more is replaced.

        Raises:
            SourceError: the path is too long, in use, not a socket, or its folder is not writable.
        """
        del position
        opened = unix_socket(self._path)
        opened.setblocking(False)
        with contextlib.suppress(OSError):  # a limit of the host; the default buffer will do
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SOCKET_BUFFER_BYTES)
        self._socket = opened
        self._thread = threading.Thread(target=self._take_off, args=(opened,), name="datagrams", daemon=True)
        self._thread.start()

    def poll(self) -> list[Batch]:
        """The rows of all datagrams sent before this call."""
        if self._socket is not None:
            self._receive(self._socket)
        with self._lock:
            waiting, self._waiting, self._waiting_bytes = self._waiting, deque(), 0
            refused, self._refused = self._refused, {}
        rows: list[tuple[object, ...]] = []
        for data in waiting:
            rows.extend(self._decode(data))
        if not rows and not refused:
            return []
        lost = tuple(Lost(second * _SECOND_NS, count, "queue_full") for second, count in refused.items())
        return [Batch(self._stream, pl.DataFrame(rows, schema=self._types, orient="row"), lost)]

    def position(self) -> bytes | None:
        """None: a datagram is not sent twice."""
        return None

    def measured_to_ns(self, polled_ns: int) -> int | None:
        """Up to the poll: what was sent before has been received."""
        return polled_ns

    def counters(self) -> Mapping[str, int]:
        """Datagrams received, and those left out by reason."""
        return self._counters

    def missing(self) -> Mapping[str, str]:
        """Nothing is optional here."""
        return {}

    def close(self) -> None:
        """Stop listening and remove the socket file; what waits can still be polled once."""
        opened, self._socket = self._socket, None
        if opened is None:
            return
        self._path.unlink(missing_ok=True)
        self._receive(opened)
        opened.close()
        if self._thread is not None:
            self._thread.join(2 * _WAKE_S)

    def _take_off(self, opened: socket.socket) -> None:
        while self._socket is opened:
            try:
                readable, _, _ = select.select([opened], [], [], _WAKE_S)
            except (OSError, ValueError):  # closed meanwhile
                return
            if readable:
                self._receive(opened)

    def _receive(self, opened: socket.socket) -> None:
        """Move everything from the kernel's queue to ours; called by the thread and by `poll`, in turns."""
        with self._lock:
            while True:
                try:
                    data, _, flags, _ = opened.recvmsg(LONGEST_DATAGRAM_BYTES)
                except BlockingIOError:
                    return
                except OSError as error:
                    if error.errno != errno.EBADF:
                        log.warning("datagrams cannot be received path=%s error=%s", self._path, error)
                    return
                self._counters["datagrams"] += 1
                if flags & socket.MSG_TRUNC:
                    self._counters["too_long"] += 1
                elif self._waiting_bytes + len(data) > WAITING_BYTES:
                    self._refuse(data)
                else:
                    self._waiting.append(data)
                    self._waiting_bytes += len(data)

    def _refuse(self, data: bytes) -> None:
        """Count its rows by the second of the first; costs decoding, which slows down only who sends too much."""
        rows = self._decode(data)
        if not rows:
            return
        self._counters["queue_full"] += 1
        second = cast("int", rows[0][0]) // _SECOND_NS
        if second not in self._refused and len(self._refused) >= REFUSED_SECONDS:
            second = time.time_ns() // _SECOND_NS  # odd times from outside must not fill the memory
        self._refused[second] = self._refused.get(second, 0) + len(rows)

    def _decode(self, data: bytes) -> list[tuple[object, ...]]:
        try:
            datagram = self._datagram.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._counters["malformed"] += 1
            return []
        if datagram.stream != self._stream:
            self._counters["unknown_stream"] += 1
            return []
        try:
            return self._rows.decode(datagram.rows)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._counters["bad_rows"] += 1
            return []
