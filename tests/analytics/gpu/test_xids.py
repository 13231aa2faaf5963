"""Every Xid has its action, and the rules say of it what the table says."""

import csv
from pathlib import Path

import pytest

from analytics.gpu.cleaning import Origin
from analytics.gpu.taxonomy import taxonomy
from analytics.gpu.xids import action_of, first_to_follow, xids
from tests.analytics.gpu.made_logs import shipped_scanner


def test_rules_give_each_xid_the_reason_of_the_table() -> None:
    numbers = list(range(1, 200))
    log = "".join(f"NVRM: Xid (PCI:0000:3b:00): {number}, pid=7\n" for number in numbers)
    told = {
        int(one.captured["xid"]): (one.signature.reason, one.signature.role)
        for one in shipped_scanner().scan([log.encode()], Origin("dmesg")).matches
        if one.signature.role in ("root", "cascade")
    }
    roles = {"hardware": "root", "application": "root", "sympathetic": "cascade", "notice": "cascade"}
    assert told == {number: (one.reason, roles[one.kind]) for number, one in xids().items() if one.reason}


def test_every_xid_has_a_known_action_and_reason() -> None:
    assert len(xids()) == 109
    for number, one in xids().items():
        assert action_of(one).words, number
        assert one.reason in ("", *taxonomy()), number
        assert one.reason or one.kind == "notice", number


@pytest.mark.parametrize(
    ("numbers", "followed"),
    [
        ([45, 31, 79], 79),
        ([94, 48], 94),
        ([43, 45], 43),
        ([45, 13], 13),
        ([154, 63], 154),
        ([7, 999], None),
        ([], None),
    ],
)
def test_hardware_is_followed_before_applications_and_those_before_what_is_sympathetic(
    numbers: list[int], followed: int | None
) -> None:
    assert first_to_follow(numbers) == followed


def test_actions_are_those_of_the_catalogue(real_data: Path) -> None:
    with (real_data / "xid_catalog.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["description"] != "Unused"]
    assert {int(row["xid"]): row["immediate_action"] or "NONE" for row in rows} == {
        number: one.action for number, one in xids().items()
    }
    assert all(xids()[int(row["xid"])].mnemonic == row["mnemonic"].split(" / ")[0] for row in rows)
