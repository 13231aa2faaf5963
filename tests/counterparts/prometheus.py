"""A real Prometheus for the tests: Debian's 2.42 on a free loopback port, and how samples get into it.

It keeps its data in a temporary folder and scrapes nothing unless a test wants it to: all that it knows comes by remote
write (version 1), whose protobuf messages are put together here by hand: there are only six of them. Native histograms
must be switched on, also in a server that the environment names, and that server must not hold newer samples than those
of the tests.
"""

import ctypes
import shutil
import signal
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cramjam

from quantiles.converters.prometheus import NativeHistogram, Span
from tests.counterparts.choice import Wanted, free_port

VARIABLE = "TAILWATCH_TEST_PROMETHEUS"
_IMAGE = "prom/prometheus:v2.42.0"  # the release that Debian has, so that all runs compare with the same rules
_FLAGS = ["--web.enable-remote-write-receiver", "--enable-feature=native-histograms"]
_STARTS_WITHIN_S = 20.0
_STOPS_WITHIN_S = 10.0
_GAUGE_HINT = 3
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, slots=True)
class WrittenSeries:
    """One series to write.

    Attributes:
        labels: `__name__` among them.
        samples: (time in ms, value), ascending.
        histograms: (time in ms, histogram with whole counts), ascending.
        gauge: whether the histograms stand each for itself; else they count on, as a counter does.
    """

    labels: Mapping[str, str]
    samples: Sequence[tuple[int, float]] = ()
    histograms: Sequence[tuple[int, NativeHistogram]] = field(default=())
    gauge: bool = False


def write(address: str, series: Sequence[WrittenSeries]) -> None:
    """Have the server at http://HOST:PORT store the samples; they can be queried when this returns.

    Raises:
        RuntimeError: it refused them; with its reason.
    """
    body = b"".join(_message(1, _series(each)) for each in series)
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    data = bytes(cramjam.snappy.compress_raw(body))
    request = urllib.request.Request(f"{address}/api/v1/write", data, headers, method="POST")
    try:
        urllib.request.urlopen(request, timeout=30).close()
    except urllib.error.HTTPError as error:
        with error:
            said = error.read().decode(errors="replace").strip()
        raise RuntimeError(f"Prometheus at {address} refused the samples with {error.code}: {said}") from None


@contextmanager
def running(program: str, config: str = "{}\n") -> Iterator[str]:
    """A started Prometheus without any data; gives its address, http://HOST:PORT. By default it scrapes nothing."""
    folder = Path(tempfile.mkdtemp(prefix="tailwatch-prometheus-"))
    (folder / "prometheus.yml").write_text(config)
    port = free_port()
    command = [
        program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address=127.0.0.1:{port}",
        *_FLAGS,
    ]  # fmt: skip
    with (folder / "log").open("ab") as log:
        # The child makes one system call and takes no lock: safe, also with threads about.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder,
            preexec_fn=end_with_parent,  # noqa: PLW1509
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        _wait_until_ready(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        try:
            process.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer

    command = ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus", *_FLAGS]
    with DockerContainer(_IMAGE).with_command(command).with_exposed_ports(9090) as container:
        address = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(9090)}"
        deadline = time.monotonic() + _STARTS_WITHIN_S
        while not _ready(address):
            if time.monotonic() > deadline:
                raise RuntimeError(f"{_IMAGE} is not ready after {_STARTS_WITHIN_S:.0f} s")
            time.sleep(0.05)
        yield address


def _program() -> Any:
    program = shutil.which("prometheus")
    if program is None:
        return "apt's prometheus is not installed (make test-servers)"
    said = subprocess.run([program, "--version"], check=True, capture_output=True, text=True)
    version = (said.stdout or said.stderr).split()[2].partition("+")[0]
    return f"Prometheus {version} of apt", lambda: running(program)


PROMETHEUS = Wanted("prometheus", VARIABLE, _container, _program)


def _wait_until_ready(address: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while not _ready(address):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Prometheus did not start; its log ends:\n{log.read_text()[-3000:]}")
        time.sleep(0.02)


def _ready(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/-/ready", timeout=2).close()
    except OSError:
        return False
    return True


def end_with_parent() -> None:
    """Runs in the child: have it stopped also when the test run is killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


# Messages of prometheus.WriteRequest, each field by its number there.


def _series(series: WrittenSeries) -> bytes:
    labels = [_message(1, _text(1, name) + _text(2, value)) for name, value in sorted(series.labels.items())]
    samples = [_message(2, _double(1, value) + _whole(2, time_ms)) for time_ms, value in series.samples]
    histograms = [_message(4, _histogram(each, time_ms, series.gauge)) for time_ms, each in series.histograms]
    return b"".join([*labels, *samples, *histograms])


def _histogram(histogram: NativeHistogram, time_ms: int, gauge: bool) -> bytes:
    parts = [
        _whole(1, int(histogram.count)),
        _double(3, histogram.sum),
        _whole(4, _zigzag(histogram.schema)),
        _double(5, histogram.zero_threshold),
        _whole(6, int(histogram.zero_count)),
        *(_message(8, _span(span)) for span in histogram.negative_spans),
        _message(9, b"".join(_varint(_zigzag(delta)) for delta in histogram.negative_deltas)),
        *(_message(11, _span(span)) for span in histogram.positive_spans),
        _message(12, b"".join(_varint(_zigzag(delta)) for delta in histogram.positive_deltas)),
        _whole(14, _GAUGE_HINT if gauge else 0),
        _whole(15, time_ms),
    ]
    return b"".join(parts)


def _span(span: Span) -> bytes:
    return _whole(1, _zigzag(span.offset)) + _whole(2, span.length)


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _whole(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _zigzag(value: int) -> int:
    return value * 2 if value >= 0 else -value * 2 - 1


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)
