"""Templates of what no rule knows, their ranking, and rules drafted from them."""

import pytest
import re2
import yaml

from analytics.errors import DataError
from analytics.gpu.classifier import diagnose
from analytics.gpu.cleaning import Origin
from analytics.gpu.node_events import JobFacts
from analytics.gpu.scanning import Scanner
from analytics.gpu.signature_files import shipped_signatures, signatures_of
from analytics.gpu.templates import draft, masked, mine, pattern_of, tail_template

FAILED = {
    f"job-{n}": [f"step {step} loss 0.{step:03d}" for step in range(40)]
    + [f"fabric agent lost lease {n}7 on switch sw{n}, shutting down"]
    for n in range(8)
}
PASSED = {f"ok-{n}": [f"step {step} loss 0.{step:03d}" for step in range(40)] for n in range(20)}


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("step 17 of 200", "step <number> of <number>"),
        ("at 0x7fff0a1b in /opt/app/lib/x.so", "at <hex> in <path>"),
        ("2024-05-01T10:00:00.123Z up 10.0.0.3:8080", "<time> up <ip>"),
        ("key 'blk.3' gone", "key <name> gone"),
        ("see https://x.org/a?b=1 now", "see <url> now"),
    ],
)
def test_what_differs_between_jobs_is_masked(line: str, text: str) -> None:
    assert masked(line) == text


def test_what_only_failed_jobs_say_comes_first() -> None:
    found = mine(FAILED, PASSED)
    assert "fabric agent lost lease" in found[0].text
    assert (found[0].failed, found[0].passed) == (8, 0)
    chatter = next(one for one in found if one.text.startswith("step"))
    assert (chatter.failed, chatter.passed) == (8, 20)
    assert found[0].ratio > 10 > chatter.ratio


def test_a_template_seen_once_ranks_below_one_seen_often() -> None:
    found = mine({**FAILED, "odd": ["a unique complaint about nothing at all"]}, PASSED)
    places = {one.text[:6]: place for place, one in enumerate(found)}
    assert places["fabric"] < places["a uniq"]


def test_a_label_becomes_a_rule_that_loads_and_matches_its_lines() -> None:
    best = mine(FAILED, PASSED)[0]
    text = draft(best, "ib_network", "site-ib-network-1")
    (rule,) = signatures_of(text, "draft.yaml")
    assert (rule.reason, rule.role) == ("ib_network", "root")
    for lines in FAILED.values():
        assert re2.search(rule.pattern, lines[-1]) is not None
    assert yaml.safe_load(text)["signatures"][0]["examples"] == [best.example]


def test_a_drafted_rule_is_believed_beside_what_the_failure_led_to() -> None:
    best = mine(FAILED, PASSED)[0]
    rules = (*shipped_signatures(), *signatures_of(draft(best, "ib_network", "site-ib-network-1"), "draft.yaml"))
    log = "\n".join([*FAILED["job-3"], "ValueError: could not convert string to float: ''"])
    found = diagnose([Scanner(rules).scan([log.encode()], Origin("log"))], JobFacts(failed=True))
    assert found.guess == "ib_network"


def test_special_characters_of_a_template_are_taken_as_they_stand() -> None:
    pattern = pattern_of("lost (lease) [x] a+b? cost $<number> | {y}")
    assert re2.search(pattern, "lost (lease) [x] a+b? cost $17 | {y}") is not None
    assert re2.search(pattern, "lost lease x aab cost 17 y") is None


def test_a_template_of_holes_makes_no_rule() -> None:
    (only,) = mine({"a": ["7 8 9"]}, {})
    with pytest.raises(DataError, match="hardly a fixed word"):
        draft(only, "ib_network", "x")


def test_the_tail_is_masked_and_lines_that_say_nothing_are_passed_over() -> None:
    assert tail_template(["broker 17 went away", "----", "12:34"]) == "broker <number> went away"
    assert tail_template(["", "1"]) is None
