"""label_replace and label_join: new labels from old ones. Values stay as they are, histograms too."""

import re
from collections.abc import Callable
from typing import Any

from api.promql.errors import EvaluationError
from api.promql.evaluation import Evaluation
from api.promql.samples import Labels
from api.promql.tree import Call
from api.promql.values import Value, Vector, distinct
from store.errors import SelectionError
from store.label_matchers import compiled

_REFERENCE = re.compile(r"\$(?:\$|([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\})")
LONGEST_VALUE = 4_096


def _label_replace(evaluation: Evaluation, call: Call) -> Value:
    """label_replace(v, destination, replacement, source, regex): RE2 over the whole value, $1 or ${name} for groups."""
    vector = evaluation.vector(call.arguments[0])
    destination, replacement, source, pattern = (evaluation.text(argument) for argument in call.arguments[1:])
    _check_name(destination, "label_replace")
    _check_length(replacement)
    try:
        matches = compiled(pattern).fullmatch
    except SelectionError as error:
        raise EvaluationError(f"invalid regular expression in label_replace(): {error}") from error

    def renamed(labels: Labels) -> Labels:
        match = matches(labels.get(source, ""))
        return labels if match is None else _with(labels, destination, _expanded(replacement, match))

    return _relabelled(vector, renamed)


def _label_join(evaluation: Evaluation, call: Call) -> Value:
    """label_join(v, destination, separator, sources…)."""
    vector = evaluation.vector(call.arguments[0])
    destination, separator, *sources = (evaluation.text(argument) for argument in call.arguments[1:])
    _check_name(destination, "label_join")

    def renamed(labels: Labels) -> Labels:
        return _with(labels, destination, separator.join(labels.get(source, "") for source in sources))

    return _relabelled(vector, renamed)


def _relabelled(vector: Vector, renamed: Callable[[Labels], Labels]) -> Vector:
    return distinct(vector.with_labels([renamed(labels) for labels in vector.labels]))


def _with(labels: Labels, name: str, value: str) -> Labels:
    _check_length(value)
    others = {label: own for label, own in labels.items() if label != name}
    return {**others, name: value} if value else others


def _check_length(value: str) -> None:
    if len(value) > LONGEST_VALUE:
        raise EvaluationError(
            f"a label value of {len(value)} characters, at most {LONGEST_VALUE} are taken; shorten it"
        )


def _check_name(name: str, function: str) -> None:
    if not name:
        raise EvaluationError(f'invalid destination label name in {function}(): ""; name the label to set')


def _expanded(template: str, match: Any) -> str:
    """The template with its references filled in, as Go's regexp does it: unknown groups are empty, $$ is a dollar."""
    named = match.groupdict()

    def value(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        if not name.isdigit():
            return str(named.get(name) or "")
        return str(match.group(int(name)) or "") if len(name) < 4 and int(name) <= match.re.groups else ""

    return _REFERENCE.sub(value, template)


FUNCTIONS: dict[str, Callable[[Evaluation, Call], Value]] = {
    "label_replace": _label_replace,
    "label_join": _label_join,
}
