"""Matchers as people write them in `where`: label:value, label=value, label!=value, label=~regex, label!~regex.

A label's name holds neither colon nor sign, so the first one after it is the operator, and all that follows is the
value as it stands, colons and signs included: `disk:nvme=0` is disk equal to nvme=0, `disk=nvme:0` is disk equal to
nvme:0. Two-character operators are read before one-character ones, so a value that begins with a tilde is written with
the colon: `path:~home`. An empty value means series without the label.
"""

import re
from collections.abc import Collection, Sequence

from api.errors import LimitError, ParameterError, UnknownNameError
from api.promql.pattern_weight import MAX_WEIGHT, pattern_weight
from store.errors import SelectionError, UnknownLabelError
from store.label_matchers import Matcher, Operator, predicate

_MATCHER = re.compile(r"\s*([^:=!~\s]+)\s*(!=|=~|!~|=|:)(.*)", re.DOTALL)
_OPERATORS: dict[str, Operator] = {":": "=", "=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
ACCEPTED = "write label:value, label=value, label!=value, label=~regex or label!~regex, such as where=dst_tor:12"


def read_matchers(given: Sequence[str], most: int) -> tuple[Matcher, ...]:
    """The matchers of a repeatable `where`; all of them must hold.

    Raises:
        ParameterError: one that is none, a regular expression that is none, or one label equal to two values.
        LimitError: more than `most`, or regular expressions that cost too much to compile.
    """
    if len(given) > most:
        raise LimitError(
            f"where is given {len(given)} times, at most {most} matchers are taken; join values in one regular "
            "expression, such as host=~web-1|web-2",
            parameter="where",
            limit=most,
        )
    matchers = tuple(_matcher(text) for text in given)
    weight = sum(pattern_weight(matcher.value) for matcher in matchers if matcher.operator in ("=~", "!~"))
    if weight > MAX_WEIGHT:
        raise LimitError(
            f"the regular expressions in where weigh {weight:,} together, at most {MAX_WEIGHT:,} is taken (a character "
            "weighs 1, a class such as \\w 200, repetition multiplies); repeat less, or use fewer",
            parameter="where",
            limit=MAX_WEIGHT,
        )
    for text, matcher in zip(given, matchers, strict=True):
        _check_pattern(text, matcher)
    equal = [matcher.label for matcher in matchers if matcher.operator == "="]
    doubles = [label for label in equal if equal.count(label) > 1]
    if doubles:
        raise ParameterError(
            f"where names label {doubles[0][:60]!r} twice, and no series has two values of it; name it once, or write "
            f"{doubles[0][:60]}=~a|b for either",
            parameter="where",
        )
    return matchers


def check_labels(
    what: str,
    known: Collection[str],
    by: Sequence[str] = (),
    where: Sequence[Matcher] = (),
    by_parameter: str = "by",
) -> None:
    """Refuse labels that are not `known`, naming the parameter where one stands; the store would not know it.

    Args:
        by: labels by name, given in the parameter `by_parameter`.

    Raises:
        UnknownNameError: names the nearest known label.
    """
    asked = [(by_parameter, name) for name in by] + [("where", matcher.label) for matcher in where]
    for parameter, name in asked:
        if name not in known:
            unknown = UnknownLabelError(what, name[:200], known)
            raise UnknownNameError(str(unknown), nearest=unknown.nearest, parameter=parameter)


def _matcher(text: str) -> Matcher:
    match = _MATCHER.fullmatch(text)
    if match is None:
        raise ParameterError(f"where={text[:60]!r} is no matcher; {ACCEPTED}", parameter="where")
    label, sign, value = match.groups()
    return Matcher(label, value, _OPERATORS[sign])


def _check_pattern(text: str, matcher: Matcher) -> None:
    try:
        predicate(matcher)
    except SelectionError as error:
        raise ParameterError(f"where={text[:60]!r}: {error}", parameter="where") from error
