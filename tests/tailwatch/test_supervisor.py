"""The supervisor with small stand-in processes: restart, order of stopping, no orphans, no Ctrl-C in between."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tailwatch import supervisor as module
from tailwatch.supervisor import Part, Supervisor

# The stand-in: argv = folder, name, what to do; its last two arguments are --supervisor PID.
PROGRAM = """
import os, signal, sys, time
sys.path[:0] = {path!r}
folder, name, what, _, parent = sys.argv[1:]
from tailwatch.stopping import stop_event
stop = stop_event(int(parent))
if what == "ignore_term":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(f"{{folder}}/events", "a") as events:
    events.write(f"start {{name}}\\n")
    events.flush()
    if what == "die":
        sys.exit("cannot find the thing")
    while not stop.wait(0.01):
        pass
    time.sleep(0.1)
    events.write(f"stop {{name}}\\n")
"""


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    made: list[Supervisor] = []
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(path=[str(Path(module.__file__).parent.parent)]), encoding="utf-8")

    def build(**parts: str) -> Supervisor:
        listed = [Part(name, (str(tmp_path), name, what), 5.0) for name, what in parts.items()]
        made.append(Supervisor(listed, tmp_path, (sys.executable, str(program))))
        return made[-1]

    yield build
    for supervisor in made:
        supervisor.kill()


def events(folder: Path) -> list[str]:
    file = folder / "events"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def wait_for(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.01)


def test_parts_end_one_after_the_other_in_their_order(tmp_path: Path, make: Callable[..., Supervisor]) -> None:
    supervisor = make(agent="run", collector="run", api="run")
    supervisor.start()
    wait_for(lambda: len(events(tmp_path)) == 3)
    assert supervisor.stop(["agent", "collector", "api"]) == []
    assert events(tmp_path)[3:] == ["stop agent", "stop collector", "stop api"]


def test_a_killed_part_is_started_again_after_a_wait(tmp_path: Path, make: Callable[..., Supervisor]) -> None:
    supervisor = make(collector="run")
    supervisor.start()
    wait_for(lambda: events(tmp_path) == ["start collector"])
    os.kill(supervisor.process_ids()["collector"], signal.SIGKILL)
    said: list[str] = []
    wait_for(lambda: bool(said.extend(supervisor.look_after()) or len(said) == 2))
    assert said[0].startswith("collector ended by SIGKILL (see ")
    assert said[0].endswith("starting it again in 0.5 s")
    assert said[1] == "collector started again"
    wait_for(lambda: events(tmp_path) == ["start collector", "start collector"])


def test_a_part_that_keeps_dying_is_tried_ever_later_and_given_up(
    tmp_path: Path, make: Callable[..., Supervisor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_BACK_OFF_S", 0.01)
    monkeypatch.setattr(module, "_GIVE_UP_AFTER", 4)
    supervisor = make(agent="die")
    supervisor.start()
    said: list[str] = []
    wait_for(lambda: bool(said.extend(supervisor.look_after()) or supervisor.given_up))
    deaths = [sentence for sentence in said if "ended" in sentence]
    assert [sentence.rsplit(" in ", 1)[1] for sentence in deaths] == ["0.01 s", "0.02 s", "0.04 s", "0.08 s"]
    assert all("with exit code 1 (cannot find the thing; more in" in sentence for sentence in deaths)


def test_a_part_that_does_not_end_is_killed_and_named(tmp_path: Path, make: Callable[..., Supervisor]) -> None:
    supervisor = make(agent="ignore_term")
    supervisor._running[0].part = Part("agent", (), 0.2)
    supervisor.start()
    wait_for(lambda: events(tmp_path) == ["start agent"])
    (said,) = supervisor.stop(["agent"])
    assert "agent did not end within 0.2 s and was killed" in said


def test_ctrl_c_is_left_to_the_supervisor(tmp_path: Path, make: Callable[..., Supervisor]) -> None:
    supervisor = make(agent="run")
    supervisor.start()
    # At once and later: neither before the handlers stand nor after may it end the part.
    os.kill(supervisor.process_ids()["agent"], signal.SIGINT)
    wait_for(lambda: events(tmp_path) == ["start agent"])
    os.kill(supervisor.process_ids()["agent"], signal.SIGINT)
    time.sleep(0.2)
    assert supervisor.look_after() == []
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_a_hang_up_is_passed_on_and_waits_for_a_part_that_is_starting(
    tmp_path: Path, make: Callable[..., Supervisor]
) -> None:
    supervisor = make(agent="run", collector="run")
    supervisor.start()
    supervisor.pass_on(signal.SIGHUP, "agent")
    wait_for(lambda: len(events(tmp_path)) == 2)
    # These parts have nothing to reload, and say so.
    wait_for(lambda: "SIGHUP changes nothing" in (tmp_path / "agent.log").read_text())
    assert supervisor.look_after() == []
    assert (tmp_path / "collector.log").read_text() == ""
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_parts_end_by_themselves_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    home = str(Path(module.__file__).parent.parent)
    program.write_text(PROGRAM.format(path=[home]), encoding="utf-8")
    driver = f"""
import sys, time
from pathlib import Path
sys.path[:0] = [{home!r}]
from tailwatch.supervisor import Part, Supervisor
folder = {str(tmp_path)!r}
Supervisor([Part("agent", (folder, "agent", "run"), 5.0)], Path(folder), (sys.executable, {str(program)!r})).start()
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", driver])
    try:
        wait_for(lambda: events(tmp_path) == ["start agent"])
    finally:
        process.kill()
        process.wait()
    wait_for(lambda: events(tmp_path) == ["start agent", "stop agent"])
