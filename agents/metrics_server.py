"""Hands out the agent's metrics page and its health over HTTP, on loopback unless `metrics_host` says otherwise.

The agent's loop leaves a finished page here with every checkpoint; requests only hand it out, so that a scrape can
never disturb the loop. Imported only when `metrics_port` is set: the HTTP server costs 2 MB of memory.
"""

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

from agents.errors import MetricsPortError

LISTEN: Final = "127.0.0.1"


class MetricsServer:
    """Serves /metrics and /healthz until closed."""

    def __init__(self, port: int, stale_after_s: float, host: str = LISTEN) -> None:
        """Listen on `port` of `host`; unhealthy when no page was set for `stale_after_s`.

        Raises:
            MetricsPortError: the port is taken or not allowed, or this machine has no such address.
        """
        self._page = ""
        self._problem = "starting"
        self._notes = ""
        self._set_at_s = time.monotonic()
        self._stale_after_s = stale_after_s
        try:
            self._server = _server_class(host)((host, port), self._handler())
        except OSError as error:
            raise MetricsPortError(
                f"cannot listen on {host}:{port}: {error}; set agent.metrics_port to another port, or to 0 for none"
            ) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def set(self, page: str, problem: str, notes: str = "") -> None:
        """What /metrics shows from now on, what is wrong ("" for nothing), and lines that change no verdict."""
        self._page, self._problem, self._notes, self._set_at_s = page, problem, notes, time.monotonic()

    def stale_after(self, stale_after_s: float) -> None:
        """Unhealthy from now on when no page was set for so long."""
        self._stale_after_s = stale_after_s

    def health(self) -> str:
        """Empty when healthy, else the reason."""
        age_s = time.monotonic() - self._set_at_s
        if age_s > self._stale_after_s:
            return f"no checkpoint for {age_s:.1f} s"
        return self._problem

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        metrics = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # the name http.server calls
                if self.path == "/metrics":
                    self._answer(200, metrics._page, "text/plain; version=0.0.4; charset=utf-8")
                elif self.path == "/healthz":
                    problem = metrics.health()
                    text = f"{problem or 'ok'}\n{metrics._notes}"
                    self._answer(503 if problem else 200, text, "text/plain; charset=utf-8")
                else:
                    self._answer(404, "there are /metrics and /healthz\n", "text/plain; charset=utf-8")

            def _answer(self, status: int, text: str, kind: str) -> None:
                body = text.encode()
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Requests are not logged."""

        return Handler


def _server_class(host: str) -> type[ThreadingHTTPServer]:
    """The server for an address of this family."""
    if ":" not in host:
        return ThreadingHTTPServer

    class Server(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    return Server
