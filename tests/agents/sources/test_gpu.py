"""The GPU source on played back NVML: figures, what is not supported, lost GPUs, drivers that come and go, hangs."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.sources.configs import GpuConfig
from agents.sources.gpu import RETRY_S, GpuSource
from agents.sources.gpu_fields import pci_address
from agents.sources.source import Batch
from agents.sources.streams import GPU, GPU_PROCESSES, GPU_XIDS
from tests.agents.sources.nvml_trace import PlayedNvml, RecordedNvml, trace_of
from tests.counterparts.choice import missing

ROOT = Path(__file__).parents[3]
TRACE = Path(__file__).with_name("nvml_traces") / "synthetic_two_gpus.json"
A100 = "GPU-11111111-2222-3333-4444-555555555555"
GEFORCE = "GPU-66666666-7777-8888-9999-000000000000"
WAIT_S = 60.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def nvml() -> PlayedNvml:
    return PlayedNvml(trace_of(TRACE))


@pytest.fixture
def clock() -> Clock:
    return Clock()


def source_of(nvml: Any, clock: Callable[[], float], **settings: Any) -> GpuSource:
    return GpuSource(GpuConfig(kernel_log_path="", **settings), lambda: nvml, clock)


def rows_of(batches: list[Batch], stream: str = "gpu") -> list[dict[str, Any]]:
    return [row for batch in batches if batch.stream == stream for row in batch.rows.to_dicts()]


def read(source: GpuSource, stream: str = "gpu") -> list[dict[str, Any]]:
    source.read_all()
    return rows_of(source.poll(), stream)


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not ready():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def test_a_gpu_is_read_in_the_declared_columns_and_units(nvml: PlayedNvml, clock: Clock) -> None:
    source = source_of(nvml, clock)
    before_ns = time.time_ns()
    source.read_all()
    batches = source.poll()
    for batch in batches:
        assert batch.rows.columns == [name for name in source.streams[batch.stream] if name != "host"]
    first = rows_of(batches)[0]
    assert before_ns <= first.pop("ts") <= time.time_ns()
    assert first == {
        "gpu": "0", "uuid": A100, "pci": "0000:9b:00", "model": "Example A100-SXM4-80GB", "driver": "580.95.05",
        "lost": 0, "busy_ratio": pytest.approx(0.97), "memory_busy_ratio": pytest.approx(0.41), "encoder_ratio": 0.0,
        "decoder_ratio": 0.0, "memory_total_bytes": 80 * 2**30, "memory_used_bytes": 60 * 2**30,
        "memory_free_bytes": 20 * 2**30, "memory_used_ratio": 0.75, "bar1_used_bytes": 2**20, "power_w": 391.25,
        "power_limit_w": 400.0, "energy_total_j": 987_654_321.0, "temperature_c": 71, "memory_temperature_c": 83,
        "slowdown_temperature_c": 92, "fan_ratio": None, "performance_state": 0, "graphics_clock_mhz": 1410,
        "sm_clock_mhz": 1410, "sm_clock_max_mhz": 1410, "memory_clock_mhz": 1593, "video_clock_mhz": 1275,
        "throttle_reasons": 68, "throttled_idle": 0, "throttled_settings": 0, "throttled_power_cap": 1,
        "throttled_hw_slowdown": 0, "throttled_sync_boost": 0, "throttled_sw_thermal": 0, "throttled_hw_thermal": 1,
        "throttled_power_brake": 0, "throttled_display": 0, "ecc_enabled": 1, "ecc_corrected_volatile_total": 3,
        "ecc_uncorrected_volatile_total": 1, "ecc_corrected_aggregate_total": 120,
        "ecc_uncorrected_aggregate_total": 2, "retired_pages_sbe_total": None, "retired_pages_dbe_total": None,
        "retired_pages_pending": None, "remapped_rows_corrected_total": 5, "remapped_rows_uncorrected_total": 1,
        "remapping_pending": 1, "remapping_failed": 0, "pcie_generation": 4, "pcie_generation_max": 4,
        "pcie_width": 8, "pcie_width_max": 16, "pcie_received_bytes_per_s": 250_000_000.0,
        "pcie_sent_bytes_per_s": 1_500_000.0, "pcie_replays_total": 17, "nvlink_crc_flit_errors_total": 9,
        "nvlink_crc_data_errors_total": 0, "nvlink_replays_total": None, "nvlink_recoveries_total": 2,
        "mig_enabled": 0, "processes_count": 2,
    }  # fmt: skip
    assert source.missing() == {}


def test_what_a_gpu_does_not_support_is_null(nvml: PlayedNvml, clock: Clock) -> None:
    source = source_of(nvml, clock)
    _, second = read(source)
    assert (second["model"], second["pci"], second["busy_ratio"]) == ("Example GeForce", "0000:03:00", 0.0)
    assert (second["temperature_c"], second["fan_ratio"]) == (35, pytest.approx(0.3))
    assert (second["throttle_reasons"], second["throttled_idle"]) == (1, 1)  # by the older name of the question
    assert (second["retired_pages_sbe_total"], second["retired_pages_dbe_total"]) == (3, 0)
    unsupported = (
        "power_w",
        "ecc_enabled",
        "ecc_corrected_volatile_total",
        "mig_enabled",
        "pcie_width",
        "sm_clock_mhz",
    )
    assert [second[name] for name in unsupported] == [None] * len(unsupported)
    assert second["processes_count"] is None
    assert source.counters()["nvml_error_999"] == 1  # an answer that is no known refusal


def test_the_processes_of_a_gpu_are_rows_of_their_own(nvml: PlayedNvml, clock: Clock) -> None:
    nvml.set("nvmlDeviceGetGraphicsRunningProcesses", ["@gpu0"], [{"fields": {"pid": 1, "usedGpuMemory": 4096}}])
    rows = read(source_of(nvml, clock), "gpu_processes")
    assert [(row["gpu"], row["pid"], row["kind"], row["memory_used_bytes"]) for row in rows] == [
        ("0", 4194301, "compute", 64_000_000_000),
        ("0", 4194302, "compute", None),
        ("0", 1, "graphics", 4096),
    ]
    assert rows[0]["process"] is None  # no such process here
    assert rows[2]["process"] == Path("/proc/1/comm").read_text(encoding="utf-8").strip()
    without = source_of(nvml, clock, processes=False)
    assert read(without, "gpu_processes") == []


def test_traffic_over_pcie_is_left_out_where_measuring_it_would_take_the_whole_interval(
    nvml: PlayedNvml, clock: Clock
) -> None:
    first, _ = read(source_of(nvml, clock, interval_s=0.2))
    assert first["pcie_received_bytes_per_s"] is None
    assert "nvmlDeviceGetPcieThroughput" not in nvml.asked


def test_figures_are_read_anew_each_round_and_names_once(nvml: PlayedNvml, clock: Clock) -> None:
    source = source_of(nvml, clock)
    assert [row["temperature_c"] for row in read(source) + read(source)] == [71, 35, 72, 35]
    assert nvml.asked["nvmlDeviceGetName"] == 2
    assert nvml.asked["nvmlInit"] == 1


@pytest.mark.parametrize("call", ["nvmlDeviceGetUUID", "nvmlDeviceGetUtilizationRates"])
def test_a_lost_gpu_is_a_row_that_says_so_and_a_state(nvml: PlayedNvml, clock: Clock, call: str) -> None:
    source = source_of(nvml, clock)
    read(source)
    nvml.set(call, ["@gpu0"], {"error": pynvml.NVML_ERROR_GPU_IS_LOST})
    lost, other = sorted(read(source), key=lambda row: -row["lost"])
    assert (lost["uuid"], lost["pci"], lost["lost"], lost["temperature_c"]) == (A100, "0000:9b:00", 1, None)
    assert (other["uuid"], other["lost"]) == (GEFORCE, 0)
    assert source.missing() == {f"gpu {A100}": "the GPU is lost: it has fallen off the bus"}
    assert source.counters()["gpus_lost"] == 1
    read(source)
    assert source.counters()["gpus_lost"] == 1  # counted when it happens


def test_a_gpu_that_vanishes_without_a_word_is_lost_as_well(nvml: PlayedNvml, clock: Clock) -> None:
    source = source_of(nvml, clock)
    read(source)
    nvml.set("nvmlDeviceGetCount", [], 1)
    nvml.set("nvmlDeviceGetHandleByIndex", [0], "@gpu1")  # indices close ranks
    rows = {row["uuid"]: row for row in read(source)}
    assert (rows[A100]["lost"], rows[GEFORCE]["lost"], rows[GEFORCE]["gpu"]) == (1, 0, "0")
    assert "does not list it any more" in source.missing()[f"gpu {A100}"]


def test_a_gpu_that_was_reset_is_found_by_a_new_session(nvml: PlayedNvml, clock: Clock) -> None:
    source = source_of(nvml, clock)
    read(source)
    nvml.set("nvmlDeviceGetHandleByIndex", [0], {"error": pynvml.NVML_ERROR_RESET_REQUIRED})
    assert sorted(row["lost"] for row in read(source)) == [0, 1]
    assert "needs a reset" in source.missing()[f"gpu {A100}"]
    assert nvml.asked["nvmlInit"] == 1
    clock.now_s += RETRY_S
    read(source)
    nvml.set("nvmlDeviceGetHandleByIndex", [0], "@gpu0")
    assert [row["lost"] for row in read(source)] == [0, 0]
    assert nvml.asked["nvmlInit"] == 2
    assert source.missing() == {}


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, "no NVIDIA driver"),
        (pynvml.NVML_ERROR_DRIVER_NOT_LOADED, "not loaded"),
        (pynvml.NVML_ERROR_NO_PERMISSION, "no permission"),
        (pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "the driver was updated"),
        (pynvml.NVML_ERROR_UNKNOWN, "NVML refuses"),
    ],
)
def test_a_driver_that_is_not_there_is_a_state_and_found_when_it_comes(
    nvml: PlayedNvml, clock: Clock, code: int, reason: str
) -> None:
    nvml.set("nvmlInit", [], {"error": code}, None)
    source = source_of(nvml, clock)
    assert read(source) == []
    assert reason in source.missing()["nvml"]
    assert read(source) == []  # not asked again at once
    clock.now_s += RETRY_S
    assert len(read(source)) == 2
    assert source.missing() == {}


def test_a_driver_that_is_unloaded_is_a_state_until_it_is_back(nvml: PlayedNvml, clock: Clock) -> None:
    source = source_of(nvml, clock)
    read(source)
    nvml.set("nvmlDeviceGetCount", [], {"error": pynvml.NVML_ERROR_UNINITIALIZED}, 2)
    assert read(source) == []
    assert source.missing() == {"nvml": "NVML was shut down"}
    clock.now_s += RETRY_S
    assert len(read(source)) == 2
    assert nvml.asked["nvmlInit"] == 2


def test_without_the_extra_the_source_says_what_to_install(clock: Clock) -> None:
    def absent() -> Any:
        raise ImportError("No module named 'pynvml'")

    source = GpuSource(GpuConfig(kernel_log_path=""), absent, clock)
    assert read(source) == []
    assert "pip install 'tailwatch[gpu]'" in source.missing()["nvml"]


def test_a_driver_without_gpus_is_a_state(nvml: PlayedNvml, clock: Clock) -> None:
    nvml.set("nvmlDeviceGetCount", [], 0)
    source = source_of(nvml, clock)
    assert read(source) == []
    assert source.missing() == {"nvml": "the NVIDIA driver lists no GPU"}


def test_an_answer_that_never_comes_holds_up_nothing_and_is_lost(nvml: PlayedNvml, clock: Clock) -> None:
    gate = threading.Event()

    class Hanging(PlayedNvml):
        hangs = False

        def _answer(self, call: str, arguments: tuple[Any, ...]) -> Any:
            if self.hangs and call == "nvmlDeviceGetUtilizationRates":
                gate.wait(WAIT_S)
            return super()._answer(call, arguments)

    hanging = Hanging(trace_of(TRACE))
    source = source_of(hanging, clock, interval_s=5)
    source.open(None)
    batches: list[Batch] = []
    until(lambda: bool(batches.extend(source.poll()) or len(rows_of(batches)) == 2))
    assert source._rounds is not None
    until(lambda: source._rounds is not None and source._rounds.running_s is None)
    hanging.hangs = True
    clock.now_s += 6
    source.poll()
    clock.now_s += 20
    (batch,) = source.poll()
    assert [(one.count, one.reason) for one in batch.lost] == [(2, "gpu_no_answer")]
    assert source.counters()["rounds_skipped"] == 1
    assert source.missing()["nvml"] == "NVML has not answered for 20 s"
    gate.set()
    until(lambda: source._rounds is not None and source._rounds.running_s is None)
    assert source.missing() == {}
    source.close()
    assert hanging.asked["nvmlShutdown"] == 1
    clock.now_s += 100
    source.poll()
    assert source._rounds.running_s is None


def test_an_agent_that_reads_no_gpus_never_loads_the_binding() -> None:
    program = (
        "import sys, agents.sources.configured; sys.exit(any('gpu' in name or 'nvml' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
    program = "import sys, agents.sources.gpu; sys.exit('pynvml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("00000000:9B:00.0", "0000:9b:00"),
        ("PCI:0000:9b:00", "0000:9b:00"),
        ("PCI:0000:c1:00.0", "0000:c1:00"),
        ("0008:01:00", "0008:01:00"),
        ("10000:01:00.0", "10000:01:00"),
        ("", None),
        ("9b:00", None),
        ("0000:9b:00:1", None),
    ],
)
def test_addresses_of_nvml_and_of_the_kernel_become_the_same(text: str, address: str | None) -> None:
    assert pci_address(text) == address


ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=4),
    st.sampled_from([{"error": code} for code in (1, 2, 3, 9, 15, 16, 18, 999)]),
    st.sampled_from([[], [[]], [1, 2, 3, 4], {"fields": {}}, {"fields": {"pid": -1, "gpu": "x", "busId": b"\xff"}}]),
)


@given(st.data())
def test_no_answer_of_nvml_makes_an_error_or_a_value_of_another_type(data: st.DataObject) -> None:
    trace = trace_of(TRACE)
    for call in data.draw(st.lists(st.sampled_from(trace["calls"]), min_size=1, max_size=6, unique_by=id)):
        call["answers"] = [data.draw(ODD)]
    clock = Clock()
    source = source_of(PlayedNvml(trace), clock)
    for _ in range(2):
        source.read_all()
        clock.now_s += RETRY_S
    for batch in source.poll():  # frames of the declared types are built here
        assert batch.rows["ts"].null_count() == 0
    assert source.counters()["rounds_failed"] == 0


def test_a_trace_that_was_recorded_plays_back_the_same(nvml: PlayedNvml, clock: Clock) -> None:
    recorder = RecordedNvml("a test", nvml)
    first = read(source_of(recorder, clock))
    again = read(source_of(PlayedNvml(recorder.trace()), clock))
    assert [{**row, "ts": 0} for row in again] == [{**row, "ts": 0} for row in first]


def test_a_real_gpu_is_read_and_its_trace_plays_back_the_same(clock: Clock) -> None:
    try:
        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        pynvml.nvmlShutdown()
    except pynvml.NVMLError as error:
        missing(f"no NVIDIA GPU here: {error}")
    if not count:
        missing("no NVIDIA GPU here: the driver lists none")
    recorder = RecordedNvml("this host", pynvml)
    first = read(source_of(recorder, clock))
    assert len(first) == count
    assert all(row["uuid"] and row["pci"] and row["memory_total_bytes"] for row in first)
    again = read(source_of(PlayedNvml(recorder.trace()), clock))
    assert [{**row, "ts": 0} for row in again] == [{**row, "ts": 0} for row in first]


def test_this_host_without_a_gpu_has_a_state_and_no_rows(clock: Clock) -> None:
    source = GpuSource(GpuConfig(kernel_log_path=""), clock=clock)
    rows = read(source)
    assert rows or source.missing()["nvml"]
    assert source.streams == {"gpu": GPU, "gpu_processes": GPU_PROCESSES, "gpu_xids": GPU_XIDS}
    source.close()
