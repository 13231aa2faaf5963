"""Accuracy on labelled excerpts of real logs, where they are at hand, and its protocols on a few made-up ones."""

from dataclasses import replace
from pathlib import Path

import pytest

from analytics.gpu.accuracy import accuracy
from analytics.gpu.accuracy_held_out import Labelled, held_out_strictly, judge
from analytics.gpu.accuracy_labels import Label, read_labels
from analytics.gpu.cleaning import Origin
from tests.analytics.gpu.plain_scan import scanned, shipped_scanner

#: Of the development half; what was measured is in docs/reference/analytics.md. A point below the goal of 0.95 for the
#: answered, which is 8 of 157 logs wrong: a rule that costs one log is weighed by its author, and breaks no build.
LEAST_CATEGORY = 0.85
LEAST_ANSWERED = 0.94
LEAST_COVERAGE = 0.8
#: Of the strict protocol; the goal itself.
LEAST_HELD_OUT = 0.85


def labelled(lines: list[str], reason: str, source: str) -> Labelled:
    return Labelled(scanned(lines), Label("x.log", reason, "ai_engine", source))


def made_up() -> list[Labelled]:
    """Out of memory in six sources, a crash in one alone, some of them labelled wrongly."""
    oom, crash = ["CUDA out of memory. Tried to allocate 1 GiB"], ["Segmentation fault (core dumped)"]
    logs = [labelled(oom, "gpu_oom" if place % 5 else "gpu_ecc", f"source-{place % 6}") for place in range(72)]
    return [*logs, labelled(crash, "core_dump", "source-9")]


def test_a_rule_that_no_other_source_knows_does_not_count_when_its_source_is_held_out() -> None:
    logs = made_up()
    assert judge(logs[-1]).guess == "core_dump"
    strict = held_out_strictly(logs)
    assert [one.guess for one in strict if one.reason == "core_dump"] == [None]
    assert {one.guess for one in strict if one.reason == "gpu_oom"} == {"gpu_oom"}


@pytest.mark.parametrize(
    ("source", "documented", "guess"),
    [
        ("source-9", True, "kernel_hang"),
        ("source-9", False, None),
        ("https://github.com/torvalds/linux/issues/7", True, None),  # the document is of the very source
    ],
)
def test_a_rule_from_documents_of_others_stays_where_its_only_source_is_held_out(
    source: str, documented: bool, guess: str | None
) -> None:
    hung = labelled(["INFO: task python:77 blocked for more than 120 seconds."], "kernel_hang", source)
    (judged,) = [
        one for one in held_out_strictly([*made_up()[:-1], hung], documented=documented) if one.reason == "kernel_hang"
    ]
    assert judged.guess == guess


def test_another_text_of_the_same_rule_is_no_knowledge_of_a_source() -> None:
    first = labelled(["kernel: Memory failure: 0x77: recovered"], "host_hw", "source-8")
    second = labelled(["EDAC MC1: 1 UE memory read error"], "host_hw", "source-9")
    assert [judge(one).guess for one in (first, second)] == ["host_hw", "host_hw"]
    strict = held_out_strictly([*made_up(), first, second])
    assert [one.guess for one in strict if one.reason == "host_hw"] == [None, None]


def test_the_labels_file_name_is_no_input() -> None:
    one = made_up()[1]
    other = Labelled(one.scan, replace(one.label, file="core_dump_001.txt"))
    assert judge(one).guess == judge(other).guess == "gpu_oom"


def test_labelled_excerpts_are_answered_as_well_as_promised(real_data: Path) -> None:
    folder = real_data / "gpu_logs"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    labels = read_labels((folder / "labels.csv").read_text(), "labels.csv")
    scans = [shipped_scanner().scan([(folder / one.file).read_bytes()], Origin("log")) for one in labels]
    logs = [Labelled(scan, one) for scan, one in zip(scans, labels, strict=True)]
    figures = accuracy([judge(one) for one in logs])
    assert figures.category >= LEAST_CATEGORY
    assert figures.coverage >= LEAST_COVERAGE
    assert figures.answered is not None
    assert figures.answered >= LEAST_ANSWERED
    assert accuracy(held_out_strictly(logs)).category >= LEAST_HELD_OUT
