"""A real Alertmanager for the tests (Debian's 0.25), and a receiver of what it sends: who is told of what, and when.

It hears of alerts from a Prometheus that a test starts, and passes them on at once: groups wait for a second, so that a
test measures the rule and not the grouping.
"""

import contextlib
import json
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.counterparts.choice import free_port, missing
from tests.counterparts.prometheus import end_with_parent

_STARTS_WITHIN_S = 20.0
_STOPS_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Notice:
    """One alert of one notification, and when it came (time.monotonic)."""

    status: str  # firing or resolved
    labels: dict[str, str]
    annotations: dict[str, str]
    at_s: float


@dataclass
class Receiver:
    """A webhook; `notices` grows while Alertmanager tells of alerts."""

    url: str = ""
    notices: list[Notice] = field(default_factory=list)

    def take(self, body: dict[str, Any]) -> None:
        """A notification in version 4 of the webhook's form."""
        at_s = time.monotonic()
        self.notices += [Notice(each["status"], each["labels"], each["annotations"], at_s) for each in body["alerts"]]

    def of(self, alert: str, status: str) -> list[Notice]:
        """What was told about an alert of this name."""
        return [each for each in self.notices if each.labels["alertname"] == alert and each.status == status]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A webhook on a free loopback port."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}/"
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def program() -> str:
    """Alertmanager's program; the test is skipped, with the reason, where there is none."""
    found = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    return found or missing(
        "no Alertmanager to test with: apt's prometheus-alertmanager is not installed (make test-servers)"
    )


@contextmanager
def running(binary: str, receiver: Receiver) -> Iterator[str]:
    """A started Alertmanager that tells the receiver of everything; gives its address, HOST:PORT."""
    folder, port = Path(tempfile.mkdtemp(prefix="tailwatch-alertmanager-")), free_port()
    route = {
        "receiver": "test",
        "group_by": ["..."],
        "group_wait": "1s",
        "group_interval": "1s",
        "repeat_interval": "1h",
    }
    receivers = [{"name": "test", "webhook_configs": [{"url": receiver.url, "send_resolved": True}]}]
    (folder / "alertmanager.yml").write_text(json.dumps({"route": route, "receivers": receivers}))
    command = [
        binary, "--config.file=alertmanager.yml", "--storage.path=data", f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]  # fmt: skip
    with (folder / "log").open("ab") as log:
        # The child makes one system call and takes no lock: safe, also with threads about.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            preexec_fn=end_with_parent,  # noqa: PLW1509
        )  # fmt: skip
    try:
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"Alertmanager did not start; its log ends:\n{(folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _ready(port: int) -> bool:
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2).close()
        return True
    return False
