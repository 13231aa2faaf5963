"""One GPU's figures: which question of NVML fills which column, and in which unit it answers.

A question that a GPU does not support leaves its columns NULL. Columns and units: docs/sources/gpu.md.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from agents.sources.nvml import Nvml, whole

Row: TypeAlias = dict[str, object]

MOST_PROCESSES: Final = 1024
_THROTTLES: Final = (
    ("throttled_idle", 1),
    ("throttled_settings", 2),
    ("throttled_power_cap", 4),
    ("throttled_hw_slowdown", 8),
    ("throttled_sync_boost", 16),
    ("throttled_sw_thermal", 32),
    ("throttled_hw_thermal", 64),
    ("throttled_power_brake", 128),
    ("throttled_display", 256),
)
# Column, question, names of NVML's constants that go with it, and by what the answer is multiplied.
_NUMBERS: Final = (
    ("encoder_ratio", "nvmlDeviceGetEncoderUtilization", (), 0.01),
    ("decoder_ratio", "nvmlDeviceGetDecoderUtilization", (), 0.01),
    ("power_w", "nvmlDeviceGetPowerUsage", (), 1e-3),
    ("power_limit_w", "nvmlDeviceGetEnforcedPowerLimit", (), 1e-3),
    ("energy_total_j", "nvmlDeviceGetTotalEnergyConsumption", (), 1e-3),
    ("temperature_c", "nvmlDeviceGetTemperature", ("NVML_TEMPERATURE_GPU",), 1),
    ("fan_ratio", "nvmlDeviceGetFanSpeed", (), 0.01),
    ("graphics_clock_mhz", "nvmlDeviceGetClockInfo", ("NVML_CLOCK_GRAPHICS",), 1),
    ("sm_clock_mhz", "nvmlDeviceGetClockInfo", ("NVML_CLOCK_SM",), 1),
    ("memory_clock_mhz", "nvmlDeviceGetClockInfo", ("NVML_CLOCK_MEM",), 1),
    ("video_clock_mhz", "nvmlDeviceGetClockInfo", ("NVML_CLOCK_VIDEO",), 1),
    ("ecc_corrected_volatile_total", "nvmlDeviceGetTotalEccErrors",
     ("NVML_MEMORY_ERROR_TYPE_CORRECTED", "NVML_VOLATILE_ECC"), 1),
    ("ecc_uncorrected_volatile_total", "nvmlDeviceGetTotalEccErrors",
     ("NVML_MEMORY_ERROR_TYPE_UNCORRECTED", "NVML_VOLATILE_ECC"), 1),
    ("ecc_corrected_aggregate_total", "nvmlDeviceGetTotalEccErrors",
     ("NVML_MEMORY_ERROR_TYPE_CORRECTED", "NVML_AGGREGATE_ECC"), 1),
    ("ecc_uncorrected_aggregate_total", "nvmlDeviceGetTotalEccErrors",
     ("NVML_MEMORY_ERROR_TYPE_UNCORRECTED", "NVML_AGGREGATE_ECC"), 1),
    ("retired_pages_pending", "nvmlDeviceGetRetiredPagesPendingStatus", (), 1),
    ("ecc_enabled", "nvmlDeviceGetEccMode", (), 1),
    ("mig_enabled", "nvmlDeviceGetMigMode", (), 1),
    ("pcie_generation", "nvmlDeviceGetCurrPcieLinkGeneration", (), 1),
    ("pcie_width", "nvmlDeviceGetCurrPcieLinkWidth", (), 1),
    ("pcie_replays_total", "nvmlDeviceGetPcieReplayCounter", (), 1),
)  # fmt: skip
# NVML measures these over 20 ms each.
_TRAFFIC: Final = (
    ("pcie_received_bytes_per_s", "nvmlDeviceGetPcieThroughput", ("NVML_PCIE_UTIL_RX_BYTES",), 1000.0),
    ("pcie_sent_bytes_per_s", "nvmlDeviceGetPcieThroughput", ("NVML_PCIE_UTIL_TX_BYTES",), 1000.0),
)
# What does not change while a driver runs.
_FIXED: Final = (
    ("pcie_generation_max", "nvmlDeviceGetMaxPcieLinkGeneration", (), 1),
    ("pcie_width_max", "nvmlDeviceGetMaxPcieLinkWidth", (), 1),
    ("sm_clock_max_mhz", "nvmlDeviceGetMaxClockInfo", ("NVML_CLOCK_SM",), 1),
    ("slowdown_temperature_c", "nvmlDeviceGetTemperatureThreshold", ("NVML_TEMPERATURE_THRESHOLD_SLOWDOWN",), 1),
)
_FIELD_VALUES: Final = (
    ("memory_temperature_c", "NVML_FI_DEV_MEMORY_TEMP"),
    ("nvlink_crc_flit_errors_total", "NVML_FI_DEV_NVLINK_CRC_FLIT_ERROR_COUNT_TOTAL"),
    ("nvlink_crc_data_errors_total", "NVML_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL"),
    ("nvlink_replays_total", "NVML_FI_DEV_NVLINK_REPLAY_ERROR_COUNT_TOTAL"),
    ("nvlink_recoveries_total", "NVML_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL"),
)
_UNION_MEMBERS: Final = {1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
_UNKNOWN_STATE: Final = 32
_PCI = re.compile(r"(?:PCI:)?([0-9A-Fa-f]{1,8}):([0-9A-Fa-f]{1,2}):([0-9A-Fa-f]{1,2})(?:\.[0-7])?")


def pci_address(text: str) -> str | None:
    """One spelling for a GPU's address: NVML writes "00000000:9B:00.0", the kernel "PCI:0000:9b:00"."""
    found = _PCI.fullmatch(text)
    if found is None:
        return None
    domain, bus, device = (int(part, 16) for part in found.groups())
    return f"{domain:04x}:{bus:02x}:{device:02x}"


def fixed_fields(nvml: Nvml, handle: Any) -> Row:
    """Who a GPU is, and its limits."""
    bus_id = getattr(nvml.ask("nvmlDeviceGetPciInfo", handle), "busId", None)
    if isinstance(bus_id, bytes):
        bus_id = bus_id.decode("ascii", "replace")
    return {
        "pci": pci_address(bus_id) if isinstance(bus_id, str) else None,
        "model": nvml.text("nvmlDeviceGetName", handle),
        **_numbers(nvml, handle, _FIXED),
    }


def gpu_fields(nvml: Nvml, handle: Any, *, traffic: bool) -> Row:
    """What a GPU does now; `traffic` also measures what goes over PCIe, which takes 40 ms."""
    row = _numbers(nvml, handle, _NUMBERS) | _field_values(nvml, handle)
    if traffic:
        row |= _numbers(nvml, handle, _TRAFFIC)
    utilisation = nvml.ask("nvmlDeviceGetUtilizationRates", handle)
    row["busy_ratio"] = _scaled(getattr(utilisation, "gpu", None), 0.01)
    row["memory_busy_ratio"] = _scaled(getattr(utilisation, "memory", None), 0.01)
    row |= _memory(nvml, handle) | _throttles(nvml, handle) | _page_faults(nvml, handle)
    state = nvml.whole("nvmlDeviceGetPerformanceState", handle)
    row["performance_state"] = None if state is None or state >= _UNKNOWN_STATE else state
    return row


def gpu_processes(nvml: Nvml, handle: Any, command_of: Callable[[int], str | None]) -> list[Row] | None:
    """The processes that use a GPU, those that compute first; None where it does not tell."""
    told = False
    rows: dict[int, Row] = {}
    for kind, question in (
        ("compute", "nvmlDeviceGetComputeRunningProcesses"),
        ("graphics", "nvmlDeviceGetGraphicsRunningProcesses"),
    ):
        processes = nvml.ask(question, handle)
        told = told or processes is not None
        for process in _items(processes)[:MOST_PROCESSES]:
            pid = whole(getattr(process, "pid", None))
            if pid is None:
                continue
            used = whole(getattr(process, "usedGpuMemory", None))
            rows.setdefault(pid, {"pid": pid, "process": command_of(pid), "kind": kind, "memory_used_bytes": used})
    return list(rows.values()) if told else None


def _numbers(nvml: Nvml, handle: Any, table: tuple[tuple[str, str, tuple[str, ...], float], ...]) -> Row:
    row: Row = {}
    for column, question, constants, factor in table:
        values = [getattr(nvml.library, name, None) for name in constants]
        answer = None if None in values else nvml.ask(question, handle, *values)
        # Of two numbers the first is what holds now: the other is a period, or what holds after a restart.
        row[column] = _scaled(answer[0] if isinstance(answer, list | tuple) and answer else answer, factor)
    return row


def _scaled(value: object, factor: float) -> int | float | None:
    number = whole(value)
    return None if number is None else number if factor == 1 else number * factor


def _memory(nvml: Nvml, handle: Any) -> Row:
    memory = nvml.ask("nvmlDeviceGetMemoryInfo", handle)
    total, used, free = (whole(getattr(memory, part, None)) for part in ("total", "used", "free"))
    bar1 = nvml.ask("nvmlDeviceGetBAR1MemoryInfo", handle)
    return {
        "memory_total_bytes": total,
        "memory_used_bytes": used,
        "memory_free_bytes": free,
        "memory_used_ratio": used / total if used is not None and total else None,
        "bar1_used_bytes": whole(getattr(bar1, "bar1Used", None)),
    }


def _throttles(nvml: Nvml, handle: Any) -> Row:
    reasons = nvml.whole("nvmlDeviceGetCurrentClocksEventReasons", handle)
    if reasons is None:  # the name before driver 535
        reasons = nvml.whole("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
    flags: Mapping[str, object] = {}
    if reasons is not None:
        flags = {column: int(bool(reasons & bit)) for column, bit in _THROTTLES}
    return {"throttle_reasons": reasons, **flags}


def _page_faults(nvml: Nvml, handle: Any) -> Row:
    """Pages retired (before Ampere) or rows remapped (since)."""
    row: Row = {}
    for column, cause in (
        ("retired_pages_sbe_total", "NVML_PAGE_RETIREMENT_CAUSE_MULTIPLE_SINGLE_BIT_ECC_ERRORS"),
        ("retired_pages_dbe_total", "NVML_PAGE_RETIREMENT_CAUSE_DOUBLE_BIT_ECC_ERROR"),
    ):
        pages = nvml.ask("nvmlDeviceGetRetiredPages", handle, getattr(nvml.library, cause, None))
        row[column] = len(pages) if isinstance(pages, list | tuple) else None
    columns = (
        "remapped_rows_corrected_total",
        "remapped_rows_uncorrected_total",
        "remapping_pending",
        "remapping_failed",
    )
    remapped = nvml.ask("nvmlDeviceGetRemappedRows", handle)
    if isinstance(remapped, list | tuple) and len(remapped) == len(columns):
        row |= {column: whole(value) for column, value in zip(columns, remapped, strict=True)}
    return row


def _field_values(nvml: Nvml, handle: Any) -> Row:
    """What is asked by number; each value says of which type it is, and whether it is one."""
    known = {getattr(nvml.library, name, None): column for column, name in _FIELD_VALUES}
    known.pop(None, None)
    row: Row = {}
    for value in _items(nvml.ask("nvmlDeviceGetFieldValues", handle, list(known))):
        column = known.get(getattr(value, "fieldId", None))
        member = _UNION_MEMBERS.get(getattr(value, "valueType", -1))
        if column is not None and member is not None and getattr(value, "nvmlReturn", -1) == 0:
            row[column] = whole(getattr(getattr(value, "value", None), member, None))
    return row


def _items(answer: Any) -> list[Any]:
    """The parts of a list, or of an array as C has it."""
    try:
        return [] if isinstance(answer, str | bytes | dict) else list(answer)
    except TypeError:
        return []
