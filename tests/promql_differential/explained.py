"""Differences from Prometheus 2.42 that are meant, each with the reason, written down before anything is compared.

The HTTP API says of itself that it is a Prometheus 3, and the evaluator follows that release where the two differ. The
list is also docs/reference/promql-differences.md; a test keeps the two together.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from tests.promql_differential.expressions import Expression


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known about an expression on which the two sides differ.

    Attributes:
        edges: how many samples lie exactly on the left edge of a range or of a lookback.
    """

    expression: Expression
    edges: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """A difference that is meant."""

    name: str
    reason: str
    applies: Callable[[Circumstances], bool]


EXPLANATIONS = [
    Explanation(
        "left edge",
        "a sample that is exactly as old as the range or the lookback is long is outside of it, as in Prometheus 3; "
        "2.42 has it inside",
        lambda seen: seen.edges > 0,
    ),
    Explanation(
        "unknown function",
        "refused with 422, as everything that this server does not have; Prometheus says 400",
        lambda seen: "nothing(" in seen.expression.ours,
    ),
    Explanation(
        "bare seconds",
        "a duration may be a number of seconds, as in Prometheus 3; 2.42 wants a unit",
        lambda seen: re.search(r"offset 5(?![0-9a-z])", seen.expression.ours) is not None,
    ),
]

#: Within one bucket the two interpolate differently, 2.42 in a straight line and we, as Prometheus 3, on a logarithmic
#: scale: quantiles agree when they lie in the same bucket, so within its width. The rule itself is compared with
#: reference.py to the last digits.
WIDEST_BUCKET = 2 ** (2**-5) - 1
