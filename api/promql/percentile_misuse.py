"""Finds percentiles that are averaged or added, and says what to write instead, in the words of the query.

The mean of ten hosts' p99 is no percentile of anything: the slow host's tail is divided by ten. Histograms can be
merged before the quantile is taken, which costs no more.
"""

from collections.abc import Iterator

from api.promql.evaluation import Evaluation
from api.promql.number_text import number_text
from api.promql.tree import Aggregate, Binary, Call, Negation, Node, Number, Selector

MISUSED = {"avg": "averaging percentiles", "sum": "adding percentiles", "quantile": "taking quantiles of percentiles"}
PASSING = frozenset(
    [
        "abs",
        "ceil",
        "floor",
        "round",
        "clamp",
        "clamp_max",
        "clamp_min",
        "sort",
        "sort_desc",
        "label_replace",
        "label_join",
    ]
)


LONGEST_TEXT = 500  # of a selector that a hint repeats


def warn_of_misuse(evaluation: Evaluation, node: Aggregate) -> None:
    """Informs where an aggregation puts percentiles together. Called once its operand has been evaluated."""
    doing = MISUSED.get(node.operator)
    if doing is None:
        return
    for call in _percentiles(node.operand):
        if call.function == "quantile_over_time" and id(call) not in evaluation.sketch_quantiles:
            continue
        evaluation.inform(f"{doing} is not a percentile; write {_instead(node, call)} instead")


def _percentiles(node: Node) -> Iterator[Call]:
    """Calls that give percentiles which reach this place unchanged, or scaled."""
    if isinstance(node, Call):
        if node.function in ("histogram_quantile", "quantile_over_time"):
            yield node
        elif node.function in PASSING:
            yield from _percentiles(node.arguments[0])
    elif isinstance(node, Aggregate | Negation):
        yield from _percentiles(node.operand)
    elif isinstance(node, Binary):
        yield from _percentiles(node.left)
        yield from _percentiles(node.right)


def _instead(node: Aggregate, call: Call) -> str:
    level = call.arguments[0]
    q = number_text(level.value) if isinstance(level, Number) else "q"
    selector = next(_selectors(call.arguments[1]), None)
    if selector is None or len(selector.text) > LONGEST_TEXT:
        metric = "increase(metric[5m])"
    else:
        metric = f"increase({selector.text})" if selector.range_ns is not None else selector.text
    names = f" {'without' if node.without else 'by'} ({', '.join(node.labels)}) " if node.labels else ""
    return f"histogram_quantile({q}, sum{names}({metric}))"


def _selectors(node: Node) -> Iterator[Selector]:
    if isinstance(node, Selector):
        yield node
    elif isinstance(node, Call):
        for argument in node.arguments:
            yield from _selectors(argument)
    elif isinstance(node, Aggregate | Negation):
        yield from _selectors(node.operand)
    elif isinstance(node, Binary):
        yield from _selectors(node.left)
        yield from _selectors(node.right)
