"""A rule is held to its examples, and to those of others."""

from analytics.gpu.signature_checks import faults
from analytics.gpu.signature_files import signatures_of

TWO = """
signatures:
  - {{id: fire, reason: host_hw, role: root, weight: 60, pattern: board burnt, examples: [{example}]}}
  - id: smoke
    reason: thermal_power
    role: {role}
    weight: {weight}
    pattern: 'burnt'
    examples: [it is burnt]
    counterexamples: [{counterexample}]
"""


def found(
    example: str = "board burnt", role: str = "root", weight: int = 50, counterexample: str = "cold"
) -> list[str]:
    text = TWO.format(example=example, role=role, weight=weight, counterexample=counterexample)
    return [f"{fault.signature}: {fault.text.split(';')[0]}" for fault in faults(signatures_of(text, "two.yaml"))]


def test_rules_that_hold_have_no_faults() -> None:
    assert found() == []


def test_a_rule_must_match_its_examples_and_none_of_its_counterexamples() -> None:
    assert found(example="board well") == ["fire: does not match its example"]
    assert found(counterexample="not burnt") == ["smoke: matches its counterexample"]


def test_no_example_may_be_won_by_another_reason() -> None:
    lost = ["fire: its example is won by smoke (thermal_power, weight 60 to 60)"]
    assert found(weight=60) == found(weight=60, role="cascade") == lost
    assert found(weight=60, role="confirm") == found(weight=60, role="advice") == []


def test_only_the_examples_asked_for_are_tried() -> None:
    signatures = signatures_of(TWO.format(example="well", role="root", weight=9, counterexample="x"), "two.yaml")
    assert faults(signatures, signatures[1:]) == ()
    assert [fault.signature for fault in faults(signatures, signatures[:1])] == ["fire"]


def test_an_example_of_one_line_is_not_several_lines() -> None:
    assert found(example='"board burnt\\nas said"') == ["fire: does not match its example"]
