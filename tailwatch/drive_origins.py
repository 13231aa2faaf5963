"""Where a canonical field of a drive comes from in an answer of smartctl, with the raw words and numbers there.

An operator who doubts a figure wants to find it in smartctl's own output. Nothing is decided here: which attribute
holds what is said by agents/sources/smart_rules.yaml, and the rule that gave the value is looked for again.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from agents.sources.smart_fields import DriveReading
from agents.sources.smart_rules import Attribute, Rule, rule_set

_LOG: Final = "nvme_smart_health_information_log"
_ANY: Final = {
    "power_on_h": "power_on_time.hours",
    "power_cycles_total": "power_cycle_count",
    "temperature_c": "temperature.current",
    "passed": "smart_status.passed",
    "failing": "smartctl.exit_status",
}
_NVME: Final = {
    "critical_warning": f"{_LOG}.critical_warning",
    "media_errors_total": f"{_LOG}.media_errors",
    "uncorrectable_total": f"{_LOG}.media_errors",
    "err_log_entries_total": f"{_LOG}.num_err_log_entries",
    "spare_pct": f"{_LOG}.available_spare",
    "spare_threshold_pct": f"{_LOG}.available_spare_threshold",
    "wear_used_pct": f"{_LOG}.percentage_used",
    "host_written_bytes": f"{_LOG}.data_units_written",
    "host_read_bytes": f"{_LOG}.data_units_read",
    "power_cycles_total": f"{_LOG}.power_cycles",
    "unsafe_shutdowns_total": f"{_LOG}.unsafe_shutdowns",
}
_SCSI: Final = {
    "realloc_total": "scsi_grown_defect_list",
    "pending_count": "scsi_pending_defects.count",
    "wear_used_pct": "scsi_percentage_used_endurance_indicator",
    "host_written_bytes": "scsi_error_counter_log.write.gigabytes_processed",
    "host_read_bytes": "scsi_error_counter_log.read.gigabytes_processed",
}
_DEFAULT_BLOCK_BYTES: Final = 512


def origins(document: Mapping[str, Any], reading: DriveReading) -> dict[str, str]:
    """Field -> where it stands and what stands there; a field whose place is not known for sure is left out."""
    found: dict[str, str] = {}
    kind = reading.record.get("kind")
    places = {**_ANY, **(_NVME if kind == "nvme" else _SCSI if kind == "scsi" else {})}
    for field, path in places.items():
        raw = _at(document, path)
        if field in reading.record and raw is not None:
            found[field] = f"{path} = {str(raw).lower() if isinstance(raw, bool) else raw}"
    if kind == "scsi" and "uncorrectable_total" in reading.record:
        found["uncorrectable_total"] = "scsi_error_counter_log: total_uncorrected_errors of reads, writes and verifies"
    if kind == "ata":
        found |= _of_attributes(document, reading)
    return found


def _of_attributes(document: Mapping[str, Any], reading: DriveReading) -> dict[str, str]:
    record = reading.record
    block = document.get("logical_block_size")
    block_bytes = block if isinstance(block, int) and block > 0 else _DEFAULT_BLOCK_BYTES
    fields = rule_set().fields_of(
        str(record.get("family") or ""),
        in_database=record.get("in_database") == 1,
        hard_disk=bool(record.get("rotation_rpm")),
    )
    found = {}
    for field, value in record.items():
        if field in fields:
            told = _attribute(fields[field], reading.attributes, block_bytes, value)
            found[field] = told or "the drive's statistics log (ATA)"
        elif field == "err_log_entries_total":
            found[field] = "ata_smart_error_log"
    return found


def _attribute(rules: Sequence[Rule], attributes: Sequence[Attribute], block_bytes: int, value: object) -> str:
    for rule in rules:
        if rule.pages is not None:
            if rule.read(attributes, block_bytes) == value:
                return "attributes " + ", ".join(str(number) for number in rule.pages)
            continue
        for one in attributes:
            if rule.read([one], block_bytes) == value:
                unit = f", in {rule.unit}" if rule.unit else ""
                return f"attribute {one.id} {one.name}: value {one.value}, raw {one.raw}{unit}"
    return ""


def _at(document: Mapping[str, Any], path: str) -> Any:
    found: Any = document
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found
