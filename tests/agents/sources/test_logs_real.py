"""Log files beside what writes and rotates them: nginx, logrotate, Python's own handlers, as far as they are here."""

import contextlib
import logging
import logging.handlers
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.sources.configs import LogsConfig
from agents.sources.logs import LogsSource
from agents.sources.streams import ACCESS_LOG
from tests.agents.live import until
from tests.counterparts.programs import program

WORDS = {"ts": "int64", "host": "string", "word": "string"}
SERVED = """
daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{}}
http {{
  log_format main '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                  '"$http_referer" "$http_user_agent" "$http_x_forwarded_for"';
  log_format timed '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
                   '"$http_referer" "$http_user_agent" $request_time';
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  access_log {folder}/combined.log combined; access_log {folder}/main.log main; access_log {folder}/timed.log timed;
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 "hello"; }}
    location /gone {{ return 404; }}
  }}
}}
"""
ROTATED = """
{path} {{
  {how}
  rotate 5
  missingok
}}
"""


@contextlib.contextmanager
def nginx(folder: Path) -> Iterator[tuple[int, "subprocess.Popen[bytes]"]]:
    command = program("nginx")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    (folder / "nginx.conf").write_text(SERVED.format(folder=folder, port=port))
    arguments = [command, "-p", str(folder), "-c", str(folder / "nginx.conf")]
    with (folder / "told").open("wb") as told, subprocess.Popen(arguments, stdout=told, stderr=told) as process:
        try:
            assert until(lambda: process.poll() is None and answers(port)), (folder / "told").read_text()
            yield port, process
        finally:
            process.terminate()
            process.wait(20)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def asked(port: int, path: str, agent: str = "test") -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"User-Agent": agent})
    with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(request, timeout=20) as answer:
        answer.read()


def test_what_nginx_writes_is_read_in_each_of_its_formats(tmp_path: Path) -> None:
    with nginx(tmp_path) as (port, process):
        for number in range(20):
            asked(port, f"/page/{number}?q=1", 'say "hi" \\ é' if number == 3 else "test")
        asked(port, "/gone")
        with socket.create_connection(("127.0.0.1", port), 20) as odd:
            odd.sendall(b'\x16\x03\x01\x02\x00"\\\xff\n\r\n')
            odd.recv(1000)
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    for name in ("combined", "main", "timed"):
        source = LogsSource(LogsConfig((str(tmp_path / f"{name}.log"),), "access", begin="beginning"), ACCESS_LOG)
        source.open(None)
        (batch,) = source.poll()
        rows, counters = batch.rows, source.counters()
        source.close()
        rows = rows.filter(rows["status"] != 499)  # of the look whether nginx answers
        assert counters["malformed"] == 0
        assert rows["status"].to_list() == [200] * 20 + [404, 400]
        assert rows["path"].to_list() == [f"/page/{number}" for number in range(20)] + ["/gone", None]
        assert rows["sent_bytes"].to_list()[:20] == [5] * 20
        assert rows["user_agent"].to_list()[3] == "say \\x22hi\\x22 \\x5C \\xE9"
        assert rows["request_s"].null_count() == (0 if name == "timed" else rows.height)
        assert rows["client"].unique().to_list() == ["127.0.0.1"]


def words_of(path: Path, position: bytes | None) -> LogsSource:
    entry = LogsConfig((str(path),), "regex", "words", r"(?P<word>.+)", begin="beginning")
    source = LogsSource(entry, WORDS)
    source.open(position)
    return source


def all_of(source: LogsSource) -> list[str]:
    source._next_look_s = 0.0
    found = [word for batch in source.poll() for word in batch.rows["word"].to_list()]
    while source.lag_bytes:
        found += [word for batch in source.poll() for word in batch.rows["word"].to_list()]
    return found


@pytest.mark.parametrize("how", ["create", "copytruncate", "create\n  dateext\n  dateformat -%s"])
@pytest.mark.parametrize("away", [False, True])
def test_logrotate_loses_and_repeats_nothing(tmp_path: Path, how: str, away: bool) -> None:
    command = program("logrotate")
    log, config = tmp_path / "a.log", tmp_path / "rotate.conf"
    config.write_text(ROTATED.format(path=log, how=how))
    config.chmod(0o600)
    tmp_path.chmod(0o755)
    log.touch()
    source = words_of(log, None)
    written: list[str] = []
    read: list[str] = []

    def write(count: int) -> None:
        with log.open("a") as file:
            for _ in range(count):
                written.append(f"line {len(written)} of a log that is rotated")
                file.write(written[-1] + "\n")

    for turn in range(3):
        write(20)
        read += all_of(source)
        write(7)
        if away:
            source.close()
            position = source.position()
        if "dateext" in how:
            config.write_text(ROTATED.format(path=log, how=how.replace("%s", f"{turn}%s")))
        subprocess.run([command, "-f", "-s", str(tmp_path / "state"), str(config)], check=True, timeout=60)
        write(5)
        if away:
            source = words_of(log, position)
        read += all_of(source)
        read += all_of(source)
    source.close()
    assert read == written


@pytest.mark.parametrize(
    "how",
    ["create", "create\n  compress", "create\n  compress\n  delaycompress", "copytruncate",
     "copytruncate\n  compress", "create\n  dateext\n  dateformat -%s", "create\n  compress\n  extension .log"],
)  # fmt: skip
@pytest.mark.parametrize("rotations", [2, 4])
def test_logrotate_may_turn_more_than_once_while_nobody_reads(tmp_path: Path, how: str, rotations: int) -> None:
    command = program("logrotate")
    log, config = tmp_path / "a.log", tmp_path / "rotate.conf"
    config.write_text(ROTATED.format(path=log, how=how))
    config.chmod(0o600)
    tmp_path.chmod(0o755)
    log.touch()
    written: list[str] = []

    def write(count: int) -> None:
        with log.open("a") as file:
            for _ in range(count):
                written.append(f"line {len(written)} of a log that is rotated")
                file.write(written[-1] + "\n")

    source = words_of(log, None)
    write(20)
    read = all_of(source)
    position = source.position()
    write(3)
    all_of(source)  # of which no checkpoint knows
    source.close()
    for turn in range(rotations):
        write(7)
        if "dateext" in how:
            config.write_text(ROTATED.format(path=log, how=how.replace("%s", f"{turn}%s")))
        subprocess.run([command, "-f", "-s", str(tmp_path / "state"), str(config)], check=True, timeout=60)
        write(5)
    source = words_of(log, position)
    read += all_of(source)
    read += all_of(source)
    position = source.position()
    source.close()
    assert read == written
    # What was read is not read again when it is packed, and turned on, later.
    write(2)
    config.write_text(ROTATED.format(path=log, how=f"{how.replace('%s', 'x%s')}\n  compress"))
    subprocess.run([command, "-f", "-s", str(tmp_path / "state"), str(config)], check=True, timeout=60)
    write(2)
    source = words_of(log, position)
    read += all_of(source)
    source.close()
    assert read == written


def test_python_s_own_rotating_handler_loses_and_repeats_nothing(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    handler = logging.handlers.RotatingFileHandler(log, maxBytes=3000, backupCount=20)
    logger = logging.Logger("rotated")  # noqa: LOG001  # of nobody else
    logger.addHandler(handler)
    source = words_of(log, None)
    read: list[str] = []
    for number in range(400):
        logger.warning("line %d of a log that rotates by itself", number)
        if number % 40 == 39:
            read += all_of(source)
    handler.close()
    source.close()
    source = words_of(log, source.position())
    read += all_of(source)
    source.close()
    assert read == [f"line {number} of a log that rotates by itself" for number in range(400)]
