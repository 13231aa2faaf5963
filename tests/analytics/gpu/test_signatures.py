"""The shipped rules do what their own examples say."""

import pytest

from analytics.gpu.cleaning import Origin
from analytics.gpu.signature_checks import faults
from analytics.gpu.signature_files import shipped_signatures
from analytics.gpu.taxonomy import taxonomy
from tests.analytics.gpu.made_logs import shipped_scanner
from tests.analytics.gpu.ordinary_lines import ORDINARY


def test_every_shipped_rule_holds_on_its_examples_and_none_is_won_by_another_reason() -> None:
    assert [str(fault) for fault in faults(shipped_signatures())] == []


def test_there_are_rules_for_every_reason_and_enough_of_them() -> None:
    signatures = shipped_signatures()
    assert len(signatures) >= 120
    assert {one.reason for one in signatures if one.role in ("root", "cascade")} == set(taxonomy())


def test_categories_of_shipped_rules_are_those_of_the_taxonomy() -> None:
    assert [one.id for one in shipped_signatures() if one.category != taxonomy()[one.reason].category] == []


@pytest.mark.parametrize("dress", ["", "[rank3]: ", "2025-01-02 03:04:05,678 - ", "Jan  2 03:04:05 gpu-7 kernel: "])
def test_lines_of_jobs_that_pass_are_no_cause(dress: str) -> None:
    """A line without a prefix, and with some that say something else of its source."""
    lines = "".join(f"{dress}{line}\n" for line in ORDINARY.splitlines())
    scan = shipped_scanner().scan([lines.encode()], Origin("passed"))
    causes = [one for one in scan.matches if one.signature.role in ("root", "cascade")]
    assert [(one.signature.id, one.line.text) for one in causes] == []


def test_rules_that_capture_an_xid_capture_the_address_too() -> None:
    driver = [one for one in shipped_signatures() if one.pattern.startswith("NVRM: Xid")]
    assert len(driver) >= 7
    assert all("(?P<pci>" in one.pattern and "(?P<xid>" in one.pattern for one in driver)
