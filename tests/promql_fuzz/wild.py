"""Text that looks like PromQL and wants to hurt: a grammar without good taste, and mutations of good expressions."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.promql_differential.expressions import expressions

# Of each list the first ones are good everywhere, the rest somewhere or nowhere.
METRICS = """
    temperature up depth odd requests_total hits lat drift nothing_of_that_name
""".split()  # noqa: SIM905
NUMBERS = [
    "0", "1", "-1", "0.5", "1e308", "-1e308", "1e309", "5e-324", "NaN", "Inf", "-Inf", "+inf", "0x1F", ".5", "007",
    "1e18", "0xFFFFFFFFFFFFFFFFFF", "1e999999", "5.", "1_000", "9" * 400, "1e", "0x", "١٢",
]  # fmt: skip
DURATIONS = [
    "1m", "5m", "1s", "1ms", "10s", "1h30m", "1d", "49y", "10m", "2m", "0s", "1m1h", "292y", "300y", "10000y",
    "9999999999999999999y", "-5m", "1.5h", "5", "1e3s", "$__interval", "w", "99999999999999999999999ms", "1ns",
]  # fmt: skip
INSTANTS = [
    "0", "-1", "1795322000", "1795322000.123456789", "1e9", "1795321990", "start()", "end()", "-62135596801", "1e10",
    "1e18", "1e300", "-1e300", "NaN", "Inf", "-Inf", "9223372036854775807", "9223372036.854775807", "now()", "up",
]  # fmt: skip
EACH = """
    abs ceil floor round sort sort_desc absent exp ln log2 log10 sqrt sgn deg rad sin cosh atanh acosh timestamp minute
    day_of_month days_in_month year month day_of_week scalar no_such_function histogram_stddev info
""".split()  # noqa: SIM905
OVER_TIME = """
    rate increase irate idelta delta deriv changes resets avg_over_time min_over_time max_over_time sum_over_time
    count_over_time last_over_time stddev_over_time stdvar_over_time present_over_time absent_over_time mad_over_time
""".split()  # noqa: SIM905
HISTOGRAM = ["histogram_count", "histogram_sum", "histogram_avg"]
WITH_A_NUMBER = ["round", "clamp_min", "clamp_max", "predict_linear"]
AGGREGATIONS = ["sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "SUM"]
RANKED = ["topk", "bottomk", "quantile", "limitk"]
COMPARISONS = ["==", "!=", ">", "<", ">=", "<="]
OPERATORS = ["+", "-", "*", "/", "%", "^", "+", *COMPARISONS, "atan2", "and", "or", "unless", "=", "=~", "&&"]
SETS = ["and", "or", "unless"]
BOMBS = [
    "(a*)*b", "(a|a)*$", "(x+x+)+y", "a{1000}", "(a{1000}){1000}", "((a{100}){100}){100}",
    ".{0,1000}.{0,1000}.{0,1000}", "(" * 500 + ")" * 500, "(", "*", "[", "\\\\C", "(?P<n>a)(?P=n)", "(?=a)",
    "[^\\\\x{10FFFF}]{999}", "\\\\pL{500}", "a" * 5_000, "|".join(f"h{i}" for i in range(900)), "(?i)" * 300, "",
    ".*", "^$", "\\\\z",
]  # fmt: skip
LABELS = [
    "host",
    "job",
    "kind",
    "path",
    "__name__",
    "le",
    '"a.b"',
    "",
    "0a",
    "a-b",
    "ü",
    "__x__",
    "x" * 3_000,
    "by",
    "bool",
]
_TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
_INSIDE_QUOTES = [
    "a", "b", "", "web", "\\xff", "\\777", "\\u00fc", "\\U00110000", "\\", "\\q", "a\n", "\\\\", "$1", "${host}", "$$",
    "${", "$99999999999", "$1x", "${1}${2}", "(.*)", "(?P<host>.)",
]  # fmt: skip
_QUOTED = st.builds(
    lambda quote, text: quote + text + quote,
    st.sampled_from(['"', "'", "`"]),
    st.sampled_from(_INSIDE_QUOTES) | _TEXT,
)


def wild_expressions() -> SearchStrategy[str]:
    """Expressions, most of which every parser accepts."""
    return _written() | _written() | _written() | _giants()


@st.composite
def wild_selectors(draw: DrawFn) -> str:
    """Instant selectors, most without offset and @."""
    writer = _Writer(draw)
    return writer.selector() if draw(st.integers(0, 3)) == 0 else draw(st.sampled_from(METRICS)) + writer.matchers()


@st.composite
def _written(draw: DrawFn) -> str:
    return str(_Writer(draw).any(draw(st.integers(0, 4))))


@st.composite
def mutated_expressions(draw: DrawFn) -> str:
    """A good expression with a few characters gone, doubled, moved or replaced."""
    text = draw(st.sampled_from(_GOOD))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        length = draw(st.integers(0, 6))
        what = draw(st.sampled_from(["cut", "double", "put", "swap"]))
        if what == "cut":
            text = text[:at] + text[at + length :]
        elif what == "double":
            text = text[:at] + text[at : at + length] * 2 + text[at + length :]
        elif what == "put":
            text = text[:at] + draw(_TEXT | st.sampled_from("(){}[],\"'`\\@-+:~=!#\0")) + text[at:]
        else:
            text = text[at:] + text[:at]
    return text


_GOOD = [each.ours for each in expressions(300, 3)]


class _Writer:
    """Writes expressions of right types with extreme parts in them; now and then a part that fits nowhere."""

    def __init__(self, draw: DrawFn) -> None:
        self._draw = draw

    def any(self, depth: int) -> str:
        return self._one_of([self.vector, self.vector, self.vector, self.vector, self.scalar, self.range])(depth)

    def vector(self, depth: int) -> str:
        if depth <= 0:
            return self.selector()
        if self._rarely():
            return self.any(depth - 1)
        makers = [
            lambda: f"{self._one_of(EACH)}({self.vector(depth - 1)})",
            lambda: f"{self._one_of(OVER_TIME)}({self.range(depth - 1)})",
            lambda: f"{self._one_of(OVER_TIME)}({self.range(depth - 1)})",
            lambda: f"quantile_over_time({self.scalar(depth - 1)}, {self.range(depth - 1)})",
            lambda: f"{self._one_of(AGGREGATIONS)}{self.clause()} ({self.vector(depth - 1)})",
            lambda: f"{self._one_of(RANKED)}({self.scalar(depth - 1)}, {self.vector(depth - 1)}){self.clause()}",
            lambda: f"count_values({self.text()}, {self.vector(depth - 1)})",
            lambda: f"({self.vector(depth - 1)}) {self.operator()} ({self.vector(depth - 1)})",
            lambda: f"({self.vector(depth - 1)}) {self.operator()} ({self.scalar(depth - 1)})",
            lambda: f"({self.scalar(depth - 1)}) {self.operator()} ({self.vector(depth - 1)})",
            lambda: f"({self.vector(depth - 1)}) {self._one_of(SETS)}{self.matching()} ({self.vector(depth - 1)})",
            lambda: f"-{self.vector(depth - 1)}",
            lambda: f"clamp({self.vector(depth - 1)}, {self.scalar(depth - 1)}, {self.scalar(depth - 1)})",
            lambda: f"{self._one_of(WITH_A_NUMBER)}({self.vector(depth - 1)}, {self.scalar(depth - 1)})",
            lambda: f"vector({self.scalar(depth - 1)})",
            lambda: f"{self._one_of(HISTOGRAM)}({self.vector(depth - 1)})",
            lambda: f"histogram_quantile({self.scalar(depth - 1)}, {self.vector(depth - 1)})",
            lambda: f"histogram_fraction({self.number()}, {self.number()}, {self.vector(depth - 1)})",
            lambda: (
                f"label_replace({self.vector(depth - 1)}, {self.name()}, {self.text()}, {self.name()}, {self.text()})"
            ),
            lambda: f"label_join({self.vector(depth - 1)}, {self.name()}, {self.text()}, {self.name()}, {self.name()})",
        ]
        return self._one_of(makers)()

    def scalar(self, depth: int) -> str:
        if depth <= 0 or self._draw(st.integers(0, 2)) == 0:
            return self.number()
        if self._rarely():
            return self.any(depth - 1)
        makers = [
            lambda: f"scalar({self.vector(depth - 1)})",
            lambda: self._one_of(["time()", "pi()"]),
            lambda: f"({self.scalar(depth - 1)} {self.operator(scalar=True)} {self.scalar(depth - 1)})",
            lambda: f"-{self.number()}",
        ]
        return self._one_of(makers)()

    def range(self, _depth: int) -> str:
        return self.selector(f"[{self.duration()}]")

    def selector(self, window: str = "") -> str:
        text = self._one_of(METRICS) + (self.matchers() if self._draw(st.booleans()) else "") + window
        if self._draw(st.integers(0, 5)) == 0:
            text += f" offset {self._one_of(['', '-'])}{self.duration()}"
        if self._draw(st.integers(0, 5)) == 0:
            text += f" @ {self._one_of(INSTANTS if self._rarely() else INSTANTS[:8])}"
        return text

    def matchers(self) -> str:
        found = []
        for _ in range(self._draw(st.integers(0, 2))):
            operator = self._one_of(["=", "!=", "=~", "!~"])
            value = f'"{self._one_of(BOMBS)}"' if "~" in operator else self.text()
            found.append(f"{self._one_of(LABELS if self._rarely() else LABELS[:7])}{operator}{value}")
        return "{" + ", ".join(found) + "}"

    def clause(self) -> str:
        word = self._one_of(["", " by ", " without "])
        return word and f"{word}({self.names()})"

    def matching(self) -> str:
        word = self._one_of(["", "", " on ", " ignoring ", " group_left " if self._rarely() else ""])
        return word and f"{word}({self.names()})"

    def operator(self, scalar: bool = False) -> str:
        operator = self._one_of(OPERATORS if self._rarely() else OPERATORS[:13])
        compares = operator in COMPARISONS and (scalar or self._draw(st.booleans()))
        return operator + (" bool" if compares else "") + ("" if scalar else self.matching())

    def names(self) -> str:
        names = st.sampled_from(LABELS if self._rarely() else LABELS[:6])
        return ", ".join(self._draw(st.lists(names, max_size=3)))

    def name(self) -> str:
        return self.text() if self._rarely() else f'"{self._one_of(LABELS[:6])}"'

    def number(self) -> str:
        return self._one_of(NUMBERS if self._rarely() else NUMBERS[:16])

    def duration(self) -> str:
        return self._one_of(DURATIONS if self._rarely() else DURATIONS[:10])

    def text(self) -> str:
        return self._draw(_QUOTED) if self._rarely() else f'"{self._one_of(_INSIDE_QUOTES)}"'

    def _one_of(self, choices: Sequence[Any]) -> Any:
        return self._draw(st.sampled_from(choices))

    def _rarely(self) -> bool:
        return self._draw(st.integers(0, 19)) == 7


_REPEATED = [
    ("(", "1", ")"), ("sum(", "up", ")"), ("-", "up", ""), ("abs(", "up", ")"), ("", "1", "+1"), ("", "up", " or up"),
    ("1 ^ ", "1", ""), ("", "up", "[5m:1m]"), ("", 'up{host="', "x"), ("", "up{", 'a="b",'), ("{", "up", "}"),
    ("[", "1", "]"), ("sum by (", "host", ",host"), ("", "up", " offset 1m"), ("", "'", "\\"), ("", "up", "\n"),
    ("#", "\n1", " "), ("", "", "\0"), ("", "temperature", " * on (host) temperature"), ("", "1 ", "== bool 1 "),
    ("label_replace(", "up", ', "a", "b", "c", "d")'), ("", "up{a='b'", " or c='d'"), ("", "{", "up "),
]  # fmt: skip


@st.composite
def _giants(draw: DrawFn) -> str:
    """One thing very often: deep, long or wide."""
    n = draw(st.sampled_from([50, 180, 400, 3_000, 20_000, 120_000]))
    before, middle, after = draw(st.sampled_from(_REPEATED))
    return _Giant(before * n + middle + after * n)


class _Giant(str):
    """Reports of failures show its beginning only."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} characters: {self[:60]!s}>"
