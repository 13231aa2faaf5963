"""Patterns fall apart into their alternatives, and a match is told by the one that stands in its line."""

import pytest

from analytics.gpu.signature_alternatives import alternatives, texts_of
from analytics.gpu.signature_files import shipped_signatures
from analytics.gpu.signature_patterns import compiled
from tests.analytics.gpu.plain_scan import scanned


@pytest.mark.parametrize(
    ("pattern", "parts"),
    [
        ("one text", ("one text",)),
        ("this|that", ("this", "that")),
        ("(?i)this|th(?:a|e)t", ("(?i)this", "(?i)th(?:a|e)t")),
        ("this|(?i:that|these)", ("this", "(?i:that)", "(?i:these)")),
        ("(?:this|that) once|(?:and) (?:more)", ("(?:this|that) once", "(?:and) (?:more)")),
        (r"a bar \| here|[|(] there", (r"a bar \| here", "[|(] there")),
        (r"\Qa|b\E|(?P<name>x|y) z", (r"\Qa|b\E", "(?P<name>x|y) z")),
    ],
)
def test_a_pattern_is_cut_at_the_bars_that_stand_in_no_group(pattern: str, parts: tuple[str, ...]) -> None:
    assert alternatives(pattern) == parts


def test_an_example_of_a_shipped_rule_is_matched_by_some_alternative_of_it() -> None:
    for signature in shipped_signatures():
        parts = [compiled(each) for each in alternatives(signature.pattern)]
        assert all(any(part.search(text) for part in parts) for text in signature.examples), signature.id


def test_two_lines_of_one_rule_are_the_same_text_only_where_one_alternative_stands_in_both() -> None:
    lines = ["write: No space left on device", "read: No space left on device", "cp: fails with ENOSPC"]
    first, second, third = (texts_of(one) for one in scanned(lines).matches if one.signature.reason == "disk_full")
    assert first == second
    assert first.isdisjoint(third)


def test_exceptions_of_different_classes_are_different_texts() -> None:
    lines = ["KeyError: 'a'", "my.KeyError: 'b'", "IndexError: c"]
    found = [texts_of(one) for one in scanned(lines).matches if one.captured.get("exception")]
    assert len(set(found)) == 2


def test_a_text_over_several_lines_stands_for_its_row() -> None:
    lines = ["NVRM: The NVIDIA GPU 0000:9d:00.0", "NVRM: that was in use has", "NVRM: fallen off the bus, it says"]
    (window,) = [one for one in scanned(lines).matches if one.signature.scope == "window"]
    assert texts_of(window) == {"off-the-bus-two-lines -1 "}
