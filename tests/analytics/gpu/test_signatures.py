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


@pytest.mark.parametrize(
    "line",
    [
        "note: a segmentation fault in the extension was fixed in this release",
        "this build avoids segmentation fault when pin_memory is on",
        "WARNING: forking may lead to a segmentation fault or deadlocks",
        "Segmentation faults were seen with this driver before",
        '{"text": "segmentation fault in my C code, what now?"}',
        "If you see CUDA out of memory, reduce the batch size",
        "to avoid CUDA out of memory the activations are checkpointed",
        "sample 17: {'text': 'I got RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB, how to fix?'}",
        'generated: "Q: why RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB?"',
        "Prompt: the user asks about 'CUDA out of memory. Tried to allocate 20.00 MiB'",
        "  --on-oom {kill,skip}  what to do on CUDA out of memory",
    ],
)
def test_lines_that_only_speak_of_a_failure_are_no_cause(line: str) -> None:
    matches = shipped_scanner().scan([line.encode()], Origin("passed")).matches
    assert {one.signature.reason for one in matches}.isdisjoint({"core_dump", "gpu_oom"})


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("segfault", " Segmentation fault (core dumped)"),
        ("segfault", "bash: line 1:  1234 Segmentation fault      (core dumped) python train.py"),
        ("segfault", "run.sh: line 4:    77 Segmentation fault"),
        ("segfault", "[node1:123] Signal: Segmentation fault (11)"),
        (
            "segfault",
            "[node1:0:123] Caught signal 11 (Segmentation fault: address not mapped to object at 0x8)",
        ),
        ("segfault", "srun: error: node1: task 3: Segmentation fault (core dumped)"),
        ("segfault", "Program received signal SIGSEGV, Segmentation fault."),
        ("segfault", "FatalError: `Segmentation fault` is detected by the operating system."),
        ("segfault", "Segmentation fault: 11"),
        ("segfault", "Process ended by signal 11 (Segmentation fault)"),
        ("segfault", "ERROR - segmentation fault occurred in worker 3"),
        ("gpu-oom-torch", "failed when loading weights: CUDA out of memory. Tried to allocate 2.00 GiB"),
        ("gpu-oom-torch", '{"level": "error", "event": "CUDA out of memory. Tried to allocate 2.00 GiB"}'),
        ("gpu-oom-torch", "level=error msg='torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB'"),
        ("gpu-oom-torch", "worker 3 died: ran into CUDA out of memory"),
        ("gpu-oom-torch", "sample 17 of 100: RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
)
def test_lines_of_failures_are_told_from_those_that_speak_of_them(row: str, line: str) -> None:
    assert row in [one.signature.id for one in shipped_scanner().scan([line.encode()], Origin("failed")).matches]
