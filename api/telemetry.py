"""The API's own request latencies as a telemetry stream: datagrams to an agent's Unix socket.

One datagram is a msgpack map {"stream": "api_requests", "rows": [[ts_ns, route, method, status, us], ...]}.
Requests only append to a bounded buffer; one background thread sends it at most every 200 ms and never waits for
the listener. What cannot be sent is counted by reason and forgotten: telemetry must not break what it watches.
"""

import logging
import socket
import threading

import msgspec

from api.own_metrics import OwnMetrics

log = logging.getLogger(__name__)

STREAM = "api_requests"
SEND_INTERVAL_S = 0.2
#: At about 70 bytes a row a datagram stays below 16 KiB, far under the kernel's default send buffer.
ROWS_PER_DATAGRAM = 200
BUFFERED_ROWS = 20_000

_Row = tuple[int, str, str, int, float]


class LatencySender:
    """Buffers one row per request and sends them from a thread of its own; `record` may be called from any thread."""

    def __init__(self, socket_path: str, metrics: OwnMetrics) -> None:
        self._path = socket_path
        self._metrics = metrics
        self._rows: list[_Row] = []
        self._lock = threading.Lock()
        self._waiting = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="api-telemetry", daemon=True)
        self._listening = True

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def record(self, ts_ns: int, route: str, method: str, status: int, duration_us: float) -> None:
        """Keep one row for the next datagram; a full buffer drops it, counted. Never waits."""
        with self._lock:
            if len(self._rows) < BUFFERED_ROWS:
                self._rows.append((ts_ns, route, method, status, duration_us))
                self._waiting.set()
                return
        self._metrics.telemetry_rows_dropped.labels("buffer_full").inc()

    def close(self) -> None:
        """Send what is buffered and end the thread; returns within milliseconds, as sending never waits."""
        self._closing.set()
        self._waiting.set()
        if self._thread.is_alive():
            self._thread.join(timeout=SEND_INTERVAL_S)

    def _run(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            while True:
                self._waiting.wait()
                self._closing.wait(SEND_INTERVAL_S)
                self._send_all(sender)
                if self._closing.is_set():
                    return

    def _send_all(self, sender: socket.socket) -> None:
        with self._lock:
            rows, self._rows = self._rows, []
            self._waiting.clear()
        for first in range(0, len(rows), ROWS_PER_DATAGRAM):
            self._send(sender, rows[first : first + ROWS_PER_DATAGRAM])

    def _send(self, sender: socket.socket, rows: list[_Row]) -> None:
        try:
            sender.sendto(msgspec.msgpack.encode({"stream": STREAM, "rows": rows}), self._path)
        except (FileNotFoundError, ConnectionRefusedError):
            self._drop("no_listener", len(rows))
        except BlockingIOError:
            self._drop("socket_full", len(rows))
        except OSError as error:
            self._drop("socket_error", len(rows), error)
        else:
            self._metrics.telemetry_rows_sent.inc(len(rows))
            if not self._listening:
                log.info("telemetry listener is back socket=%s", self._path)
            self._listening = True

    def _drop(self, reason: str, n_rows: int, error: OSError | None = None) -> None:
        self._metrics.telemetry_rows_dropped.labels(reason).inc(n_rows)
        if self._listening:
            log.warning("telemetry rows are dropped socket=%s reason=%s error=%s", self._path, reason, error or "-")
        self._listening = False
