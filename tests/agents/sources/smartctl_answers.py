"""Answers in the form of `smartctl --json`, of our own making: one of each kind of drive, and refusals."""

import copy
from typing import Any

Json = Any


def _answer(protocol: str, kind: str, **parts: Json) -> dict[str, Json]:
    return {
        "json_format_version": [1, 0],
        "smartctl": {"version": [7, 3], "argv": ["smartctl", "--json=c", "-x", "/dev/x"], "exit_status": 0},
        "device": {"name": "/dev/x", "info_name": "/dev/x", "type": kind, "protocol": protocol},
        **parts,
    }


def attribute(number: int, name: str, value: int, raw: Json) -> dict[str, Json]:
    """One vendor attribute."""
    return {
        "id": number,
        "name": name,
        "value": value,
        "worst": value,
        "thresh": 10,
        "when_failed": "",
        "flags": {"value": 50, "string": "-O--CK "},
        "raw": {"value": raw, "string": str(raw)},
    }


def statistic(name: str, value: int, *, valid: bool = True) -> dict[str, Json]:
    """One entry of the statistics log of the ATA standard."""
    return {"offset": 8, "name": name, "size": 4, "value": value, "flags": {"value": 192, "valid": valid}}


def ata(*attributes: dict[str, Json], **parts: Json) -> dict[str, Json]:
    """A SATA SSD; without further `parts` one that smartctl's database has, of a family without rules of its own."""
    return _answer("ATA", "sat") | {
        "model_name": "Example SSD 1",
        "model_family": "Example SSDs",
        "in_smartctl_database": True,
        "serial_number": "E1",
        "firmware_version": "F1",
        "rotation_rate": 0,
        "logical_block_size": 512,
        "user_capacity": {"blocks": 2_000_000, "bytes": 1_024_000_000},
        "smart_support": {"available": True, "enabled": True},
        "smart_status": {"passed": True},
        "ata_smart_attributes": {"revision": 1, "table": list(attributes)},
        "power_on_time": {"hours": 1000},
        "power_cycle_count": 7,
        "temperature": {"current": 31},
        **parts,
    }


def nvme(**log: Json) -> dict[str, Json]:
    """An NVMe drive; `log` goes over what its health log says."""
    answer = _answer("NVMe", "nvme") | {
        "model_name": "Example NVMe",
        "serial_number": "N1",
        "firmware_version": "2",
        "nvme_total_capacity": 960_000_000_000,
        "smart_status": {"passed": True, "nvme": {"value": 0}},
        "power_on_time": {"hours": 50},
        "power_cycle_count": 3,
        "temperature": {"current": 0},
    }
    answer["nvme_smart_health_information_log"] = {
        "critical_warning": 0,
        "temperature": 0,
        "available_spare": 100,
        "available_spare_threshold": 10,
        "percentage_used": 3,
        "data_units_read": 2,
        "data_units_written": 4,
        "power_cycles": 3,
        "power_on_hours": 50,
        "unsafe_shutdowns": 1,
        "media_errors": 0,
        "num_err_log_entries": 9000,
        "warning_temp_time": 5,
        "critical_comp_time": 0,
        **log,
    }
    return answer


def scsi(**parts: Json) -> dict[str, Json]:
    """A SAS SSD."""
    part = {"errors_corrected_by_eccfast": 0, "total_errors_corrected": 5}
    return _answer("SCSI", "scsi") | {
        "scsi_vendor": "EXAMPLE",
        "scsi_product": "SAS9",
        "scsi_model_name": "EXAMPLE SAS9",
        "scsi_revision": "R3",
        "serial_number": "S1",
        "rotation_rate": 0,
        "user_capacity": {"bytes": 1_600_000_000_000},
        "smart_support": {"available": True, "enabled": True},
        "smart_status": {"passed": True},
        "scsi_percentage_used_endurance_indicator": 4,
        "scsi_grown_defect_list": 2,
        "scsi_pending_defects": {"count": 1},
        "scsi_error_counter_log": {
            "read": {**part, "gigabytes_processed": "12.500", "total_uncorrected_errors": 3},
            "write": {**part, "gigabytes_processed": "1,250", "total_uncorrected_errors": 1},
            "verify": {**part, "gigabytes_processed": "0.000", "total_uncorrected_errors": 0},
        },
        "power_on_time": {"hours": 20, "minutes": 5},
        "temperature": {"current": 29, "drive_trip": 70},
        **parts,
    }


def raid_volume() -> dict[str, Json]:
    """What a RAID controller makes of several drives."""
    answer = _answer("SCSI", "scsi", vendor="Example", product="Raid 5 Volume", revision="1.0", serial_number="V1")
    answer["temperature"] = {"current": 0, "drive_trip": 0}
    answer["smartctl"]["exit_status"] = 4
    return answer


def failed(message: str, exit_status: int = 2, severity: str = "error") -> dict[str, Json]:
    """An answer that holds a message and no drive."""
    answer = _answer("Unknown", "auto")
    answer["smartctl"] |= {"exit_status": exit_status, "messages": [{"string": message, "severity": severity}]}
    del answer["device"]
    return answer


def found(*drives: tuple[str, str]) -> dict[str, Json]:
    """A scan's answer that lists these (path, type)."""
    answer = _answer("", "")
    del answer["device"]
    if drives:
        answer["devices"] = [{"name": p, "info_name": p, "type": t, "protocol": "SCSI"} for p, t in drives]
    return answer


def samples() -> list[dict[str, Json]]:
    """One of each, in fresh copies."""
    table = [attribute(5, "Reallocated_Sector_Ct", 100, 1), attribute(202, "Percent_Lifetime_Remain", 97, 3)]
    statistics = {"pages": [{"number": 1, "table": [statistic("Logical Sectors Written", 8)]}]}
    made = [
        ata(*table, model_family="Micron 5300 SSDs", ata_device_statistics=statistics),
        nvme(),
        scsi(),
        raid_volume(),
        failed("Device is in STANDBY mode, exit(2)", 2, "information"),
        failed("Smartctl open device: /dev/x failed: Permission denied"),
    ]
    return copy.deepcopy(made)
