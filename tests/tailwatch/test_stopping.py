"""SIGHUP: read the configuration again where there is one to read; else nothing, unless the terminal has gone."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tailwatch import stopping as module

HOME = str(Path(module.__file__).parent.parent)

# argv: whether there is something to reload, whether `nohup` was there before, the supervisor or 0.
PROGRAM = """
import os, signal, sys, threading
sys.path[:0] = [{home!r}]
from tailwatch.stopping import stop_event
reloads, nohup, supervisor = (int(word) for word in sys.argv[1:])
if nohup:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
reload = threading.Event() if reloads else None
stop = stop_event(supervisor or None, reload)
print("ready", flush=True)
while not stop.wait(0.01):
    if reload is not None and reload.is_set():
        reload.clear()
        os.write(1, b"reload\\n")
os.write(1, b"ended\\n")
"""


class Process:
    """The program above; what it writes goes to a file, for its terminal may go."""

    def __init__(self, folder: Path, *, reloads: bool, nohup: bool = False, supervisor: int = 0, on: int = -1) -> None:
        self.said = folder / "said"
        (folder / "program.py").write_text(PROGRAM.format(home=HOME), encoding="utf-8")
        command = [sys.executable, str(folder / "program.py"), str(int(reloads)), str(int(nohup)), str(supervisor)]
        if on >= 0:
            # A session of its own whose terminal is that one, as a shell in a window makes it.
            taking_it = f"import fcntl, os, sys, termios; fcntl.ioctl({on}, termios.TIOCSCTTY, 0)"
            command = [sys.executable, "-c", f"{taking_it}; os.execv(sys.argv[1], sys.argv[1:])", *command]
        with self.said.open("wb") as out:
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, start_new_session=on >= 0, pass_fds=[on] if on >= 0 else []
            )

    def wait_for(self, text: str, times: int = 1) -> None:
        deadline = time.monotonic() + 60
        while self.said.read_text().count(text) < times:
            assert time.monotonic() < deadline, self.said.read_text()
            assert self.process.poll() is None or text == "ended", self.said.read_text()
            time.sleep(0.01)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def build(**how: object) -> Process:
        made.append(Process(tmp_path, **how))  # type: ignore[arg-type]
        made[-1].wait_for("ready")
        return made[-1]

    yield build
    for one in made:
        one.process.kill()
        one.process.wait()


def test_each_hang_up_asks_for_a_reload(start: Callable[..., Process]) -> None:
    one = start(reloads=True)
    for times in (1, 2):
        one.process.send_signal(signal.SIGHUP)
        one.wait_for("reload", times)
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(10) == 0


def test_where_there_is_nothing_to_reload_it_says_so_and_runs_on(start: Callable[..., Process]) -> None:
    one = start(reloads=False)
    one.process.send_signal(signal.SIGHUP)
    one.wait_for("SIGHUP changes nothing here")
    assert one.process.poll() is None
    one.process.send_signal(signal.SIGTERM)
    assert one.process.wait(10) == 0


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"reloads": True}, "ended"),
        ({"reloads": False}, "ended"),
        ({"reloads": True, "nohup": True}, "reload"),
        ({"reloads": True, "supervisor": os.getpid()}, "reload"),
    ],
)
def test_a_terminal_that_closes_ends_it_cleanly_but_under_nohup_or_a_supervisor(
    start: Callable[..., Process], how: dict[str, object], said: str
) -> None:
    ours, theirs = os.openpty()
    one = start(**how, on=theirs)
    os.close(theirs)
    os.close(ours)
    one.wait_for(said)
    if said == "ended":
        assert one.process.wait(10) == 0


def test_a_process_started_meanwhile_gets_no_hang_up_and_ours_is_not_lost() -> None:
    came: list[int] = []
    before = signal.signal(signal.SIGHUP, lambda number, _: came.append(number))
    try:
        with module.hang_ups_held_back():
            child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
            os.kill(os.getpid(), signal.SIGHUP)
            child.send_signal(signal.SIGHUP)
        # Where another thread takes the signal (a test runner has some), this one hears of it a moment later.
        deadline = time.monotonic() + 60
        while not came and time.monotonic() < deadline:
            time.sleep(0.01)
        assert came == [signal.SIGHUP]
        child.communicate(b"")
        assert child.returncode == 0
    finally:
        signal.signal(signal.SIGHUP, before)
