"""From text to a checked tree: the grammar is promql-parser's, what is supported is ours.

The parser recurses once per nested bracket and per chained operator, on the machine's stack: a hundred thousand
parentheses would end the process. So size and nesting are counted first, on the text without its strings.
"""

import contextlib
import re
from collections.abc import Callable
from datetime import timedelta
from functools import lru_cache
from typing import Any, cast

import promql_parser

from api.promql.errors import ExpressionError, UnsupportedError
from api.promql.pattern_weight import MAX_WEIGHT, literal_weight
from api.promql.support import AGGREGATIONS, FUNCTIONS, INSTEAD, refusal
from api.promql.tree import Aggregate, At, Binary, Call, Matching, Negation, Node, Number, Selector, Text, shortened
from store.errors import SelectionError
from store.label_matchers import Matcher, Operator, predicate

MAX_LENGTH = 65_536
MAX_DEPTH = 64
MAX_OPERATORS = 128
LONGEST_NS = 50 * 365 * 86_400 * 10**9  # of a range or an offset: instants stay within int64 with both taken off
LATEST_NS = 4 * 10**18  # year 2096

_STRINGS = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`|#[^\n]*', re.DOTALL)
_BRACES = re.compile(r"\{[^{}]*\}")
_OPERATORS = re.compile(r"[-+*/%^]|[=!<>]=?|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_AT_THE_END = re.compile(r"@ (-?[0-9]+(?:\.[0-9]+)?)(?: offset [^{}\"]*)?$")
_MICROSECOND = timedelta(microseconds=1)
_MATCH_OPERATORS: dict[str, Operator] = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}


def parse(text: str) -> Node:
    """The tree of an expression.

    Raises:
        ExpressionError: no expression, or one of wrong types; with line and column where they are known.
        UnsupportedError: something that this server does not have; says what to write instead.
    """
    return _checked(text)


def weight_of(text: str) -> int:
    """About how much it costs to compile what may be regular expressions in a text; see pattern_weight.py."""
    return sum(literal_weight(found) for found in _STRINGS.findall(text) if not found.startswith("#"))


def pretty(text: str) -> str:
    """The expression in canonical form, broken into lines where it is long.

    Raises:
        ExpressionError: no expression.
    """
    return cast("str", _parsed(text).prettify())


@lru_cache(maxsize=256)
def _checked(text: str) -> Node:
    return _node(_parsed(text))


def _parsed(text: str) -> Any:
    bare = _within_limits(text)
    try:
        return promql_parser.parse(text)
    except ValueError as error:
        raise _refused(text, bare, str(error)) from None
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # the parser's own defect, which it raises past Exception
            raise
        raise ExpressionError("parse error: the expression cannot be read; write it in a simpler way") from None


def _within_limits(text: str) -> str:
    """The text without strings, comments and matchers, once it is known to be small enough for the parser."""
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(text)} characters, at most {MAX_LENGTH} are taken; shorten it")
    weight = weight_of(text)
    if weight > MAX_WEIGHT:
        raise ExpressionError(
            f"the regular expressions weigh {weight}, at most {MAX_WEIGHT} is taken; repeat less, or use fewer"
        )
    bare = _BRACES.sub("{}", _STRINGS.sub('""', text))
    depth = deepest = 0
    for bracket in re.findall(r"[][(){}]", bare):
        depth += 1 if bracket in "([{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise ExpressionError(f"brackets are nested {deepest} deep, at most {MAX_DEPTH} are taken; take some away")
    operators = len(_OPERATORS.findall(bare))
    if operators > MAX_OPERATORS:
        raise ExpressionError(f"the expression has {operators} operators, at most {MAX_OPERATORS} are taken; split it")
    return bare


def _refused(text: str, bare: str, message: str) -> ExpressionError | UnsupportedError:
    message = shortened(message)
    unknown = re.match(r"unknown function with name '(.*)'", message)
    if unknown is not None:
        return UnsupportedError(refusal(f"function {shortened(unknown[1])}", INSTEAD.get(unknown[1], "")))
    modifier = re.search(r"\b(anchored|smoothed)\b", bare)
    if modifier is not None and message == "invalid promql query":
        return UnsupportedError(refusal(modifier[1], "rate and increase extrapolate to the ends of the range"))
    if re.search(r"\[[^]]*[-+*/%^]", bare) and "inside brackets" in message:
        return UnsupportedError(refusal("arithmetic between brackets", "write the duration itself"))
    if "'$'" in message:
        message += "; a variable of Grafana was sent as it is: fill it in"
    place = _place(text, message)
    return ExpressionError(f"{place}: parse error: {message}" if place else f"parse error: {message}")


def _place(text: str, message: str) -> str:
    """Where a message points to, as line:column; empty where that cannot be told."""
    position = None
    if re.search(r"unclosed|unexpected end of input|unterminated|no expression found", message):
        position = len(text)
    elif (call := re.search(r"call to function '(\w+)'", message)) is not None:
        found = list(re.finditer(rf"\b{call[1]}\s*\(\s*", text))
        position = found[0].end() if len(found) == 1 else None
    elif (character := re.search(r"'(.)'", message)) is not None and "character" in message:
        position = text.find(character[1]) if text.count(character[1]) == 1 else None
    if position is None:
        return ""
    before = text[:position]
    return f"{before.count(chr(10)) + 1}:{position - (before.rfind(chr(10)) + 1) + 1}"


def _node(expression: Any) -> Node:
    kind = type(expression).__name__
    if kind == "ParenExpr":
        return _node(expression.expr)
    make = _MAKERS.get(kind)
    if make is None:
        raise UnsupportedError(refusal(kind))
    return make(expression)


def _number(expression: Any) -> Node:
    return Number(float(expression.val))


def _text(expression: Any) -> Node:
    return Text(expression.val)


def _instant_selector(expression: Any) -> Node:
    return _selector(expression, None)


def _range_selector(expression: Any) -> Node:
    return _selector(expression.vector_selector, _nanoseconds(expression, "range"), expression.prettify())


def _subquery(expression: Any) -> Node:
    raise UnsupportedError(
        refusal(f"the subquery {shortened(expression.prettify())}", "use a function over a range, such as m[5m]")
    )


def _negation(expression: Any) -> Node:
    operand = _node(expression.expr)
    return Number(-operand.value) if isinstance(operand, Number) else Negation(operand)


def _call(expression: Any) -> Node:
    name = expression.func.name
    if name not in FUNCTIONS:
        raise UnsupportedError(refusal(f"function {name}", INSTEAD.get(name, "")))
    return Call(name, tuple(_node(argument) for argument in expression.args))


def _aggregate(expression: Any) -> Node:
    name = str(expression.op)
    if name not in AGGREGATIONS:
        raise UnsupportedError(refusal(f"aggregation {name}", INSTEAD.get(name, "")))
    modifier = expression.modifier
    labels = () if modifier is None else tuple(modifier.labels)
    without = modifier is not None and str(modifier.type).endswith("Without")
    parameter = None if expression.param is None else _node(expression.param)
    return Aggregate(name, parameter, labels, without, _node(expression.expr))


def _binary(expression: Any) -> Node:
    modifier, operator = expression.modifier, str(expression.op)
    matching, as_bool = Matching((), False), False
    if modifier is not None:
        card = str(modifier.card)
        if card.endswith(("ManyToOne", "OneToMany")):
            raise UnsupportedError(
                refusal(
                    "group_left and group_right", "aggregate the side with more series first, so that both sides match"
                )
            )
        fill = modifier.fill_values
        if fill is not None and (fill.lhs is not None or fill.rhs is not None):
            raise UnsupportedError(refusal("fill", "write `or` with a second expression"))
        as_bool = modifier.return_bool
        if modifier.matching is not None:
            matching = Matching(tuple(modifier.matching.labels), str(modifier.matching.type).endswith("Include"))
    return Binary(operator, _node(expression.lhs), _node(expression.rhs), as_bool, matching)


def _selector(expression: Any, range_ns: int | None, text: str | None = None) -> Node:
    matchers = [Matcher("__name__", expression.name)] if expression.name else []
    if expression.matchers.or_matchers:
        raise UnsupportedError(refusal("`or` between matchers", "join two selectors with `or`, or use =~"))
    matchers += [
        Matcher(given.name, given.value, _MATCH_OPERATORS[str(given.op).rpartition(".")[2]])
        for given in expression.matchers.matchers
    ]
    for matcher in matchers:
        try:
            predicate(matcher)
        except SelectionError as error:
            raise ExpressionError(f"parse error: {error}") from error
    offset_ns = 0 if expression.offset is None else _nanoseconds(expression, "offset")
    return Selector(tuple(matchers), offset_ns, _fixed(expression), range_ns, text or expression.prettify())


def _fixed(expression: Any) -> At:
    """The @ modifier. Its time is read from the text: the parser's own value cannot tell of times before 1970."""
    if expression.at is None:
        return None
    kind = str(expression.at.type)
    if kind.endswith("Start"):
        return "start"
    if kind.endswith("End"):
        return "end"
    found = _AT_THE_END.search(expression.prettify())
    time_ns = None
    if found is not None:
        with contextlib.suppress(OverflowError):
            time_ns = round(float(found[1]) * 1000) * 10**6
    if time_ns is None or abs(time_ns) > LATEST_NS:
        raise ExpressionError(
            f"parse error: timestamp out of bounds for @ modifier: {shortened(expression.prettify())}"
        )
    return time_ns


def _nanoseconds(expression: Any, name: str) -> int:
    try:
        taken = (getattr(expression, name) // _MICROSECOND) * 1000
    except (OverflowError, ValueError):
        taken = LONGEST_NS + 1
    if abs(taken) > LONGEST_NS:
        raise ExpressionError(f"parse error: the {name} of {shortened(expression.prettify())} is beyond 50 years")
    return cast("int", taken)


_MAKERS: dict[str, Callable[[Any], Node]] = {
    "NumberLiteral": _number,
    "StringLiteral": _text,
    "VectorSelector": _instant_selector,
    "MatrixSelector": _range_selector,
    "SubqueryExpr": _subquery,
    "UnaryExpr": _negation,
    "Call": _call,
    "AggregateExpr": _aggregate,
    "BinaryExpr": _binary,
}
