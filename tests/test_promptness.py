"""Bounds of `promptly`: what waits is told, what the machine takes away is not."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.promptness import promptly

ROOT = Path(__file__).parents[1]
STOPPED = """
import time
from tests.promptness import promptly
with promptly(0.5):
    print("in it", flush=True)
    input()
"""


def test_what_waits_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.promptness._TICK_S", 60.0)  # nothing is found that the machine took
    monkeypatch.setattr("tests.promptness._PRESSURE", tmp_path / "absent")
    with pytest.raises(AssertionError, match=r"took \d+\.\d+ s, .*; want less than 0.05"), promptly(0.05):
        time.sleep(0.1)


def test_a_process_that_was_stopped_meanwhile_is_not_to_blame() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "in it\n"
        child.send_signal(signal.SIGSTOP)
        time.sleep(0.7)
        child.send_signal(signal.SIGCONT)
        child.communicate("\n", timeout=60)
    assert child.returncode == 0


def test_time_in_which_others_had_the_cores_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressure = tmp_path / "cpu"
    monkeypatch.setattr("tests.promptness._PRESSURE", pressure)
    pressure.write_text("some avg10=0.35 avg60=31.26 avg300=66.53 total=12372879862\nfull avg10=0.00 total=0\n")
    with promptly(0.05):
        time.sleep(0.1)
        pressure.write_text("some avg10=0.35 avg60=31.26 avg300=66.53 total=12373879862\nfull avg10=0.00 total=0\n")
