"""What the tables know of a method: what it is, what it promises, and the calls it has. A call it lacks is None.

Ours and the peers' go through the same calls. An adapter does nothing inside a timed call but what the API of its
method demands; where that is a conversion, `takes` says so and its time counts.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quantiles.array_types import FloatArray, IntArray

Kind = Literal["ours", "sketch", "histogram", "engine", "exact", "bound"]
Guarantee = Literal["value error", "rank error", "empirical", "exact", "none"]
Takes = Literal["array", "array, as float32", "list (converted)", "one value a call (list)", "whole column"]

LEVELS = (0.5, 0.9, 0.99, 0.999)
HISTOGRAM = "boost-histogram log 1%"  # has a column of its own, and may be absent


def nothing_to_do() -> None:
    """For a method that needs no preparation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One method of answering quantiles.

    Attributes:
        name: as the tables show it, with its parameters.
        package: the distribution whose version counts.
        kind: "sketch" is a third-party mergeable sketch; a "histogram" needs to know the range beforehand; an "engine"
            answers for a whole column and keeps no state between calls.
        promise: what is guaranteed, in words.
        most_values: of the adding table in a full run; slow methods get fewer.
        ready: called untimed before each measurement.
        add: adds float64[n] to a state, in place.
        quantiles: the answers at levels in [0, 1]; untimed.
        merge: many states into a new one, leaving them as they are.
        merge_bodies: many results of to_bytes, decoded and merged.
        load, ask: an engine's column in its own memory (untimed), and the timed question about it.
        new_groups, add_groups: many states at once, and adding values with series codes to them.
        load_groups, ask_groups: the same for an engine; the question is answered for every series.
    """

    name: str
    package: str
    kind: Kind
    guarantee: Guarantee
    promise: str
    takes: Takes
    most_values: int = 1_000_000
    ready: Callable[[], None] = nothing_to_do
    new: Callable[[], Any] | None = None
    add: Callable[[Any, FloatArray], object] | None = None
    quantiles: Callable[[Any, Sequence[float]], list[float]] | None = None
    to_bytes: Callable[[Any], bytes] | None = None
    merge: Callable[[Sequence[Any]], Any] | None = None
    merge_bodies: Callable[[Sequence[bytes]], Any] | None = None
    load: Callable[[FloatArray], Any] | None = None
    ask: Callable[[Any, Sequence[float]], list[float]] | None = None
    new_groups: Callable[[int], Any] | None = None
    add_groups: Callable[[Any, FloatArray, IntArray], object] | None = None
    load_groups: Callable[[FloatArray, IntArray], Any] | None = None
    ask_groups: Callable[[Any, Sequence[float]], object] | None = None

    @property
    def lacks(self) -> list[str]:
        """The calls it has not, in words."""
        calls = {"bytes": self.to_bytes, "merge": self.merge, "decode and merge": self.merge_bodies}
        return [name for name, call in calls.items() if call is None]


def described(method: Method) -> dict[str, object]:
    """What a result file keeps of a method."""
    return {
        "name": method.name,
        "package": method.package,
        "kind": method.kind,
        "guarantee": method.guarantee,
        "promise": method.promise,
        "takes": method.takes,
        "lacks": method.lacks,
    }


def one_by_one(add: Callable[[Any], object], values: list[Any]) -> None:
    """One call a value with the least around it: a tenth faster than a loop, and lists twice as fast as arrays."""
    deque(map(add, values), maxlen=0)


def merging(new: Callable[[], Any], join: Callable[[Any, Any], object]) -> Callable[[Sequence[Any]], Any]:
    """Merging by joining one state after the other to a new one."""

    def merge(states: Sequence[Any]) -> Any:
        total = new()
        for state in states:
            join(total, state)
        return total

    return merge


def decoding(
    new: Callable[[], Any], join: Callable[[Any, Any], object], decode: Callable[[bytes], Any]
) -> Callable[[Sequence[bytes]], Any]:
    """Decoding each body and joining it to a new state at once."""

    def merge_bodies(bodies: Sequence[bytes]) -> Any:
        total = new()
        for body in bodies:
            join(total, decode(body))
        return total

    return merge_bodies


def asking(one: Callable[[Any, float], float]) -> Callable[[Any, Sequence[float]], list[float]]:
    """Several quantiles from a call that answers one."""
    return lambda state, levels: [float(one(state, q)) for q in levels]
