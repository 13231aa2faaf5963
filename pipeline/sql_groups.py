"""SELECT and GROUP BY: the window, the labels with their names, and the metrics.

A GROUP BY item is the window, a column, an expression that SELECT names, or such a name. Two expressions are the same
when their checked Polars SQL is.
"""

import re
from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from pipeline.errors import QueryError, nearest
from pipeline.plan import LINE_FUNCTIONS, UNIT_SUFFIXES, Function
from pipeline.schema import SKETCH, is_column_name
from pipeline.sql_expressions import NULL, SKETCH_SHAPE, Expressions, Typed
from pipeline.sql_functions import AGGREGATE_NAMES
from pipeline.sql_text import SHAPE

# Columns of partial results, and words that answers and Prometheus use for themselves.
RESERVED_LABELS: Final = ("window", "rows", "ts", "le", "quantile")
MAX_WINDOW_S: Final = 86_400
# As query names: a posted query without a name is called after its first metric, and frames name it.
MAX_METRIC_NAME: Final = 128
_UNIT_SECONDS: Final = {"SECOND": 1, "MINUTE": 60, "HOUR": 3_600}
_METRIC_NAME: Final = re.compile(r"[a-z_][a-z0-9_]*\Z")
_AGGREGATES: Final[dict[type[exp.Expr], Function]] = {
    exp.Count: "count", exp.Sum: "sum", exp.Min: "min", exp.Max: "max", exp.Avg: "avg",
}  # fmt: skip
# Aggregates that SQL has not.
_OWN_AGGREGATES: Final[dict[str, Function]] = {
    "sketch": "sketch", "first_lines": "first_lines", "last_lines": "last_lines",
}  # fmt: skip
_WINDOW_SHAPE: Final = "want TUMBLE(ts, INTERVAL '<n>' SECOND|MINUTE|HOUR), n a whole number, at most 24 hours"
_METRIC_SHAPE: Final = f"a metric is {'|'.join(AGGREGATE_NAMES)}(<expression>) AS <name>"
_WEIGHT_SHAPE: Final = "want sketch(<expression>) or sketch(<expression>, <how many times it counts>)"
_LINES_SHAPE: Final = "want {0}(<text>) or {0}(<text>, <number that orders lines of one time>)"


@dataclass(frozen=True, slots=True)
class MetricItem:
    """An aggregate of SELECT; argument is None for count(*). Only sketches may have a weight, only lines a place."""

    name: str
    function: Function
    argument: Typed | None
    weight: Typed | None = None
    place: Typed | None = None

    @property
    def arguments(self) -> tuple[Typed, ...]:
        """What it takes."""
        return tuple(typed for typed in (self.argument, self.weight, self.place) if typed is not None)


@dataclass(frozen=True, slots=True)
class _LabelItem:
    node: exp.Expr
    name: str | None
    typed: Typed


class Groups:
    """Reads SELECT and GROUP BY.

    Attributes:
        window_ns: length of the window.
        labels: name -> expression, in the order of GROUP BY.
        metrics: in the order of SELECT; at least one.
    Raises on construction:
        QueryError: no window or two, a label without a name or not in GROUP BY, no metric, or names that clash.
    """

    def __init__(self, select: exp.Select, expressions: Expressions) -> None:
        self._expressions = expressions
        self._text = expressions.text
        self.metrics: list[MetricItem] = []
        self._items: list[_LabelItem] = []
        for node in select.expressions:
            self._read_item(node)
        self.window_ns = 0
        self.labels: dict[str, Typed] = {}
        self._read_group_by(select)
        for item in self._items:
            if item.typed.sql not in {label.sql for label in self.labels.values()}:
                what = f"{self._text.words(item.node)} is neither an aggregate nor in GROUP BY"
                raise self._text.error(item.node, what, "add it to GROUP BY, or aggregate it")
        if not self.metrics:
            raise self._text.error(select.expressions[0] if select.expressions else 0, "no metric", _METRIC_SHAPE)

    def _read_item(self, node: exp.Expr) -> None:
        named = isinstance(node, exp.Alias)
        inner = node.this if named else node
        while isinstance(inner, exp.Paren):
            inner = inner.this
        name = node.alias if named else None
        if isinstance(inner, exp.Star) or (isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star)):
            raise self._text.error(node, "* is not supported", "name the labels and the metrics")
        function = _function_of(inner)
        if function is not None:
            self._read_metric(node, inner, function, name)
        elif isinstance(inner, exp.AggFunc | exp.WithinGroup | exp.Window | exp.Filter) or _is_quantile(inner):
            raise self._unknown_aggregate(inner)
        elif _is_tumble(inner):
            raise self._text.error(inner, "the window is part of every answer; leave it out of SELECT", SHAPE)
        else:
            if name is None and isinstance(inner, exp.Column):
                name = inner.name
            self._items.append(_LabelItem(node, name, self._expressions.typed(inner)))

    def _unknown_aggregate(self, node: exp.Expr) -> QueryError:
        if isinstance(node, exp.Filter):
            hint = "aggregate CASE WHEN <condition> THEN <expression> END, or filter in WHERE"
        elif isinstance(node, exp.Window):
            hint = "windows are tumbling, in GROUP BY: leave OVER out"
        else:
            hint = f"want {', '.join(AGGREGATE_NAMES)}; sketch(<expression>) answers any quantile when it is read"
        return self._text.error(node, f"{self._text.words(node)} is no aggregate of a streaming query", hint)

    def _read_metric(self, node: exp.Expr, call: exp.Expr, function: Function, name: str | None) -> None:
        if name is None:
            raise self._text.error(
                call, f"{self._text.words(call)} has no name", f"{_METRIC_SHAPE}; the name is the metric's"
            )
        at: exp.Expr = node.args["alias"]
        if not _METRIC_NAME.match(name):
            raise self._text.error(at, f"metric name {name!r}; want [a-z_][a-z0-9_]*", "use lower case, digits and _")
        if len(name) > MAX_METRIC_NAME:
            what = f"a metric name of {len(name)} characters; want at most {MAX_METRIC_NAME}"
            raise self._text.error(at, what, "shorten it")
        if name in {metric.name for metric in self.metrics}:
            raise self._text.error(at, f"two metrics are called {name!r}", "give each its own name")
        suffix = name.rsplit("_", 1)[-1] if "_" in name else ""
        # A count counts whatever its name says: `probes` needs no suffix to be understood.
        if function != "count" and suffix not in UNIT_SUFFIXES:
            units = ", ".join(f"_{unit}" for unit in UNIT_SUFFIXES)
            raise self._text.error(at, f"metric name {name!r} does not say its unit", f"end it in one of {units}")
        if function in LINE_FUNCTIONS and suffix != "lines":
            raise self._text.error(at, f"metric {name!r} of {function} holds lines", "end its name in _lines")
        given = call.expressions if isinstance(call, exp.Anonymous) else [call.this, *call.expressions]
        arguments = [argument for argument in given if argument is not None]
        if function in LINE_FUNCTIONS:
            self.metrics.append(self._lines(call, arguments, function, name))
        elif function == "sketch" and len(arguments) == 2:
            argument = self._argument(call, arguments[:1], function)
            if argument is not None and argument.kind == SKETCH:
                what = (
                    f"{self._text.words(arguments[0])} is a sketch and takes no weight: its values are counted already"
                )
                raise self._text.error(arguments[1], what, SKETCH_SHAPE)
            self.metrics.append(MetricItem(name, function, argument, self._weight(arguments[1])))
        else:
            self.metrics.append(MetricItem(name, function, self._argument(call, arguments, function)))

    def _lines(self, call: exp.Expr, arguments: list[exp.Expr], function: Function, name: str) -> MetricItem:
        shape = _LINES_SHAPE.format(function)
        if len(arguments) not in (1, 2):
            raise self._text.error(call, f"{function} takes one argument or two, not {len(arguments)}", shape)
        found: list[Typed] = []
        for argument, wanted, called, hint in zip(
            arguments, ("string", "int64"), ("text", "place"), ("VARCHAR", "BIGINT"), strict=False
        ):
            if isinstance(argument, exp.Star | exp.Distinct):
                raise self._text.error(argument, f"{self._text.words(argument)} is no {called} of a line", shape)
            typed = self._expressions.typed(argument)
            if typed.kind != wanted:
                what = f"the {called} {self._text.words(argument)} is {typed.kind}; want {wanted}"
                convert = f"convert it: CAST(... AS {hint})"
                raise self._text.error(argument, what, shape if typed.kind in (NULL, SKETCH) else convert)
            found.append(typed)
        return MetricItem(name, function, found[0], place=found[1] if len(found) == 2 else None)

    def _argument(self, call: exp.Expr, arguments: list[exp.Expr], function: Function) -> Typed | None:
        if len(arguments) != 1:
            takes, hint = "one argument", _METRIC_SHAPE
            if function in ("min", "max"):
                hint = "use LEAST or GREATEST for several columns of one row"
            elif function == "sketch":
                takes, hint = "one argument or two", _WEIGHT_SHAPE
            raise self._text.error(call, f"{function} takes {takes}, not {len(arguments)}", hint)
        argument = arguments[0]
        if isinstance(argument, exp.Star):
            if function == "count":
                return None
            raise self._text.error(argument, f"{function} takes an expression, not *", _METRIC_SHAPE)
        if isinstance(argument, exp.Distinct):
            what = f"{function}(DISTINCT ...) cannot be merged from parts"
            raise self._text.error(call, what, "group by the column instead, and count the groups when reading")
        typed = self._expressions.typed(argument)
        fits = {"int64", "float64", SKETCH} if function == "sketch" else {"int64", "float64"}
        if typed.kind == NULL or (function != "count" and typed.kind not in fits):
            hint = "convert it: CAST(... AS BIGINT) or CAST(... AS DOUBLE)"
            hint = SKETCH_SHAPE if typed.kind == SKETCH else hint
            raise self._text.error(argument, f"{function} of {typed.kind}; want a number", hint)
        return typed

    def _weight(self, node: exp.Expr) -> Typed:
        if isinstance(node, exp.Star | exp.Distinct):
            raise self._text.error(node, f"{self._text.words(node)} is no weight", _WEIGHT_SHAPE)
        typed = self._expressions.typed(node)
        if typed.kind != "int64":
            what = f"the weight {self._text.words(node)} is {typed.kind}; want int64"
            hint = "counts are whole numbers: CAST(... AS BIGINT)" if typed.kind == "float64" else _WEIGHT_SHAPE
            raise self._text.error(node, what, hint)
        return typed

    def _read_group_by(self, select: exp.Select) -> None:
        group = select.args.get("group")
        items = [] if group is None else group.expressions
        if group is not None:
            extra = [key for key, value in group.args.items() if value and key != "expressions"]
            if extra:
                raise self._text.error(group, f"GROUP BY {extra[0].upper()} is not supported", SHAPE)
        windows = [item for item in items if _is_tumble(item)]
        if len(windows) != 1:
            at = windows[1] if windows else (items[0] if items else self._text.end)
            what = "GROUP BY has two windows" if windows else "GROUP BY has no window"
            raise self._text.error(at, what, _WINDOW_SHAPE)
        self.window_ns = self._window_ns(windows[0])
        for item in items:
            if item is not windows[0]:
                self._read_label(item)

    def _window_ns(self, call: exp.Expr) -> int:
        arguments = call.expressions
        if len(arguments) != 2 or not isinstance(arguments[1], exp.Interval):
            raise self._text.error(call, f"{self._text.words(call)} is no window", _WINDOW_SHAPE)
        if not self._expressions.names.is_time(arguments[0]):
            what = f"the window is over {self._text.words(arguments[0])}; it can only be over the stream's ts"
            raise self._text.error(arguments[0], what, _WINDOW_SHAPE)
        length, unit = arguments[1].this, arguments[1].args.get("unit")
        word = "" if unit is None else unit.name.upper()
        seconds = _UNIT_SECONDS.get(word.removesuffix("S"))
        text = length.name if isinstance(length, exp.Literal) else ""
        if seconds is None or not text.isdecimal() or not 1 <= int(text) * seconds <= MAX_WINDOW_S:
            raise self._text.error(
                arguments[1], f"{self._text.words(arguments[1])} is no length of a window", _WINDOW_SHAPE
            )
        return int(text) * seconds * 10**9

    def _read_label(self, node: exp.Expr) -> None:
        typed = self._label_expression(node)
        if typed.kind == NULL:
            raise self._text.error(node, "a label cannot be NULL", "leave it out")
        if typed.kind == SKETCH:
            raise self._text.error(node, f"{self._text.words(node)} is a sketch, which cannot be a label", SKETCH_SHAPE)
        names = {item.name for item in self._items if item.typed.sql == typed.sql and item.name is not None}
        if not names and isinstance(node, exp.Column):
            names = {node.name}
        if len(names) != 1:
            called = f"has the names {' and '.join(sorted(names))} in SELECT" if names else "has no name"
            what = f"{self._text.words(node)} {called}; a label needs one"
            raise self._text.error(node, what, "write it in SELECT once, as <expression> AS <name>")
        name = names.pop()
        self._check_label(node, name)
        self.labels[name] = typed

    def _label_expression(self, node: exp.Expr) -> Typed:
        """An input column wins over a name of SELECT, as in SQL, unless they are two different things."""
        bare = node.name if isinstance(node, exp.Column) and not node.table else None
        named = [item for item in self._items if isinstance(item.node, exp.Alias) and item.name == bare]
        if bare is None or not named:
            if isinstance(node, exp.Literal) and not node.is_string:
                what = f"GROUP BY {node.name}: places in SELECT are not supported"
                raise self._text.error(node, what, "write the column or its name")
            if bare is not None and not self._expressions.names.knows(bare):
                known = [item.name for item in self._items if item.name] + self._expressions.names.known()
                raise self._text.error(node, f"no column or label {bare!r}", nearest(bare, known))
            return self._expressions.typed(node)
        if self._expressions.names.declares(bare) and self._expressions.typed(node).sql != named[0].typed.sql:
            what = f"{bare!r} is a column and the name of something else in SELECT"
            raise self._text.error(node, what, f"write the whole expression, or another name than {bare!r}")
        return named[0].typed

    def _check_label(self, node: exp.Expr, name: str) -> None:
        if not is_column_name(name) or name in RESERVED_LABELS or name.startswith("__"):
            taken = f"; {', '.join(RESERVED_LABELS)} and names with __ in front are taken"
            raise self._text.error(node, f"{name!r} cannot be a label", f"use letters, digits and _{taken}")
        if name in self.labels:
            raise self._text.error(node, f"two labels are called {name!r}", "give one another name in SELECT")
        if name in {metric.name for metric in self.metrics}:
            raise self._text.error(node, f"{name!r} names a label and a metric", "give one another name in SELECT")


def _function_of(node: exp.Expr) -> Function | None:
    if isinstance(node, exp.Anonymous) and node.name.lower() in _OWN_AGGREGATES:
        return _OWN_AGGREGATES[node.name.lower()]
    return _AGGREGATES.get(type(node))


def _is_quantile(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and re.match(r"p\d+|percentile|quantile", node.name.lower()) is not None


def _is_tumble(node: exp.Expr) -> bool:
    return isinstance(node, exp.Anonymous) and node.name.upper() == "TUMBLE"
