"""The host source: figures that make sense, rates from differences, and missing sensors as states."""

import time
from types import SimpleNamespace
from typing import Any, NamedTuple

import polars as pl
import psutil
import pytest

from agents.sources.host import HostSource
from agents.sources.streams import BUILTIN_STREAMS
from tests.agents.live import until
from tests.agents.transports import Clock


class Disk(NamedTuple):
    read_count: int
    write_count: int
    read_bytes: int
    write_bytes: int
    busy_time: int


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """By which sources of this host wait and reckon."""
    made = Clock()
    monkeypatch.setattr("agents.sources.host.time", SimpleNamespace(monotonic=made, time_ns=time.time_ns))
    return made


def polled(source: HostSource, clock: Clock) -> dict[str, pl.DataFrame]:
    """The reading an interval later, by when the host has counted some CPU."""
    counted_s = sum(psutil.cpu_times())
    assert until(lambda: sum(psutil.cpu_times()) > counted_s + 0.1)
    clock.now_s += 0.1
    return {batch.stream: batch.rows for batch in source.poll()}


def test_every_stream_has_the_columns_it_declares(clock: Clock) -> None:
    source = HostSource(0.1)
    source.open(None)
    frames = polled(source, clock)
    assert {"host", "host_cpus"} <= set(frames) <= set(source.streams)
    for stream, rows in frames.items():
        declared = [name for name in BUILTIN_STREAMS[stream] if name != "host"]
        assert rows.columns == declared
    host = frames["host"].to_dicts()[0]
    assert 0 <= host["cpu_busy_ratio"] <= 1
    assert 0 < host["memory_used_ratio"] < 1
    assert frames["host_cpus"].height <= psutil.cpu_count()
    assert source.poll() == []  # the next interval has not passed


def test_rates_are_differences_over_time_and_none_after_a_reset(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter(
        [
            {"sda": Disk(10, 20, 1_000, 2_000, 0), "loop0": Disk(1, 1, 1, 1, 1)},
            {"sda": Disk(30, 20, 6_000, 2_000, 50), "loop0": Disk(1, 1, 1, 1, 1), "sdb": Disk(1, 1, 1, 1, 1)},
            {"sda": Disk(0, 0, 0, 0, 0)},
        ]
    )
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: next(readings))
    source = HostSource(0.1)
    source.open(None)
    disks = polled(source, clock)["host_disks"]
    assert disks["disk"].to_list() == ["sda", "sdb"]
    sda, sdb = disks.to_dicts()
    assert sda["read_bytes_total"] == 6_000
    assert sda["read_bytes_per_s"] == pytest.approx(5_000 / 0.1)
    assert sda["written_bytes_per_s"] == 0
    assert sda["busy_ratio"] == pytest.approx(0.5)
    assert sdb["read_bytes_per_s"] is None
    again = polled(source, clock)["host_disks"].to_dicts()[0]
    assert (again["read_bytes_total"], again["read_bytes_per_s"], again["busy_ratio"]) == (0, None, None)


def test_a_missing_sensor_is_a_state_that_can_end(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(**_: Any) -> None:
        raise FileNotFoundError("/proc/diskstats")

    with monkeypatch.context() as patched:
        patched.setattr(psutil, "disk_io_counters", absent)
        patched.setattr(psutil, "getloadavg", absent)
        source = HostSource(0.1)
        source.open(None)
        frames = polled(source, clock)
        assert "host_disks" not in frames
        assert frames["host"]["load1"].to_list() == [None]
        assert frames["host"]["cpu_busy_ratio"].null_count() == 0
        assert set(source.missing()) == {"disks", "load"}
        assert "/proc/diskstats" in source.missing()["disks"]
    assert polled(source, clock)["host"]["load1"].null_count() == 0
    assert source.missing() == {}
