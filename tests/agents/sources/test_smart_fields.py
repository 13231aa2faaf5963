"""Canonical fields: each kind of drive, the traps of vendors, states, real answers, and answers that were damaged."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from agents.sources.smart_fields import drive_reading
from agents.sources.smart_rules import RULES_FILE
from agents.sources.streams import SMART
from tests.agents.sources.smartctl_answers import ata, attribute, failed, nvme, raid_volume, samples, scsi, statistic

RULES = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))
EXAMPLES = [
    (family["match"], example)
    for family in RULES["families"]
    for example in family["examples"]
]  # fmt: skip
# A family of smartctl's database that each pattern is meant for.
FAMILY_NAMES = {
    "^Dell Certified Intel": "Dell Certified Intel S3520 Series SSDs",
    "^Intel ": "Intel S4510/S4610/S4500/S4600 Series SSDs",
    "^Samsung ": "Samsung based SSDs",
    "^Phison ": "Phison Driven SSDs",
    "^Silicon Motion ": "Silicon Motion based SSDs",
    "Micron|Crucial": "Crucial/Micron Client SSDs",
}
# Of each recorded answer what a person read from it.
RECORDED: dict[str, dict[str, Any]] = {
    "exporter_HITACHI_H109060SESUN600G_10": {
        "kind": "scsi", "passed": 1, "rotation_rpm": 10020, "realloc_total": 0, "uncorrectable_total": 0,
        "host_written_bytes": 127_551_260_000_000, "power_on_h": 22364, "temperature_c": 26, "wear_used_pct": None,
    },
    "exporter_SAMSUNG_MZ7WD240HAFV-00003_21": {
        "kind": "ata", "wear_used_pct": 9, "power_on_h": 84619, "downshift_total": None, "spare_pct": 100,
        "host_written_bytes": 216456537880 * 512, "unsafe_shutdowns_total": 1,
    },
    "exporter_nvme-null-INTEL_SSDPE2KX010T8-nvme1": {
        "kind": "nvme", "wear_used_pct": 73, "spare_pct": 99, "critical_warning": 0, "capacity_bytes": 1000204886016,
        "host_written_bytes": 5165815292 * 512_000, "unsafe_shutdowns_total": 7,
    },
    "exporter_nvme-null-MTFDHAX1T6MCE-1AN1ZABYY-nvme0": {"wear_used_pct": 69, "err_log_entries_total": 1},
    "exporter_nvme-null-SAMSUNG_MZWLL3T2HAJQ-00005-nvme0": {
        "passed": 0, "exit_status": 8, "failing": 1, "critical_warning": 16, "warns_backup": 1, "warns_spare": 0,
        "media_errors_total": 0, "spare_pct": 100,
    },
    "exporter_sat-Dell_Certified_Intel_S3520_Series_SSDs-SSDSCKJB240G7R-sdm": {
        "uncorrectable_total": 0, "host_written_bytes": 129493 * 2**25, "wear_used_pct": 0, "program_fail_total": 0,
        "unsafe_shutdowns_total": 167, "nand_written_bytes": None, "downshift_total": None,
    },
    "exporter_sat-Intel_S4510_S4610_S4500_S4600_Series_SSDs-INTEL_SSDSC2KB240G7-sdd": {
        "realloc_total": 4, "program_fail_total": 1, "wear_used_pct": 45, "spare_pct": 99, "downshift_total": 0,
        "host_written_bytes": 4149381 * 2**25, "nand_written_bytes": 25496755 * 2**25, "temperature_c": 23,
    },
    "exporter_sat-Micron_5100_Pro___52x0___5300_SSDs-Micron_5300_MTFDDAK1T9TDS-sda": {
        "crc_total": 24, "e2e_total": 1, "wear_used_pct": 0, "spare_pct": 100, "erases_avg": 83,
        "host_written_bytes": 130006927240 * 512, "unsafe_shutdowns_total": 16,
        "nand_written_bytes": 130006927240 * 512 * (4062707571 + 8824675195) // 4062707571,
    },
    "exporter_sat-Phison_Driven_SSDs-KINGSTON_SA400M8120G-sda": {
        "exit_status": 4, "command_failed": 1, "failing": 0, "passed": 1, "realloc_total": None, "wear_used_pct": 2,
        "erases_avg": 17, "erases_max": 50, "host_written_bytes": 398 * 2**30, "nand_written_bytes": 979 * 2**30,
        "temperature_c": 38,
    },
    "exporter_sat-Silicon_Motion_based_SSDs-TS32GMTS400-sda": {
        "wear_used_pct": 4, "uncorrectable_total": 0, "host_written_bytes": 30245 * 2**25, "nand_written_bytes": None,
        "spare_pct": 100, "erases_avg": 132,
    },
    "scrutiny_smart-ata-failed-scrutiny": {"passed": 1, "crc_total": 108, "wear_used_pct": 2, "failing": 0},
    "scrutiny_smart-megaraid0": {
        "device_type": "sat+megaraid,0", "in_database": 0, "realloc_total": 0, "pending_count": 0, "temperature_c": 36,
        "host_written_bytes": None, "downshift_total": None, "unsafe_shutdowns_total": None,
    },
    "scrutiny_smart-nvme2": {"media_errors_total": 0, "err_log_entries_total": 8382, "wear_used_pct": 1},
    "scrutiny_smart-raid": {"model": "Intel Raid 1 Volume", "passed": None, "temperature_c": None, "exit_status": 4},
}  # fmt: skip


def record(answer: object) -> dict[str, Any]:
    return dict(drive_reading(answer).record)


@pytest.mark.parametrize(("match", "example"), EXAMPLES, ids=[f"{m} {n}" for n, (m, _) in enumerate(EXAMPLES)])
def test_the_rules_of_each_family_do_what_their_examples_say(match: str, example: dict[str, Any]) -> None:
    table = [attribute(*one) for one in example["attributes"]]
    told = record(ata(*table, model_family=FAMILY_NAMES[match]))
    none = record(ata(model_family=FAMILY_NAMES[match]))
    assert {name: value for name, value in told.items() if name not in none} == example["fields"]


def test_every_family_has_an_example_and_fields_that_exist() -> None:
    assert set(FAMILY_NAMES) == {family["match"] for family in RULES["families"]}
    fields = {name for family in RULES["families"] for name in family["fields"]}
    fields |= set(RULES["default"]) | set(RULES["hard_disk"]) | set(RULES["unknown_hard_disk"])
    assert fields <= set(SMART)


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_answers_are_read_as_a_person_reads_them(name: str, real_data: Path) -> None:
    told = drive_reading(json.loads((real_data / "smartctl" / f"{name}.json").read_text(encoding="utf-8")))
    assert told.state == ("no_smart" if name.endswith("-raid") else "ok")
    assert {field: told.record.get(field) for field in RECORDED[name]} == RECORDED[name]


def test_every_recorded_answer_has_its_expectation(real_data: Path) -> None:
    assert {path.stem for path in (real_data / "smartctl").glob("*.json")} == set(RECORDED)


def test_an_nvme_drive_is_read_from_its_health_log() -> None:
    told = record(nvme())
    assert told["kind"] == "nvme"
    assert (told["wear_used_pct"], told["spare_pct"], told["spare_threshold_pct"]) == (3, 100, 10)
    assert (told["host_written_bytes"], told["host_read_bytes"]) == (2_048_000, 1_024_000)
    assert (told["media_errors_total"], told["uncorrectable_total"], told["err_log_entries_total"]) == (0, 0, 9000)
    assert told["temperature_c"] == 0
    assert told["too_warm_min_total"] == 5
    assert told["capacity_bytes"] == 960_000_000_000


def test_wear_beyond_100_percent_is_kept_as_it_is() -> None:
    assert record(nvme(percentage_used=212))["wear_used_pct"] == 212
    assert "wear_used_pct" not in record(nvme(percentage_used=300))


@pytest.mark.parametrize(
    ("bit", "column"),
    [
        (1, "warns_spare"),
        (2, "warns_temperature"),
        (4, "warns_reliability"),
        (8, "warns_read_only"),
        (16, "warns_backup"),
    ],
)
def test_each_bit_of_a_critical_warning_is_a_column(bit: int, column: str) -> None:
    told = record(nvme(critical_warning=bit))
    assert [name for name, value in told.items() if name.startswith("warns_") and value] == [column]


def test_large_counters_of_nvme_drives_are_taken_from_their_text() -> None:
    told = record(nvme(media_errors=9.007199254740993e15, media_errors_s="9007199254740993"))
    assert told["media_errors_total"] == 9_007_199_254_740_993
    assert "host_written_bytes" not in record(nvme(data_units_written_s=str(2**80), data_units_written=2**80))


def test_a_sas_drive_is_read_from_its_log_pages() -> None:
    told = record(scsi())
    assert (told["kind"], told["model"], told["firmware"]) == ("scsi", "EXAMPLE SAS9", "R3")
    assert (told["uncorrectable_total"], told["uncorrectable_reads_total"]) == (4, 3)
    assert (told["realloc_total"], told["pending_count"], told["wear_used_pct"]) == (2, 1, 4)
    assert (told["host_read_bytes"], told["host_written_bytes"]) == (12_500_000_000, 1_250_000_000)
    assert (told["power_on_h"], told["temperature_c"]) == (20, 29)
    assert "temperature_c" not in record(scsi(temperature={"current": 0, "drive_trip": 0}))
    newer = scsi(endurance_used={"current_percent": 101})
    del newer["scsi_percentage_used_endurance_indicator"]
    assert record(newer)["wear_used_pct"] == 101


def test_what_a_sas_drive_does_not_tell_is_null_and_not_zero() -> None:
    answer = scsi()
    for part in ("scsi_error_counter_log", "scsi_grown_defect_list", "scsi_pending_defects"):
        del answer[part]
    told = record(answer)
    assert told["power_on_h"] == 20
    assert {"uncorrectable_total", "realloc_total", "pending_count", "host_written_bytes"} & set(told) == set()


def test_of_a_drive_that_the_database_does_not_know_only_standard_logs_are_read() -> None:
    table = [
        attribute(5, "Reallocated_Sector_Ct", 100, 4),
        attribute(233, "Media_Wearout_Indicator", 100, 1053),
        attribute(241, "Total_LBAs_Written", 253, 3891),
    ]
    answer = ata(*table, in_smartctl_database=False)
    del answer["model_family"]
    assert {"realloc_total", "wear_used_pct", "host_written_bytes"} & set(record(answer)) == set()
    answer["ata_device_statistics"] = {
        "pages": [
            {"number": 1, "table": [statistic("Logical Sectors Written", 3000)]},
            {"number": 4, "table": [statistic("Number of Reported Uncorrectable Errors", 6, valid=False)]},
            {"number": 7, "table": [statistic("Percentage Used Endurance Indicator", 104)]},
        ]
    }
    told = record(answer)
    assert (told["host_written_bytes"], told["wear_used_pct"]) == (1_536_000, 104)
    assert "uncorrectable_total" not in told


def test_of_an_unknown_hard_disk_the_five_classic_counters_are_read() -> None:
    table = [attribute(5, "Reallocated_Sector_Ct", 200, 8), attribute(241, "Total_LBAs_Written", 200, 9)]
    told = record(ata(*table, in_smartctl_database=False, rotation_rate=7200))
    assert told["realloc_total"] == 8
    assert "host_written_bytes" not in told
    assert record(ata(*table, rotation_rate=7200))["host_written_bytes"] == 9 * 512


def test_bytes_count_in_the_logical_blocks_of_the_drive() -> None:
    table = [attribute(241, "Total_LBAs_Written", 99, 10)]
    answer = ata(*table, model_family="Samsung based SSDs", logical_block_size=4096)
    assert record(answer)["host_written_bytes"] == 40_960


@pytest.mark.parametrize("raw", [2**32 - 1, 2**48 - 1, 2**64 - 1])
def test_raw_values_of_all_ones_are_no_values(raw: int) -> None:
    assert "realloc_total" not in record(ata(attribute(5, "Reallocated_Sector_Ct", 100, raw)))


def test_the_exit_status_is_a_mask_of_bits() -> None:
    answer = ata()
    answer["smartctl"]["exit_status"] = 8 + 16 + 64 + 128
    told = record(answer)
    names = (
        "command_failed",
        "failing",
        "below_threshold",
        "was_below_threshold",
        "errors_logged",
        "self_tests_failed",
    )
    assert [told[name] for name in names] == [0, 1, 1, 0, 1, 1]
    assert drive_reading(answer).state == "ok"


def test_vendor_attributes_stand_as_they_are_beside_the_fields() -> None:
    reading = drive_reading(ata(attribute(173, "MaxAvgErase_Ct", 100, 1114162), model_family="Phison Driven SSDs"))
    (one,) = reading.attributes
    assert (one.id, one.name, one.value, one.threshold, one.raw) == (173, "MaxAvgErase_Ct", 100, 10, 1114162)
    assert (reading.record["erases_avg"], reading.record["erases_max"]) == (17, 50)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (failed("Device is in STANDBY mode, exit(2)", 2, "information"), "asleep"),
        (failed("Device is in STANDBY (OS) mode, exit(2)", 2, "information"), "asleep"),
        (failed("Device is in STANDBY BY TIMER mode, exit(0)", 0, "information"), "asleep"),
        (failed("Smartctl open device: /dev/x [SAT] failed: Permission denied"), "no_permission"),
        (failed("Smartctl open device: /dev/x failed: DELL or MegaRaid controller, please try adding '-d megaraid,N'"),
         "behind_controller"),
        (failed("/dev/vda: Unable to detect device type", 1), "unknown_type"),
        (failed("Smartctl open device: /dev/x failed: No such device"), "cannot_open"),
        (raid_volume(), "no_smart"),
        (scsi(smart_support={"available": False}), "no_smart"),
        ({}, "not_smartctl"),
        ([], "not_smartctl"),
        ("smartctl 7.3 2022-02-28", "not_smartctl"),
        ({"smartctl": []}, "not_smartctl"),
    ],
)  # fmt: skip
def test_what_keeps_a_drive_from_being_read_is_a_state(answer: object, state: str) -> None:
    assert drive_reading(answer).state == state


def test_a_raid_volume_is_named_and_nothing_is_said_of_its_health() -> None:
    told = record(raid_volume())
    assert told["model"] == "Example Raid 5 Volume"
    assert {"passed", "temperature_c", "realloc_total"} & set(told) == set()
    fake = scsi(smart_support={"available": False, "enabled": False})
    assert {"realloc_total", "temperature_c"} & set(record(fake)) == set()


def test_texts_from_a_drive_are_short_and_printable() -> None:
    told = record(ata(model_name="A\x1b[31m  B" + "x" * 10_000, serial_number=" \x00 "))
    assert told["model"].startswith("A [31m Bxxx")
    assert len(told["model"]) == 128
    assert "serial" not in told


LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**130), 2**130),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(["4.5", "9" * 30, [], {}, [[]], {"value": 1}, "NaN", -1, 2**63, 2**64 - 1, 1e300, "\ud800"]),
)


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """One of the samples after a few random changes."""
    answer = copy.deepcopy(draw(st.sampled_from(samples())))
    for _ in range(draw(st.integers(1, 6))):
        inner: Any = answer
        while True:
            keys = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(inner[key], dict | list) and inner[key] and draw(st.integers(0, 4)):
                inner = inner[key]
                continue
            if draw(st.booleans()):
                inner[key] = draw(LEAVES)
            else:
                del inner[key]
            break
    return answer


def check_types(told: dict[str, Any]) -> None:
    for name, value in told.items():
        wanted = {"int64": int, "string": str}[SMART[name]]
        assert type(value) is wanted, name
        if isinstance(value, int):
            assert -60 <= value <= 2**63 - 1, name


@given(answer=damaged())
def test_no_damage_to_an_answer_makes_an_error_or_a_value_of_another_type(answer: Any) -> None:
    reading = drive_reading(answer)
    check_types(dict(reading.record))
    for one in reading.attributes:
        assert 0 < one.id < 256
        assert all(n is None or 0 <= n < 2**63 for n in (one.value, one.worst, one.threshold, one.raw))


@given(
    answer=st.recursive(
        LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    )
)
def test_anything_that_json_can_hold_is_read_without_an_error(answer: Any) -> None:
    assert drive_reading(answer).state == "not_smartctl" or isinstance(answer["smartctl"], dict)
