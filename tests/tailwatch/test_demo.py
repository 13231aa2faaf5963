"""The demo with real processes: measures, survives a killed part, ends on Ctrl-C, refuses what it cannot use."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa
import yaml

from tailwatch.data_folder import hold, prepare_data_folder
from tests.counterparts.broker import new_topic_name
from tests.counterparts.choice import free_port
from tests.promptness import promptly
from wire.kafka_settings import KafkaConfig
from wire.kafka_topics import describe_topic

pytestmark = pytest.mark.system

COMMAND = (sys.executable, "-P", "-m", "tailwatch.cli")


def wait_until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def stands_still(process: psutil.Process) -> bool:
    """Whether all its threads have stopped; before that, one of them might still take a signal that comes later."""
    threads = Path(f"/proc/{process.pid}/task").glob("*/stat")
    return {path.read_text(encoding="ascii", errors="replace").rpartition(") ")[2][0] for path in threads} == {"T"}


def waits_at(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a process that stands still has been sent that signal."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace")
    return bool(int(status.partition("ShdPnd:")[2].split()[0], 16) >> (number - 1) & 1)


def ask(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as response:
        return json.load(response)


class Demo:
    """A running demo in a process group of its own, as a shell would start it."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.port = free_port()
        self.data = data
        self.process = subprocess.Popen(
            [*COMMAND, "demo", "--port", str(self.port), "--data", str(data), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_until_measured(self, count: int) -> dict[str, Any]:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.end()
            try:
                answer = ask(self.port, "/api/v1/quantiles?metric=hiccup_us&q=0.5,0.99&start=-5m")
            except OSError:
                answer = {"groups": []}
            if answer["groups"] and answer["groups"][0]["count"] >= count:
                return dict(answer["groups"][0])
            time.sleep(0.1)
        pytest.fail(f"no {count} hiccups within 60 s")

    def parts(self) -> dict[str, psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return {child.cmdline()[child.cmdline().index("tailwatch.cli") + 1]: child for child in children}

    def end(self) -> str:
        return str(self.process.communicate(timeout=30)[0])

    def kill(self) -> None:
        family = [self.process.pid, *(child.pid for child in self._family())]
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.communicate()

    def _family(self) -> list[psutil.Process]:
        try:
            return psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def started() -> Iterator[list[Demo]]:
    demos: list[Demo] = []
    yield demos
    for demo in demos:
        if demo.process.poll() is None:
            demo.kill()


def check_what_it_shows(demo: Demo) -> None:
    """Everything that a person finds while it runs."""
    group = demo.wait_until_measured(500)
    asked = subprocess.run(
        [*COMMAND, "query", "hiccup_us", "-q", "0.99", "--start", "-1m", "--url", f"http://127.0.0.1:{demo.port}"],
        capture_output=True,
        text=True,
        check=True,
    )
    wait_until(lambda: ask(demo.port, "/api/v1/quantiles?metric=api_request_us&q=0.5&start=-1m")["groups"])
    # Where the agent finds the metrics of the other parts, under names that stay.
    parts = {
        group["labels"]["instance"]: group["targets"][0]
        for group in yaml.safe_load((demo.data / "parts.yaml").read_text())
    }
    assert parts["api"] == f"127.0.0.1:{demo.port}"
    for instance, metric in (
        ("api", "tailwatch_api_requests_total"),
        ("collector", "tailwatch_collector_frames_total"),
    ):
        with urllib.request.urlopen(f"http://{parts[instance]}/metrics", timeout=60) as response:
            assert metric in response.read().decode()
    assert group["error_bound"] <= 0.0055
    assert group["coverage"]["ratio"] > 0
    assert "hiccup_us in us" in asked.stdout


def test_a_timed_run_ends_with_a_summary_of_what_it_measured(data: Path, started: list[Demo]) -> None:
    # Long enough for a line of progress also where starting takes most of ten seconds.
    demo = Demo(data, "--seconds", "20")
    started.append(demo)
    output = str(demo.process.communicate()[0])
    assert demo.process.returncode == 0, output
    summary = output.partition("summary after")[2]
    found = dict(re.findall(r"^  (\S.*?)  +([\d,.]+)", summary, re.MULTILINE))
    assert list(found) == [
        "events",
        "windows merged",
        "bytes on the wire",
        "hiccup p50",
        "hiccup p99",
        "hiccup p99.9",
        "hiccups counted",
        "error bound",
        "coverage",
    ]
    assert all(float(number.replace(",", "")) > 0 for number in found.values())
    assert float(found["coverage"]) == 100
    assert f"curl 'http://127.0.0.1:{demo.port}/api/v1/quantiles" in output
    assert re.search(r"[\d,]+ events/s in \| \d+ windows merged \| .* on the wire \| hiccup p99 [\d,.]+ us", output)


def test_ctrl_c_ends_all_within_two_seconds_and_a_later_run_goes_on_also_when_a_part_is_killed(
    data: Path, started: list[Demo]
) -> None:
    data = data / ("d" * 80) / ("e" * 80)  # no Unix socket can have that: the API's own latencies come in all the same
    demo = Demo(data)
    started.append(demo)
    check_what_it_shows(demo)
    family = psutil.Process(demo.process.pid).children(recursive=True)
    assert len(family) >= 3
    with promptly(2):
        os.killpg(demo.process.pid, signal.SIGINT)
        output = demo.end()
    assert demo.process.returncode == 0, output
    assert [process for process in family if process.is_running()] == []
    before = _number(output, "hiccups counted")
    assert "coverage           100 %" in output
    second = Demo(data)
    started.append(second)
    # The first run's hiccups are still there, beside the new ones: the last minutes hold both.
    group = second.wait_until_measured(before + 500)
    second.parts()["collector"].kill()
    # Enough that what a slow start leaves out is the smaller part.
    second.wait_until_measured(group["count"] + 12_000)
    second.process.terminate()
    output = second.end()
    assert second.process.returncode == 0, output
    assert "collector ended by SIGKILL" in output
    assert "collector started again" in output
    # The second run's first window began before it did: nobody measured between the two runs, and coverage says so.
    assert 50 < _number(output, "coverage") < 100


def test_over_kafka_it_makes_its_topic_and_measures_the_same(
    kafka_server: str, data: Path, started: list[Demo], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic_name()
    monkeypatch.setenv("TAILWATCH_TRANSPORT__KAFKA__TOPIC", topic)
    demo = Demo(data, "--kafka", kafka_server)
    started.append(demo)
    demo.wait_until_measured(2_000)
    os.killpg(demo.process.pid, signal.SIGINT)
    output = demo.end()
    assert demo.process.returncode == 0, output
    assert "coverage           100 %" in output
    made = describe_topic(KafkaConfig(servers=(kafka_server,), topic=topic))
    assert made.partitions == 4
    assert not (data / "log.db").exists()
    logs = "".join(path.read_text() for path in (data / "logs").iterdir())
    assert "Traceback" not in logs
    # What kafka-python's selector says of a task that took .1 s is how busy this machine is.
    logs = re.sub(r".* WARNING kafka\.net\.selector Task .* ran for .*\n", "", logs)
    assert not re.search("WARNING (kafka|wire|agents|collector)", logs), logs


def test_over_kafka_into_postgresql_it_measures_the_same(
    kafka_server: str, postgres_url: str, data: Path, started: list[Demo], monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = new_topic_name()
    monkeypatch.setenv("TAILWATCH_TRANSPORT__KAFKA__TOPIC", topic)
    demo = Demo(data, "--kafka", kafka_server, "--database", postgres_url)
    started.append(demo)
    demo.wait_until_measured(1_000)
    first = demo.parts()["collector"]
    first.kill()  # its place is in the database, what it had not flushed is in the topic
    first.wait(10)
    counted = demo.wait_until_measured(0)["count"]
    demo.wait_until_measured(counted + 1_000)
    os.killpg(demo.process.pid, signal.SIGINT)
    output = demo.end()
    assert demo.process.returncode == 0, output
    assert "coverage           100 %" in output
    engine = sa.create_engine(postgres_url)
    with engine.connect() as connection:
        told = connection.execute(sa.text("SELECT topic, next_offset FROM offsets")).all()
    engine.dispose()
    assert {row.topic for row in told} == {f"kafka:{topic}"}
    assert sum(row.next_offset for row in told) > 10
    assert not [name for name in ("log.db", "tailwatch.db") if (data / name).exists()]
    logs = "".join(path.read_text() for path in (data / "logs").iterdir())
    assert "Traceback" not in logs


def test_a_broker_that_is_not_there_is_one_line(data: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "demo", "--data", str(data), "--port", str(free_port()), "--kafka", f"127.0.0.1:{free_port()}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "connection refused" in done.stderr
    wrong = subprocess.run([*COMMAND, "demo", "--kafka", "nowhere"], capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert "'nowhere' is no broker; want HOST:PORT" in wrong.stderr


def test_a_second_ctrl_c_ends_it_at_once(data: Path, started: list[Demo]) -> None:
    demo = Demo(data)
    started.append(demo)
    demo.wait_until_measured(500)
    agent = demo.parts()["agent"]
    agent.suspend()  # so that the orderly end cannot be over before the second signal comes
    wait_until(lambda: stands_still(agent))
    os.killpg(demo.process.pid, signal.SIGINT)
    wait_until(lambda: waits_at(agent, signal.SIGTERM))  # else both would be one signal
    os.killpg(demo.process.pid, signal.SIGINT)
    demo.end()
    assert demo.process.returncode == 130
    assert not agent.is_running()


def test_a_port_in_use_is_one_line_with_the_setting(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*COMMAND, "demo", "--port", str(port), "--data", str(data)], capture_output=True, text=True, check=False
        )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert "api.port (--port)" in done.stderr


def test_a_data_folder_is_used_by_one_demo_at_a_time(data: Path, started: list[Demo]) -> None:
    held = hold(prepare_data_folder(str(data)))
    try:
        demo = Demo(data)
        started.append(demo)
        output = demo.end()
    finally:
        os.close(held)
    assert demo.process.returncode == 1
    assert output == f"error: another `tailwatch demo` runs on {data}; stop it or choose another folder with --data\n"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "demo", "--data", str(tmp_path / "file")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "choose another with --data" in done.stderr


def test_an_edited_configuration_with_a_mistake_stops_the_start_with_78(data: Path) -> None:
    data.mkdir()
    (data / "tailwatch.yaml").write_text("agent: {chekpoint_s: 1}\n", encoding="utf-8")
    done = subprocess.run([*COMMAND, "demo", "--data", str(data)], capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "did you mean checkpoint_s?" in done.stderr


def test_a_demo_that_would_have_to_show_itself_a_key_is_refused(data: Path) -> None:
    data.mkdir()
    (data / "tailwatch.yaml").write_text("data_dir: .\napi: {host: 0.0.0.0}\n", encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "demo", "--data", str(data), "--seconds", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 78
    assert "keep api.host on loopback" in done.stderr


def test_a_run_that_measures_nothing_fails(data: Path) -> None:
    data.mkdir()
    (data / "tailwatch.yaml").write_text("agent: {sources: [{kind: host}]}\n", encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "demo", "--port", str(free_port()), "--data", str(data), "--seconds", "3"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "nothing was measured" in done.stderr


def _number(output: str, name: str) -> float:
    found = re.search(rf"^  {name} +([\d,.]+)", output, re.MULTILINE)
    assert found, output
    return float(found[1].replace(",", ""))


def test_the_demo_keeps_its_windows_and_made_up_gpu_jobs_in_postgresql_when_told_to(
    tmp_path: Path, postgres_url: str
) -> None:
    url = postgres_url.replace("//postgres@", "//postgres:secret@")
    demo = Demo(tmp_path / "data", "--database", url, "--gpu-jobs", "6")
    try:
        demo.wait_until_measured(100)
        lines = [process.cmdline() for process in demo.parts().values()]
        assert not any("secret" in word for line in lines for word in line)
        failure = wait_for_a_diagnosis(demo)
        (found, *_) = ask(demo.port, failure["href"])["failures"]
    finally:
        demo.process.send_signal(signal.SIGINT)
        said = demo.end()
    assert demo.process.returncode == 0, said
    assert "secret" not in said
    assert not (tmp_path / "data" / "tailwatch.db").exists()
    assert failure["synthetic"] is True
    assert failure["job"].startswith("synthetic-")
    assert found["diagnosis"]["evidence"][0]["reason"] == failure["reason"]
    assert found["advice"]["decision"] in ("never", "same", "other_node", "more_mem", "backoff")
    assert f"tailwatch gpu failures --url http://127.0.0.1:{demo.port}" in said
    summary = re.search(r"^  GPU jobs +(\d+) failed \((\d+) synthetic\): .*; advice: ", said, re.MULTILINE)
    assert summary, said
    assert summary[1] == summary[2]


def wait_for_a_diagnosis(demo: Demo) -> dict[str, Any]:
    """The newest failure of a GPU job that has a reason."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert demo.process.poll() is None, demo.end()
        found = ask(demo.port, "/api/v1/gpu/failures?status=answered")["failures"]
        if found:
            return dict(found[0])
        time.sleep(0.2)
    pytest.fail("no failure of a made-up GPU job was diagnosed within 120 s")
