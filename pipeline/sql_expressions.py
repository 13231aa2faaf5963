"""Expressions: checked against the allow-list, typed, and written as Polars SQL.

The Polars SQL is written here and not by sqlglot's generator, so that nothing but what was checked reaches Polars, and
so that its surprises end here:
- a literal like 1000.0 would be a decimal, and 5 an Int32: they are written 1000.0e0 and CAST(5 AS BIGINT);
- the right side of /, float % and POW must never look constant (see chain.py): it is multiplied by a column of ones;
- a CAST that does not fit would stop the batch: it is written TRY_CAST and gives NULL;
- IS TRUE of NULL would be NULL: it is written with COALESCE;
- more than some 50 nested brackets are refused: chains of one operator are written flat.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl
from sqlglot import exp

from pipeline.chain import ONES
from pipeline.errors import QueryError, nearest
from pipeline.plan import Extraction
from pipeline.schema import SKETCH
from pipeline.sql_extracts import Extracts, groups_of
from pipeline.sql_functions import (
    AGGREGATE_NAMES,
    ALLOWED,
    CAST_TYPES,
    FUNCTION_NAMES,
    FUNCTIONS,
    INT_LITERAL,
    NUMBER,
    SQL_TYPES,
    TEXT_LITERAL,
    Signature,
)
from pipeline.sql_names import Names

NULL: Final = "null"
SKETCH_SHAPE: Final = "a sketch can be merged, counted and asked for: sketch(<column>), count(<column>), IS [NOT] NULL"
_NUMBERS: Final = ("int64", "float64")
_COMPARISONS: Final[dict[type[exp.Expr], str]] = {
    exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">=",
}  # fmt: skip
_ARITHMETIC: Final[dict[type[exp.Expr], str]] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*"}
# Notes the parser leaves on nodes that change nothing here.
_NOTES: Final = {"safe", "coalesce", "ignore_nulls", "big_int", "quoted", "is_string"}
# What else than this, expression and expressions a node may hold; any further part is refused, never ignored.
_MORE_ARGUMENTS: Final[dict[type[exp.Expr], tuple[str, ...]]] = {
    exp.Between: ("low", "high"),
    exp.Case: ("ifs", "default"),
    exp.Cast: ("to",),
    exp.If: ("true", "false"),
    exp.ILike: ("negate",),
    exp.Like: ("negate",),
    exp.RegexpExtract: ("position",),  # where the parser puts the group
    exp.TryCast: ("to",),
}
_AGGREGATES: Final = (exp.AggFunc, exp.Filter, exp.WithinGroup, exp.Window)


@dataclass(frozen=True, slots=True)
class Typed:
    """A checked expression. kind: one of the types of columns or "null"; columns: the names it reads from the rows."""

    sql: str
    kind: str
    columns: frozenset[str] = frozenset()

    def as_double(self) -> str:
        """Its SQL as a float64."""
        return self.sql if self.kind == "float64" else f"CAST({self.sql} AS DOUBLE)"


class Expressions:
    """Types expressions over the names in scope; raises QueryError at the place of the first mistake.

    `extracts` collects the columns that REGEXP_EXTRACT makes of others: expressions read them as they read any.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self.text = names.text
        self.extracts = Extracts()

    def typed(self, node: exp.Expr) -> Typed:
        """The expression, checked."""
        try:
            return self._typed(node)
        except RecursionError as error:
            raise self.text.error(node, "this expression is nested too deeply; write it flatter") from error

    def condition(self, node: exp.Expr) -> Typed:
        """An expression that is true or false."""
        typed = self.typed(node)
        if typed.kind != "bool":
            raise self._wrong(node, "a condition", typed.kind, "compare it with something: column = value")
        return typed

    def _typed(self, node: exp.Expr) -> Typed:
        if isinstance(node, exp.Paren):
            return self._typed(node.this)
        if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
            name, kind = self.names.column(node)
            return Typed(f'"{name}"', kind, frozenset({name}))
        if type(node) in FUNCTIONS:
            return self._call(node, FUNCTIONS[type(node)])
        handler = _HANDLERS.get(type(node))
        if handler is None:
            raise self._refused(node)
        self._only(node, "this", "expression", "expressions", *_MORE_ARGUMENTS.get(type(node), ()))
        return handler(self, node)

    def _refused(self, node: exp.Expr) -> QueryError:
        if isinstance(node, _AGGREGATES) or (isinstance(node, exp.Anonymous) and node.name.lower() in AGGREGATE_NAMES):
            what = f"{self.text.words(node)} cannot stand inside an expression"
            return self.text.error(node, what, "a metric is one aggregate: <aggregate>(<expression>) AS <name>")
        if isinstance(node, exp.Anonymous):
            return self.text.error(node, f"no function {node.name.upper()!r}", nearest(node.name, FUNCTION_NAMES))
        if isinstance(node, exp.Func):
            return self.text.error(node, f"{self.text.words(node)} is not allowed here", ALLOWED)
        return self.text.error(node, f"{self.text.words(node)} is not allowed in an expression", ALLOWED)

    def _only(self, node: exp.Expr, *arguments: str) -> None:
        extra = [name for name, value in node.args.items() if value and name not in (*arguments, *_NOTES)]
        if extra:
            what = f"{self.text.words(node)} has a part that is not supported ({extra[0].strip('_').upper()})"
            raise self.text.error(node, what, ALLOWED)

    def _wrong(self, node: exp.Expr, wanted: str, seen: str, hint: str) -> QueryError:
        if seen == SKETCH:
            hint = SKETCH_SHAPE
        return self.text.error(node, f"{self.text.words(node)} is {seen}; want {wanted}", hint)

    def _number(self, node: exp.Expr) -> Typed:
        typed = self._typed(node)
        if typed.kind not in (*_NUMBERS, NULL):
            raise self._wrong(node, "a number", typed.kind, "convert it: CAST(... AS BIGINT) or CAST(... AS DOUBLE)")
        return typed

    def _text(self, node: exp.Expr) -> Typed:
        typed = self._typed(node)
        if typed.kind not in ("string", NULL):
            raise self._wrong(node, "string", typed.kind, "convert it: CAST(... AS VARCHAR)")
        return typed

    def _call(self, node: exp.Expr, signature: Signature) -> Typed:
        self._only(node, *(name for name, _ in signature.parameters))
        arguments, columns, kinds = [], frozenset[str](), []
        for place, (name, takes) in enumerate(signature.parameters):
            given = node.args.get(name)
            if given is None:
                if place < signature.required:
                    raise self.text.error(node, f"{signature.name} wants {signature.required} arguments")
                break
            typed = self._argument(signature, given, takes)
            arguments.append(typed.as_double() if takes == NUMBER and signature.as_double else typed.sql)
            columns |= typed.columns
            kinds.append(typed.kind)
        if isinstance(node, exp.RegexpLike):
            self._groups_of(node.expression)
        template = signature.template
        for place in range(len(arguments), len(signature.parameters)):
            template = template.replace(f", {{{place}}}", "")
        result = kinds[0] if signature.result == "same" else signature.result
        if kinds[0] == NULL:
            return self._null(node)
        return Typed(template.format(*arguments), result, columns)

    def _argument(self, signature: Signature, given: exp.Expr, takes: str) -> Typed:
        if takes == TEXT_LITERAL:
            return Typed(self._text_literal(given, signature.name), "string")
        if takes == INT_LITERAL:
            return Typed(str(self._whole_number(given, signature.name, signature.least)), "int64")
        return self._number(given) if takes == NUMBER else self._text(given)

    def _text_literal(self, node: exp.Expr, function: str) -> str:
        if not (isinstance(node, exp.Literal) and node.is_string):
            raise self.text.error(node, f"{function} takes a text literal here, not {self.text.words(node)}")
        return _quoted(node.this)

    def _whole_number(self, node: exp.Expr, function: str, least: int) -> int:
        text = node.name if isinstance(node, exp.Literal) and not node.is_string else ""
        if not text.isdecimal() or not least <= int(text) <= 2**31 - 1:
            at_least = f"a whole number, at least {least}"
            raise self.text.error(node, f"{function} takes {at_least} here, not {self.text.words(node)}")
        return int(text)

    def _extract(self, node: exp.Expr) -> Typed:
        source, pattern, group = node.this, node.expression, node.args.get("position")
        while isinstance(source, exp.Paren):
            source = source.this
        if not isinstance(source, exp.Column) or isinstance(source.this, exp.Star):
            what = f"REGEXP_EXTRACT takes a column here, not {self.text.words(source)}"
            raise self.text.error(source, what, "extract from the column itself, and work on what comes out")
        name, kind = self.names.column(source)
        if kind != "string":
            raise self._wrong(source, "a column of text", kind, "it needs no regular expression")
        self._text_literal(pattern, "REGEXP_EXTRACT")
        number = 1 if group is None else self._whole_number(group, "REGEXP_EXTRACT", 0)
        found = len(self._groups_of(pattern))
        if number > found:
            what = f"the regular expression has no group {number}, it has {found}"
            hint = "put brackets around what you want, or write 0 for all that matched"
            raise self.text.error(pattern if group is None else group, what, hint)
        made = self.extracts.column(Extraction(name, pattern.this, number))
        return Typed(f'"{made}"', "string", frozenset({made}))

    def _groups_of(self, node: exp.Expr) -> list[str]:
        try:
            return groups_of(node.this)
        except pl.exceptions.PolarsError as error:
            reason = str(error).split("error: ")[-1].split("\n")[0]
            raise self.text.error(
                node, f"not a regular expression: {reason}", "see docs.rs/regex for the syntax"
            ) from None

    def _null(self, node: exp.Expr) -> Typed:
        hint = "give it a type: CAST(NULL AS BIGINT|DOUBLE|VARCHAR|BOOLEAN)"
        raise self.text.error(node, f"{self.text.words(node)} is NULL of no type", hint)

    def _literal(self, node: exp.Expr) -> Typed:
        if node.is_string:
            return Typed(_quoted(node.this), "string")
        return self._numeral(node, node.this)

    def _numeral(self, node: exp.Expr, text: str) -> Typed:
        if text.lstrip("-").isdecimal():
            if not -(2**63) <= int(text) < 2**63:
                raise self.text.error(
                    node, f"{text} does not fit int64", "write it with a point to make it a float: 1e20"
                )
            return Typed(f"CAST({int(text)} AS BIGINT)", "int64")
        value = float(text)
        if math.isinf(value):
            raise self.text.error(node, f"{text} does not fit float64", "the largest is about 1.8e308")
        written = repr(value)
        return Typed(written if "e" in written else f"{written}e0", "float64")

    def _boolean(self, node: exp.Expr) -> Typed:
        return Typed("TRUE" if node.this else "FALSE", "bool")

    def _null_literal(self, _: exp.Expr) -> Typed:
        return Typed("NULL", NULL)

    def _negative(self, node: exp.Expr) -> Typed:
        if isinstance(node.this, exp.Literal) and not node.this.is_string:
            return self._numeral(node.this, f"-{node.this.this}")
        typed = self._number(node.this)
        return Typed(f"(-{typed.sql})", typed.kind, typed.columns)

    def _arithmetic(self, node: exp.Expr) -> Typed:
        left, right = self._number(node.this), self._number(node.expression)
        kind = self._common([left, right], node)
        one, two = (_as(kind, t) for t in (left, right))
        if type(node.this) is type(node) and one == left.sql:
            one = one[1:-1]  # a + b + c needs no brackets around a + b
        return Typed(f"({one} {_ARITHMETIC[type(node)]} {two})", kind, left.columns | right.columns)

    def _division(self, node: exp.Expr) -> Typed:
        left, right = self._number(node.this), self._number(node.expression)
        return Typed(f"({left.as_double()} / {_never_constant(right)})", "float64", left.columns | right.columns)

    def _whole_division(self, node: exp.Expr) -> Typed:
        left, right = self._number(node.this), self._number(node.expression)
        if (left.kind, right.kind) != ("int64", "int64"):
            raise self._wrong(node, "a division of integers", f"{left.kind} DIV {right.kind}", "or use FLOOR(a / b)")
        return Typed(f"({left.sql} // {right.sql})", "int64", left.columns | right.columns)

    def _remainder(self, node: exp.Expr) -> Typed:
        left, right = self._number(node.this), self._number(node.expression)
        kind = self._common([left, right], node)
        if kind == "int64":
            return Typed(f"({left.sql} % {right.sql})", kind, left.columns | right.columns)
        return Typed(f"({left.as_double()} % {_never_constant(right)})", kind, left.columns | right.columns)

    def _power(self, node: exp.Expr) -> Typed:
        left, right = self._number(node.this), self._number(node.expression)
        return Typed(f"POW({left.as_double()}, {_never_constant(right)})", "float64", left.columns | right.columns)

    def _logarithm(self, node: exp.Expr) -> Typed:
        base, value = node.this, node.args.get("expression")
        if not (value is not None and isinstance(base, exp.Literal) and base.name in ("2", "10")):
            raise self.text.error(node, f"{self.text.words(node)}: which base?", "write LN(x), LOG2(x) or LOG10(x)")
        typed = self._number(value)
        return Typed(f"LOG{base.name}({typed.as_double()})", "float64", typed.columns)

    def _comparison(self, node: exp.Expr) -> Typed:
        return self._compared(node, self._typed(node.this), _COMPARISONS[type(node)], self._typed(node.expression))

    def _compared(self, node: exp.Expr, left: Typed, operator: str, right: Typed) -> Typed:
        self._no_sketch(node, left, right)
        kind = self._common([left, right], node)
        if kind == "bool" and operator not in ("=", "<>"):
            raise self._wrong(node, "an order of numbers or text", "an order of bools", "use = or <>")
        return Typed(f"({_as(kind, left)} {operator} {_as(kind, right)})", "bool", left.columns | right.columns)

    def _logic(self, node: exp.Expr) -> Typed:
        word = "AND" if isinstance(node, exp.And) else "OR"
        parts = [self._bool(part) for part in _operands(node, type(node))]
        return Typed(f"({f' {word} '.join(p.sql for p in parts)})", "bool", _all_columns(parts))

    def _not(self, node: exp.Expr) -> Typed:
        typed = self._bool(node.this)
        return Typed(f"(NOT {typed.sql})", "bool", typed.columns)

    def _bool(self, node: exp.Expr) -> Typed:
        typed = self._typed(node)
        if typed.kind not in ("bool", NULL):
            raise self._wrong(node, "bool", typed.kind, "compare it with something: column = value")
        return typed

    def _is(self, node: exp.Expr) -> Typed:
        if isinstance(node.expression, exp.Null):
            typed = self._typed(node.this)
            return Typed(f"({typed.sql} IS NULL)", "bool", typed.columns)
        if not isinstance(node.expression, exp.Boolean):
            raise self.text.error(node, f"IS {self.text.words(node.expression)}", "want IS [NOT] NULL, TRUE or FALSE")
        typed = self._bool(node.this)
        if node.expression.this:
            return Typed(f"COALESCE({typed.sql}, FALSE)", "bool", typed.columns)
        return Typed(f"(NOT COALESCE({typed.sql}, TRUE))", "bool", typed.columns)

    def _in(self, node: exp.Expr) -> Typed:
        items = node.expressions
        for item in items:
            bare = item.this if isinstance(item, exp.Neg) else item
            if not isinstance(bare, exp.Literal | exp.Boolean):
                raise self.text.error(item, f"IN takes literals, not {self.text.words(item)}", "write a = b OR a = c")
        parts = [self._typed(node.this), *(self._typed(item) for item in items)]
        self._no_sketch(node, *parts)
        kind = self._common(parts, node)
        listed = ", ".join(_as(kind, part) for part in parts[1:])
        return Typed(f"({_as(kind, parts[0])} IN ({listed}))", "bool", parts[0].columns)

    def _between(self, node: exp.Expr) -> Typed:
        value, low, high = (self._typed(node.args[name]) for name in ("this", "low", "high"))
        above = self._compared(node, value, ">=", low)
        below = self._compared(node, value, "<=", high)
        return Typed(f"({above.sql} AND {below.sql})", "bool", above.columns | below.columns)

    def _like(self, node: exp.Expr) -> Typed:
        word = "ILIKE" if isinstance(node, exp.ILike) else "LIKE"
        typed, pattern = self._text(node.this), self._text_literal(node.expression, word)
        negated = "NOT " if node.args.get("negate") else ""
        return Typed(f"({typed.sql} {negated}{word} {pattern})", "bool", typed.columns)

    def _concatenation(self, node: exp.Expr) -> Typed:
        parts = [self._text(part) for part in _operands(node, exp.DPipe)]
        return Typed(f"({' || '.join(p.sql for p in parts)})", "string", _all_columns(parts))

    def _concat(self, node: exp.Expr) -> Typed:
        parts = [self._text(part) for part in node.expressions]
        return Typed(f"CONCAT({', '.join(p.sql for p in parts)})", "string", _all_columns(parts))

    def _coalesce(self, node: exp.Expr) -> Typed:
        return self._of_one_kind(node, "COALESCE", [node.this, *node.expressions])

    def _extreme(self, node: exp.Expr) -> Typed:
        name = "LEAST" if isinstance(node, exp.Least) else "GREATEST"
        typed = self._of_one_kind(node, name, [node.this, *node.expressions])
        if typed.kind not in _NUMBERS:
            raise self._wrong(node, f"{name} of numbers", f"{name} of {typed.kind}", "use CASE WHEN")
        return typed

    def _nullif(self, node: exp.Expr) -> Typed:
        self._no_sketch(node, self._typed(node.this), self._typed(node.expression))
        return self._of_one_kind(node, "NULLIF", [node.this, node.expression])

    def _of_one_kind(self, node: exp.Expr, name: str, arguments: list[exp.Expr]) -> Typed:
        parts = [self._typed(argument) for argument in arguments]
        kind = self._common(parts, node)
        if kind == NULL:
            return self._null(node)
        return Typed(f"{name}({', '.join(_as(kind, p) for p in parts)})", kind, _all_columns(parts))

    def _if(self, node: exp.Expr) -> Typed:
        return self._choice(node, [(self._bool(node.this), node.args["true"])], node.args.get("false"))

    def _case(self, node: exp.Expr) -> Typed:
        subject = None if node.this is None else self._typed(node.this)
        branches = []
        for branch in node.args["ifs"]:
            if subject is None:
                test = self._bool(branch.this)
            else:
                test = self._compared(branch.this, subject, "=", self._typed(branch.this))
            branches.append((test, branch.args["true"]))
        return self._choice(node, branches, node.args.get("default"))

    def _choice(self, node: exp.Expr, branches: list[tuple[Typed, exp.Expr]], default: exp.Expr | None) -> Typed:
        results = [self._typed(result) for _, result in branches]
        otherwise = Typed("NULL", NULL) if default is None else self._typed(default)
        kind = self._common([*results, otherwise], node)
        if kind == NULL:
            return self._null(node)
        whens = "".join(
            f" WHEN {test.sql} THEN {_as(kind, result)}" for (test, _), result in zip(branches, results, strict=True)
        )
        columns = _all_columns([*results, otherwise, *(test for test, _ in branches)])
        return Typed(f"(CASE{whens} ELSE {_as(kind, otherwise)} END)", kind, columns)

    def _cast(self, node: exp.Expr) -> Typed:
        wanted = CAST_TYPES.get(node.args["to"].this)
        if wanted is None or node.args["to"].expressions:
            what = f"no type {self.text.words(node.args['to'])}"
            raise self.text.error(node.this, what, "want BIGINT, DOUBLE, VARCHAR or BOOLEAN")
        typed = self._typed(node.this)
        self._no_sketch(node, typed)
        if typed.kind == wanted:
            return typed
        if wanted == "bool" and typed.kind != NULL:
            raise self._wrong(node.this, "bool", typed.kind, "compare it: x <> 0, x = 'true'")
        word = "TRY_CAST" if (typed.kind, wanted) in _MAY_FAIL else "CAST"
        return Typed(f"{word}({typed.sql} AS {SQL_TYPES[wanted]})", wanted, typed.columns)

    def _no_sketch(self, node: exp.Expr, *parts: Typed) -> None:
        if any(part.kind == SKETCH for part in parts):
            raise self.text.error(node, f"{self.text.words(node)} compares or converts a sketch", SKETCH_SHAPE)

    def _common(self, parts: list[Typed], node: exp.Expr) -> str:
        kinds = {part.kind for part in parts} - {NULL}
        if kinds == set(_NUMBERS):
            return "float64"
        if len(kinds) > 1:
            seen = " and ".join(sorted(kinds))
            hint = "convert one side: CAST(... AS BIGINT|DOUBLE|VARCHAR)"
            raise self.text.error(node, f"{self.text.words(node)} mixes {seen}", hint)
        return kinds.pop() if kinds else NULL


def _as(kind: str, typed: Typed) -> str:
    return typed.as_double() if kind == "float64" and typed.kind == "int64" else typed.sql


def _never_constant(typed: Typed) -> str:
    return f'({typed.as_double()} * "{ONES}")'


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _operands(node: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    """The operands of a chain of one operator, left to right, brackets around parts of the chain undone."""
    found: list[exp.Expr] = []
    stack = [node]
    while stack:
        at = stack.pop()
        if isinstance(at, exp.Paren):
            stack.append(at.this)
        elif type(at) is kind:
            stack += [at.expression, at.this]
        else:
            found.append(at)
    return found


def _all_columns(parts: list[Typed]) -> frozenset[str]:
    return frozenset().union(*(part.columns for part in parts))


_MAY_FAIL: Final = {("float64", "int64"), ("string", "int64"), ("string", "float64")}
_HANDLERS: Final[dict[type[exp.Expr], Callable[[Expressions, exp.Expr], Typed]]] = {
    exp.Literal: Expressions._literal,
    exp.Boolean: Expressions._boolean,
    exp.Null: Expressions._null_literal,
    exp.Neg: Expressions._negative,
    **dict.fromkeys(_ARITHMETIC, Expressions._arithmetic),
    **dict.fromkeys(_COMPARISONS, Expressions._comparison),
    exp.Div: Expressions._division,
    exp.IntDiv: Expressions._whole_division,
    exp.Mod: Expressions._remainder,
    exp.Pow: Expressions._power,
    exp.Log: Expressions._logarithm,
    exp.And: Expressions._logic,
    exp.Or: Expressions._logic,
    exp.Not: Expressions._not,
    exp.Is: Expressions._is,
    exp.In: Expressions._in,
    exp.Between: Expressions._between,
    exp.Like: Expressions._like,
    exp.ILike: Expressions._like,
    exp.DPipe: Expressions._concatenation,
    exp.Concat: Expressions._concat,
    exp.Coalesce: Expressions._coalesce,
    exp.Least: Expressions._extreme,
    exp.Greatest: Expressions._extreme,
    exp.Nullif: Expressions._nullif,
    exp.If: Expressions._if,
    exp.Case: Expressions._case,
    exp.Cast: Expressions._cast,
    exp.TryCast: Expressions._cast,
    exp.RegexpExtract: Expressions._extract,
}
