"""The hiccup sampler: a thousand samples a second from a process that never outlives nor blocks anybody."""

import os
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest

from agents.errors import SourceError
from agents.progress import SourceProgress
from agents.sources import hiccups
from agents.sources.hiccups import SAMPLER, HiccupsSource
from agents.sources.source import Batch
from tests.agents.live import until
from tests.promptness import promptly

HERE = Path(__file__).parents[2]


@pytest.fixture
def source() -> Iterator[HiccupsSource]:
    opened = HiccupsSource()
    opened.open(None)
    yield opened
    opened.close()


def gathered(source: HiccupsSource, enough: Callable[[pl.DataFrame], bool]) -> pl.DataFrame:
    """Samples polled until there are enough, with the time at which each tick was `due`."""
    rows = pl.DataFrame(schema={"ts": pl.Int64, "late_ns": pl.Int64, "due": pl.Int64})

    def found() -> bool:
        nonlocal rows
        new = pl.concat([rows.clear().drop("due"), *(batch.rows for batch in source.poll())])
        rows = rows.vstack(new.with_columns(due=pl.col("ts") - pl.col("late_ns")))
        return enough(rows)

    assert until(found)
    return rows


def starts(source: HiccupsSource) -> None:
    """Wait until the process measures."""
    gathered(source, lambda rows: rows.height > 0)


def test_a_hang_up_of_the_whole_group_does_not_end_the_sampler(source: HiccupsSource) -> None:
    process_id = source.process_id
    assert process_id is not None
    os.kill(process_id, signal.SIGHUP)
    assert until(lambda: sum(batch.rows.height for batch in source.poll()) > 0)
    assert source.process_id == process_id


def test_about_a_thousand_samples_a_second_arrive_with_plausible_times(source: HiccupsSource) -> None:
    opened_ns = source._opened_ns
    rows = gathered(source, lambda rows: rows.height >= 1_000)
    assert rows["late_ns"].min() >= 0  # type: ignore[operator]
    assert rows["ts"].is_sorted()
    assert opened_ns <= rows["ts"][0] <= rows["ts"][-1] <= time.time_ns()
    # A tick each millisecond, however late: between its two readings of the clock the process may be interrupted too.
    steps_us = rows["due"].diff().drop_nulls() / 1_000
    assert ((steps_us - 1_000).abs() <= 100).mean() >= 0.9  # type: ignore[operator]


def test_a_stalled_sampler_counts_every_tick_it_missed(source: HiccupsSource) -> None:
    starts(source)
    assert source.process_id is not None
    os.kill(source.process_id, signal.SIGSTOP)
    assert until(lambda: state(source.process_id) == "T")
    stopped_ns = time.time_ns()
    time.sleep(0.4)
    continued_ns = time.time_ns()
    os.kill(source.process_id, signal.SIGCONT)
    rows = gathered(source, lambda rows: rows.height > 0 and rows["due"].max() > continued_ns)  # type: ignore[operator]
    missed = rows.filter(pl.col("due").is_between(stopped_ns, continued_ns))
    assert abs(missed.height - (continued_ns - stopped_ns) // 1_000_000) <= 5
    assert (missed["ts"] >= continued_ns).mean() >= 0.9  # type: ignore[operator]
    assert missed["late_ns"].max() >= 380_000_000  # type: ignore[operator]


def test_a_dead_sampler_is_a_state_and_is_started_again(source: HiccupsSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hiccups, "FIRST_RETRY_S", 0.1)
    source._retry_s = 0.1
    assert until(lambda: bool(source.poll()))
    first = source.process_id
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert until(lambda: (source.poll(), "sampler" in source.missing())[1])
    assert "-9" in source.missing()["sampler"]
    assert until(lambda: (source.poll(), source.process_id not in (None, first))[1])
    assert source.missing() == {}
    assert source.counters()["sampler_restarts"] == 1
    assert until(lambda: bool(source.poll()))


def test_while_no_sampler_runs_nothing_counts_as_complete_and_its_ticks_as_lost(
    source: HiccupsSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts(source)
    opened_ns = time.time_ns()
    progress = SourceProgress(source, None, opened_ns)  # opens a second time: the first process is given up
    ended_s = time.monotonic() + 60.0
    batches: list[Batch] = []
    while not progress.rows and time.monotonic() < ended_s:
        batches += progress.poll(time.time_ns())
    monkeypatch.setattr(hiccups, "FIRST_RETRY_S", 0.1)
    source._retry_s = 0.4
    assert source.process_id is not None
    os.kill(source.process_id, signal.SIGKILL)
    assert until(lambda: (batches.extend(progress.poll(time.time_ns())), "sampler" in source.missing())[1])
    died_at_ns = progress.watermark_ns
    assert died_at_ns is not None
    assert died_at_ns > opened_ns
    while "sampler" in source.missing():
        assert progress.watermark_ns == died_at_ns
        batches += progress.poll(time.time_ns())
        time.sleep(0.02)
    rows_before = progress.rows
    assert until(lambda: (batches.extend(progress.poll(time.time_ns())), progress.rows > rows_before)[1])
    assert progress.watermark_ns == max(batch.rows["ts"].max() for batch in batches if batch.rows.height)
    lost = [loss for batch in batches for loss in batch.lost]
    assert {loss.reason for loss in lost} == {"sampler_down"}
    back_ns = min(batch.rows["ts"].min() for batch in batches if batch.rows.height and batch.rows["ts"][0] > died_at_ns)
    gap_ms = (back_ns - died_at_ns) // 1_000_000  # type: ignore[operator]
    assert sum(loss.count for loss in lost) == source.counters()["sampler_down"]
    assert abs(sum(loss.count for loss in lost) - gap_ms) <= 1
    assert died_at_ns <= min(loss.ts_ns for loss in lost)
    assert gap_ms >= 300


def test_a_sampler_that_never_delivers_vouches_for_nothing() -> None:
    source = HiccupsSource((sys.executable, "-c", "raise SystemExit(1)"))
    started_ns = time.time_ns()
    progress = SourceProgress(source, None, started_ns)
    assert until(lambda: (progress.poll(time.time_ns()), source.counters()["sampler_down"] > 100)[1])
    assert (progress.watermark_ns, progress.rows) == (started_ns, 0)
    source.close()


def test_a_clock_set_years_ahead_is_lost_in_few_pieces() -> None:
    source = HiccupsSource()
    source._unmeasured_from_ns = 0
    lost = source._unmeasured(10 * 366 * 86_400 * 10**9)
    assert len(lost) <= hiccups.MOST_LOSSES + 1
    assert sum(loss.count for loss in lost) == 10 * 366 * 86_400 * 1_000


def test_samples_that_a_full_pipe_refuses_are_counted_and_nobody_waits() -> None:
    taken, given = os.pipe()
    hiccups.fcntl.fcntl(given, hiccups.fcntl.F_SETPIPE_SZ, 4096)  # 256 records fit
    os.set_blocking(taken, False)
    with subprocess.Popen([sys.executable, "-I", "-S", str(SAMPLER)], stdin=subprocess.PIPE, stdout=given) as process:
        os.close(given)
        process.stdout = os.fdopen(taken, "rb", 0)
        source = HiccupsSource()
        source._process = process
        batches: list[Batch] = []

        def refused() -> bool:
            assert until(lambda: unread(taken) > 4096 - 17 * 50)
            time.sleep(0.1)  # or longer, where the machine wants it: then it comes round once more
            batches.extend(source.poll())
            return source.counters()["pipe_full"] > 0

        assert until(refused)
        rows = pl.concat([batch.rows for batch in batches]).with_columns(due=pl.col("ts") - pl.col("late_ns"))
        lost = [loss for batch in batches for loss in batch.lost]
        assert {loss.reason for loss in lost} == {"pipe_full"}
        ticks = (rows["due"].max() - rows["due"].min()) / 1_000_000 + 1  # type: ignore[operator]
        assert rows.height + sum(loss.count for loss in lost) == pytest.approx(ticks, abs=5)
        source.close()


def unread(descriptor: int) -> int:
    """Bytes that wait in a pipe."""
    return int.from_bytes(hiccups.fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_the_sampler_ends_when_its_parent_is_killed() -> None:
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]);"
        "from agents.sources.hiccups import HiccupsSource;"
        "s = HiccupsSource(); s.open(None); print(s.process_id, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(HERE)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        sampler = int(parent.stdout.readline())
        assert running(sampler)
        parent.kill()
        parent.wait()
        assert until(lambda: not running(sampler))


def test_a_sampler_that_cannot_be_started_says_so() -> None:
    with pytest.raises(SourceError, match="cannot start the hiccup sampler"):
        HiccupsSource(("/nowhere/python",)).open(None)


def test_closing_ends_the_process_at_once(source: HiccupsSource) -> None:
    sampler = source.process_id
    assert sampler is not None
    with promptly(0.5):
        source.close()
    assert not running(sampler)
    source.poll()
    assert source.process_id is None


def running(process_id: int) -> bool:
    return state(process_id) not in (None, "Z")


def state(process_id: int | None) -> str | None:
    """The letter that Linux has for it; None for a process that is gone."""
    try:
        stat = Path(f"/proc/{process_id}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return stat.rsplit(")", 1)[1].split()[0]
