"""Which series a question means: comparisons of a label's value, equal, unequal or by regular expression.

Regular expressions are RE2's, whole values only, and cost time linear in the text, whoever wrote them. A label that a
series does not have counts as the empty value.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import re2

from store.errors import SelectionError

Operator = Literal["=", "!=", "=~", "!~"]
PATTERN_MAX_LENGTH = 4_096
# Compiling takes up to 50 ms a MB, and as many patterns as below are remembered.
_PATTERN_MEMORY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Matcher:
    """Series whose value of `label` stands in this relation to `value`."""

    label: str
    value: str
    operator: Operator = "="


def predicate(matcher: Matcher) -> Callable[[str], bool]:
    """Whether a value of the matcher's label is meant.

    Raises:
        SelectionError: no regular expression, or one too large; the message names it and what is wrong.
    """
    wanted = matcher.value
    if matcher.operator == "=":
        return lambda value: value == wanted
    if matcher.operator == "!=":
        return lambda value: value != wanted
    matches = compiled(wanted).fullmatch
    if matcher.operator == "=~":
        return lambda value: matches(value) is not None
    return lambda value: matches(value) is None


def matches_all(matchers: Sequence[Matcher]) -> Callable[[Mapping[str, str]], bool]:
    """Whether a series of these labels is meant by every matcher.

    Raises:
        SelectionError: as `predicate`.
    """
    checks = [(matcher.label, predicate(matcher)) for matcher in matchers]
    return lambda labels: all(check(labels.get(label, "")) for label, check in checks)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> Any:
    """The regular expression, as RE2 holds it.

    Raises:
        SelectionError: as `predicate`.
    """
    if len(pattern) > PATTERN_MAX_LENGTH:
        raise SelectionError(
            f"a regular expression of {len(pattern)} characters, at most {PATTERN_MAX_LENGTH} are taken; shorten it"
        )
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY_BYTES
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise SelectionError(f"{pattern[:60]!r} is no regular expression of RE2: {_said(error)}; mend it") from error


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
