"""The functions an expression may call: what they take, what they give, and how Polars spells them.

All work on one row by itself; that is what lets a plan be cut anywhere. Left out on purpose: anything that looks at
the clock, at chance or at other rows. STRPOS is left out because Polars gives 0, not NULL, for NULL.
"""

from dataclasses import dataclass
from typing import Final

from sqlglot import exp

NUMBER: Final = "number"
TEXT: Final = "string"
TEXT_LITERAL: Final = "text literal"
INT_LITERAL: Final = "integer literal"


@dataclass(frozen=True, slots=True)
class Signature:
    """How a call is typed and written.

    name: as people write it. parameters: (argument of the sqlglot node, what it takes); those from `required` on may
    be left out. result: a type, or "same" for that of the first argument. template: Polars SQL over {0}, {1}, ...;
    `as_double` casts number arguments first. least: smallest value of integer literals.
    """

    name: str
    parameters: tuple[tuple[str, str], ...]
    result: str
    template: str
    required: int = 1
    as_double: bool = False
    least: int = 0


def _of_number(name: str, result: str = "same", as_double: bool = False) -> Signature:
    return Signature(name, (("this", NUMBER),), result, f"{name}({{0}})", as_double=as_double)


def _of_text(name: str, result: str = "string", template: str = "") -> Signature:
    return Signature(name, (("this", TEXT),), result, template or f"{name}({{0}})")


FUNCTIONS: Final[dict[type[exp.Expr], Signature]] = {
    exp.Abs: _of_number("ABS"),
    exp.Floor: _of_number("FLOOR"),
    exp.Ceil: _of_number("CEIL"),
    exp.Sign: _of_number("SIGN"),
    exp.Round: Signature("ROUND", (("this", NUMBER), ("decimals", INT_LITERAL)), "same", "ROUND({0}, {1})"),
    exp.Sqrt: _of_number("SQRT", "float64", True),
    exp.Ln: _of_number("LN", "float64", True),
    exp.Exp: _of_number("EXP", "float64", True),
    exp.Upper: _of_text("UPPER"),
    exp.Lower: _of_text("LOWER"),
    exp.Trim: _of_text("TRIM"),
    # LENGTH is unsigned in Polars: LENGTH(x) - 5 would wrap around without the cast.
    exp.Length: _of_text("LENGTH", "int64", "CAST(LENGTH({0}) AS BIGINT)"),
    exp.Substring: Signature(
        "SUBSTR",
        (("this", TEXT), ("start", INT_LITERAL), ("length", INT_LITERAL)),
        "string",
        "SUBSTR({0}, {1}, {2})",
        2,
        least=1,
    ),
    exp.Left: Signature("LEFT", (("this", TEXT), ("expression", INT_LITERAL)), "string", "LEFT({0}, {1})", 2),
    exp.Right: Signature("RIGHT", (("this", TEXT), ("expression", INT_LITERAL)), "string", "RIGHT({0}, {1})", 2),
    exp.Replace: Signature(
        "REPLACE",
        (("this", TEXT), ("expression", TEXT_LITERAL), ("replacement", TEXT_LITERAL)),
        "string",
        "REPLACE({0}, {1}, {2})",
        3,
    ),
    exp.SplitPart: Signature(
        "SPLIT_PART",
        (("this", TEXT), ("delimiter", TEXT_LITERAL), ("part_index", INT_LITERAL)),
        "string",
        "SPLIT_PART({0}, {1}, {2})",
        3,
        least=1,
    ),
    exp.StartsWith: Signature(
        "STARTS_WITH", (("this", TEXT), ("expression", TEXT)), "bool", "STARTS_WITH({0}, {1})", 2
    ),
    exp.EndsWith: Signature("ENDS_WITH", (("this", TEXT), ("expression", TEXT)), "bool", "ENDS_WITH({0}, {1})", 2),
    exp.RegexpLike: Signature(
        "REGEXP_LIKE", (("this", TEXT), ("expression", TEXT_LITERAL)), "bool", "REGEXP_LIKE({0}, {1})", 2
    ),
}
# Functions with typing rules of their own (sql_expressions.py), as people write them.
OTHER_FUNCTIONS: Final = (
    "CASE", "CAST", "COALESCE", "CONCAT", "GREATEST", "IF", "LEAST", "LOG2", "LOG10", "MOD", "NULLIF", "POW",
    "REGEXP_EXTRACT",
)  # fmt: skip
FUNCTION_NAMES: Final = sorted([signature.name for signature in FUNCTIONS.values()] + list(OTHER_FUNCTIONS))
AGGREGATE_NAMES: Final = ("sketch", "count", "sum", "min", "max", "avg", "first_lines", "last_lines")
ALLOWED: Final = (
    "allowed: columns, literals, + - * / % DIV ||, = <> < <= > >=, AND OR NOT, [NOT] IN (literals), BETWEEN, [I]LIKE, "
    f"IS [NOT] NULL|TRUE|FALSE and {', '.join(FUNCTION_NAMES)}"
)
CAST_TYPES: Final[dict[exp.DType, str]] = {
    exp.DType.BIGINT: "int64",
    exp.DType.INT: "int64",
    exp.DType.DOUBLE: "float64",
    exp.DType.FLOAT: "float64",
    exp.DType.VARCHAR: "string",
    exp.DType.TEXT: "string",
    exp.DType.BOOLEAN: "bool",
}
SQL_TYPES: Final = {"int64": "BIGINT", "float64": "DOUBLE", "string": "VARCHAR", "bool": "BOOLEAN"}
