"""Policies as JSON documents and as words: what requests to the API, tables in the store and command lines hold.

A document is `{"kind": ...}` and the policy's own fields; what may be left out has the default of policies.py. Reading
is strict: a field that is not known, missing, or not of its type is refused with its name, and so is a policy that the
simulator would refuse.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Final

from analytics.errors import DataError
from analytics.tail.policies import (
    METRICS,
    Adaptive,
    Fixed,
    Policy,
    Predictive,
    RampUp,
    Sequential,
    TargetTable,
    Tpc,
    WqLinear,
    kernel_policy,
)
from analytics.tail.speedup import SpeedupProfile

#: The most targets that one table may hold; more would be a mistake of whoever wrote it.
MOST_TARGETS: Final = 1_000
#: How `policy_of_text` is told a policy.
TEXTS: Final = (
    "sequential", "fixed:DEGREE", "predictive:DEGREE[:LONG_MS]", "adaptive", "wq-linear[:MOST_WAITING]",
    "ramp-up:INTERVAL_MS", "or a policy as a JSON object",
)  # fmt: skip
_MOST_DEGREE: Final = 4_096


def policy_document(policy: Policy) -> dict[str, object]:
    """The policy as JSON holds it; `policy_from` reads it back to an equal one."""
    document: dict[str, object] = {"kind": _KINDS[type(policy)]}
    for one in fields(policy):
        value = getattr(policy, one.name)
        document[one.name] = table_document(value) if isinstance(value, TargetTable) else value
    return document


def table_document(table: TargetTable) -> dict[str, object]:
    """A target table as JSON holds it."""
    return {"metric": table.metric, "width": table.width, "targets_ms": list(table.targets_ms), "full": table.full}


def policy_from(document: object) -> Policy:
    """The policy of a document.

    Raises:
        DataError: it is none; the text names the field, what it holds, and what is wanted.
    """
    given = _Fields("policy", document)
    policy = _READERS[given.text("kind", tuple(_READERS))](given)
    given.end()
    kernel_policy(policy)  # refuses thresholds and pauses that cannot be meant
    return policy


def table_from(document: object, name: str = "table") -> TargetTable:
    """The target table of a document; `name` is what errors call it.

    Raises:
        DataError: it is none.
    """
    given = _Fields(name, document)
    metric = given.text("metric", tuple(METRICS))
    table = TargetTable(
        next(known for known in METRICS if known == metric),
        given.number("width"),
        given.numbers("targets_ms"),
        given.flag("full", False),
    )
    given.end()
    return table


def policy_of_text(text: str) -> Policy:
    """The policy that somebody wrote on a command line: a word with its numbers, or a document.

    Raises:
        DataError: it is none.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            return policy_from(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise DataError(f"a policy that begins with {{ and is no JSON: {str(error)[:200]}") from error
    word, *rest = text.split(":")
    names = _WORDS.get(word.replace("_", "-"))
    if names is None or len(rest) > len(names):
        raise DataError(f"policy {text[:80]!r}; want {', '.join(TEXTS)}")
    document: dict[str, object] = {"kind": word.replace("-", "_")}
    for name, given in zip(names, rest, strict=False):
        document[name] = _number(text, name, given)
    return policy_from(document)


def degree_table(policy: Tpc, profile: SpeedupProfile, max_degree: int) -> dict[str, object]:
    """What a server needs to choose degrees by the policy itself.

    `speedups` has a row for each class, a column for each degree up to max_degree; `class_edges_ms` says where the next
    class of predicted time begins. `correction` is None where running requests keep their degree.

    Raises:
        DataError: max_degree is below 1, or beyond what the profile knows.
    """
    if not 1 <= max_degree <= profile.max_degree:
        raise DataError(f"degrees up to {max_degree}; the profile of speed-ups knows 1 to {profile.max_degree}")
    table = policy.table
    correction = {"full": table.full, "every_ms": policy.correct_every_ms} if policy.correction else None
    return {
        "metric": table.metric,
        "width": table.width,
        "targets_ms": list(table.targets_ms),
        "correction": correction,
        "prediction": policy.prediction,
        "max_degree": max_degree,
        "class_edges_ms": list(profile.edges_ms),
        "speedups": profile.table[:, :max_degree].tolist(),
    }


class _Fields:
    """A JSON object that is read field by field; what nobody asked for is refused at the end."""

    def __init__(self, name: str, document: object) -> None:
        if not isinstance(document, Mapping):
            raise DataError(f"{name} is {_shown(document)}; want an object")
        self._name, self._left = name, dict(document)

    def text(self, field: str, allowed: tuple[str, ...]) -> str:
        value = self._take(field)
        if not isinstance(value, str) or value not in allowed:
            raise self._wrong(field, value, f"one of {', '.join(allowed)}")
        return value

    def degree(self, field: str) -> int:
        value = self._take(field)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_DEGREE:
            raise self._wrong(field, value, f"a whole number from 1 to {_MOST_DEGREE}")
        return value

    def number(self, field: str, default: float | None = None) -> float:
        value = self._take(field, default)
        if not _is_number(value):
            raise self._wrong(field, value, "a finite number")
        return float(value)  # type: ignore[arg-type]  # _is_number says that it is one

    def numbers(self, field: str) -> tuple[float, ...]:
        value = self._take(field)
        if not isinstance(value, list | tuple) or not all(_is_number(one) for one in value):
            raise self._wrong(field, value, "a list of finite numbers")
        if not 1 <= len(value) <= MOST_TARGETS:
            raise self._wrong(field, f"{len(value)} numbers", f"1 to {MOST_TARGETS} of them")
        return tuple(float(one) for one in value)

    def flag(self, field: str, default: bool) -> bool:
        value = self._take(field, default)
        if not isinstance(value, bool):
            raise self._wrong(field, value, "true or false")
        return value

    def value(self, field: str) -> object:
        return self._take(field)

    def end(self) -> None:
        if self._left:
            raise DataError(f"{self._name} has the unknown field {_shown(min(map(str, self._left)))}; leave it out")

    def _take(self, field: str, default: object = None) -> object:
        value = self._left.pop(field, default)
        if value is None:
            raise DataError(f"{self._name} has no {field}, which is wanted")
        return value

    def _wrong(self, field: str, value: object, wanted: str) -> DataError:
        return DataError(f"{self._name}.{field} is {_shown(value)}; want {wanted}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15 and math.isfinite(value)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number(text: str, name: str, given: str) -> float:
    try:
        return float(given)
    except ValueError as error:
        raise DataError(f"policy {text[:80]!r}: {name} is {given[:40]!r}; want a number") from error


def _tpc(given: _Fields) -> Tpc:
    return Tpc(
        table_from(given.value("table"), "policy.table"),
        given.flag("correction", True),
        given.flag("prediction", True),
        given.number("correct_every_ms", 5.0),
    )


_KINDS: Final[dict[type[Policy], str]] = {
    Sequential: "sequential", Fixed: "fixed", Predictive: "predictive", Adaptive: "adaptive", WqLinear: "wq_linear",
    RampUp: "ramp_up", Tpc: "tpc",
}  # fmt: skip
_READERS: Final[dict[str, Callable[[_Fields], Policy]]] = {
    "sequential": lambda _: Sequential(),
    "fixed": lambda given: Fixed(given.degree("degree")),
    "predictive": lambda given: Predictive(given.degree("degree"), given.number("long_ms", 80.0)),
    "adaptive": lambda _: Adaptive(),
    "wq_linear": lambda given: WqLinear(given.number("most_waiting", 12.0)),
    "ramp_up": lambda given: RampUp(given.number("interval_ms")),
    "tpc": _tpc,
}
# The numbers that may follow the word of a policy, in their order.
_WORDS: Final[dict[str, tuple[str, ...]]] = {
    "sequential": (),
    "fixed": ("degree",),
    "predictive": ("degree", "long_ms"),
    "adaptive": (),
    "wq-linear": ("most_waiting",),
    "ramp-up": ("interval_ms",),
}
