"""A checked expression: what is left of the text once grammar, types and support are settled.

Parentheses are gone, names are matchers, durations are nanoseconds. Whatever stands in a tree can be evaluated; the
data alone can still make that fail.
"""

from dataclasses import dataclass
from typing import Literal, Union

from store.label_matchers import Matcher

At = int | Literal["start", "end"] | None


@dataclass(frozen=True, slots=True)
class Number:
    """A literal."""

    value: float


@dataclass(frozen=True, slots=True)
class Text:
    """A string literal."""

    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Series by their labels.

    range_ns: of a range selector; None for an instant selector.
    at: the instant that it is fixed to, int64 ns, or an end of the query's range.
    text: as `pretty` writes it, for hints.
    """

    matchers: tuple[Matcher, ...]
    offset_ns: int
    at: At
    range_ns: int | None
    text: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function of this server with its arguments."""

    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Aggregate:
    """`operator by (labels) (parameter, operand)`."""

    operator: str
    parameter: Union["Node", None]
    labels: tuple[str, ...]
    without: bool
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Matching:
    """Which labels must agree for two series to meet: only these (on), or all but these and the name."""

    labels: tuple[str, ...]
    on: bool


@dataclass(frozen=True, slots=True)
class Binary:
    """Two operands; `as_bool` makes comparisons answer 0 or 1 instead of filtering."""

    operator: str
    left: "Node"
    right: "Node"
    as_bool: bool
    matching: Matching


@dataclass(frozen=True, slots=True)
class Negation:
    """Unary minus."""

    operand: "Node"


Node = Number | Text | Selector | Call | Aggregate | Binary | Negation


def shortened(text: str) -> str:
    """A part of an expression as a message can show it."""
    return text if len(text) <= 300 else text[:297] + "..."
