"""From one answer of `smartctl --json` to the canonical record of a drive: the same columns for SATA, SAS and NVMe.

Pure: no clock, no file but the rules, no process. What a drive does not tell is NULL, never 0. The answer comes from
outside: whatever it holds, a record, a state or both come out, and no error. Units and sources of each field are in
docs/sources/smart.md. Vendor attributes are read by smart_rules.py; where these say nothing, the statistics log that
the ATA standard defines is read, whose names and units are the same on all drives.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from agents.sources.smart_rules import LARGEST, Attribute, canonical, rule_set

Value: TypeAlias = int | str | None
# Why an answer has no health data: each is a state of the drive or of this host, none is a failure of the drive.
State: TypeAlias = Literal[
    "ok", "not_smartctl", "asleep", "no_permission", "behind_controller", "unknown_type", "cannot_open", "no_smart"
]

_NVME_UNIT_BYTES: Final = 512_000
_DEFAULT_BLOCK_BYTES: Final = 512
_TEXT_LENGTH: Final = 128
_MOST_ATTRIBUTES: Final = 512
_LONGEST_LIFE_H: Final = 50 * 366 * 24  # what is older counts something else than hours
_EXIT_BITS: Final = (
    ("command_failed", 4),
    ("failing", 8),
    ("below_threshold", 16),
    ("was_below_threshold", 32),
    ("errors_logged", 64),
    ("self_tests_failed", 128),
)
_WARNING_BITS: Final = (
    ("warns_spare", 1),
    ("warns_temperature", 2),
    ("warns_reliability", 4),
    ("warns_read_only", 8),
    ("warns_backup", 16),
)
_ASLEEP = re.compile(r"Device is in .*(STANDBY|SLEEP|IDLE).* mode", re.IGNORECASE)
_DENIED = re.compile(r"Permission denied|Operation not permitted|must be root", re.IGNORECASE)
_CONTROLLER = re.compile(r"(megaraid|3ware|cciss|areca|aacraid|hpt|sssraid)\b.*(,N|try|-d)|-d (megaraid|3ware|cciss)")
_UNKNOWN_TYPE = re.compile(r"Unable to detect device type|Unknown USB bridge|Please specify device type")
_STATISTICS: Final = {
    "Number of Reallocated Logical Sectors": "realloc_total",
    "Number of Reported Uncorrectable Errors": "uncorrectable_total",
    "Number of Interface CRC Errors": "crc_total",
    "Percentage Used Endurance Indicator": "wear_used_pct",
}
_STATISTICS_IN_BLOCKS: Final = {
    "Logical Sectors Written": "host_written_bytes",
    "Logical Sectors Read": "host_read_bytes",
}


@dataclass(frozen=True, slots=True)
class DriveReading:
    """What one answer says.

    Attributes:
        state: "ok" when there are health data.
        says: smartctl's own words, short and printable; "" when it had none.
        record: canonical columns that are known; empty when the drive could not even be named.
        attributes: the vendor attributes as they stand, of SATA drives.
    """

    state: State
    says: str = ""
    record: Mapping[str, Value] = field(default_factory=dict)
    attributes: tuple[Attribute, ...] = ()


def drive_reading(document: object) -> DriveReading:
    """What `document`, as decoded from JSON, says of a drive."""
    if not isinstance(document, dict) or not isinstance(document.get("smartctl"), dict):
        return DriveReading("not_smartctl")
    status = _count(_at(document, "smartctl", "exit_status"))
    says = " ".join(_messages(document))
    if _ASLEEP.search(says):
        return DriveReading("asleep", says)
    attributes = tuple(_attributes(document))
    record: dict[str, Value] = _identity(document)
    known = bool(record.get("model") or record.get("serial"))
    health = _health(document, str(record["kind"]), attributes)
    if not known and not health:
        return DriveReading(_why_nothing(status, says), says)
    record |= _status(document, status)
    told = record["passed"] is not None or (bool(health) and (record["kind"] != "scsi" or "power_on_h" in health))
    if _at(document, "smart_support", "available") is False or not told:
        # A RAID volume or a virtual disk; what figures it gives are made up.
        return DriveReading("no_smart", says, _known(record))
    return DriveReading("ok", says, _known(record) | health, attributes)


def _known(record: Mapping[str, Value]) -> dict[str, Value]:
    return {name: value for name, value in record.items() if value is not None}


def _why_nothing(status: int | None, says: str) -> State:
    if _DENIED.search(says):
        return "no_permission"
    if _CONTROLLER.search(says):
        return "behind_controller"
    if _UNKNOWN_TYPE.search(says):
        return "unknown_type"
    return "cannot_open" if status is None or status & 3 else "no_smart"


def _identity(document: Mapping[str, Any]) -> dict[str, Value]:
    vendor_product = " ".join(
        text for key in ("vendor", "product") if (text := _text(document.get(f"scsi_{key}") or document.get(key)))
    )
    return {
        "device": _text(_at(document, "device", "name")),
        "device_type": _text(_at(document, "device", "type")),
        "kind": _kind(document),
        "model": _text(document.get("model_name")) or _text(document.get("scsi_model_name")) or vendor_product or None,
        "family": _text(document.get("model_family")),
        "serial": _text(document.get("serial_number")),
        "firmware": _text(document.get("firmware_version"))
        or _text(document.get("scsi_revision"))
        or _text(document.get("revision")),
        "in_database": _flag(document.get("in_smartctl_database")),
        "capacity_bytes": _count(_at(document, "user_capacity", "bytes")) or _big(document, "nvme_total_capacity"),
        "rotation_rpm": _count(document.get("rotation_rate")),
    }


def _kind(document: Mapping[str, Any]) -> str:
    protocol = _text(_at(document, "device", "protocol"))
    if protocol in ("ATA", "SCSI", "NVMe"):
        return protocol.lower()
    if "nvme_smart_health_information_log" in document:
        return "nvme"
    return "ata" if "ata_smart_attributes" in document else "scsi"


def _status(document: Mapping[str, Any], status: int | None) -> dict[str, Value]:
    """The exit status is a mask of bits: 4 and up describe the drive, they are no failure of smartctl's."""
    known = status if status is not None and status < 256 else None
    bits = {} if known is None else {name: int(bool(known & bit)) for name, bit in _EXIT_BITS}
    return {"exit_status": known, "passed": _flag(_at(document, "smart_status", "passed")), **bits}


def _health(document: Mapping[str, Any], kind: str, attributes: tuple[Attribute, ...]) -> dict[str, Value]:
    """All that is known of the drive's health; empty when it is nothing."""
    match kind:
        case "nvme":
            found = _nvme(document)
        case "ata":
            found = _ata(document, attributes)
        case _:
            found = _scsi(document)
    hours = _count(_at(document, "power_on_time", "hours"))
    found["power_on_h"] = hours if hours is not None and hours <= _LONGEST_LIFE_H else None
    found.setdefault("power_cycles_total", _count(document.get("power_cycle_count")))
    health = _known(found)
    if not health:  # a temperature alone is no health: virtual drives make one up
        return {}
    degrees = _whole(_at(document, "temperature", "current"))
    if degrees is not None and -60 <= degrees <= 150 and (degrees or kind == "nvme"):
        health["temperature_c"] = degrees
    return health


def _nvme(document: Mapping[str, Any]) -> dict[str, Value]:
    log = document.get("nvme_smart_health_information_log")
    if not isinstance(log, dict):
        return {}
    warning = _count(log.get("critical_warning"))
    warning = warning if warning is not None and warning < 256 else None
    media_errors = _big(log, "media_errors")
    spare = _count(log.get("available_spare"))
    used = _count(log.get("percentage_used"))
    return {
        "critical_warning": warning,
        **({} if warning is None else {name: int(bool(warning & bit)) for name, bit in _WARNING_BITS}),
        "media_errors_total": media_errors,
        "uncorrectable_total": media_errors,
        "err_log_entries_total": _big(log, "num_err_log_entries"),
        "spare_pct": spare if spare is not None and spare <= 100 else None,
        "spare_threshold_pct": _percentage(log.get("available_spare_threshold")),
        "wear_used_pct": used if used is not None and used <= 255 else None,
        "host_written_bytes": _times(_big(log, "data_units_written"), _NVME_UNIT_BYTES),
        "host_read_bytes": _times(_big(log, "data_units_read"), _NVME_UNIT_BYTES),
        "power_cycles_total": _big(log, "power_cycles"),
        "unsafe_shutdowns_total": _big(log, "unsafe_shutdowns"),
        "too_warm_min_total": _big(log, "warning_temp_time"),
        "too_hot_min_total": _big(log, "critical_comp_time"),
    }


def _ata(document: Mapping[str, Any], attributes: tuple[Attribute, ...]) -> dict[str, Value]:
    block_bytes = _count(document.get("logical_block_size")) or _DEFAULT_BLOCK_BYTES
    rules = rule_set().fields_of(
        _text(document.get("model_family")) or "",
        in_database=document.get("in_smartctl_database") is True,
        hard_disk=bool(_count(document.get("rotation_rate"))),
    )
    found: dict[str, Value] = dict(canonical(rules, attributes, block_bytes))
    for name, value in _statistics(document):
        if name in _STATISTICS:
            found.setdefault(_STATISTICS[name], value)
        elif name in _STATISTICS_IN_BLOCKS:
            found.setdefault(_STATISTICS_IN_BLOCKS[name], _times(value, block_bytes))
    used = found.get("wear_used_pct")
    if isinstance(used, int) and used > 255:
        del found["wear_used_pct"]
    log = document.get("ata_smart_error_log")
    entries = _count(_at(log, "extended", "count"))
    found["err_log_entries_total"] = entries if entries is not None else _count(_at(log, "summary", "count"))
    return found


def _scsi(document: Mapping[str, Any]) -> dict[str, Value]:
    log = document.get("scsi_error_counter_log")
    parts = {part: _count(_at(log, part, "total_uncorrected_errors")) for part in ("read", "write", "verify")}
    told = [count for count in parts.values() if count is not None]
    used = _count(_at(document, "scsi_percentage_used_endurance_indicator"))
    if used is None:
        used = _count(_at(document, "endurance_used", "current_percent"))
    return {
        "uncorrectable_total": min(sum(told), LARGEST) if told else None,
        "uncorrectable_reads_total": parts["read"],
        "uncorrectable_writes_total": parts["write"],
        "uncorrectable_verifies_total": parts["verify"],
        "realloc_total": _count(document.get("scsi_grown_defect_list")),
        "pending_count": _count(_at(document, "scsi_pending_defects", "count")),
        "wear_used_pct": used if used is not None and used <= 255 else None,
        "host_written_bytes": _gigabytes(_at(log, "write", "gigabytes_processed")),
        "host_read_bytes": _gigabytes(_at(log, "read", "gigabytes_processed")),
    }


def _attributes(document: Mapping[str, Any]) -> Iterator[Attribute]:
    table = _at(document, "ata_smart_attributes", "table")
    for one in table[:_MOST_ATTRIBUTES] if isinstance(table, list) else []:
        number = _count(_at(one, "id"))
        if number is None or not 0 < number < 256:
            continue
        yield Attribute(
            number,
            _text(one.get("name")) or "",
            _count(one.get("value")),
            _count(one.get("worst")),
            _count(one.get("thresh")),
            _count(_at(one, "raw", "value")),
            _text(one.get("when_failed")) or "",
        )


def _statistics(document: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """The valid entries of the drive's statistics log, by name."""
    pages = _at(document, "ata_device_statistics", "pages")
    for page in pages[:256] if isinstance(pages, list) else []:
        table = _at(page, "table")
        for entry in table[:_MOST_ATTRIBUTES] if isinstance(table, list) else []:
            name, value = _at(entry, "name"), _count(_at(entry, "value"))
            if isinstance(name, str) and value is not None and _at(entry, "flags", "valid") is not False:
                yield name, value


def _messages(document: Mapping[str, Any]) -> Iterator[str]:
    messages = _at(document, "smartctl", "messages")
    for message in messages[:10] if isinstance(messages, list) else []:
        text = _text(_at(message, "string"))
        if text:
            yield text


def _at(value: object, *keys: str) -> Any:
    """What stands below these keys, None where there is none or something else than an object on the way."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _whole(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() and abs(value) <= LARGEST else None
    return value if isinstance(value, int) and abs(value) <= LARGEST else None


def _count(value: object) -> int | None:
    whole = _whole(value)
    return whole if whole is not None and whole >= 0 else None


def _percentage(value: object) -> int | None:
    count = _count(value)
    return count if count is not None and count <= 100 else None


def _big(document: Mapping[str, Any], key: str) -> int | None:
    """A counter that smartctl writes as text as well, under KEY_s, where a JSON number might lose digits."""
    text = document.get(f"{key}_s")
    if isinstance(text, str) and re.fullmatch(r"[0-9]{1,19}", text):
        return _count(int(text))
    return _count(document.get(key))


def _times(count: int | None, unit: int) -> int | None:
    return count * unit if count is not None and count * unit <= LARGEST else None


def _gigabytes(value: object) -> int | None:
    """Text such as "162438.759"; older releases of smartctl write it as the locale has it, with a comma."""
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,10}([.,][0-9]{1,9})?", value):
        return None
    whole, _, rest = value.replace(",", ".").partition(".")
    return _count(int(whole) * 10**9 + int(rest.ljust(9, "0")))


def _flag(value: object) -> int | None:
    return int(value) if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return None
    printable = "".join(sign if sign.isprintable() else " " for sign in value[: 4 * _TEXT_LENGTH])
    return " ".join(printable.split())[:_TEXT_LENGTH] or None
