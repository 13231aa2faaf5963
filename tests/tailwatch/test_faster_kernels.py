"""Collectors and APIs switch to compiled kernels by themselves, later, and only where that works."""

import logging
import os
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from quantiles._kernels.choice import kernels, use_kernels
from quantiles.merged_bodies import merge_bodies
from quantiles.sketch_column import SketchColumn
from tailwatch.faster_kernels import faster_kernels_beside
from tests.promptness import promptly

# The first run of all compiles for seconds, on a busy machine for more.
PATIENCE_S = 120.0


@pytest.fixture(autouse=True)
def unchosen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("TAILWATCH_KERNELS", raising=False)
    use_kernels("numpy")
    yield
    use_kernels("numpy")


def running() -> str:
    return str(kernels().__name__).rpartition(".")[2]  # type: ignore[attr-defined]  # kernels are modules


def p99() -> float:
    values = np.random.default_rng(5).lognormal(6, 1, 5_000)
    buffer, lengths = SketchColumn.from_values(values, np.arange(5_000) % 50, 50).to_bodies()
    merged = merge_bodies(buffer, lengths, np.zeros(50, np.int64), 1, 6, integer=False)
    return float(merged.quantiles([0.99])[0, 0])


def test_the_kernels_change_and_the_answers_do_not(caplog: pytest.LogCaptureFixture) -> None:
    before = p99()
    with caplog.at_level(logging.INFO), faster_kernels_beside(threading.Event(), after_s=0.0):
        deadline = time.monotonic() + PATIENCE_S
        while running() != "numba_kernels":
            assert time.monotonic() < deadline, caplog.text
            time.sleep(0.05)
        assert p99() == before
    assert "sketch kernels are numba now" in caplog.text


def test_whoever_chose_the_kernels_keeps_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILWATCH_KERNELS", "numpy")
    with faster_kernels_beside(threading.Event(), after_s=0.0):
        assert not [thread for thread in threading.enumerate() if thread.name == "kernels"]
    assert running() == "numpy_kernels"


def test_without_a_working_compiler_everything_stays_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path_factory: pytest.TempPathFactory
) -> None:
    failing = tmp_path_factory.mktemp("bin") / "python"
    failing.write_text("#!/bin/sh\necho 'RuntimeError: cannot cache function' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(failing))
    with caplog.at_level(logging.INFO), faster_kernels_beside(threading.Event(), after_s=0.0):
        deadline = time.monotonic() + PATIENCE_S
        while "stay numpy" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert "reason=RuntimeError: cannot cache function" in caplog.text
    assert running() == "numpy_kernels"


@pytest.mark.parametrize("asked", ["by its stop", "by the end of the work"])
def test_a_stop_while_the_compiler_runs_ends_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, asked: str
) -> None:
    folder = tmp_path_factory.mktemp("bin")
    slow = folder / "python"
    slow.write_text(f"#!/bin/sh\necho $$ >{folder}/pid\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(slow))
    stop = threading.Event()
    with faster_kernels_beside(stop, after_s=0.0):
        deadline = time.monotonic() + PATIENCE_S
        while not (folder / "pid").exists() or not (folder / "pid").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if asked == "by its stop":
            stop.set()
    assert not [thread for thread in threading.enumerate() if thread.name == "kernels"]
    with pytest.raises(ProcessLookupError):
        os.kill(int((folder / "pid").read_text()), 0)


def test_work_that_fails_at_once_does_not_wait_for_the_kernels() -> None:
    with promptly(2.0), pytest.raises(OSError, match="in use"), faster_kernels_beside(threading.Event()):
        raise OSError("the port is in use")
    assert not [thread for thread in threading.enumerate() if thread.name == "kernels"]
