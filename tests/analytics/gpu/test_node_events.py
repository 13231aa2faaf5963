"""Kernel events joined to a job by node, time and PCI address."""

import pytest

from analytics.gpu.matches import Match
from analytics.gpu.node_events import JobFacts, join, pci_address
from tests.analytics.gpu.plain_scan import SECOND, found, signature

FACTS = JobFacts(nodes=frozenset({"gpu-7.cluster", "gpu-8"}), start_ns=1_000 * SECOND, end_ns=2_000 * SECOND)


def xid(number: int, at_s: float | None = 1_500, node: str | None = "gpu-7", pci: str = "0000:07:00") -> Match:
    rule = signature(f"xid-{number}", "gpu_ecc" if number in (48, 94) else "gpu_fell_off_bus")
    return found(rule, 1, source="kernel", node=node, at_s=at_s, xid=str(number), pci=pci)


@pytest.mark.parametrize(
    "text", ["0000:07:00", "07:00.0", "00000000:07:00.0", "PCI:0000:07:00", "0000:07:00.0", " 0000:07:00 "]
)
def test_addresses_of_one_gpu_become_one(text: str) -> None:
    assert pci_address(text) == "00000000:07:00.0"


def test_what_is_no_address_stays_itself() -> None:
    assert pci_address("GPU-3") == "gpu-3"


def test_events_of_other_nodes_and_other_times_are_left_out() -> None:
    joined = join([xid(79), xid(79, node="gpu-9"), xid(79, at_s=100), xid(79, at_s=9_000)], FACTS)
    assert joined.matches == (xid(79),)
    assert joined.notes == ("3 kernel events of other nodes or times were left out",)


def test_events_without_node_or_time_count() -> None:
    assert len(join([xid(79, node=None), xid(79, at_s=None)], FACTS).matches) == 2


def test_a_line_of_the_job_itself_is_never_left_out() -> None:
    line = found(signature("oom", "gpu_oom"), 1, node="gpu-9", at_s=5)
    assert join([line], FACTS).matches == (line,)


def test_a_sympathetic_event_gives_way_to_another_on_its_gpu_only() -> None:
    same_gpu = join([xid(45), xid(79, pci="07:00.0")], FACTS)
    assert [match.captured["xid"] for match in same_gpu.matches] == ["79"]
    assert "Xid 45 followed from another Xid" in same_gpu.notes[0]
    assert len(join([xid(45), xid(79, pci="08:00.0")], FACTS).matches) == 2
    assert len(join([xid(45), xid(79, at_s=1_950)], FACTS).matches) == 2
    assert len(join([xid(94)], FACTS).matches) == 1


def test_an_event_of_the_programs_own_doing_explains_no_sympathetic_one() -> None:
    assert len(join([xid(45), xid(43)], FACTS).matches) == 2


def test_gpus_that_vanish_without_a_line_are_told() -> None:
    facts = JobFacts(gpus_before={"a": 8, "b": 8}, gpus_after={"a": 7, "b": 8})
    assert join([], facts).notes == ("node a showed 8 GPUs before the job and 7 after it",)
