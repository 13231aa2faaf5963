"""The shipped rules do what their own examples say."""

from analytics.gpu.signature_checks import faults
from analytics.gpu.signature_files import shipped_signatures
from analytics.gpu.taxonomy import taxonomy


def test_every_shipped_rule_holds_on_its_examples_and_none_is_won_by_another_reason() -> None:
    assert [str(fault) for fault in faults(shipped_signatures())] == []


def test_there_are_rules_for_every_reason_and_enough_of_them() -> None:
    signatures = shipped_signatures()
    assert len(signatures) >= 120
    assert {one.reason for one in signatures if one.role in ("root", "cascade")} == set(taxonomy())


def test_categories_of_shipped_rules_are_those_of_the_taxonomy() -> None:
    assert [one.id for one in shipped_signatures() if one.category != taxonomy()[one.reason].category] == []


def test_rules_that_capture_an_xid_capture_the_address_too() -> None:
    driver = [one for one in shipped_signatures() if one.pattern.startswith("NVRM: Xid")]
    assert len(driver) >= 7
    assert all("(?P<pci>" in one.pattern and "(?P<xid>" in one.pattern for one in driver)
