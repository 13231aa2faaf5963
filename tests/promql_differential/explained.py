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
        how: in what they differ first.
        closed: whether the two agree once our ranges and the lookback are a millisecond longer, and so hold the sample
            on their left edge.
        coarser: whether the two agree once both answers have the histograms of the coarser schema.
    """

    expression: Expression
    how: str
    closed: Callable[[], bool]
    coarser: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Explanation:
    """A difference that is meant."""

    name: str
    reason: str
    applies: Callable[[Circumstances], bool]


_CALENDAR = r"(minute|hour|day_of_\w+|days_in_month|month|year)\("

EXPLANATIONS = [
    Explanation(
        "left edge",
        "a sample that is exactly as old as the range or the lookback is long is outside of it, as in Prometheus 3; "
        "2.42 has it inside",
        lambda seen: seen.closed(),
    ),
    Explanation(
        "unknown function",
        "refused with 422, as everything that this server does not have; Prometheus says 400",
        lambda seen: "nothing(" in seen.expression.ours,
    ),
    Explanation(
        "one resolution",
        "histograms of different scales in one answer all get the coarsest one; 2.42 shows each series in its own",
        lambda seen: seen.coarser(),
    ),
    Explanation(
        "label names",
        "a label may have any name, as in Prometheus 3; 2.42 wants letters, digits and underscores",
        lambda seen: '"0-"' in seen.expression.ours,
    ),
    Explanation(
        "deviation of no number",
        "stddev and stdvar of NaN or infinity are NaN, as in Prometheus 3; 2.42 says 0 for one value alone",
        lambda seen: "is nan, wanted" in seen.how and re.search("stddev|stdvar", seen.expression.ours) is not None,
    ),
    Explanation(
        "lowest quantile",
        "histogram_quantile(0, h) is the lower bound of the lowest bucket with values, as in Prometheus 3; 2.42 says "
        "NaN when the zero bucket is empty",
        lambda seen: "wanted nan" in seen.how and "_quantile(0, " in seen.expression.theirs,
    ),
    Explanation(
        "new counter",
        "a counter that begins, or begins anew, inside a range is extrapolated by half an interval at most, as in "
        "Prometheus 3; 2.42 goes on to where it would have been zero, if that is within 1.1 intervals",
        lambda seen: re.search(r"(rate|increase)\([^(]*errors_total", seen.expression.ours) is not None,
    ),
    Explanation(
        "calendar of no number",
        "the minute or the day of NaN or infinity is NaN; in Prometheus it depends on the processor",
        lambda seen: "is nan, wanted" in seen.how and re.search(_CALENDAR, seen.expression.ours) is not None,
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
