"""The filter that agents keep lines by: it lets every line through that a rule matches, and stays short."""

import polars as pl
import pytest

from analytics.errors import SignatureFileError
from analytics.gpu.line_filter import MOST_CHARACTERS, line_filter
from analytics.gpu.scanning import TRACEBACKS
from analytics.gpu.signature_files import shipped_signatures, signatures_of
from analytics.gpu.signatures import Signature

SHIPPED = shipped_signatures()
CAUSES = [one for one in SHIPPED if one.role != "advice"]
ROW = "  - {{id: rule-{number}, reason: gpu_oom, role: {role}, pattern: '{pattern}', examples: ['{pattern}']}}\n"


def passing(pattern: str, lines: list[str]) -> list[bool]:
    """Which lines an agent would keep."""
    return pl.select(pl.lit(pl.Series(lines)).str.to_lowercase().str.contains(pattern)).to_series().to_list()


def rules(*patterns: str, role: str = "root") -> tuple[Signature, ...]:
    rows = (ROW.format(number=place, pattern=pattern, role=role) for place, pattern in enumerate(patterns))
    return signatures_of(f"signatures:\n{''.join(rows)}", "made.yaml")


@pytest.mark.parametrize("most", [MOST_CHARACTERS, 6_000, 1_000_000])
def test_every_example_of_every_rule_passes_however_short_the_filter(most: int) -> None:
    kept = line_filter(SHIPPED, most)
    examples = [(one.id, example) for one in CAUSES for example in one.examples]
    passed = passing(kept.pattern, [example for _, example in examples])
    assert [example for example, good in zip(examples, passed, strict=True) if not good] == []
    assert len(kept.pattern) <= most
    assert kept.rules == len(CAUSES)


def test_shorter_filters_let_more_lines_pass_and_never_fewer() -> None:
    lines = [line for one in SHIPPED for line in (*one.examples, *one.counterexamples)]
    whole, cut = (passing(line_filter(SHIPPED, most).pattern, lines) for most in (1_000_000, 6_000))
    assert all(after >= before for before, after in zip(whole, cut, strict=True))
    assert sum(cut) > sum(whole)


def test_starts_of_tracebacks_pass_whatever_the_rules_are() -> None:
    kept = line_filter(rules("licence lost"))
    assert all(passing(kept.pattern, [text.upper() for text in TRACEBACKS]))
    assert passing(kept.pattern, ["the Licence LOST its file", "licence", "lost"]) == [True, False, False]
    assert (kept.rules, kept.texts) == (1, 1 + len(TRACEBACKS))


def test_signs_that_expressions_give_a_meaning_stand_for_themselves() -> None:
    kept = line_filter(rules(r"a\.b\*c\(\[\{d", r"50 \$ \^ up\|down", r"more\+than\?"))
    lines = ["a.b*c([{d", "50 $ ^ up|down", "more+than?"]
    assert passing(kept.pattern, lines) == [True] * 3
    assert passing(kept.pattern, ["axb*c([{d", "50 $ ^ up", "morethan"]) == [False] * 3


def test_what_is_only_advice_is_not_looked_for() -> None:
    assert passing(line_filter(rules("set this variable", role="advice")).pattern, ["set this variable"]) == [False]


def test_more_rules_than_fit_are_refused() -> None:
    words = (f"{first}{second}{third} failed" for first in "abcdef" for second in "ghijkl" for third in "mnopqr")
    with pytest.raises(SignatureFileError, match=r"220 texts .* even where cut to 3; wanted 400 at most"):
        line_filter(rules(*words), 400)
